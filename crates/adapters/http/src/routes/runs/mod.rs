//! One order to many machines.

pub(crate) mod change;
pub(crate) mod events;
pub(crate) mod execute;
pub(crate) mod read;
pub(crate) mod start;

use chrono::{DateTime, Utc};
use muster_commands::runs::{Run, RunsError, StopReason, Tally};
use muster_kernel::{CustomerId, ProblemCode, RunId, ScheduleId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::commands::RequesterAnswer;
use super::wish::{StrategyBody, TargetBody, WorkBody};
use crate::Problem;
use crate::problem::pointer_token;

/// How many machines of a run are how far.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CountsAnswer {
    /// Not begun; some of them may be held back by the strategy.
    pending: u32,
    running: u32,
    completed: u32,
    failed: u32,
    cancelled: u32,
    expired: u32,
}

impl From<Tally> for CountsAnswer {
    fn from(tally: Tally) -> Self {
        Self {
            pending: tally.held + tally.pending,
            running: tally.running,
            completed: tally.completed,
            failed: tally.failed,
            cancelled: tally.cancelled,
            expired: tally.expired,
        }
    }
}

/// One order to many machines.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunAnswer {
    id: Uuid,
    /// `running`, `paused`, `completed`, `failed` or `cancelled`; `failed` when not all machines
    /// completed.
    status: &'static str,
    /// Why no other machine begins: `CANCELLED`, `CANARY_FAILED` or `TOO_MANY_FAILURES`.
    stop_reason: Option<&'static str>,
    /// What runs, in a line.
    summary: String,
    /// On how many machines.
    total: u32,
    counts: CountsAnswer,
    target: TargetBody,
    #[serde(flatten)]
    work: WorkBody,
    strategy: StrategyBody,
    /// Seconds that a machine which is out of reach may come back for it.
    expires_in: Option<f64>,
    /// The customer, when all machines are of one.
    customer_id: Option<Uuid>,
    /// `safe`, `caution` or `dangerous`.
    safety_level: &'static str,
    requested_by: RequesterAnswer,
    /// The run whose failed machines this one tries again.
    retry_of: Option<Uuid>,
    schedule_id: Option<Uuid>,
    created_at: DateTime<Utc>,
    /// Machines may not begin later than this.
    expires_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<Run> for RunAnswer {
    fn from(run: Run) -> Self {
        Self {
            id: run.id.as_uuid(),
            status: run.status.as_str(),
            stop_reason: run.stop.map(StopReason::as_str),
            total: run.tally.total(),
            counts: run.tally.into(),
            target: run.template.target.into(),
            work: run.template.work.into(),
            strategy: run.template.strategy.into(),
            expires_in: run.template.expires_in.map(|time| time.as_secs_f64()),
            summary: run.summary,
            customer_id: run.customer_id.map(CustomerId::as_uuid),
            safety_level: run.safety_level.as_str(),
            requested_by: run.requested_by.into(),
            retry_of: run.retry_of.map(RunId::as_uuid),
            schedule_id: run.schedule_id.map(ScheduleId::as_uuid),
            created_at: run.created_at,
            expires_at: run.expires_at,
            finished_at: run.finished_at,
        }
    }
}

impl From<RunsError> for Problem {
    fn from(error: RunsError) -> Self {
        let text = error.to_string();
        match error {
            RunsError::NotFound
            | RunsError::UnknownAgent(_)
            | RunsError::UnknownCustomer(_)
            | RunsError::UnknownGroup(_)
            | RunsError::NothingToRun => Self::new(ProblemCode::NotFound, text),
            RunsError::NobodyMeant | RunsError::OtherSystem { .. } => {
                Self::invalid("/target", text)
            }
            RunsError::InvalidParameters(broken) => {
                let at = |name: &str| format!("/parameters/{}", pointer_token(name));
                Self::all_invalid(broken.into_iter().map(|it| (at(&it.name), it.rule)))
            }
            RunsError::Denied(denied) => denied.into(),
            RunsError::Invalid(error) => error.into(),
            RunsError::KeyReused => Self::new(ProblemCode::IdempotencyConflict, text),
            RunsError::Dangerous(_) | RunsError::NeedsApproval => {
                Self::new(ProblemCode::DangerousCommand, text)
            }
            RunsError::Ended | RunsError::WrongState(_) => Self::new(ProblemCode::WrongState, text),
            RunsError::Storage(error) => error.into(),
        }
    }
}
