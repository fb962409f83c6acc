//! Machines compared with profiles, again and again.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_deployment_profiles::compliance::{
    CheckChange, CheckWish, ComplianceCheck, Standing, StandingCounts, StandingFilter,
    StandingStatus,
};
use muster_kernel::{ComplianceCheckId, CustomerId, ProfileId, RolloutId, act};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::profiles::{no_target, target};
use super::rollout_answer::RolloutAnswer;
use crate::extract::{Id, Json, ListAnswer, May, PageQuery, Query};
use crate::routes::runs::start::MAX_BODY;
use crate::routes::schedules::MakerAnswer;
use crate::routes::wish::TargetBody;
use crate::{AppState, Problem};

/// A check that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ComplianceCheckRequest {
    /// 1 to 200 printable characters.
    name: String,
    /// Whose it is; to be left out by whoever has one customer, and for all customers by whoever
    /// may use all machines.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// The profile that machines are compared with.
    profile_id: Uuid,
    /// These machines. This or `target`.
    #[serde(alias = "agent_ids")]
    device_ids: Option<Vec<Uuid>>,
    /// The machines that are meant, whenever it comes due.
    target: Option<TargetBody>,
    /// Minute, hour, day of the month, month and day of the week, or seconds before them.
    #[schema(example = "30 2 * * MON-FRI")]
    cron: String,
    /// By the clocks of which zone; `UTC` unless given.
    #[schema(example = "Europe/Berlin")]
    time_zone: Option<String>,
    /// Whether it comes due at all; `true` unless given.
    enabled: Option<bool>,
}

/// A change to a check; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ComplianceCheckUpdate {
    name: Option<String>,
    profile_id: Option<Uuid>,
    /// Instead of the machines of before, as `target` is.
    #[serde(alias = "agent_ids")]
    device_ids: Option<Vec<Uuid>>,
    target: Option<TargetBody>,
    cron: Option<String>,
    time_zone: Option<String>,
    enabled: Option<bool>,
}

/// Machines that are compared with a profile again and again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ComplianceCheckAnswer {
    id: Uuid,
    /// Whose it is; null when it is of those who work for all.
    customer_id: Option<Uuid>,
    name: String,
    profile_id: Uuid,
    target: TargetBody,
    cron: String,
    time_zone: &'static str,
    enabled: bool,
    /// When it is due; null while it is off.
    next_at: Option<DateTime<Utc>>,
    /// The rollout that it began last.
    last_rollout_id: Option<Uuid>,
    /// Why it could not begin one when it was due last.
    last_error: Option<String>,
    made_by: MakerAnswer,
    created_at: DateTime<Utc>,
}

impl From<ComplianceCheck> for ComplianceCheckAnswer {
    fn from(check: ComplianceCheck) -> Self {
        Self {
            id: check.id.as_uuid(),
            customer_id: check.customer_id.map(CustomerId::as_uuid),
            name: check.name,
            profile_id: check.profile_id.as_uuid(),
            target: check.target.into(),
            cron: check.cron.to_string(),
            time_zone: check.zone.name(),
            enabled: check.enabled,
            next_at: check.next_at,
            last_rollout_id: check.last_rollout_id.map(RolloutId::as_uuid),
            last_error: check.last_error,
            made_by: MakerAnswer::of(check.made_by.requester, check.made_by.name),
            created_at: check.created_at,
        }
    }
}

/// The checks, in the order of their creation.
#[utoipa::path(
    get, path = "/compliance-checks", tag = "deployment", operation_id = "list_compliance_checks",
    params(PageQuery),
    responses((status = 200, body = ListAnswer<ComplianceCheckAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadComplianceChecks>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let page = state.deployment.compliance.list(&permit, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, ComplianceCheckAnswer::from)))
}

/// Make a check. It is done on your behalf, as far as you may when it comes due, and changes
/// nothing on any machine.
#[utoipa::path(
    post, path = "/compliance-checks", tag = "deployment",
    operation_id = "create_compliance_check", request_body = ComplianceCheckRequest,
    responses(
        (status = 201, body = ComplianceCheckAnswer),
        (status = 404, description = "no such profile, machine or customer"), (status = 422),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageComplianceChecks>,
    body: Json<ComplianceCheckRequest>,
) -> Result<impl Responder, Problem> {
    let body = body.up_to(MAX_BODY).value().await?;
    let wish = CheckWish {
        name: body.name,
        customer_id: body.customer_id.map(CustomerId::from_uuid),
        profile_id: ProfileId::from_uuid(body.profile_id),
        target: target(body.device_ids, body.target)?.ok_or_else(no_target)?,
        cron: body.cron,
        time_zone: body.time_zone,
        enabled: body.enabled.unwrap_or(true),
    };
    let check = state.deployment.compliance.create(&permit, wish).await?;
    let location = format!("/api/v1/compliance-checks/{}", check.id);
    let answer = ComplianceCheckAnswer::from(check);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(answer))
}

