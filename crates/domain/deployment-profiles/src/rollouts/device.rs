//! One machine on its way through the tasks of a profile: the state machine.
//!
//! It knows no time and no database. [`Device::take`] says what follows from what happened, and
//! which command is to be given then; both are written together, so a task that was recorded is
//! never begun again, and one that was begun is never forgotten.

use muster_agents::OsType;
use muster_kernel::{AgentId, CommandId, CustomerId, Timestamp};
use serde::{Deserialize, Serialize};

use super::plan::FrozenTask;
use super::step::Step;
use super::verdict::{DeviceFailure, Verdict};

/// Which command of a task is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Whether there is anything to do.
    Check,
    /// It is done.
    Work,
    /// Whether it took effect.
    Verify,
}

/// Why a machine was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SkipReason {
    /// The rollout was stopped before it began.
    Stopped,
    /// It could not be reached in time.
    Expired,
    /// Its agent was removed.
    AgentRemoved,
}

impl SkipReason {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Expired => "EXPIRED",
            Self::AgentRemoved => "AGENT_REMOVED",
        }
    }
}

/// How far a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// The rollout holds it back.
    Queued,
    /// A command of its task is under way.
    Running {
        /// Which part of the task.
        part: Part,
        /// Which command.
        command_id: CommandId,
        /// Since when the task goes on.
        since: Timestamp,
        /// How often the part was begun before, and its agent died.
        died: u8,
        /// Whether somebody wants it to end.
        cancelled: bool,
    },
    /// It was told to boot.
    Rebooting {
        /// The command that told it.
        command_id: CommandId,
        /// When that began: a boot after it counts.
        told_at: Timestamp,
        /// Since when the task goes on.
        since: Timestamp,
        /// When it is too late.
        until: Timestamp,
    },
    /// A condition was not true; it is tried again.
    Pausing {
        /// The command that tried it last.
        command_id: CommandId,
        /// When it is tried next.
        again_at: Timestamp,
        /// Since when the task goes on.
        since: Timestamp,
    },
    /// All tasks are done.
    Done,
    /// A task failed, and the others are not done.
    Failed,
    /// It was left out.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
    /// Somebody cancelled the rollout.
    Cancelled,
}

/// The stage's name in the API and the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of Stage")]
pub enum DeviceStatus {
    Queued,
    Running,
    WaitingForReboot,
    Done,
    Failed,
    Skipped,
    Cancelled,
}

impl DeviceStatus {
    /// Every status.
    pub const ALL: &[Self] = &[
        Self::Queued,
        Self::Running,
        Self::WaitingForReboot,
        Self::Done,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled,
    ];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::WaitingForReboot => "waiting_for_reboot",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads what [`DeviceStatus::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text)
    }

    /// Whether nothing more happens, unless somebody asks for it.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Skipped | Self::Cancelled)
    }
}

/// What came of a task on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskOutcome {
    /// It was done.
    Changed,
    /// There was nothing to do.
    Unchanged,
    /// It was not done.
    Failed,
    /// It was only looked at, and there is something to do.
    WouldChange,
    /// It can't be looked at without doing it.
    WouldRun,
}

impl TaskOutcome {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::WouldChange => "would_change",
            Self::WouldRun => "would_run",
        }
    }
}

/// What is recorded of a task on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResult {
    /// Which task, counted from 0.
    pub task: usize,
    /// What came of it.
    pub outcome: TaskOutcome,
    /// At which attempt of the machine.
    pub attempt: u32,
    /// The command that decided it.
    pub command_id: Option<CommandId>,
    /// Why it was not done.
    pub failure: Option<DeviceFailure>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was recorded.
    pub finished_at: Timestamp,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// The rollout lets it begin.
    Released,
    /// A command has ended.
    Ended {
        /// Which.
        command_id: CommandId,
        /// What came of it.
        verdict: Verdict,
        /// When its process began, if it did.
        started_at: Option<Timestamp>,
    },
    /// It booted and is connected again.
    Booted,
    /// Time went by.
    Tick,
    /// Somebody cancels the rollout.
    Cancelled,
    /// It is left out, unless it has begun.
    LeftOut(SkipReason),
    /// Its agent was removed.
    AgentRemoved,
    /// It is to go on where it ended.
    Retried,
}

/// One machine on its way through the tasks of a profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Which machine.
    pub agent_id: AgentId,
    /// Whose.
    pub customer_id: CustomerId,
    /// Its family of operating systems.
    pub os_type: OsType,
    /// How far it is.
    pub stage: Stage,
    /// The task it is at, counted from 0; how many there are when all are recorded.
    pub position: usize,
    /// How often it was let begin.
    pub attempt: u32,
    /// What is recorded, in the order of the tasks.
    pub results: Vec<TaskResult>,
    /// Counts its changes.
    pub revision: u32,
    /// When it was first let begin.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// A command that is to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Its id.
    pub command_id: CommandId,
    /// For which task, counted from 0.
    pub task: usize,
    /// Which part of it.
    pub part: Part,
}

/// What follows from what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Nothing: the machine is as it was.
    Nothing,
    /// The machine is another than before.
    Change,
    /// The same, and this is to be given, both or neither.
    Order(Order),
}

/// What decides what follows: the tasks, and what may be done.
#[derive(Debug, Clone, Copy)]
pub struct Course<'a> {
    /// The tasks in their order.
    pub tasks: &'a [FrozenTask],
    /// Whether it is only looked at.
    pub dry_run: bool,
}

impl Device {
    /// A machine that waits to begin.
    pub const fn queued(agent_id: AgentId, customer_id: CustomerId, os_type: OsType) -> Self {
        Self {
            agent_id,
            customer_id,
            os_type,
            stage: Stage::Queued,
            position: 0,
            attempt: 0,
            results: Vec::new(),
            revision: 0,
            started_at: None,
            finished_at: None,
        }
    }

    /// How far it is.
    pub const fn status(&self) -> DeviceStatus {
        match self.stage {
            Stage::Queued => DeviceStatus::Queued,
            Stage::Running { .. } | Stage::Pausing { .. } => DeviceStatus::Running,
            Stage::Rebooting { .. } => DeviceStatus::WaitingForReboot,
            Stage::Done => DeviceStatus::Done,
            Stage::Failed => DeviceStatus::Failed,
            Stage::Skipped { .. } => DeviceStatus::Skipped,
            Stage::Cancelled => DeviceStatus::Cancelled,
        }
    }

    /// How many tasks ended so.
    pub fn count(&self, outcome: TaskOutcome) -> usize {
        self.results.iter().filter(|result| result.outcome == outcome).count()
    }

    /// Takes in what happened at `now`; a command that follows is called `fresh`.
    pub fn take(
        &mut self,
        course: Course<'_>,
        happening: &Happening,
        now: Timestamp,
        fresh: CommandId,
    ) -> Follows {
        let follows = Step { device: self, course, now, fresh }.take(happening);
        if follows == Follows::Nothing {
            return follows;
        }
        self.revision = self.revision.saturating_add(1);
        if !self.status().is_end() {
            self.finished_at = None;
        } else if self.finished_at.is_none() {
            self.finished_at = Some(now);
        }
        follows
    }
}

#[cfg(test)]
mod tests;
