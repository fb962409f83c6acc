//! Looking commands up.

use actix_web::{HttpRequest, HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_commands::{CommandFilter, CommandsError, SafetyLevel, Status};
use muster_kernel::{AgentId, CommandId, CustomerId, Permit, RolloutId, RunId, act};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::CommandAnswer;
use crate::extract::{CommandsOf, Id, ListAnswer, May, PageQuery, Query};
use crate::routes::older;
use crate::{AppState, Problem};

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StatusParameter {
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
    Expired,
}

impl From<StatusParameter> for Status {
    fn from(status: StatusParameter) -> Self {
        match status {
            StatusParameter::Pending => Self::Pending,
            StatusParameter::Running => Self::Running,
            StatusParameter::Completed => Self::Completed,
            StatusParameter::Failed => Self::Failed,
            StatusParameter::Cancelled => Self::Cancelled,
            StatusParameter::Expired => Self::Expired,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SafetyParameter {
    Safe,
    Caution,
    Dangerous,
}

impl From<SafetyParameter> for SafetyLevel {
    fn from(level: SafetyParameter) -> Self {
        match level {
            SafetyParameter::Safe => Self::Safe,
            SafetyParameter::Caution => Self::Caution,
            SafetyParameter::Dangerous => Self::Dangerous,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CommandQuery {
    #[param(inline)]
    status: Option<StatusParameter>,
    agent_id: Option<Uuid>,
    /// Only this run's.
    run_id: Option<Uuid>,
    /// Only those of this rollout.
    rollout_id: Option<Uuid>,
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// Only those whose command text contains this.
    q: Option<String>,
    /// Only those that this user or key asked for.
    requested_by: Option<Uuid>,
    /// Only those that were thought to be this dangerous.
    #[param(inline)]
    safety_level: Option<SafetyParameter>,
    /// Only those that were given at this instant or later.
    from: Option<DateTime<Utc>>,
    /// Only those that were given before this instant.
    to: Option<DateTime<Utc>>,
}

async fn page(
    state: &AppState,
    permit: &Permit<act::ReadCommands>,
    query: CommandQuery,
    agent_id: Option<AgentId>,
    page: PageQuery,
) -> Result<web::Json<ListAnswer<CommandAnswer>>, Problem> {
    let filter = CommandFilter {
        agent_id: agent_id.or_else(|| query.agent_id.map(AgentId::from_uuid)),
        customer_id: query.customer_id.map(CustomerId::from_uuid),
        run_id: query.run_id.map(RunId::from_uuid),
        rollout_id: query.rollout_id.map(RolloutId::from_uuid),
        status: query.status.map(Into::into),
        q: query.q,
        requested_by: query.requested_by,
        safety_level: query.safety_level.map(Into::into),
        from: query.from,
        to: query.to,
    };
    let page = state.commands.list(permit, &filter, &page.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, |command| CommandAnswer::of(&command))))
}

/// All commands, the newest first.
#[utoipa::path(
    get, path = "/commands", tag = "commands", operation_id = "list_commands",
    params(CommandQuery, PageQuery), responses((status = 200, body = ListAnswer<CommandAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadCommands>,
    query: Query<CommandQuery>,
    list: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    page(&state, &permit, query.0, None, list.0).await
}

/// An agent's commands, the newest first. An agent of Remote Agent Manager that asks for its own
/// beneath `/api` is handed what it is to run instead, in that product's words.
#[utoipa::path(
    get, path = "/agents/{id}/commands", tag = "commands", operation_id = "list_agent_commands",
    params(("id" = Uuid, Path), CommandQuery, PageQuery),
    responses((status = 200, body = ListAnswer<CommandAnswer>), (status = 404)),
)]
pub(crate) async fn of_agent(
    state: web::Data<AppState>,
    asks: CommandsOf,
    id: Id<AgentId>,
    query: Query<CommandQuery>,
    list: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    match asks {
        CommandsOf::Agent(id) => Ok(HttpResponse::Ok().json(older::orders(&state, id).await?)),
        CommandsOf::Reader(permit) => {
            let page = page(&state, &permit, query.0, Some(id.get()?), list.0).await?;
            Ok(HttpResponse::Ok().json(page))
        }
    }
}

/// One command, with its output.
#[utoipa::path(
    get, path = "/commands/{id}", tag = "commands", operation_id = "read_command",
    params(("id" = Uuid, Path)), responses((status = 200, body = CommandAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadCommands>,
    id: Id<CommandId>,
) -> Result<impl Responder, Problem> {
    let command = state.commands.get(&permit, id.get()?).await?;
    Ok(web::Json(CommandAnswer::whole(&state, &command).await?))
}

/// One command of an agent, with its output.
#[utoipa::path(
    get, path = "/agents/{id}/commands/{command_id}", tag = "commands",
    operation_id = "read_agent_command",
    params(("id" = Uuid, Path), ("command_id" = Uuid, Path)),
    responses((status = 200, body = CommandAnswer), (status = 404)),
)]
pub(crate) async fn one_of_agent(
    state: web::Data<AppState>,
    permit: May<act::ReadCommands>,
    agent_id: Id<AgentId>,
    request: HttpRequest,
) -> Result<impl Responder, Problem> {
    let id: Option<CommandId> =
        request.match_info().get("command_id").and_then(|text| text.parse().ok());
    let command = state.commands.get(&permit, id.ok_or(CommandsError::NotFound)?).await?;
    if command.agent_id != agent_id.get()? {
        return Err(CommandsError::NotFound.into());
    }
    Ok(web::Json(CommandAnswer::whole(&state, &command).await?))
}
