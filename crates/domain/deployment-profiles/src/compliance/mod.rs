//! Machines compared with profiles, again and again, without changing anything.
//!
//! A [`ComplianceCheck`] begins a rollout that only looks, whenever it is due. What each machine's
//! look came to is its [`Standing`], written together with the machine's end.

mod ports;
mod usecase;

use chrono::TimeDelta;
use muster_agents::Target;
use muster_commands::schedules::{CronExpression, Zone};
use muster_kernel::{
    AgentId, Audited, ComplianceCheckId, CustomerId, Place, ProfileId, RolloutId, Timestamp,
};
use serde_json::{Value, json};

use crate::rollouts::{Device, DeviceStatus, Rollout, Submission, TaskOutcome};

pub use ports::{ComplianceRepository, StandingCounts, StandingFilter};
pub use usecase::{CheckChange, CheckWish, Compliance, ComplianceError, CompliancePorts};

/// How a machine stands to a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StandingStatus {
    /// All that can be looked at is as it is to be.
    Compliant,
    /// Something is not.
    Drifted,
    /// It could not be told.
    Unknown,
}

impl StandingStatus {
    /// Every status.
    pub const ALL: &[Self] = &[Self::Compliant, Self::Drifted, Self::Unknown];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compliant => "compliant",
            Self::Drifted => "drifted",
            Self::Unknown => "unknown",
        }
    }

    /// Reads what [`StandingStatus::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text)
    }
}

/// How a machine stands to a profile, as it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which profile.
    pub profile_id: ProfileId,
    /// Which machine.
    pub agent_id: AgentId,
    /// Whose.
    pub customer_id: CustomerId,
    /// How.
    pub status: StandingStatus,
    /// The names of the tasks that are not as they are to be.
    pub drifted: Vec<String>,
    /// The rollout that looked.
    pub rollout_id: RolloutId,
    /// When.
    pub checked_at: Timestamp,
}

impl Standing {
    /// What a machine's look came to; `None` while it goes on, and where nothing was looked at.
    pub(crate) fn of(rollout: &Rollout, device: &Device, now: Timestamp) -> Option<Self> {
        if !rollout.dry_run || !device.status().is_end() {
            return None;
        }
        let would_change =
            |result: &&crate::rollouts::TaskResult| result.outcome == TaskOutcome::WouldChange;
        let name = |task: usize| rollout.tasks.get(task).map(|task| task.name.clone());
        let drifted: Vec<_> = device
            .results
            .iter()
            .filter(would_change)
            .filter_map(|result| name(result.task))
            .collect();
        let status = match device.status() {
            DeviceStatus::Cancelled => return None,
            _ if !drifted.is_empty() => StandingStatus::Drifted,
            DeviceStatus::Done if !device.has_errors() => StandingStatus::Compliant,
            _ => StandingStatus::Unknown,
        };
        Some(Self {
            profile_id: rollout.profile_id,
            agent_id: device.agent_id,
            customer_id: device.customer_id,
            status,
            drifted,
            rollout_id: rollout.id,
            checked_at: now,
        })
    }
}

/// Machines that are compared with a profile again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct ComplianceCheck {
    /// Its id.
    pub id: ComplianceCheckId,
    /// Whose it is; `None` when it is of whoever works for all.
    pub customer_id: Option<CustomerId>,
    /// What people call it.
    pub name: String,
    /// The profile.
    pub profile_id: ProfileId,
    /// The machines.
    pub target: Target,
    /// When.
    pub cron: CronExpression,
    /// By whose clocks.
    pub zone: Zone,
    /// Whether it comes due at all.
    pub enabled: bool,
    /// Who made it, or changed it last: it is done on their behalf.
    pub made_by: Submission,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it is due; never while it is off.
    pub next_at: Option<Timestamp>,
    /// What it began last.
    pub last_rollout_id: Option<RolloutId>,
    /// Why it could not begin anything when it was due last.
    pub last_error: Option<String>,
}

impl ComplianceCheck {
    /// The same, due after `now`.
    pub(crate) fn planned(mut self, now: Timestamp) -> Self {
        self.next_at = self.cron.next(now, self.zone).filter(|_| self.enabled);
        self
    }

    /// How long a machine that is out of reach may come back: until the next time, at most a day.
    pub(crate) fn patience(&self, now: Timestamp) -> std::time::Duration {
        let day = TimeDelta::days(1);
        let left = self.cron.next(now, self.zone).map_or(day, |next| (next - now).min(day));
        left.to_std().unwrap_or_default().max(std::time::Duration::from_mins(1))
    }
}

impl Audited for ComplianceCheck {
    fn place(&self) -> Place {
        Place { kind: "compliance_check", id: self.id.as_uuid(), customer_id: self.customer_id }
    }

    fn facts(&self) -> Value {
        json!({
            "name": self.name, "profile_id": self.profile_id, "target": self.target,
            "cron": self.cron.as_str(), "time_zone": self.zone.name(), "enabled": self.enabled,
        })
    }
}
