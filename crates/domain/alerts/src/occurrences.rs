//! What happens, as whoever watches is told of it.

use std::collections::BTreeSet;

use async_trait::async_trait;
use muster_kernel::{
    AgentId, CommandId, CustomerId, RolloutId, RunId, StorageError, Timestamp, UserId,
};

use crate::{Alert, Rule};

/// A machine, as rules and windows pick it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Which.
    pub id: AgentId,
    /// Whose.
    pub customer_id: CustomerId,
    /// What it is called.
    pub hostname: String,
    /// Its family of operating systems.
    pub os_type: String,
    /// Its tags.
    pub tags: BTreeSet<String>,
}

/// A machine that was not seen for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub machine: Machine,
    /// When it was last seen.
    pub last_seen: Timestamp,
}

/// An open alert about a machine that may be back.
#[derive(Debug, Clone, PartialEq)]
pub struct Returned {
    /// The alert.
    pub alert: Alert,
    /// When the machine was last seen; `None` when it was removed.
    pub last_seen: Option<Timestamp>,
}

/// Something that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// A command.
    Command {
        /// Which.
        id: CommandId,
        /// On which machine.
        agent_id: AgentId,
        /// Why, as a code.
        failure: String,
        /// When.
        at: Timestamp,
    },
    /// A run.
    Run {
        /// Which.
        id: RunId,
        /// Whose; those of several customers are of nobody in particular.
        customer_id: Option<CustomerId>,
        /// What it runs, in a line.
        summary: String,
        /// On how many machines it failed.
        failed: u64,
        /// When.
        at: Timestamp,
    },
    /// A rollout.
    Rollout {
        /// Which.
        id: RolloutId,
        /// Whose; those of several customers are of nobody in particular.
        customer_id: Option<CustomerId>,
        /// What its profile is called.
        name: String,
        /// On how many machines it failed.
        failed: u64,
        /// When.
        at: Timestamp,
    },
}

impl Ended {
    /// When it failed.
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Command { at, .. } | Self::Run { at, .. } | Self::Rollout { at, .. } => *at,
        }
    }
}

/// Something in the audit log that rules watch for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A machine enrolled.
    Enrolled(AgentId),
    /// Somebody became an admin.
    MadeAdmin(UserId, Option<String>),
}

/// What happens, as the database knows it.
#[async_trait]
pub trait Occurrences: Send + Sync + std::fmt::Debug {
    /// The machines that `rule` means and that were last seen before `before`, without those of
    /// which it has an alert for their customer that is open, or was resolved after `cooled_since`.
    async fn missing(
        &self,
        rule: &Rule,
        before: Timestamp,
        cooled_since: Timestamp,
    ) -> Result<Vec<Missing>, StorageError>;

    /// The open offline alerts of machines that were seen after `after`, and those that seem to be
    /// over.
    async fn returned(&self, after: Timestamp) -> Result<Vec<Returned>, StorageError>;

    /// The open alerts of every kind about machines that were removed. It reads every open alert.
    async fn gone(&self) -> Result<Vec<Alert>, StorageError>;

    /// The machines with these ids that are there.
    async fn machines(&self, ids: &BTreeSet<AgentId>) -> Result<Vec<Machine>, StorageError>;

    /// The commands and runs that failed at `after` or later, the oldest first and at most `limit`.
    async fn failed(&self, after: Timestamp, limit: u64) -> Result<Vec<Ended>, StorageError>;

    /// What rules watch for in the audit log, from behind the entry `after` to `until`, each with
    /// the number of its entry.
    async fn deeds(
        &self,
        after: u64,
        until: u64,
    ) -> Result<Vec<(u64, Deed, Timestamp)>, StorageError>;

    /// The number of the last entry of the audit log.
    async fn last_deed(&self) -> Result<u64, StorageError>;

    /// How far the mark of this name is.
    async fn mark(&self, name: &'static str) -> Result<Option<i64>, StorageError>;

    /// Moves a mark.
    async fn set_mark(&self, name: &'static str, to: i64) -> Result<(), StorageError>;
}
