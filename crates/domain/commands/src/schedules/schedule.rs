//! What a schedule is, and what becomes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_kernel::{
    Actor, Audited, CustomerId, FiringId, NodeId, Place, RunId, ScheduleId, Timestamp,
};
use serde_json::{Value, json};

use super::{MaintenanceWindows, Timing, Zone};
use crate::Requester;
use crate::command::AUDITED_TEXT;
use crate::runs::{Template, Work};

/// What becomes of runs that should have begun while nobody could start them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissedPolicy {
    /// They are left out.
    #[default]
    Skip,
    /// One run makes up for all of them.
    RunOnce,
}

impl MissedPolicy {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::RunOnce => "run_once",
        }
    }

    /// Reads what [`MissedPolicy::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Skip, Self::RunOnce].into_iter().find(|policy| policy.as_str() == text)
    }
}

/// What becomes of a run that comes due while the last one goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OverlapPolicy {
    /// It is left out.
    #[default]
    Skip,
    /// It begins beside the other.
    Allow,
}

impl OverlapPolicy {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Allow => "allow",
        }
    }

    /// Reads what [`OverlapPolicy::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Skip, Self::Allow].into_iter().find(|policy| policy.as_str() == text)
    }
}

/// Whoever made a schedule, or changed it last. Its runs are on their behalf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// Who.
    pub requester: Requester,
    /// What they are called.
    pub name: String,
}

impl Maker {
    /// The maker that an actor is; machines and Muster itself make no schedules.
    pub fn of(actor: &Actor) -> Option<Self> {
        let requester = Requester::of(actor)?;
        Some(Self { requester, name: actor.name().unwrap_or_default().to_owned() })
    }
}

/// A node's word that it is starting a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Whose.
    pub owner: NodeId,
    /// From this instant on another node may start the run.
    pub until: Timestamp,
    /// When the run came due.
    pub due: Timestamp,
}

/// How far a schedule is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// Everything that came due up to here is decided.
    pub decided_until: Timestamp,
    /// When it has to be looked at next; never when `None`.
    pub wakes_at: Option<Timestamp>,
    /// Since when somebody wants it to run once, whatever its times are.
    pub asked_at: Option<Timestamp>,
    /// Who is starting a run.
    pub lease: Option<Lease>,
    /// The last run of the machines in each zone.
    pub last_runs: BTreeMap<Zone, RunId>,
}

impl Course {
    /// From now on.
    pub fn from(now: Timestamp) -> Self {
        Self {
            decided_until: now,
            wakes_at: Some(now),
            asked_at: None,
            lease: None,
            last_runs: BTreeMap::new(),
        }
    }

    /// When the run came due that a node was starting while the schedule was changed.
    pub fn forsaken(&self) -> Option<Timestamp> {
        let due = self.lease?.due;
        (due <= self.decided_until && self.asked_at != Some(due)).then_some(due)
    }
}

/// Something that is run again and again, or once at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// Whose it is; with `None` it is for the machines of all customers.
    pub customer_id: Option<CustomerId>,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// When it comes due.
    pub timing: Timing,
    /// What it runs, and where.
    pub template: Template,
    /// What becomes of runs that nobody could start.
    pub missed_runs: MissedPolicy,
    /// What becomes of runs that come due while the last one goes on.
    pub overlap: OverlapPolicy,
    /// A run begins at random up to so much later.
    pub jitter: Duration,
    /// When no run may begin.
    pub windows: MaintenanceWindows,
    /// Whether it runs at all.
    pub enabled: bool,
    /// On whose behalf.
    pub made_by: Maker,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// How far it is.
    pub course: Course,
}

/// A change to a schedule; what is `None` stays, and an empty description removes the one there is.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of Schedule")]
pub struct ScheduleChange {
    pub name: Option<String>,
    pub description: Option<String>,
    pub timing: Option<Timing>,
    pub template: Option<Template>,
    pub missed_runs: Option<MissedPolicy>,
    pub overlap: Option<OverlapPolicy>,
    pub jitter: Option<Duration>,
    pub windows: Option<MaintenanceWindows>,
    pub enabled: Option<bool>,
}

/// What was done about a schedule, to be written at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// Up to where everything was decided before.
    pub seen: Timestamp,
    /// Up to where it is now.
    pub decided_until: Timestamp,
    /// When it has to be looked at next.
    pub wakes_at: Option<Timestamp>,
    /// Since when somebody wanted what was done.
    pub asked_at: Option<Timestamp>,
    /// The run of each zone whose machines it is for.
    pub last_runs: BTreeMap<Zone, RunId>,
    /// What goes into the history.
    pub firing: Option<Firing>,
}

impl Schedule {
    /// Where the secret parameters of the schedule `id` are sealed for.
    pub fn secrets_place(id: ScheduleId) -> String {
        format!("schedules/{id}/secrets")
    }

