//! Profiles on their way to machines.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, Responder, web};
use muster_deployment_profiles::rollouts::{
    DeviceFilter, DeviceStatus, RolloutFilter, RolloutStatus,
};
use muster_kernel::{AgentId, CustomerId, ProfileId, RolloutId, act};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::rollout_answer::{RolloutAnswer, RolloutDeviceAnswer};
use crate::event_stream::{EventStream, Follower, since};
use crate::extract::{AgentIn, Id, Json, ListAnswer, May, MayListen, PageQuery, Query};
use crate::routes::runs::start::MAX_BODY;
use crate::{AppState, Problem};

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RolloutStatusParameter {
    Running,
    Completed,
    CompletedWithErrors,
    Failed,
    Cancelled,
}

impl From<RolloutStatusParameter> for RolloutStatus {
    fn from(status: RolloutStatusParameter) -> Self {
        match status {
            RolloutStatusParameter::Running => Self::Running,
            RolloutStatusParameter::Completed => Self::Completed,
            RolloutStatusParameter::CompletedWithErrors => Self::CompletedWithErrors,
            RolloutStatusParameter::Failed => Self::Failed,
            RolloutStatusParameter::Cancelled => Self::Cancelled,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeviceStatusParameter {
    Queued,
    Running,
    WaitingForReboot,
    Done,
    Failed,
    Skipped,
    Cancelled,
}

impl From<DeviceStatusParameter> for DeviceStatus {
    fn from(status: DeviceStatusParameter) -> Self {
        match status {
            DeviceStatusParameter::Queued => Self::Queued,
            DeviceStatusParameter::Running => Self::Running,
            DeviceStatusParameter::WaitingForReboot => Self::WaitingForReboot,
            DeviceStatusParameter::Done => Self::Done,
            DeviceStatusParameter::Failed => Self::Failed,
            DeviceStatusParameter::Skipped => Self::Skipped,
            DeviceStatusParameter::Cancelled => Self::Cancelled,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RolloutQuery {
    #[param(inline)]
    status: Option<RolloutStatusParameter>,
    /// Only those of this profile.
    profile_id: Option<Uuid>,
    /// Only those on machines of this customer.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// Only those that only look, or only the others.
    dry_run: Option<bool>,
}

/// All rollouts, the newest first.
#[utoipa::path(
    get, path = "/rollouts", tag = "deployment", operation_id = "list_rollouts",
    params(RolloutQuery, PageQuery),
    responses((status = 200, body = ListAnswer<RolloutAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadRollouts>,
    query: Query<RolloutQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let query = query.0;
    let filter = RolloutFilter {
        status: query.status.map(Into::into),
        profile_id: query.profile_id.map(ProfileId::from_uuid),
        customer_id: query.customer_id.map(CustomerId::from_uuid),
        dry_run: query.dry_run,
    };
    let page = state.deployment.rollouts.list(&permit, &filter, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, RolloutAnswer::from)))
}

/// One rollout, as far as it is.
#[utoipa::path(
    get, path = "/rollouts/{id}", tag = "deployment", operation_id = "read_rollout",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = RolloutAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadRollouts>,
    id: Id<RolloutId>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(RolloutAnswer::from(state.deployment.rollouts.get(&permit, id.get()?).await?)))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeviceQuery {
    /// Only those that are this far.
    #[param(inline)]
    status: Option<DeviceStatusParameter>,
}

/// A rollout's machines, in the order of their ids, each with what is recorded of its tasks.
#[utoipa::path(
    get, path = "/rollouts/{id}/devices", tag = "deployment",
    operation_id = "list_rollout_devices",
    params(("id" = Uuid, Path), DeviceQuery, PageQuery),
    responses((status = 200, body = ListAnswer<RolloutDeviceAnswer>), (status = 404)),
)]
pub(crate) async fn devices(
    state: web::Data<AppState>,
    permit: May<act::ReadRollouts>,
    id: Id<RolloutId>,
    query: Query<DeviceQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let filter = DeviceFilter { status: query.0.status.map(Into::into) };
    let (id, page) = (id.get()?, page.0.try_into()?);
    let (rollout, page) = state.deployment.rollouts.devices(&permit, id, &filter, &page).await?;
    Ok(web::Json(ListAnswer::of(page, |device| RolloutDeviceAnswer::of(&rollout, device))))
}

/// One machine of a rollout.
#[utoipa::path(
    get, path = "/rollouts/{id}/devices/{agent_id}", tag = "deployment",
    operation_id = "read_rollout_device",
    params(("id" = Uuid, Path), ("agent_id" = Uuid, Path)),
    responses((status = 200, body = RolloutDeviceAnswer), (status = 404)),
)]
pub(crate) async fn device(
    state: web::Data<AppState>,
    permit: May<act::ReadRollouts>,
    id: Id<RolloutId>,
    agent: AgentIn,
) -> Result<impl Responder, Problem> {
    let (id, agent) = (id.get()?, agent.get()?);
    let (rollout, device) = state.deployment.rollouts.device(&permit, id, agent).await?;
    Ok(web::Json(RolloutDeviceAnswer::of(&rollout, device)))
}

