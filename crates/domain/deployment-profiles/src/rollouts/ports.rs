//! What rollouts need from outside.

use std::collections::BTreeMap;

use async_trait::async_trait;
use muster_commands::runs::StopReason;
use muster_commands::{Command, Once};
use muster_kernel::{
    AgentId, Author, CustomerId, Page, PageRequest, ProfileId, RolloutId, StorageError,
    TenantScope, Timestamp,
};

use super::device::{Device, DeviceStatus};
use super::rollout::{Rollout, RolloutStatus, RolloutTally};
use crate::compliance::Standing;

/// What came of handing in a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutBegun {
    /// It is durable, with all its machines.
    New,
    /// The same request came before, and made this one.
    Known(RolloutId),
    /// The key came before with another request.
    Conflict,
}

/// A change to how a rollout goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutChange {
    /// No other machine begins, and why.
    Stopped(StopReason),
    /// It is over.
    Ended(RolloutStatus, RolloutTally, Timestamp),
}

impl RolloutChange {
    /// What it is called in the audit log, if somebody decided it.
    pub const fn deed(self) -> Option<&'static str> {
        match self {
            Self::Stopped(StopReason::Cancelled) => Some("rollout.cancel"),
            Self::Stopped(StopReason::CanaryFailed | StopReason::TooManyFailures) => {
                Some("rollout.stop")
            }
            Self::Ended(..) => None,
        }
    }

    /// Makes the change, where it can be made; says whether it was.
    pub fn apply(self, rollout: &mut Rollout) -> bool {
        let changes = match self {
            // What was stopped by its strategy goes on with what has begun, until somebody cancels it.
            Self::Stopped(StopReason::Cancelled) => {
                !rollout.status.is_end() && rollout.stop != Some(StopReason::Cancelled)
            }
            Self::Stopped(_) => !rollout.status.is_end() && rollout.stop.is_none(),
            Self::Ended(..) => !rollout.status.is_end(),
        };
        if !changes {
            return false;
        }
        match self {
            Self::Stopped(reason) => rollout.stop = Some(reason),
            Self::Ended(status, tally, at) => {
                (rollout.status, rollout.tally) = (status, tally);
                rollout.finished_at = Some(at);
            }
        }
        rollout.revision = rollout.revision.saturating_add(1);
        true
    }
}

/// A machine that goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Advance {
    /// The machine as it is then.
    pub device: Device,
    /// The revision that it had before.
    pub before: u32,
    /// The command that follows from it.
    pub command: Option<Command>,
    /// How the machine stands to its profile, where that is known now.
    pub standing: Option<Standing>,
}

/// What came of a machine's going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advanced {
    /// It is durable, and so is its command.
    Written,
    /// It was another than before; nothing was written.
    Stale,
}

/// Which rollouts a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RolloutFilter {
    /// Only those that are this far.
    pub status: Option<RolloutStatus>,
    /// Only those of this profile.
    pub profile_id: Option<ProfileId>,
    /// Only those on machines of this customer.
    pub customer_id: Option<CustomerId>,
    /// Only those that only look, or only the others.
    pub dry_run: Option<bool>,
}

/// Which machines a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeviceFilter {
    /// Only those that are this far.
    pub status: Option<DeviceStatus>,
}

/// Keeps rollouts. A rollout lies in a scope when all customers on whose machines it is do.
#[async_trait]
pub trait RolloutRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new rollout and all its machines or nothing, and enters it in the audit log.
    async fn begin(
        &self,
        rollout: Rollout,
        devices: Vec<Device>,
        once: Option<Once>,
        author: &Author,
    ) -> Result<RolloutBegun, StorageError>;

    /// The rollout `id`, if it lies in `scope`. Of one that goes on the tally is not told.
    async fn find(
        &self,
        scope: &TenantScope,
        id: RolloutId,
    ) -> Result<Option<Rollout>, StorageError>;

    /// The rollouts in `scope` that pass `filter`, the newest first, likewise.
    async fn list(
        &self,
        scope: &TenantScope,
        filter: &RolloutFilter,
        page: &PageRequest,
    ) -> Result<Page<Rollout>, StorageError>;

    /// The rollouts that go on, and the revision of each.
    async fn active(&self) -> Result<BTreeMap<RolloutId, u32>, StorageError>;

    /// All machines of a rollout, in the order of their ids.
    async fn devices(&self, id: RolloutId) -> Result<Vec<Device>, StorageError>;

    /// A page of them.
    async fn device_page(
        &self,
        id: RolloutId,
        filter: &DeviceFilter,
        page: &PageRequest,
    ) -> Result<Page<Device>, StorageError>;

    /// One machine of a rollout.
    async fn device(&self, id: RolloutId, agent: AgentId) -> Result<Option<Device>, StorageError>;

    /// How far the machines of these rollouts are, counted.
    async fn tallies(
        &self,
        ids: &[RolloutId],
    ) -> Result<BTreeMap<RolloutId, RolloutTally>, StorageError>;

    /// Makes a change by [`RolloutChange::apply`] and enters it in the audit log; with `expected`
    /// only if that is the rollout's revision. Answers with the rollout after it and whether it
    /// changed, `None` when there is no such rollout.
    async fn change(
        &self,
        id: RolloutId,
        expected: Option<u32>,
        change: RolloutChange,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<(Rollout, bool)>, StorageError>;

    /// Has machines of a rollout that ended go on, and the rollout with them, until `expires_at`:
    /// both in one write by [`Rollout::retry`], if the rollout still has the revision `expected`.
    /// Entered in the audit log; says whether it was so.
    async fn retry(
        &self,
        id: RolloutId,
        expected: u32,
        advances: Vec<Advance>,
        expires_at: Timestamp,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Has machines of a rollout go on, each with its command and what else is known of it, or not
    /// at all. Commands are entered in the audit log as given by `author`.
    async fn advance(
        &self,
        id: RolloutId,
        advances: Vec<Advance>,
        author: &Author,
    ) -> Result<Vec<Advanced>, StorageError>;
}
