//! Profiles, and their way to machines.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_agents::OsType;
use muster_deployment_profiles::rollouts::Application;
use muster_deployment_profiles::{CatalogFilter, HeadChange, Profile, ProfileBody};
use muster_kernel::{AgentId, CustomerId, ProfileId, act};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::rollout_answer::RolloutAnswer;
use super::tasks::ProfileTaskAnswer;
use crate::extract::{
    Body, Id, IdempotencyKey, IfMatch, Json, ListAnswer, May, PageQuery, Query, etag, some,
};
use crate::routes::agent_query::OsTypeParameter;
use crate::routes::library::check_owner;
use crate::routes::runs::start::{MAX_BODY, once};
use crate::routes::wish::{StrategyBody, TargetBody, seconds};
use crate::{AppState, Problem};

/// A profile that is to be kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeploymentProfileRequest {
    /// 1 to 200 printable characters. No two of a customer's have the same, upper and lower case
    /// alike, and no two that are shared.
    name: String,
    /// What it is good for.
    description: Option<String>,
    /// The systems that it is made for; any unless given.
    #[schema(inline)]
    target_os_type: Option<OsTypeParameter>,
    /// Whether it is only there to be copied.
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    is_template: bool,
    /// Whose it is. Unless given it is shared with all, when you work for all customers, and your
    /// customer's when you work for one.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
}

/// A change to a profile; what is left out stays, and null removes what can be removed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "null says something else than nothing")]
pub(crate) struct DeploymentProfileUpdate {
    name: Option<String>,
    #[serde(default, deserialize_with = "some")]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "some")]
    #[schema(inline)]
    target_os_type: Option<Option<OsTypeParameter>>,
    is_template: Option<bool>,
    /// Whose it is, which never changes.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
}

/// What is to be done to a machine.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeploymentProfileAnswer {
    id: Uuid,
    /// Whose it is; null when it is shared with all.
    customer_id: Option<Uuid>,
    name: String,
    description: Option<String>,
    /// The systems that it is made for, `linux`, `windows`, `macos` or `other`; any when null.
    target_os_type: Option<&'static str>,
    /// Whether it is only there to be copied.
    is_template: bool,
    /// How often it was written, with its tasks; the `ETag` of its answers.
    version: u32,
    task_count: usize,
    /// What is done, in its order; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<Vec<ProfileTaskAnswer>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl DeploymentProfileAnswer {
    /// Without its tasks.
    pub(super) fn brief(profile: Profile) -> Self {
        Self {
            id: profile.id.as_uuid(),
            customer_id: profile.customer_id.map(CustomerId::as_uuid),
            name: profile.name,
            description: profile.description,
            target_os_type: profile.body.target_os_type.map(OsType::as_str),
            is_template: profile.body.is_template,
            version: profile.version,
            task_count: profile.body.tasks.len(),
            tasks: None,
            created_at: profile.created_at,
            updated_at: profile.updated_at,
        }
    }
}

impl From<Profile> for DeploymentProfileAnswer {
    fn from(mut profile: Profile) -> Self {
        let tasks = std::mem::take(&mut profile.body.tasks);
        let task_count = tasks.len();
        let tasks = Some(tasks.into_iter().map(Into::into).collect());
        Self { task_count, tasks, ..Self::brief(profile) }
    }
}

/// Which profiles a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProfileQuery {
    /// Only those whose name contains this.
    q: Option<String>,
    /// Only this customer's own.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// Only those that are made for these systems.
    #[param(inline)]
    target_os_type: Option<OsTypeParameter>,
}

impl ProfileQuery {
    pub(super) fn filter(self, is_template: bool) -> CatalogFilter {
        CatalogFilter {
            customer_id: self.customer_id.map(CustomerId::from_uuid),
            q: self.q,
            os_type: self.target_os_type.map(Into::into),
            is_template: Some(is_template),
        }
    }
}

/// The profiles without their tasks, in the order of their creation. Templates are not among them.
#[utoipa::path(
    get, path = "/profiles", tag = "deployment", operation_id = "list_deployment_profiles",
    params(ProfileQuery, PageQuery),
    responses((status = 200, body = ListAnswer<DeploymentProfileAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadProfiles>,
    query: Query<ProfileQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let (filter, page) = (query.0.filter(false), page.0.try_into()?);
    let page = state.deployment.profiles.catalog.list(&permit, &filter, &page).await?;
    Ok(web::Json(ListAnswer::of(page, DeploymentProfileAnswer::brief)))
}

/// Keep a profile, or a template.
#[utoipa::path(
    post, path = "/profiles", tag = "deployment", operation_id = "create_deployment_profile",
    request_body = DeploymentProfileRequest,
    responses(
        (status = 201, body = DeploymentProfileAnswer, headers(("ETag"))),
        (status = 404, description = "no such customer"),
        (status = 409, description = "the name is taken"), (status = 422),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    body: Json<DeploymentProfileRequest>,
) -> Result<impl Responder, Problem> {
    let body = body.value().await?;
    let customer = body.customer_id.map(CustomerId::from_uuid);
    let says = ProfileBody {
        target_os_type: body.target_os_type.map(Into::into),
        is_template: body.is_template,
        tasks: Vec::new(),
    };
    let catalog = &state.deployment.profiles.catalog;
    Ok(created(catalog.create(&permit, customer, body.name, body.description, says).await?))
}

/// The answer about a profile that is there now.
pub(super) fn created(profile: Profile) -> HttpResponse {
    let location = format!("/api/v1/profiles/{}", profile.id);
    let mut answer = HttpResponse::Created();
    answer.insert_header((LOCATION, location)).insert_header(etag(profile.version));
    answer.json(DeploymentProfileAnswer::from(profile))
}

pub(super) fn respond(profile: Profile) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    answer.insert_header(etag(profile.version)).json(DeploymentProfileAnswer::from(profile))
}

