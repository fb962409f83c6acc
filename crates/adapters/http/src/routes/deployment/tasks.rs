//! The tasks of profiles.

use actix_web::{HttpResponse, Responder, web};
use muster_deployment_profiles::{Profile, ProfilesError, Task};
use muster_kernel::{ProfileId, TaskId, act};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::task_body::TaskBody;
use crate::extract::{Id, IfMatch, Json, ListAnswer, May, TaskIn, etag};
use crate::{AppState, Problem};

/// One step of a profile. A `command` whose shell is `powershell` is answered as
/// `powershell_inline`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProfileTaskAnswer {
    id: Uuid,
    #[serde(flatten)]
    task: TaskBody,
}

impl From<Task> for ProfileTaskAnswer {
    fn from(task: Task) -> Self {
        Self { id: task.id.as_uuid(), task: TaskBody::of(task) }
    }
}

/// The order of a profile's tasks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderRequest {
    /// All of them, each once.
    task_ids: Vec<Uuid>,
}

/// The tasks of a profile, in their order.
#[utoipa::path(
    get, path = "/profiles/{id}/tasks", tag = "deployment", operation_id = "list_profile_tasks",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = ListAnswer<ProfileTaskAnswer>, headers(("ETag"))), (status = 404),
    ),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadProfiles>,
    id: Id<ProfileId>,
) -> Result<impl Responder, Problem> {
    Ok(all(state.deployment.profiles.catalog.get(&permit, id.get()?).await?))
}

/// The answer about all tasks of a profile, with the profile's tag.
fn all(profile: Profile) -> HttpResponse {
    let tasks = profile.body.tasks.into_iter().map(ProfileTaskAnswer::from).collect();
    HttpResponse::Ok().insert_header(etag(profile.version)).json(ListAnswer::whole(tasks))
}

/// The answer about one task of a profile, with the profile's tag.
fn one(
    mut answer: actix_web::HttpResponseBuilder,
    profile: &Profile,
    id: TaskId,
) -> Result<HttpResponse, Problem> {
    let task = profile.body.task(id).ok_or(ProfilesError::NoTask)?;
    Ok(answer.insert_header(etag(profile.version)).json(ProfileTaskAnswer::from(task.clone())))
}

/// Add a task to a profile, which makes a version of the profile.
#[utoipa::path(
    post, path = "/profiles/{id}/tasks", tag = "deployment", operation_id = "create_profile_task",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    request_body = TaskBody,
    responses(
        (status = 201, body = ProfileTaskAnswer, headers(("ETag"))),
        (status = 404, description = "no such profile, script or software item"),
        (status = 412, description = "the profile is another version than `If-Match` names"),
        (status = 422, description = "it can't be done, or a field that its kind does not have"),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    id: Id<ProfileId>,
    expected: IfMatch,
    body: Json<TaskBody>,
) -> Result<impl Responder, Problem> {
    let wish = body.value().await?.wish()?;
    let profiles = &state.deployment.profiles;
    let (profile, task) = profiles.add_task(&permit, id.get()?, expected.0, &wish).await?;
    one(HttpResponse::Created(), &profile, task)
}

/// Make a task say this, as a whole. Values of secret parameters that are left out stay, as does
/// its place.
#[utoipa::path(
    put, path = "/profiles/{id}/tasks/{task_id}", tag = "deployment",
    operation_id = "update_profile_task",
    params(
        ("id" = Uuid, Path), ("task_id" = Uuid, Path), ("If-Match" = Option<String>, Header),
    ),
    request_body = TaskBody,
    responses(
        (status = 200, body = ProfileTaskAnswer, headers(("ETag"))),
        (status = 404, description = "no such profile, task, script or software item"),
        (status = 412, description = "the profile is another version than `If-Match` names"),
        (status = 422, description = "it can't be done, or a field that its kind does not have"),
    ),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    id: Id<ProfileId>,
    task: TaskIn,
    expected: IfMatch,
    body: Json<TaskBody>,
) -> Result<impl Responder, Problem> {
    let wish = body.value().await?.wish()?;
    let (id, task) = (id.get()?, task.get()?);
    let profiles = &state.deployment.profiles;
    let profile = profiles.change_task(&permit, id, expected.0, task, &wish).await?;
    one(HttpResponse::Ok(), &profile, task)
}

/// Take a task away.
#[utoipa::path(
    delete, path = "/profiles/{id}/tasks/{task_id}", tag = "deployment",
    operation_id = "delete_profile_task",
    params(
        ("id" = Uuid, Path), ("task_id" = Uuid, Path), ("If-Match" = Option<String>, Header),
    ),
    responses((status = 204), (status = 404), (status = 412)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    id: Id<ProfileId>,
    task: TaskIn,
    expected: IfMatch,
) -> Result<impl Responder, Problem> {
    let (id, task) = (id.get()?, task.get()?);
    state.deployment.profiles.remove_task(&permit, id, expected.0, task).await?;
    Ok(HttpResponse::NoContent())
}

/// Put the tasks of a profile into this order; their `order_index` becomes 10, 20, 30, …
#[utoipa::path(
    put, path = "/profiles/{id}/tasks/order", tag = "deployment",
    operation_id = "order_profile_tasks",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    request_body = OrderRequest,
    responses(
        (status = 200, body = ListAnswer<ProfileTaskAnswer>, headers(("ETag"))), (status = 404),
        (status = 412),
        (status = 422, description = "a task that is missing, strange or there twice"),
    ),
)]
pub(crate) async fn order(
    state: web::Data<AppState>,
    permit: May<act::ManageProfiles>,
    id: Id<ProfileId>,
    expected: IfMatch,
    body: Json<OrderRequest>,
) -> Result<impl Responder, Problem> {
    let order: Vec<_> = body.value().await?.task_ids.into_iter().map(TaskId::from_uuid).collect();
    let profiles = &state.deployment.profiles;
    Ok(all(profiles.reorder(&permit, id.get()?, expected.0, &order).await?))
}
