//! Rollouts and their machines as they are answered.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use chrono::{DateTime, Utc};
use muster_commands::runs::StopReason;
use muster_deployment_profiles::rollouts::{
    Device, DeviceStatus, FrozenTask, Rollout, Stage, TaskOutcome, TaskResult,
};
use muster_kernel::{CommandId, ComplianceCheckId, CustomerId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::routes::schedules::MakerAnswer;
use crate::routes::wish::{StrategyBody, TargetBody};

/// A task as it was when the profile was applied.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RolloutTaskAnswer {
    /// The first is 1.
    position: usize,
    name: String,
    /// `command`, `script`, `software`, `file`, `reboot` or `wait`.
    action_type: String,
}

/// A profile on its way to machines.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RolloutAnswer {
    id: Uuid,
    profile_id: Uuid,
    /// Which version of the profile.
    profile_version: u32,
    /// What the profile was called.
    name: String,
    /// `running`, `completed`, `completed_with_errors` (some machine or task failed), `failed` (no
    /// machine is done, or the strategy stopped it) or `cancelled`.
    status: &'static str,
    /// Why no other machine begins: `CANCELLED`, `CANARY_FAILED` or `TOO_MANY_FAILURES`.
    stop_reason: Option<&'static str>,
    /// Whether it only looks.
    dry_run: bool,
    target: TargetBody,
    strategy: StrategyBody,
    /// On how many machines.
    total: u32,
    /// Not begun.
    queued: u32,
    running: u32,
    waiting_for_reboot: u32,
    done: u32,
    failed: u32,
    /// Left out: see each one's `skip_reason`.
    skipped: u32,
    cancelled: u32,
    /// What is done, in its order.
    tasks: Vec<RolloutTaskAnswer>,
    /// The customer, when all machines are of one.
    customer_id: Option<Uuid>,
    /// `safe`, `caution` or `dangerous`.
    safety_level: &'static str,
    /// The check that it was begun by.
    compliance_check_id: Option<Uuid>,
    requested_by: MakerAnswer,
    created_at: DateTime<Utc>,
    /// Machines may not begin later than this.
    expires_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<Rollout> for RolloutAnswer {
    fn from(rollout: Rollout) -> Self {
        let (tally, asker) = (rollout.tally, rollout.requested_by);
        let task = |(index, task): (usize, FrozenTask)| {
            let FrozenTask { name, action_type, .. } = task;
            RolloutTaskAnswer { position: index + 1, name, action_type }
        };
        Self {
            id: rollout.id.as_uuid(),
            profile_id: rollout.profile_id.as_uuid(),
            profile_version: rollout.profile_version,
            name: rollout.name,
            status: rollout.status.as_str(),
            stop_reason: rollout.stop.map(StopReason::as_str),
            dry_run: rollout.dry_run,
            target: rollout.target.into(),
            strategy: rollout.strategy.into(),
            total: tally.total(),
            queued: tally.queued,
            running: tally.running,
            waiting_for_reboot: tally.waiting_for_reboot,
            done: tally.done,
            failed: tally.failed,
            skipped: tally.skipped,
            cancelled: tally.cancelled,
            tasks: rollout.tasks.into_iter().enumerate().map(task).collect(),
            customer_id: rollout.customer_id.map(CustomerId::as_uuid),
            safety_level: rollout.safety_level.as_str(),
            compliance_check_id: rollout.compliance_check_id.map(ComplianceCheckId::as_uuid),
            requested_by: MakerAnswer::of(asker.requester, asker.name),
            created_at: rollout.created_at,
            expires_at: rollout.expires_at,
            finished_at: rollout.finished_at,
        }
    }
}

impl RolloutAnswer {
    /// The answer about one that is durable and goes on.
    pub(super) fn accepted(rollout: Rollout) -> HttpResponse {
        let location = format!("/api/v1/rollouts/{}", rollout.id);
        HttpResponse::Accepted().insert_header((LOCATION, location)).json(Self::from(rollout))
    }
}

/// What came of a task on a machine.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskResultAnswer {
    /// Which task; the first is 1.
    position: usize,
    name: String,
    /// `changed`, `unchanged` (there was nothing to do) or `failed`; when it is only looked at,
    /// `would_change`, or `would_run` where that can't be told.
    outcome: &'static str,
    /// At which attempt of the machine.
    attempt: u32,
    /// The command that decided it.
    command_id: Option<Uuid>,
    /// `EXIT_CODE`, `INTERRUPTED`, `TIMED_OUT`, `NOT_IN_EFFECT` (done, and yet not as it is to be),
    /// `EXPIRED`, `CANCELLED`, or the command's own.
    failure_code: Option<String>,
    failure_detail: Option<String>,
    started_at: DateTime<Utc>,
    finished_at: DateTime<Utc>,
}

impl TaskResultAnswer {
    fn of(rollout: &Rollout, result: TaskResult) -> Self {
        let name = rollout.tasks.get(result.task).map(|task| task.name.clone());
        let (failure_code, failure_detail) =
            result.failure.map(|failure| (failure.code, failure.detail)).unzip();
        Self {
            position: result.task + 1,
            name: name.unwrap_or_default(),
            outcome: result.outcome.as_str(),
            attempt: result.attempt,
            command_id: result.command_id.map(CommandId::as_uuid),
            failure_code,
            failure_detail: failure_detail.flatten(),
            started_at: result.started_at,
            finished_at: result.finished_at,
        }
    }
}

/// A machine on its way through the tasks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RolloutDeviceAnswer {
    agent_id: Uuid,
    customer_id: Uuid,
    /// `queued`, `running`, `waiting_for_reboot`, `done`, `failed`, `skipped` or `cancelled`.
    status: &'static str,
    /// The task it is at, or ended at; the first is 1. Null when all are done.
    position: Option<usize>,
    /// How often it was let begin.
    attempt: u32,
    /// How many tasks changed something.
    changed: usize,
    /// How many had nothing to do.
    unchanged: usize,
    /// How many failed.
    errors: usize,
    /// Why it was left out: `STOPPED`, `EXPIRED` or `AGENT_REMOVED`.
    skip_reason: Option<&'static str>,
    /// What is recorded, in the order of the tasks.
    tasks: Vec<TaskResultAnswer>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl RolloutDeviceAnswer {
    pub(super) fn of(rollout: &Rollout, device: Device) -> Self {
        let status = device.status();
        let skip_reason = match device.stage {
            Stage::Skipped { reason } => Some(reason.as_str()),
            _ => None,
        };
        Self {
            agent_id: device.agent_id.as_uuid(),
            customer_id: device.customer_id.as_uuid(),
            status: status.as_str(),
            position: (status != DeviceStatus::Done).then_some(device.position + 1),
            attempt: device.attempt,
            changed: device.count(TaskOutcome::Changed),
            unchanged: device.count(TaskOutcome::Unchanged),
            errors: device.count(TaskOutcome::Failed),
            skip_reason,
            started_at: device.started_at,
            finished_at: device.finished_at,
            tasks: device.results.into_iter().map(|it| TaskResultAnswer::of(rollout, it)).collect(),
        }
    }
}
