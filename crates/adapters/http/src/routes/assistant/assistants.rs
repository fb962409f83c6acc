//! The assistants that people set up.

use std::collections::BTreeSet;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_assistant::tools::ToolName;
use muster_assistant::workspace::{AssistantBody, Change, Entry, Role};
use muster_kernel::{AssistantId, CustomerId, act};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Id, IfMatch, Json, ListAnswer, May, PageQuery, Query, etag};
use crate::{AppState, Problem};

/// What an assistant does in a project.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleName {
    Planner,
    Author,
    Reviewer,
    Interpreter,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Planner => Self::Planner,
            RoleName::Author => Self::Author,
            RoleName::Reviewer => Self::Reviewer,
            RoleName::Interpreter => Self::Interpreter,
        }
    }
}

/// Whether an assistant can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AssistantStatus {
    Active,
    Inactive,
}

/// A new assistant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssistantRequest {
    /// Whose it is; of all customers when null, which only those can say who work for all of them.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// 1 to 200 printable characters.
    #[schema(example = "Disk doctor")]
    name: String,
    description: Option<String>,
    /// What it does in a project: `author` unless given.
    role: Option<RoleName>,
    /// What it is told beside Muster's own rules, which stand above it; at most 8000 characters.
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    prompt: String,
    /// The model that is asked; that of the settings unless given.
    model: Option<String>,
    /// What it may ask for; all tools unless given. What whoever asks it may not read, it does not
    /// get either.
    #[schema(example = json!(["search_agents", "read_agent", "propose_command"]))]
    tools: Option<Vec<String>>,
    status: Option<AssistantStatus>,
}

/// What is to be another about an assistant; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssistantUpdate {
    name: Option<String>,
    /// An empty text removes the description.
    description: Option<String>,
    role: Option<RoleName>,
    prompt: Option<String>,
    /// An empty text leads back to the model of the settings.
    model: Option<String>,
    tools: Option<Vec<String>>,
    status: Option<AssistantStatus>,
}

/// A named helper: a language model with a task and tools.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AssistantAnswer {
    id: Uuid,
    /// Null for one of all customers.
    customer_id: Option<Uuid>,
    name: String,
    description: Option<String>,
    /// `planner`, `author`, `reviewer` or `interpreter`.
    role: &'static str,
    prompt: String,
    /// Null when it is the model of the settings.
    model: Option<String>,
    /// What it may ask for.
    tools: Vec<&'static str>,
    /// `active`, `inactive`, or `processing` while it is at something.
    status: &'static str,
    version: u32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl AssistantAnswer {
    fn of(state: &AppState, entry: Entry<AssistantBody>) -> Self {
        let Entry { id, customer_id, name, body, version, created_at, updated_at } = entry;
        let status = match body.active {
            false => "inactive",
            true if state.assistance.chats.is_at_work(id) => "processing",
            true => "active",
        };
        Self {
            id: id.as_uuid(),
            customer_id: customer_id.map(CustomerId::as_uuid),
            name,
            description: body.description,
            role: body.role.as_str(),
            prompt: body.prompt,
            model: body.model,
            tools: body.tools.into_iter().map(ToolName::as_str).collect(),
            status,
            version,
            created_at,
            updated_at,
        }
    }
}

fn tools(names: Vec<String>) -> Result<BTreeSet<ToolName>, Problem> {
    let known = || ToolName::ALL.iter().map(|tool| tool.as_str()).collect::<Vec<_>>().join(", ");
    names
        .into_iter()
        .enumerate()
        .map(|(index, name)| {
            ToolName::parse(&name).ok_or_else(|| {
                Problem::invalid(
                    format!("/tools/{index}"),
                    format!("one of {} is expected", known()),
                )
            })
        })
        .collect()
}

