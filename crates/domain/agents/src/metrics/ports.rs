//! What metrics need from outside.

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_kernel::{AgentId, StorageError, Timestamp};

use super::bucket::Bucket;
use super::sample::{Resolution, Sample};

/// Samples of one machine that are kept together; they arrived within one hour of the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Which machine's.
    pub agent_id: AgentId,
    /// At least one.
    pub samples: Vec<Sample>,
}

/// Buckets that are kept together: those of one [`Resolution::pack`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rolled {
    /// In what detail; samples are not rolled.
    pub resolution: Resolution,
    /// When the pack begins.
    pub at: Timestamp,
    /// At least one, in the order of their times.
    pub buckets: Vec<Bucket>,
}

/// What time does to the metrics of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ageing {
    /// Which machine's.
    pub agent_id: AgentId,
    /// What is kept from now on.
    pub rolled: Vec<Rolled>,
    /// Of which resolution what begins before which instant is let go of.
    pub forget: Vec<(Resolution, Timestamp)>,
}

/// For how long each resolution is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// Every sample.
    pub samples: TimeDelta,
    /// What five minutes come to.
    pub five_minutes: TimeDelta,
    /// What an hour comes to.
    pub hours: TimeDelta,
}

impl Keeping {
    /// For how long `resolution` is kept.
    pub const fn of(&self, resolution: Resolution) -> TimeDelta {
        match resolution {
            Resolution::Samples => self.samples,
            Resolution::FiveMinutes => self.five_minutes,
            Resolution::Hours => self.hours,
        }
    }
}

/// Says for how long metrics are kept.
pub trait KeepingPolicy: Send + Sync + std::fmt::Debug {
    /// As it is at this moment.
    fn keeping(&self) -> Keeping;
}

/// Where metrics are kept. Nobody asks here whose a machine is: that is looked up in the registry.
#[async_trait]
pub trait MetricsStore: Send + Sync + std::fmt::Debug {
    /// Keeps packs, all or none. A pack of a machine that begins with a sample of the same instant
    /// as one that is kept takes its place: a write that is repeated changes nothing.
    async fn append(&self, packs: Vec<Pack>) -> Result<(), StorageError>;

    /// The machine's samples from `from` until before `to`, in the order of their times.
    async fn samples(
        &self,
        agent_id: AgentId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Sample>, StorageError>;

    /// The machine's buckets that begin from `from` until before `to`, in the order of their times.
    async fn buckets(
        &self,
        agent_id: AgentId,
        resolution: Resolution,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Bucket>, StorageError>;

    /// When the machine's last pack of this resolution begins that begins before `before`.
    async fn last_pack(
        &self,
        agent_id: AgentId,
        resolution: Resolution,
        before: Timestamp,
    ) -> Result<Option<Timestamp>, StorageError>;

    /// The machines after `after`, in the order of their ids, of which something is kept, at most
    /// `limit`; each with whether it is still registered.
    async fn machines(
        &self,
        after: Option<AgentId>,
        limit: u64,
    ) -> Result<Vec<(AgentId, bool)>, StorageError>;

    /// Keeps and lets go, all or none; answers with how many packs it let go of. At most some
    /// hundred of a machine and resolution go at a time, the oldest first.
    async fn age(&self, ageings: Vec<Ageing>) -> Result<u64, StorageError>;
}
