//! Projects: the machines, scripts and conversations of one piece of work.

use std::collections::BTreeMap;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_assistant::workspace::{Change, Entry, ProjectBody, Role};
use muster_kernel::{AgentId, AssistantId, CustomerId, ProjectId, ScriptId, act};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Id, IfMatch, Json, ListAnswer, May, PageQuery, Query, etag};
use crate::{AppState, Problem};

/// Which assistant does what in a project.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RolesBody {
    /// Says in which steps something is best done, before the author begins.
    planner: Option<Uuid>,
    /// Answers, reads and proposes; the usual assistant when null.
    author: Option<Uuid>,
    /// Looks at what is proposed; it can make that more dangerous, never less.
    reviewer: Option<Uuid>,
    /// Explains what came of what ran.
    interpreter: Option<Uuid>,
}

impl From<RolesBody> for BTreeMap<Role, AssistantId> {
    fn from(roles: RolesBody) -> Self {
        let all = [
            (Role::Planner, roles.planner),
            (Role::Author, roles.author),
            (Role::Reviewer, roles.reviewer),
            (Role::Interpreter, roles.interpreter),
        ];
        let given = all.into_iter().filter_map(|(role, id)| Some((role, id?)));
        given.map(|(role, id)| (role, AssistantId::from_uuid(id))).collect()
    }
}

impl From<BTreeMap<Role, AssistantId>> for RolesBody {
    fn from(roles: BTreeMap<Role, AssistantId>) -> Self {
        let id = |role| roles.get(&role).map(|id| id.as_uuid());
        Self {
            planner: id(Role::Planner),
            author: id(Role::Author),
            reviewer: id(Role::Reviewer),
            interpreter: id(Role::Interpreter),
        }
    }
}

/// A new project.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectRequest {
    /// Whose it is; of no single customer when null, which only those can say, and see, who work for
    /// all of them.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// 1 to 200 printable characters.
    #[schema(example = "Full disks")]
    name: String,
    description: Option<String>,
    /// The machines that it is about, at most 100.
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    agent_ids: Vec<Uuid>,
    /// The scripts that it is about, at most 100.
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    script_ids: Vec<Uuid>,
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    roles: RolesBody,
}

/// What is to be another about a project; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectUpdate {
    name: Option<String>,
    /// An empty text removes the description.
    description: Option<String>,
    agent_ids: Option<Vec<Uuid>>,
    script_ids: Option<Vec<Uuid>>,
    /// All roles, in the place of those that there were.
    roles: Option<RolesBody>,
}

/// A workspace: the machines, scripts and conversations of one piece of work. Who sees it sees its
/// conversations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProjectAnswer {
    id: Uuid,
    /// Null for one of no single customer.
    customer_id: Option<Uuid>,
    name: String,
    description: Option<String>,
    agent_ids: Vec<Uuid>,
    script_ids: Vec<Uuid>,
    roles: RolesBody,
    version: u32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Entry<ProjectBody>> for ProjectAnswer {
    fn from(entry: Entry<ProjectBody>) -> Self {
        Self {
            id: entry.id.as_uuid(),
            customer_id: entry.customer_id.map(CustomerId::as_uuid),
            name: entry.name,
            description: entry.body.description,
            agent_ids: entry.body.agent_ids.into_iter().map(AgentId::as_uuid).collect(),
            script_ids: entry.body.script_ids.into_iter().map(ScriptId::as_uuid).collect(),
            roles: entry.body.roles.into(),
            version: entry.version,
            created_at: entry.created_at,
            updated_at: entry.updated_at,
        }
    }
}

/// The projects, in the order of their creation.
#[utoipa::path(
    get, path = "/projects", tag = "assistant", operation_id = "list_projects",
    params(PageQuery), responses((status = 200, body = ListAnswer<ProjectAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadAssistants>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let page = state.assistance.workspace.list::<ProjectBody>(&permit, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, ProjectAnswer::from)))
}

/// Begin a project.
#[utoipa::path(
    post, path = "/projects", tag = "assistant", operation_id = "create_project",
    request_body = ProjectRequest,
    responses(
        (status = 201, body = ProjectAnswer),
        (status = 404, description = "no such customer, agent or assistant, or another customer's"),
        (status = 422),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageAssistants>,
    body: Json<ProjectRequest>,
) -> Result<impl Responder, Problem> {
    let wish = body.value().await?;
    let body = ProjectBody {
        description: wish.description,
        agent_ids: wish.agent_ids.into_iter().map(AgentId::from_uuid).collect(),
        script_ids: wish.script_ids.into_iter().map(ScriptId::from_uuid).collect(),
        roles: wish.roles.into(),
    };
    let customer = wish.customer_id.map(CustomerId::from_uuid);
    let workspace = &state.assistance.workspace;
    let entry = workspace.create_project(&permit, customer, wish.name, body).await?;
    let location = format!("/api/v1/projects/{}", entry.id);
    let version = etag(entry.version);
    let answer = ProjectAnswer::from(entry);
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, location))
        .insert_header(version)
        .json(answer))
}

/// One project.
#[utoipa::path(
    get, path = "/projects/{id}", tag = "assistant", operation_id = "read_project",
    params(("id" = Uuid, Path)), responses((status = 200, body = ProjectAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadAssistants>,
    id: Id<ProjectId>,
) -> Result<impl Responder, Problem> {
    let entry = state.assistance.workspace.get::<ProjectBody>(&permit, id.get()?).await?;
    Ok(HttpResponse::Ok().insert_header(etag(entry.version)).json(ProjectAnswer::from(entry)))
}

/// Change a project.
#[utoipa::path(
    put, path = "/projects/{id}", tag = "assistant", operation_id = "update_project",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    request_body = ProjectUpdate,
    responses((status = 200, body = ProjectAnswer), (status = 404), (status = 412), (status = 422)),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageAssistants>,
    id: Id<ProjectId>,
    expected: IfMatch,
    body: Json<ProjectUpdate>,
) -> Result<impl Responder, Problem> {
    let wish = body.value().await?;
    let agents = wish.agent_ids.map(|ids| ids.into_iter().map(AgentId::from_uuid).collect());
    let scripts = wish.script_ids.map(|ids| ids.into_iter().map(ScriptId::from_uuid).collect());
    let change = |before: ProjectBody| Change {
        name: wish.name.clone(),
        body: ProjectBody {
            description: wish.description.clone().or(before.description),
            agent_ids: agents.clone().unwrap_or(before.agent_ids),
            script_ids: scripts.clone().unwrap_or(before.script_ids),
            roles: wish.roles.map_or(before.roles, Into::into),
        },
    };
    let workspace = &state.assistance.workspace;
    let entry = workspace.change_project(&permit, id.get()?, expected.0, change).await?;
    Ok(HttpResponse::Ok().insert_header(etag(entry.version)).json(ProjectAnswer::from(entry)))
}

/// Delete a project and its conversations. What was proposed in them stays.
#[utoipa::path(
    delete, path = "/projects/{id}", tag = "assistant", operation_id = "delete_project",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 404), (status = 412)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageAssistants>,
    id: Id<ProjectId>,
    expected: IfMatch,
) -> Result<impl Responder, Problem> {
    state.assistance.workspace.delete::<ProjectBody>(&permit, id.get()?, expected.0).await?;
    Ok(HttpResponse::NoContent())
}