/// One check.
#[utoipa::path(
    get, path = "/compliance-checks/{id}", tag = "deployment",
    operation_id = "read_compliance_check", params(("id" = Uuid, Path)),
    responses((status = 200, body = ComplianceCheckAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadComplianceChecks>,
    id: Id<ComplianceCheckId>,
) -> Result<impl Responder, Problem> {
    let check = state.deployment.compliance.get(&permit, id.get()?).await?;
    Ok(web::Json(ComplianceCheckAnswer::from(check)))
}

/// Change a check. It is done on your behalf from then on.
#[utoipa::path(
    put, path = "/compliance-checks/{id}", tag = "deployment",
    operation_id = "update_compliance_check",
    params(("id" = Uuid, Path)), request_body = ComplianceCheckUpdate,
    responses((status = 200, body = ComplianceCheckAnswer), (status = 404), (status = 422)),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageComplianceChecks>,
    id: Id<ComplianceCheckId>,
    body: Json<ComplianceCheckUpdate>,
) -> Result<impl Responder, Problem> {
    let body = body.up_to(MAX_BODY).value().await?;
    let change = CheckChange {
        name: body.name,
        profile_id: body.profile_id.map(ProfileId::from_uuid),
        target: target(body.device_ids, body.target)?,
        cron: body.cron,
        time_zone: body.time_zone,
        enabled: body.enabled,
    };
    let check = state.deployment.compliance.change(&permit, id.get()?, change).await?;
    Ok(web::Json(ComplianceCheckAnswer::from(check)))
}

/// Delete a check. What it found stays.
#[utoipa::path(
    delete, path = "/compliance-checks/{id}", tag = "deployment",
    operation_id = "delete_compliance_check",
    params(("id" = Uuid, Path)), responses((status = 204), (status = 404)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageComplianceChecks>,
    id: Id<ComplianceCheckId>,
) -> Result<impl Responder, Problem> {
    state.deployment.compliance.delete(&permit, id.get()?).await?;
    Ok(HttpResponse::NoContent())
}

/// Compare now, whatever the times say: a rollout that only looks.
#[utoipa::path(
    post, path = "/compliance-checks/{id}/run", tag = "deployment",
    operation_id = "run_compliance_check", params(("id" = Uuid, Path)),
    responses(
        (status = 202, body = RolloutAnswer), (status = 404),
        (status = 422, description = "no machine is meant now, or the profile can't be applied"),
    ),
)]
pub(crate) async fn run(
    state: web::Data<AppState>,
    permit: May<act::ApplyProfiles>,
    id: Id<ComplianceCheckId>,
) -> Result<impl Responder, Problem> {
    Ok(RolloutAnswer::accepted(state.deployment.compliance.run(&permit, id.get()?).await?))
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StandingParameter {
    Compliant,
    Drifted,
    Unknown,
}

impl From<StandingParameter> for StandingStatus {
    fn from(status: StandingParameter) -> Self {
        match status {
            StandingParameter::Compliant => Self::Compliant,
            StandingParameter::Drifted => Self::Drifted,
            StandingParameter::Unknown => Self::Unknown,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StandingQuery {
    /// Only those that stand so.
    #[param(inline)]
    status: Option<StandingParameter>,
}

/// How a machine stands to a profile, as it was last looked at.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StandingAnswer {
    agent_id: Uuid,
    customer_id: Uuid,
    /// `compliant`, `drifted`, or `unknown` when it could not be told.
    status: &'static str,
    /// The names of the tasks that are not as they are to be.
    drifted: Vec<String>,
    checked_at: DateTime<Utc>,
    /// The rollout that looked.
    rollout_id: Uuid,
}

impl From<Standing> for StandingAnswer {
    fn from(standing: Standing) -> Self {
        Self {
            agent_id: standing.agent_id.as_uuid(),
            customer_id: standing.customer_id.as_uuid(),
            status: standing.status.as_str(),
            drifted: standing.drifted,
            checked_at: standing.checked_at,
            rollout_id: standing.rollout_id.as_uuid(),
        }
    }
}

/// How many machines stand how to a profile.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StandingCountsAnswer {
    compliant: u64,
    drifted: u64,
    unknown: u64,
}

impl From<StandingCounts> for StandingCountsAnswer {
    fn from(counts: StandingCounts) -> Self {
        let StandingCounts { compliant, drifted, unknown } = counts;
        Self { compliant, drifted, unknown }
    }
}

/// A page of machines that were compared with a profile.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StandingList {
    #[serde(flatten)]
    page: ListAnswer<StandingAnswer>,
    /// Of all of them, whatever the filter.
    counts: StandingCountsAnswer,
}

/// How machines stand to a profile, in the order of their ids. Any rollout that only looked counts,
/// whether a check or a person began it. Commands, scripts and reboots without a `check` tell
/// nothing, and neither do waits.
#[utoipa::path(
    get, path = "/profiles/{id}/compliance", tag = "deployment",
    operation_id = "read_profile_compliance",
    params(("id" = Uuid, Path), StandingQuery, PageQuery),
    responses((status = 200, body = StandingList), (status = 404)),
)]
pub(crate) async fn standings(
    state: web::Data<AppState>,
    permit: May<act::ReadRollouts>,
    id: Id<ProfileId>,
    query: Query<StandingQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let filter = StandingFilter { status: query.0.status.map(Into::into) };
    let (compliance, page) = (&state.deployment.compliance, page.0.try_into()?);
    let (page, counts) = compliance.standings(&permit, id.get()?, &filter, &page).await?;
    let page = ListAnswer::of(page, StandingAnswer::from);
    Ok(web::Json(StandingList { page, counts: counts.into() }))
}
