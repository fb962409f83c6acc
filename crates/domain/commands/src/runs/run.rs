//! One order to many machines, and how far it is.

use muster_kernel::{Audited, CustomerId, Place, RunId, ScheduleId, Timestamp};

use super::wish::{Strategy, Template};
use crate::{Requester, SafetyLevel, Status};

/// How many characters of what runs are shown in lists and in the audit log.
const SUMMARY: usize = 200;

/// Why a run let no other machine begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// Somebody cancelled it.
    Cancelled,
    /// One of the first machines did not complete.
    CanaryFailed,
    /// More machines failed than may.
    TooManyFailures,
}

impl StopReason {
    /// Every reason.
    pub const ALL: &[Self] = &[Self::Cancelled, Self::CanaryFailed, Self::TooManyFailures];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "CANCELLED",
            Self::CanaryFailed => "CANARY_FAILED",
            Self::TooManyFailures => "TOO_MANY_FAILURES",
        }
    }

    /// Reads what [`StopReason::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunStatus {
    /// Machines work, or will.
    Running,
    /// Somebody wants no other machine to begin for now.
    Paused,
    /// All machines completed.
    Completed,
    /// All machines have ended, and not all of them completed.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl RunStatus {
    /// Every status.
    pub const ALL: &[Self] =
        &[Self::Running, Self::Paused, Self::Completed, Self::Failed, Self::Cancelled];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads what [`RunStatus::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text)
    }

    /// Whether nothing more will happen.
    pub const fn is_end(self) -> bool {
        !matches!(self, Self::Running | Self::Paused)
    }
}

/// How many of a run's commands are how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of Status")]
pub struct Tally {
    /// Held back by the run.
    pub held: u32,
    /// Let go, and not begun as far as is known.
    pub pending: u32,
    pub running: u32,
    pub completed: u32,
    pub failed: u32,
    pub cancelled: u32,
    pub expired: u32,
}

impl Tally {
    /// How many of these commands there are.
    pub const fn total(&self) -> u32 {
        self.held
            + self.pending
            + self.running
            + self.completed
            + self.failed
            + self.cancelled
            + self.expired
    }

    /// How many have not ended.
    pub const fn open(&self) -> u32 {
        self.held + self.in_flight()
    }

    /// How many were let go and have not ended.
    pub const fn in_flight(&self) -> u32 {
        self.pending + self.running
    }

    /// How many ended without completing.
    pub const fn unsuccessful(&self) -> u32 {
        self.failed + self.cancelled + self.expired
    }

    /// Counts `number` more commands that are this far.
    pub const fn add(&mut self, status: Status, held: bool, number: u32) {
        let count = self.of_mut(status, held);
        *count = count.saturating_add(number);
    }

    /// The count that a command counts in.
    pub(crate) const fn of_mut(&mut self, status: Status, held: bool) -> &mut u32 {
        match status {
            Status::Pending if held => &mut self.held,
            Status::Pending => &mut self.pending,
            Status::Running => &mut self.running,
            Status::Completed => &mut self.completed,
            Status::Failed => &mut self.failed,
            Status::Cancelled => &mut self.cancelled,
            Status::Expired => &mut self.expired,
        }
    }
}

/// One order to many machines.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// What was asked for. Its secrets are sealed for [`Run::secrets_place`].
    pub template: Template,
    /// What runs, in a line.
    pub summary: String,
    /// Who asked for it.
    pub requested_by: Requester,
    /// How dangerous it was thought to be.
    pub safety_level: SafetyLevel,
    /// The run whose failed machines it tries again.
    pub retry_of: Option<RunId>,
    /// The schedule that it was made by.
    pub schedule_id: Option<ScheduleId>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Its machines may not begin later than this.
    pub expires_at: Timestamp,
    /// How far it is.
    pub status: RunStatus,
    /// Why no other machine begins.
    pub stop: Option<StopReason>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How many machines are how far; of a run that goes on, as it was when it began.
    pub tally: Tally,
    /// Whose machines it runs on: the one customer, if it is only one.
    pub customer_id: Option<CustomerId>,
}

impl Run {
    /// Where the secrets of the run `id` are sealed for.
    pub fn secrets_place(id: RunId) -> String {
        format!("runs/{id}/secrets")
    }

    /// How carefully it goes.
    pub const fn strategy(&self) -> &Strategy {
        &self.template.strategy
    }
}

/// `text` in a line of bounded length.
pub(crate) fn summary(text: &str) -> String {
    let mut words = text.split_whitespace();
    let mut line = String::new();
    while let Some(word) = words.next().filter(|_| line.len() < SUMMARY) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(SUMMARY));
    }
    line.chars().take(SUMMARY).collect()
}

impl Audited for Run {
    fn place(&self) -> Place {
        Place { kind: "run", id: self.id.as_uuid(), customer_id: self.customer_id }
    }

    fn facts(&self) -> serde_json::Value {
        let Template { target, work, strategy, .. } = &self.template;
        serde_json::json!({
            "target": target,
            "work": work.facts(),
            "strategy": strategy,
            "total": self.tally.total(),
            "safety_level": self.safety_level.as_str(),
            "retry_of": self.retry_of,
            "schedule_id": self.schedule_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_line_of_bounded_length() {
        assert_eq!(summary("  df -h\n\techo  done "), "df -h echo done");
        assert_eq!(summary(&"é".repeat(5000)).chars().count(), SUMMARY);
        assert_eq!(summary(""), "");
    }
}
