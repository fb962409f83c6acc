//! A profile on its way to machines, and how far it is.

use std::time::Duration;

use muster_agents::{OsType, Target};
use muster_commands::runs::{StopReason, Strategy, Tally};
use muster_commands::{Requester, SafetyLevel};
use muster_kernel::{
    Actor, Audited, Author, ComplianceCheckId, CustomerId, Place, ProfileId, RolloutId, Sealed,
    Timestamp,
};
use serde_json::{Value, json};

use super::device::{Course, DeviceStatus};
use super::plan::FrozenTask;

/// How far a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RolloutStatus {
    /// Machines work, or will.
    Running,
    /// All machines are done, and nothing failed.
    Completed,
    /// All machines have ended; some are done, and something failed.
    CompletedWithErrors,
    /// No machine is done, or the strategy stopped it.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl RolloutStatus {
    /// Every status.
    pub const ALL: &[Self] =
        &[Self::Running, Self::Completed, Self::CompletedWithErrors, Self::Failed, Self::Cancelled];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::CompletedWithErrors => "completed_with_errors",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads what [`RolloutStatus::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text)
    }

    /// Whether nothing more will happen, unless somebody asks for it.
    pub const fn is_end(self) -> bool {
        !matches!(self, Self::Running)
    }
}

/// How many machines of a rollout are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of DeviceStatus")]
pub struct RolloutTally {
    pub queued: u32,
    pub running: u32,
    pub waiting_for_reboot: u32,
    pub done: u32,
    /// How many of these went on past a task that failed.
    pub done_with_errors: u32,
    pub failed: u32,
    pub skipped: u32,
    pub cancelled: u32,
}

impl RolloutTally {
    /// Counts `number` more machines that are this far.
    pub const fn add(&mut self, status: DeviceStatus, with_errors: bool, number: u32) {
        let count = self.of_mut(status);
        *count = count.saturating_add(number);
        if with_errors && matches!(status, DeviceStatus::Done) {
            self.done_with_errors = self.done_with_errors.saturating_add(number);
        }
    }

    /// Counts one machine less.
    pub(super) const fn remove(&mut self, status: DeviceStatus, with_errors: bool) {
        let count = self.of_mut(status);
        *count = count.saturating_sub(1);
        if with_errors && matches!(status, DeviceStatus::Done) {
            self.done_with_errors = self.done_with_errors.saturating_sub(1);
        }
    }

    const fn of_mut(&mut self, status: DeviceStatus) -> &mut u32 {
        match status {
            DeviceStatus::Queued => &mut self.queued,
            DeviceStatus::Running => &mut self.running,
            DeviceStatus::WaitingForReboot => &mut self.waiting_for_reboot,
            DeviceStatus::Done => &mut self.done,
            DeviceStatus::Failed => &mut self.failed,
            DeviceStatus::Skipped => &mut self.skipped,
            DeviceStatus::Cancelled => &mut self.cancelled,
        }
    }

    /// How many machines there are.
    pub const fn total(&self) -> u32 {
        self.queued
            + self.running
            + self.waiting_for_reboot
            + self.done
            + self.failed
            + self.skipped
            + self.cancelled
    }

    /// The same as a run would count it: what decides who begins next.
    pub(super) fn as_of_a_run(&self) -> Tally {
        Tally {
            held: self.queued,
            running: self.running + self.waiting_for_reboot,
            completed: self.done,
            failed: self.failed,
            cancelled: self.cancelled + self.skipped,
            ..Tally::default()
        }
    }

    /// What a rollout comes to when all machines have ended.
    pub(super) const fn verdict(&self, stop: Option<StopReason>) -> RolloutStatus {
        match stop {
            Some(StopReason::Cancelled) => RolloutStatus::Cancelled,
            Some(StopReason::CanaryFailed | StopReason::TooManyFailures) => RolloutStatus::Failed,
            None if self.done == 0 => RolloutStatus::Failed,
            None if self.done < self.total() || self.done_with_errors > 0 => {
                RolloutStatus::CompletedWithErrors
            }
            None => RolloutStatus::Completed,
        }
    }
}

/// Who asked for a rollout, and how the audit log names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Who.
    pub requester: Requester,
    /// What people call them.
    pub name: String,
}

impl Submission {
    /// Of an actor that may ask for things.
    pub fn of(actor: &Actor) -> Option<Self> {
        let requester = Requester::of(actor)?;
        Some(Self { requester, name: actor.name().unwrap_or_default().to_owned() })
    }

    /// Who is entered for what the rollout does.
    pub fn author(&self) -> Author {
        let name = self.name.as_str().into();
        let actor = match self.requester {
            Requester::User(id) => Actor::User { id, name },
            Requester::ApiKey(id) => Actor::ApiKey { id, name },
        };
        Author::system().as_actor(actor)
    }
}

/// A profile on its way to machines.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// Its id.
    pub id: RolloutId,
    /// The profile that was applied.
    pub profile_id: ProfileId,
    /// Which version of it.
    pub profile_version: u32,
    /// What it was called.
    pub name: String,
    /// What machines run for its tasks.
    pub tasks: Vec<FrozenTask>,
    /// The values of secret parameters, by `number/name`, sealed for [`Rollout::secrets_place`].
    pub secrets: Option<Sealed>,
    /// Who was meant.
    pub target: Target,
    /// How carefully.
    pub strategy: Strategy,
    /// Whether it only looks.
    pub dry_run: bool,
    /// The check that it was begun by.
    pub compliance_check_id: Option<ComplianceCheckId>,
    /// Who asked for it.
    pub requested_by: Submission,
    /// How dangerous it was thought to be.
    pub safety_level: SafetyLevel,
    /// Whose machines they are, if all are one customer's.
    pub customer_id: Option<CustomerId>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Its machines may not begin later than this.
    pub expires_at: Timestamp,
    /// How long a machine may be out of reach between two tasks.
    pub expires_in: Duration,
    /// How far it is.
    pub status: RolloutStatus,
    /// Why no other machine begins.
    pub stop: Option<StopReason>,
    /// When all machines had ended.
    pub finished_at: Option<Timestamp>,
    /// How far its machines are.
    pub tally: RolloutTally,
    /// Counts its changes.
    pub revision: u32,
}

impl Rollout {
    /// Where the secrets of the rollout `id` are sealed for.
    pub fn secrets_place(id: RolloutId) -> String {
        format!("rollouts/{id}/secrets")
    }

    /// Has it go on, after machines of it are to go on.
    pub fn retry(&mut self, expires_at: Timestamp) {
        (self.status, self.stop, self.finished_at) = (RolloutStatus::Running, None, None);
        self.expires_at = expires_at;
        self.revision = self.revision.saturating_add(1);
    }

    /// What decides how its machines go on.
    pub(super) fn course(&self) -> Course<'_> {
        Course { tasks: &self.tasks, dry_run: self.dry_run }
    }
}

impl Audited for Rollout {
    fn place(&self) -> Place {
        Place { kind: "rollout", id: self.id.as_uuid(), customer_id: self.customer_id }
    }

    fn facts(&self) -> Value {
        let tasks: Vec<_> = self.tasks.iter().map(|task| &task.name).collect();
        json!({
            "profile_id": self.profile_id,
            "profile_version": self.profile_version,
            "name": self.name,
            "tasks": tasks,
            "dry_run": self.dry_run,
            "total": self.tally.total(),
            "os_type": self.target.os_type.map(OsType::as_str),
            "safety_level": self.safety_level.as_str(),
            "compliance_check_id": self.compliance_check_id,
        })
    }
}