/// A rollout, live, from its beginning: events `device` (a machine is further: its ids, `status`,
/// `position`, …), `progress` (the counts) and, at the end, `finished`. `Last-Event-ID` goes on
/// after the last event that was received; `reset` says that events before are not to be had any
/// more, and the counts follow.
#[utoipa::path(
    get, path = "/rollouts/{id}/events", tag = "deployment", operation_id = "rollout_events",
    params(("id" = Uuid, Path), ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, content((String = "text/event-stream"))), (status = 404)),
)]
pub(crate) async fn events(
    state: web::Data<AppState>,
    MayListen(permit): MayListen<act::ReadRollouts>,
    id: Id<RolloutId>,
    request: HttpRequest,
) -> Result<impl Responder, Problem> {
    let rollout = state.deployment.rollouts.get(&permit, id.get()?).await?;
    let listener = state.deployment.rollouts.listen(&rollout, since(&request));
    Ok(EventStream::new(state, permit, listener, rollout.id).respond())
}

/// Cancel a rollout: no other machine begins, and what runs is ended. Asking again while machines
/// end is harmless.
#[utoipa::path(
    post, path = "/rollouts/{id}/cancel", tag = "deployment", operation_id = "cancel_rollout",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = RolloutAnswer), (status = 404),
        (status = 409, description = "`WRONG_STATE`: it has ended, or is being stopped"),
    ),
)]
pub(crate) async fn cancel(
    state: web::Data<AppState>,
    permit: May<act::CancelRollouts>,
    id: Id<RolloutId>,
) -> Result<impl Responder, Problem> {
    let rollout = state.deployment.rollouts.cancel(&permit, id.get()?).await?;
    Ok(web::Json(RolloutAnswer::from(rollout)))
}

/// Which machines go on.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolloutRetryRequest {
    /// Only these; all that failed, were cancelled or left out unless given.
    #[serde(alias = "agent_ids")]
    device_ids: Option<Vec<Uuid>>,
    /// That you know that it may be dangerous; some customers ask for it.
    #[serde(default)]
    confirm: bool,
}

impl RolloutRetryRequest {
    fn only(&self) -> Result<BTreeSet<AgentId>, Problem> {
        match &self.device_ids {
            Some(ids) if ids.is_empty() => {
                Err(Problem::invalid("/device_ids", "at least one is expected, or none of this"))
            }
            ids => Ok(ids.iter().flatten().copied().map(AgentId::from_uuid).collect()),
        }
    }
}

/// Have machines of a rollout go on that failed, were cancelled or left out, each at the task that
/// is not done. What is recorded is not done again.
#[utoipa::path(
    post, path = "/rollouts/{id}/retry", tag = "deployment", operation_id = "retry_rollout",
    params(("id" = Uuid, Path)), request_body = RolloutRetryRequest,
    responses(
        (status = 202, body = RolloutAnswer), (status = 404),
        (status = 409, description = "`WRONG_STATE`: there is none, or it is being stopped; \
            `DANGEROUS_COMMAND` without `confirm`"),
    ),
)]
pub(crate) async fn retry(
    state: web::Data<AppState>,
    permit: May<act::ApplyProfiles>,
    id: Id<RolloutId>,
    body: Json<RolloutRetryRequest>,
) -> Result<impl Responder, Problem> {
    let body = body.up_to(MAX_BODY).body_or_default().await?.value;
    let (id, only) = (id.get()?, body.only()?);
    let rollout = state.deployment.rollouts.retry(&permit, id, &only, body.confirm).await?;
    Ok(RolloutAnswer::accepted(rollout))
}