/// One profile, with its tasks.
#[utoipa::path(
    get, path = "/profiles/{id}", tag = "deployment", operation_id = "read_deployment_profile",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = DeploymentProfileAnswer, headers(("ETag"))), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadProfiles>,
    id: Id<ProfileId>,
) -> Result<impl Responder, Problem> {
    Ok(respond(state.deployment.profiles.catalog.get(&permit, id.get()?).await?))
}

/// Change what a profile says beside its tasks, which makes a version.
#[utoipa::path(
    put, path = "/profiles/{id}", tag = "deployment", operation_id = "update_deployment_profile",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    request_body = DeploymentProfileUpdate,
    responses(
        (status = 200, body = DeploymentProfileAnswer, headers(("ETag"))), (status = 404),
        (status = 409, description = "the name is taken"),
        (status = 412, description = "it is not the version any more that `If-Match` names"),
        (status = 422),
    ),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    id: Id<ProfileId>,
    expected: IfMatch,
    body: Json<DeploymentProfileUpdate>,
) -> Result<impl Responder, Problem> {
    let (profiles, id) = (&state.deployment.profiles, id.get()?);
    let body = body.value().await?;
    check_owner(body.customer_id, profiles.catalog.get(&permit.also()?, id).await?.customer_id)?;
    let change = HeadChange {
        name: body.name,
        description: body.description,
        target_os_type: body.target_os_type.map(|target| target.map(Into::into)),
        is_template: body.is_template,
    };
    Ok(respond(profiles.change(&permit, id, expected.0, &change).await?))
}

/// Delete a profile. Rollouts of it go on, and its name is free.
#[utoipa::path(
    delete, path = "/profiles/{id}", tag = "deployment", operation_id = "delete_deployment_profile",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 404), (status = 412)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    id: Id<ProfileId>,
    expected: IfMatch,
) -> Result<impl Responder, Problem> {
    state.deployment.profiles.catalog.delete(&permit, id.get()?, expected.0).await?;
    Ok(HttpResponse::NoContent())
}

/// To which machines, and how carefully.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplyRequest {
    /// To these machines. This or `target`.
    #[serde(alias = "agent_ids")]
    device_ids: Option<Vec<Uuid>>,
    /// To the machines that are meant.
    target: Option<TargetBody>,
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    strategy: StrategyBody,
    /// Whether it is only looked at what there is to do.
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    dry_run: bool,
    /// Seconds that a machine which is out of reach may come back for it, before it begins and
    /// between any two tasks; 7 days unless given.
    expires_in: Option<f64>,
    /// That you know that it may be dangerous; some customers ask for it.
    #[serde(default)]
    confirm: bool,
}

/// The machines that somebody means, who names them one by one or otherwise; `None` when nobody
/// says.
pub(super) fn target(
    device_ids: Option<Vec<Uuid>>,
    target: Option<TargetBody>,
) -> Result<Option<muster_agents::Target>, Problem> {
    match (device_ids, target) {
        (Some(ids), None) => Ok(Some(muster_agents::Target {
            agent_ids: ids.into_iter().map(AgentId::from_uuid).collect(),
            ..muster_agents::Target::default()
        })),
        (None, Some(target)) => target.try_into().map(Some),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(Problem::invalid("/target", "either device_ids or target is expected"))
        }
    }
}

/// That machines are meant at all.
pub(super) fn no_target() -> Problem {
    Problem::invalid("/device_ids", "device_ids or a target is expected")
}

/// Bring a profile to machines: durable, with all of them, when this answers.
#[utoipa::path(
    post, path = "/profiles/{id}/apply", tag = "deployment", operation_id = "apply_profile",
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = ApplyRequest,
    responses(
        (status = 202, body = RolloutAnswer),
        (status = 404, description = "no such profile, machine, group or customer"),
        (
            status = 409,
            description = "`IDEMPOTENCY_KEY_REUSED`, or `DANGEROUS_COMMAND` without `confirm`",
        ),
        (status = 422, description = "a machine of another system, a template, no tasks, or one \
            that can't be done"),
    ),
)]
pub(crate) async fn apply(
    state: web::Data<AppState>,
    permit: May<act::ApplyProfiles>,
    id: Id<ProfileId>,
    key: IdempotencyKey,
    body: Json<ApplyRequest>,
) -> Result<impl Responder, Problem> {
    let Body { value, fingerprint } = body.up_to(MAX_BODY).body().await?;
    let id = id.get()?;
    let wish = Application {
        target: target(value.device_ids, value.target)?.ok_or_else(no_target)?,
        strategy: value.strategy.into(),
        dry_run: value.dry_run,
        expires_in: seconds(value.expires_in, "/expires_in")?,
        confirm: value.confirm,
        once: once(&permit, key, &format!("profiles/{id}/apply"), fingerprint),
        ..Application::default()
    };
    Ok(RolloutAnswer::accepted(state.deployment.rollouts.apply(&permit, id, wish).await?))
}
