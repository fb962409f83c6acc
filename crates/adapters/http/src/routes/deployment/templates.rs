//! Templates: profiles that are there to be copied.

use actix_web::{Responder, web};
use muster_kernel::{CustomerId, ProfileId, act};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::profiles::{DeploymentProfileAnswer, ProfileQuery, created, respond};
use crate::extract::{Id, Json, ListAnswer, May, PageQuery, Query};
use crate::{AppState, Problem};

/// How a copy differs from its template.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstantiateRequest {
    /// The template's unless given, with a number behind it when that is taken.
    name: Option<String>,
    /// The template's unless given.
    description: Option<String>,
    /// Whose it is; whose the template is unless given. Of a template that is shared the copy is
    /// shared as well, when you work for all customers, and your customer's when you work for one.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
}

/// The templates without their tasks, in the order of their creation.
#[utoipa::path(
    get, path = "/templates", tag = "deployment", operation_id = "list_templates",
    params(ProfileQuery, PageQuery),
    responses((status = 200, body = ListAnswer<DeploymentProfileAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadProfiles>,
    query: Query<ProfileQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let (filter, page) = (query.0.filter(true), page.0.try_into()?);
    let page = state.deployment.profiles.catalog.list(&permit, &filter, &page).await?;
    Ok(web::Json(ListAnswer::of(page, DeploymentProfileAnswer::brief)))
}

/// One template, with its tasks.
#[utoipa::path(
    get, path = "/templates/{id}", tag = "deployment", operation_id = "read_template",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = DeploymentProfileAnswer, headers(("ETag"))), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadProfiles>,
    id: Id<ProfileId>,
) -> Result<impl Responder, Problem> {
    Ok(respond(state.deployment.profiles.template(&permit, id.get()?).await?))
}

/// Make a profile of a template: with tasks of its own, which say the same.
#[utoipa::path(
    post, path = "/templates/{id}/instantiate", tag = "deployment",
    operation_id = "instantiate_template",
    params(("id" = Uuid, Path)), request_body = InstantiateRequest,
    responses(
        (status = 201, body = DeploymentProfileAnswer, headers(("ETag"))),
        (status = 404, description = "no such template or customer"),
        (status = 409, description = "the name is taken"), (status = 422),
    ),
)]
pub(crate) async fn instantiate(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    id: Id<ProfileId>,
    body: Json<InstantiateRequest>,
) -> Result<impl Responder, Problem> {
    let InstantiateRequest { name, description, customer_id } = body.body_or_default().await?.value;
    let customer = customer_id.map(CustomerId::from_uuid);
    let profiles = &state.deployment.profiles;
    Ok(created(profiles.instantiate(&permit, id.get()?, name, description, customer).await?))
}