    /// The schedule after a change by `made_by`. What came due before its times changed is decided.
    #[must_use]
    pub fn changed(mut self, change: ScheduleChange, made_by: Maker, now: Timestamp) -> Self {
        let times = (self.timing.clone(), self.windows.clone(), self.jitter, self.enabled);
        self.name = change.name.unwrap_or(self.name);
        if let Some(description) = change.description {
            self.description = Some(description).filter(|text| !text.is_empty());
        }
        self.timing = change.timing.unwrap_or(self.timing);
        self.template = change.template.unwrap_or(self.template);
        self.missed_runs = change.missed_runs.unwrap_or(self.missed_runs);
        self.overlap = change.overlap.unwrap_or(self.overlap);
        self.jitter = change.jitter.unwrap_or(self.jitter);
        self.windows = change.windows.unwrap_or(self.windows);
        self.enabled = change.enabled.unwrap_or(self.enabled);
        self.made_by = made_by;
        self.updated_at = now;
        if times != (self.timing.clone(), self.windows.clone(), self.jitter, self.enabled) {
            self.course.decided_until = now;
            self.course.wakes_at = Some(now);
        }
        self
    }

    /// The schedule when somebody wants it to run once now. Who asks twice before it runs gets one
    /// run.
    #[must_use]
    pub fn asked(mut self, now: Timestamp) -> Self {
        self.course.asked_at = self.course.asked_at.or(Some(now));
        self.course.wakes_at = Some(now);
        self
    }

    /// The schedule when a node is starting a run, having seen it with everything decided up to
    /// `seen`; `None` when another node is at it, or it is not what was seen.
    #[must_use]
    pub fn leased(mut self, lease: Lease, seen: Timestamp, now: Timestamp) -> Option<Self> {
        let course = &mut self.course;
        let taken = course.lease.is_some_and(|lease| lease.until > now);
        if taken || course.decided_until != seen {
            return None;
        }
        course.lease = Some(lease);
        Some(self)
    }

    /// The schedule when something was done about it. Where its times were changed meanwhile, it
    /// goes on from there.
    #[must_use]
    pub fn settled(mut self, settlement: &Settlement) -> Self {
        let course = &mut self.course;
        course.lease = None;
        course.last_runs.extend(settlement.last_runs.iter().map(|(zone, run)| (*zone, *run)));
        if course.decided_until == settlement.seen {
            course.decided_until = settlement.decided_until;
            course.wakes_at = settlement.wakes_at;
        }
        if course.asked_at == settlement.asked_at {
            course.asked_at = None;
        }
        // Somebody asked meanwhile.
        if let Some(asked) = course.asked_at {
            course.wakes_at = Some(asked);
        }
        self
    }
}

impl Audited for Schedule {
    fn place(&self) -> Place {
        Place { kind: "schedule", id: self.id.as_uuid(), customer_id: self.customer_id }
    }

    /// The values of environment variables and parameters are not among the facts: they may be
    /// secrets.
    fn facts(&self) -> Value {
        let (cron, time_zone, at) = match &self.timing {
            Timing::Cron { expression, zone } => {
                (Some(expression.as_str()), Some(zone.as_str()), None)
            }
            Timing::Once { at } => (None, None, Some(at)),
        };
        json!({
            "name": self.name,
            "description": self.description,
            "cron": cron,
            "time_zone": time_zone,
            "at": at,
            "target": self.template.target,
            "work": work_facts(&self.template.work),
            "strategy": self.template.strategy,
            "expires_in": self.template.expires_in.map(|time| time.as_secs_f64()),
            "missed_runs": self.missed_runs.as_str(),
            "overlap": self.overlap.as_str(),
            "jitter": self.jitter.as_secs(),
            "maintenance_windows": self.windows,
            "enabled": self.enabled,
            "made_by": self.made_by.requester.id(),
        })
    }
}

fn work_facts(work: &Work) -> Value {
    match work {
        Work::Command(wording) => json!({
            "command": wording.command.chars().take(AUDITED_TEXT).collect::<String>(),
            "args": wording.args,
            "shell_type": wording.shell_type,
            "working_directory": wording.working_directory,
            "environment": wording.environment.keys().collect::<Vec<_>>(),
            "timeout": wording.timeout,
        }),
        Work::Script { script_id, parameters, timeout } => json!({
            "script_id": script_id,
            "parameters": parameters.keys().collect::<Vec<_>>(),
            "timeout": timeout,
        }),
        Work::SavedCommand { saved_command_id, parameters, timeout } => json!({
            "saved_command_id": saved_command_id,
            "parameters": parameters.keys().collect::<Vec<_>>(),
            "timeout": timeout,
        }),
    }
}

/// What came of a run that came due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FiringOutcome {
    /// This run was started.
    Started(RunId),
    /// Nobody could start it in time; nor those that came due after it until now.
    Missed,
    /// It was left out: the last run went on.
    Overlapped,
    /// It could not be started, for this reason.
    Failed(String),
}

impl FiringOutcome {
    /// The name in the API and the database.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Missed => "missed",
            Self::Overlapped => "overlapped",
            Self::Failed(_) => "failed",
        }
    }
}

/// An entry in the history of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// Its id.
    pub id: FiringId,
    /// Of which schedule.
    pub schedule_id: ScheduleId,
    /// When it came due.
    pub due_at: Timestamp,
    /// When something was done about it.
    pub fired_at: Timestamp,
    /// What.
    pub outcome: FiringOutcome,
}