/// The assistants, in the order of their creation.
#[utoipa::path(
    get, path = "/assistants", tag = "assistant", operation_id = "list_assistants",
    params(PageQuery), responses((status = 200, body = ListAnswer<AssistantAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadAssistants>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let page = page.0.try_into()?;
    let page = state.assistance.workspace.list::<AssistantBody>(&permit, &page).await?;
    Ok(web::Json(ListAnswer::of(page, |entry| AssistantAnswer::of(&state, entry))))
}

/// Set up an assistant. It reads by the rights of whoever asks it, and proposes; it runs nothing.
#[utoipa::path(
    post, path = "/assistants", tag = "assistant", operation_id = "create_assistant",
    request_body = AssistantRequest,
    responses(
        (status = 201, body = AssistantAnswer),
        (status = 404, description = "no such customer"), (status = 422),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageAssistants>,
    body: Json<AssistantRequest>,
) -> Result<impl Responder, Problem> {
    let wish = body.value().await?;
    let usual = AssistantBody::default();
    let body = AssistantBody {
        description: wish.description,
        role: wish.role.map_or(usual.role, Into::into),
        prompt: wish.prompt,
        model: wish.model,
        tools: wish.tools.map_or(Ok(usual.tools), tools)?,
        active: wish.status != Some(AssistantStatus::Inactive),
    };
    let customer = wish.customer_id.map(CustomerId::from_uuid);
    let workspace = &state.assistance.workspace;
    let entry = workspace.create_assistant(&permit, customer, wish.name, body).await?;
    let location = format!("/api/v1/assistants/{}", entry.id);
    let version = etag(entry.version);
    let answer = AssistantAnswer::of(&state, entry);
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, location))
        .insert_header(version)
        .json(answer))
}

/// One assistant.
#[utoipa::path(
    get, path = "/assistants/{id}", tag = "assistant", operation_id = "read_assistant",
    params(("id" = Uuid, Path)), responses((status = 200, body = AssistantAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadAssistants>,
    id: Id<AssistantId>,
) -> Result<impl Responder, Problem> {
    let entry = state.assistance.workspace.get::<AssistantBody>(&permit, id.get()?).await?;
    let version = etag(entry.version);
    Ok(HttpResponse::Ok().insert_header(version).json(AssistantAnswer::of(&state, entry)))
}

/// Change an assistant.
#[utoipa::path(
    put, path = "/assistants/{id}", tag = "assistant", operation_id = "update_assistant",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    request_body = AssistantUpdate,
    responses(
        (status = 200, body = AssistantAnswer),
        (status = 403, description = "it is of all customers, and you work for some"),
        (status = 404), (status = 412), (status = 422),
    ),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageAssistants>,
    id: Id<AssistantId>,
    expected: IfMatch,
    body: Json<AssistantUpdate>,
) -> Result<impl Responder, Problem> {
    let wish = body.value().await?;
    let tools = wish.tools.map(tools).transpose()?;
    let change = |before: AssistantBody| Change {
        name: wish.name.clone(),
        body: AssistantBody {
            description: wish.description.clone().or(before.description),
            role: wish.role.map_or(before.role, Into::into),
            prompt: wish.prompt.clone().unwrap_or(before.prompt),
            model: wish.model.clone().or(before.model),
            tools: tools.clone().unwrap_or(before.tools),
            active: wish.status.map_or(before.active, |it| it == AssistantStatus::Active),
        },
    };
    let workspace = &state.assistance.workspace;
    let entry = workspace.change_assistant(&permit, id.get()?, expected.0, change).await?;
    let version = etag(entry.version);
    Ok(HttpResponse::Ok().insert_header(version).json(AssistantAnswer::of(&state, entry)))
}

/// Delete an assistant. Conversations with it go on with the usual one.
#[utoipa::path(
    delete, path = "/assistants/{id}", tag = "assistant", operation_id = "delete_assistant",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 403), (status = 404), (status = 412)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageAssistants>,
    id: Id<AssistantId>,
    expected: IfMatch,
) -> Result<impl Responder, Problem> {
    state.assistance.workspace.delete::<AssistantBody>(&permit, id.get()?, expected.0).await?;
    Ok(HttpResponse::NoContent())
}
