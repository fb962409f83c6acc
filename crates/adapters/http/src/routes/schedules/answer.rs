//! Schedules and their history as they are answered.

use chrono::{DateTime, Utc};
use muster_commands::Requester;
use muster_commands::schedules::{Firing, FiringOutcome, Planned, Schedule, Timing};
use muster_kernel::{CustomerId, RunId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::body::WindowBody;
use crate::routes::commands::RequesterAnswer;
use crate::routes::wish::{StrategyBody, TargetBody, WorkBody};

/// Something that runs again and again, or once at a time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleAnswer {
    id: Uuid,
    /// Whose it is; null when it is for all customers.
    customer_id: Option<Uuid>,
    name: String,
    description: Option<String>,
    cron: Option<String>,
    /// The name of a zone, or `agent` for each agent's own.
    time_zone: Option<&'static str>,
    at: Option<DateTime<Utc>>,
    target: TargetBody,
    #[serde(flatten)]
    work: WorkBody,
    strategy: StrategyBody,
    expires_in: Option<f64>,
    /// `skip` or `run_once`.
    missed_runs: &'static str,
    /// `skip` or `allow`.
    overlap: &'static str,
    jitter: u64,
    maintenance_windows: Vec<WindowBody>,
    enabled: bool,
    made_by: MakerAnswer,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// When the next five runs begin, as far as it can be known; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_runs: Option<Vec<DateTime<Utc>>>,
}

/// Whoever made something or changed it last: it is done on their behalf.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MakerAnswer {
    #[serde(flatten)]
    who: RequesterAnswer,
    name: String,
}

impl MakerAnswer {
    pub(crate) fn of(requester: Requester, name: String) -> Self {
        Self { who: requester.into(), name }
    }
}

impl From<Schedule> for ScheduleAnswer {
    fn from(schedule: Schedule) -> Self {
        let (cron, time_zone, at) = match &schedule.timing {
            Timing::Cron { expression, zone } => {
                (Some(expression.to_string()), Some(zone.as_str()), None)
            }
            Timing::Once { at } => (None, None, Some(*at)),
        };
        let windows = schedule.windows.iter().map(|window| WindowBody {
            days: window.days().iter().copied().map(Into::into).collect(),
            start: window.start(),
            duration: window.duration().as_secs_f64(),
            time_zone: window.zone().name().to_owned(),
        });
        Self {
            id: schedule.id.as_uuid(),
            customer_id: schedule.customer_id.map(CustomerId::as_uuid),
            cron,
            time_zone,
            at,
            maintenance_windows: windows.collect(),
            name: schedule.name,
            description: schedule.description,
            target: schedule.template.target.into(),
            work: schedule.template.work.into(),
            strategy: schedule.template.strategy.into(),
            expires_in: schedule.template.expires_in.map(|time| time.as_secs_f64()),
            missed_runs: schedule.missed_runs.as_str(),
            overlap: schedule.overlap.as_str(),
            jitter: schedule.jitter.as_secs(),
            enabled: schedule.enabled,
            made_by: MakerAnswer::of(schedule.made_by.requester, schedule.made_by.name),
            created_at: schedule.created_at,
            updated_at: schedule.updated_at,
            next_runs: None,
        }
    }
}

impl From<Planned> for ScheduleAnswer {
    fn from(planned: Planned) -> Self {
        Self { next_runs: Some(planned.next_runs), ..planned.schedule.into() }
    }
}

/// What came of a run that came due.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FiringAnswer {
    id: Uuid,
    due_at: DateTime<Utc>,
    fired_at: DateTime<Utc>,
    /// `started`, `missed` (nobody could start it in time, nor those that came due after it until
    /// `fired_at`), `overlapped` (the last one went on) or `failed`.
    outcome: &'static str,
    /// The run that was started.
    run_id: Option<Uuid>,
    /// Why it failed.
    reason: Option<String>,
}

impl From<Firing> for FiringAnswer {
    fn from(firing: Firing) -> Self {
        let outcome = firing.outcome.as_str();
        let (run_id, reason) = match firing.outcome {
            FiringOutcome::Started(run) => (Some(RunId::as_uuid(run)), None),
            FiringOutcome::Failed(reason) => (None, Some(reason)),
            FiringOutcome::Missed | FiringOutcome::Overlapped => (None, None),
        };
        let (due_at, fired_at) = (firing.due_at, firing.fired_at);
        Self { id: firing.id.as_uuid(), due_at, fired_at, outcome, run_id, reason }
    }
}
