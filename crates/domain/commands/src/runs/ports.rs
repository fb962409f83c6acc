//! What runs need from outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use muster_kernel::{
    AgentId, Author, CommandId, CustomerId, Page, PageRequest, RunId, ScheduleId, StorageError,
    TenantScope, Timestamp,
};
use uuid::Uuid;

use super::run::{Run, RunStatus, StopReason, Tally};
use crate::{Command, Once, Status};

/// What came of handing in a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// It is durable, with all its commands.
    New,
    /// The same request came before, and made this run.
    Known(RunId),
    /// The key came before with another request.
    Conflict,
}

/// One of a run's commands, as far as the run cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Which command.
    pub command_id: CommandId,
    /// On which machine.
    pub agent_id: AgentId,
    /// Whose machine.
    pub customer_id: CustomerId,
    /// How far it is.
    pub status: Status,
    /// Whether the run holds it back.
    pub held: bool,
}

/// A change to how a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunChange {
    /// No other machine begins, and why.
    Stopped(StopReason),
    /// No other machine begins for now.
    Paused,
    /// Machines begin again.
    Resumed,
    /// It is over.
    Ended(RunStatus, Tally, Timestamp),
}

impl RunChange {
    /// What it is called in the audit log, if somebody decided it.
    pub const fn deed(self) -> Option<&'static str> {
        match self {
            Self::Stopped(StopReason::Cancelled) => Some("run.cancel"),
            Self::Stopped(StopReason::CanaryFailed | StopReason::TooManyFailures) => {
                Some("run.stop")
            }
            Self::Paused => Some("run.pause"),
            Self::Resumed => Some("run.resume"),
            Self::Ended(..) => None,
        }
    }

    /// Makes the change, where it can be made; says whether it was.
    pub fn apply(self, run: &mut Run) -> bool {
        if run.status.is_end() {
            return false;
        }
        match self {
            Self::Stopped(reason) => {
                let first = run.stop.is_none();
                run.stop.get_or_insert(reason);
                run.status = RunStatus::Running;
                first
            }
            Self::Paused => {
                run.stop.is_none()
                    && std::mem::replace(&mut run.status, RunStatus::Paused) != RunStatus::Paused
            }
            Self::Resumed => {
                std::mem::replace(&mut run.status, RunStatus::Running) == RunStatus::Paused
            }
            Self::Ended(status, tally, at) => {
                run.status = status;
                run.tally = tally;
                run.finished_at = Some(at);
                true
            }
        }
    }
}

/// Which runs a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only those that are this far.
    pub status: Option<RunStatus>,
    /// Only those that run on machines of this customer.
    pub customer_id: Option<CustomerId>,
    /// Only those that this user or key asked for.
    pub requested_by: Option<Uuid>,
    /// Only those that this schedule made.
    pub schedule_id: Option<ScheduleId>,
    /// Only those that try this run's failed machines again.
    pub retry_of: Option<RunId>,
    /// Only those whose summary contains this, upper and lower case alike.
    pub q: Option<String>,
}

/// Keeps runs. A run lies in a scope when all customers on whose machines it runs do.
#[async_trait]
pub trait RunRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new run and all its commands or nothing, and enters both in the audit log.
    async fn begin(
        &self,
        run: Run,
        commands: Vec<Command>,
        once: Option<Once>,
        author: Author,
    ) -> Result<Begun, StorageError>;

    /// The run `id`, if it lies in `scope`.
    async fn find(&self, scope: &TenantScope, id: RunId) -> Result<Option<Run>, StorageError>;

    /// The run that the request with this idempotency key made, as long as it is remembered.
    async fn known(&self, scope: &str, key: &str) -> Result<Option<RunId>, StorageError>;

    /// The runs in `scope` that pass `filter`, the newest first.
    async fn list(
        &self,
        scope: &TenantScope,
        filter: &RunFilter,
        page: &PageRequest,
    ) -> Result<Page<Run>, StorageError>;

    /// All runs that have not ended, the oldest first.
    async fn active(&self) -> Result<Vec<Run>, StorageError>;

    /// The run's commands, in the order of their ids.
    async fn members(&self, id: RunId) -> Result<Vec<Member>, StorageError>;

    /// How far the machines of these runs are, counted.
    async fn tallies(&self, ids: &[RunId]) -> Result<BTreeMap<RunId, Tally>, StorageError>;

    /// Those of these commands that are part of runs, whole.
    async fn commands(&self, ids: &[CommandId]) -> Result<Vec<Command>, StorageError>;

    /// The run's commands that ended with one of these statuses, whole, in their order.
    async fn ended(&self, id: RunId, statuses: &[Status]) -> Result<Vec<Command>, StorageError>;

    /// Makes a change by [`RunChange::apply`] and enters it in the audit log; answers with the run
    /// after it and whether it changed, `None` when there is no such run.
    async fn change(
        &self,
        id: RunId,
        change: RunChange,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<(Arc<Run>, bool)>, StorageError>;
}

/// Of several nodes one drives the runs; this tells it what happens on this one. Words may be lost
/// on the way: it looks into the database now and then.
pub trait RunRelay: Send + Sync + std::fmt::Debug {
    /// Says that a command of a run is another than before.
    fn changed(&self, id: CommandId);

    /// Says that a run was begun, or is to go on otherwise than before.
    fn turned(&self, id: RunId);
}
