//! What schedules need from outside.

use std::collections::BTreeSet;

use async_trait::async_trait;
use muster_kernel::{
    Author, CustomerId, Page, PageRequest, Permit, RunId, ScheduleId, StorageError, TenantScope,
    Timestamp, act,
};

use crate::runs::{RunsError, Template};

use super::{Firing, Lease, Maker, Schedule, ScheduleChange, Settlement, Zone};

/// Which schedules a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScheduleFilter {
    /// Only this customer's.
    pub customer_id: Option<CustomerId>,
    /// Only those that run, or only those that do not.
    pub enabled: Option<bool>,
    /// Only those whose name contains this, upper and lower case alike.
    pub q: Option<String>,
}

/// The schedules, as people see them. Those for all customers lie in no scope but that of all.
/// Every write enters in the audit log what it did, and who, in the same transaction.
#[async_trait]
pub trait ScheduleRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new schedule, if its customer is there; says whether it was.
    async fn create(&self, schedule: Schedule, author: &Author) -> Result<bool, StorageError>;

    /// The schedule `id`, if it lies in `scope`.
    async fn find(
        &self,
        scope: &TenantScope,
        id: ScheduleId,
    ) -> Result<Option<Schedule>, StorageError>;

    /// The schedules in `scope` that pass `filter`, in the order of their creation.
    async fn list(
        &self,
        scope: &TenantScope,
        filter: &ScheduleFilter,
        page: &PageRequest,
    ) -> Result<Page<Schedule>, StorageError>;

    /// Changes the schedule `id` by [`Schedule::changed`] and answers with what it then is; `None`
    /// if it is not in `scope`.
    async fn update(
        &self,
        scope: &TenantScope,
        id: ScheduleId,
        change: ScheduleChange,
        maker: Maker,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<Schedule>, StorageError>;

    /// Keeps by [`Schedule::asked`] that somebody wants the schedule `id` to run now; says whether
    /// it is in `scope`.
    async fn ask(
        &self,
        scope: &TenantScope,
        id: ScheduleId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Removes the schedule `id` and its history; says whether it was in `scope`.
    async fn delete(
        &self,
        scope: &TenantScope,
        id: ScheduleId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// What came of the runs of the schedule `id`, the newest first. The caller has looked it up
    /// within its scope.
    async fn history(
        &self,
        id: ScheduleId,
        page: &PageRequest,
    ) -> Result<Page<Firing>, StorageError>;
}

/// The schedules, as time sees them.
#[async_trait]
pub trait ScheduleCourses: Send + Sync + std::fmt::Debug {
    /// The schedules that wake until `until`, the first ones first, at most `limit`, without those
    /// that another node is at. One whose row makes no sense keeps no other one from its time.
    async fn waking(
        &self,
        until: Timestamp,
        now: Timestamp,
        limit: u64,
    ) -> Result<Vec<Schedule>, StorageError>;

    /// Keeps by [`Schedule::leased`] that a node is starting a run; says whether it may. Of several
    /// nodes that ask at the same time, one may.
    async fn lease(
        &self,
        id: ScheduleId,
        lease: Lease,
        seen: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Writes by [`Schedule::settled`] what was done about a schedule, with its history, in one
    /// transaction. For one that is gone there is nothing to be written.
    async fn settle(&self, id: ScheduleId, settlement: Settlement) -> Result<(), StorageError>;

    /// Lets go of at most `limit` entries of histories from before `before`; answers with how many.
    async fn forget(&self, before: Timestamp, limit: u64) -> Result<u64, StorageError>;
}

/// Why a run could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// It may not, or can't: its maker is gone or may no longer do it, its script was removed, no
    /// machine is meant. The next time is another matter.
    #[error("{0}")]
    Refused(String),
    /// The storage failed; the same is tried again.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Starts the runs of schedules.
#[async_trait]
pub trait RunLauncher: Send + Sync + std::fmt::Debug {
    /// Starts a run of the schedule's template on behalf of its maker, as far as they may, in the
    /// scope of its customer; with `only` on machines in these zones. It answers when the run is
    /// durable.
    ///
    /// An implementation MUST start one run for the same schedule and `due`, however often it is
    /// asked: a process may die between starting a run and noting it, and another one asks again.
    /// Schedule and `due` are therefore the idempotency key of the run (see [`Once`](crate::Once)),
    /// remembered with it in the same transaction, and nothing else is: the template or the zones
    /// may be others by then, and the answer still is the run that was started first.
    async fn launch(
        &self,
        schedule: &Schedule,
        due: Timestamp,
        only: Option<&BTreeSet<Zone>>,
    ) -> Result<RunId, LaunchError>;

    /// The run that was started for the schedule and `due`, if one was.
    async fn launched(
        &self,
        schedule: ScheduleId,
        due: Timestamp,
    ) -> Result<Option<RunId>, StorageError>;

    /// Whether a run has ended. One that is gone has.
    async fn has_ended(&self, run: RunId) -> Result<bool, StorageError>;
}

/// Makes templates fit to be kept.
#[async_trait]
pub trait TemplateKeeper: Send + Sync + std::fmt::Debug {
    /// Checks what whoever begins a run is asked for, as long as they are there to ask: that what
    /// runs is there and takes its parameters, that they know when it is dangerous (`confirm`), and
    /// sit there when it is for very many machines. Seals the secret parameters for `place`.
    async fn keep(
        &self,
        permit: &Permit<act::ManageSchedules>,
        customer: Option<CustomerId>,
        template: &mut Template,
        place: &str,
        confirm: bool,
    ) -> Result<(), RunsError>;
}

/// Knows where machines are.
#[async_trait]
pub trait AgentZones: Send + Sync + std::fmt::Debug {
    /// The zones of the machines that the schedule means; a machine whose zone is not known counts
    /// as one in UTC, here and where [`RunLauncher::launch`] narrows a run to zones.
    async fn zones(&self, schedule: &Schedule) -> Result<BTreeSet<Zone>, StorageError>;
}
