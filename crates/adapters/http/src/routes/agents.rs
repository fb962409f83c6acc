//! The machines.

use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_agents::{
    AgentChange, AgentFilter, AgentStatus, AgentView, AgentsError, OsType, RefreshError,
};
use muster_kernel::{AgentId, CustomerId, InvalidTags, Permit, ProblemCode, Tags, act};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::connections::{CloneAnswer, ConnectionAnswer, ConnectionEntry};
use crate::extract::{Id, Json, ListAnswer, May, PageQuery, Query};
use crate::{AppState, Problem};

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StatusParameter {
    Online,
    Offline,
}

impl From<StatusParameter> for AgentStatus {
    fn from(status: StatusParameter) -> Self {
        match status {
            StatusParameter::Online => Self::Online,
            StatusParameter::Offline => Self::Offline,
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OsTypeParameter {
    Linux,
    Windows,
    Macos,
    Other,
}

impl From<OsTypeParameter> for OsType {
    fn from(os_type: OsTypeParameter) -> Self {
        match os_type {
            OsTypeParameter::Linux => Self::Linux,
            OsTypeParameter::Windows => Self::Windows,
            OsTypeParameter::Macos => Self::Macos,
            OsTypeParameter::Other => Self::Other,
        }
    }
}

impl From<OsType> for OsTypeParameter {
    fn from(os_type: OsType) -> Self {
        match os_type {
            OsType::Linux => Self::Linux,
            OsType::Windows => Self::Windows,
            OsType::Macos => Self::Macos,
            OsType::Other => Self::Other,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AgentQuery {
    /// Only those that can, or can't, be reached.
    #[param(inline)]
    status: Option<StatusParameter>,
    #[param(inline)]
    os_type: Option<OsTypeParameter>,
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// Only those with this tag.
    tag: Option<String>,
    /// Only those with this version of the agent program.
    version: Option<String>,
    /// Only those whose host name, address, operating system or notes contain this.
    q: Option<String>,
}

/// A managed machine.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AgentAnswer {
    id: Uuid,
    customer_id: Uuid,
    hostname: String,
    /// `online` while connected or seen within 60 seconds, else `offline`.
    status: &'static str,
    ip_address: Option<String>,
    /// `linux`, `windows`, `macos` or `other`.
    os_type: &'static str,
    os: Option<String>,
    version: Option<String>,
    capabilities: Vec<String>,
    tags: Vec<String>,
    notes: Option<String>,
    machine_id: Option<String>,
    last_seen: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// What the machine last told about itself.
    #[schema(value_type = Option<Object>)]
    system_info: Option<muster_agents::SystemInfo>,
    /// What its last heartbeat on this connection said.
    #[schema(value_type = Option<Object>)]
    metrics: Option<muster_agents::Metrics>,
    connection: Option<ConnectionAnswer>,
    /// Other machines that show its identity; a person has to decide what they are.
    clones: Vec<CloneAnswer>,
}

impl From<AgentView> for AgentAnswer {
    fn from(view: AgentView) -> Self {
        let AgentView { agent, status, connection, copies } = view;
        Self {
            id: agent.id.as_uuid(),
            customer_id: agent.customer_id.as_uuid(),
            hostname: agent.hostname,
            status: status.as_str(),
            ip_address: agent.ip_address,
            os_type: agent.os_type.as_str(),
            os: agent.os,
            version: agent.version,
            capabilities: agent.capabilities,
            tags: agent.tags.iter().map(ToOwned::to_owned).collect(),
            notes: agent.notes,
            machine_id: agent.machine_id,
            last_seen: agent.last_seen,
            created_at: agent.created_at,
            updated_at: agent.updated_at,
            system_info: agent.system_info,
            metrics: connection.as_ref().and_then(|connection| connection.metrics),
            connection: connection.map(Into::into),
            clones: copies.into_iter().map(Into::into).collect(),
        }
    }
}

/// A page of agents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AgentList {
    #[serde(flatten)]
    page: ListAnswer<AgentAnswer>,
    /// How many agents that pass the filters can be reached.
    online: u64,
    /// How many can't.
    offline: u64,
}

/// Whether a machine can be reached.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusAnswer {
    agent_id: Uuid,
    /// `online` or `offline`.
    status: &'static str,
    last_seen: Option<DateTime<Utc>>,
    /// Seconds since it was last seen.
    seconds_since_heartbeat: Option<i64>,
    connected: bool,
    connection: Option<ConnectionAnswer>,
    /// The connection that ended last, and why.
    last_end: Option<ConnectionEntry>,
    clones: Vec<CloneAnswer>,
}

impl From<InvalidTags> for Problem {
    fn from(error: InvalidTags) -> Self {
        Self::invalid("/tags", error.0)
    }
}

impl From<AgentsError> for Problem {
    fn from(error: AgentsError) -> Self {
        let text = error.to_string();
        match error {
            AgentsError::NotFound | AgentsError::NoSuchCopy => {
                Self::new(ProblemCode::NotFound, text)
            }
            AgentsError::Invalid(error) => error.into(),
            AgentsError::Refresh(RefreshError::Offline) => {
                Self::new(ProblemCode::AgentOffline, text)
            }
            AgentsError::Refresh(RefreshError::TimedOut) => {
                Self::new(ProblemCode::AgentTimeout, text)
            }
            AgentsError::Denied(denied) => denied.into(),
            AgentsError::Storage(error) => error.into(),
        }
    }
}

pub(super) async fn page(
    state: &AppState,
    permit: &Permit<act::ReadAgents>,
    query: AgentQuery,
    status: Option<AgentStatus>,
    page: PageQuery,
) -> Result<web::Json<AgentList>, Problem> {
    let filter = AgentFilter {
        status: None,
        os_type: query.os_type.map(Into::into),
        customer_id: query.customer_id.map(CustomerId::from_uuid),
        tag: query.tag,
        version: query.version,
        q: query.q,
    };
    let status = status.or_else(|| query.status.map(Into::into));
    let (page, counts) = state.agents.list(permit, &filter, status, &page.try_into()?).await?;
    Ok(web::Json(AgentList {
        page: ListAnswer::of(page, AgentAnswer::from),
        online: counts.online,
        offline: counts.offline,
    }))
}

/// The agents, in the order in which they enrolled.
#[utoipa::path(
    get, path = "/agents", tag = "agents", operation_id = "list_agents",
    params(AgentQuery, PageQuery), responses((status = 200, body = AgentList)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
    query: Query<AgentQuery>,
    list: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    page(&state, &permit, query.0, None, list.0).await
}

/// The agents that can be reached.
#[utoipa::path(
    get, path = "/agents/online", tag = "agents", operation_id = "list_online_agents",
    params(AgentQuery, PageQuery), responses((status = 200, body = AgentList)),
)]
pub(crate) async fn online(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
    query: Query<AgentQuery>,
    list: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    page(&state, &permit, query.0, Some(AgentStatus::Online), list.0).await
}

/// The agents that can't be reached.
#[utoipa::path(
    get, path = "/agents/offline", tag = "agents", operation_id = "list_offline_agents",
    params(AgentQuery, PageQuery), responses((status = 200, body = AgentList)),
)]
pub(crate) async fn offline(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
    query: Query<AgentQuery>,
    list: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    page(&state, &permit, query.0, Some(AgentStatus::Offline), list.0).await
}

/// Whether an agent can be reached.
#[utoipa::path(
    get, path = "/agents/status/{id}", tag = "agents", operation_id = "agent_status",
    params(("id" = Uuid, Path)), responses((status = 200, body = StatusAnswer), (status = 404)),
)]
pub(crate) async fn status(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
    id: Id<AgentId>,
) -> Result<impl Responder, Problem> {
    let (id, now) = (id.get()?, state.clock.now());
    let agent = AgentAnswer::from(state.agents.get(&permit, id).await?);
    let connections = state.agents.connections(&permit, id).await?;
    let last_end = connections.into_iter().find(|record| record.end.is_some());
    Ok(web::Json(StatusAnswer {
        agent_id: agent.id,
        status: agent.status,
        last_seen: agent.last_seen,
        seconds_since_heartbeat: agent.last_seen.map(|seen| (now - seen).num_seconds().max(0)),
        connected: agent.connection.is_some(),
        connection: agent.connection,
        last_end: last_end.map(Into::into),
        clones: agent.clones,
    }))
}

/// One agent.
#[utoipa::path(
    get, path = "/agents/{id}", tag = "agents", operation_id = "read_agent",
    params(("id" = Uuid, Path)), responses((status = 200, body = AgentAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
    id: Id<AgentId>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(AgentAnswer::from(state.agents.get(&permit, id.get()?).await?)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentUpdate {
    hostname: Option<String>,
    /// All of its tags from now on.
    tags: Option<Vec<String>>,
    /// Gives the agent to another customer.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// An empty text removes the notes.
    notes: Option<String>,
}

/// Change an agent; what is left out stays.
#[utoipa::path(
    put, path = "/agents/{id}", tag = "agents", operation_id = "update_agent",
    params(("id" = Uuid, Path)), request_body = AgentUpdate,
    responses((status = 200, body = AgentAnswer), (status = 404)),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageAgents>,
    id: Id<AgentId>,
    body: Json<AgentUpdate>,
) -> Result<impl Responder, Problem> {
    let body = body.value().await?;
    let customer_id = body.customer_id.map(CustomerId::from_uuid);
    if let Some(customer_id) = customer_id {
        // The new owner has to exist, too.
        state.customers.require(&permit, customer_id).await?;
    }
    let change = AgentChange {
        hostname: body.hostname,
        tags: body.tags.map(Tags::parse).transpose()?,
        customer_id,
        notes: body.notes,
    };
    Ok(web::Json(AgentAnswer::from(state.agents.update(&permit, id.get()?, change).await?)))
}

/// Delete an agent: its token opens nothing any more, and what it had not begun is cancelled. Its
/// history stays.
#[utoipa::path(
    delete, path = "/agents/{id}", tag = "agents", operation_id = "delete_agent",
    params(("id" = Uuid, Path)), responses((status = 204), (status = 404)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::DeleteAgents>,
    id: Id<AgentId>,
) -> Result<impl Responder, Problem> {
    state.agents.delete(&permit, id.get()?).await?;
    Ok(HttpResponse::NoContent())
}

/// Ask the agent what kind of machine it is, and wait for the answer.
#[utoipa::path(
    post, path = "/agents/{id}/refresh", tag = "agents", operation_id = "refresh_agent",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = AgentAnswer),
        (status = 409, description = "`AGENT_OFFLINE`"),
        (status = 504, description = "`AGENT_TIMEOUT`"),
    ),
)]
pub(crate) async fn refresh(
    state: web::Data<AppState>,
    permit: May<act::ManageAgents>,
    id: Id<AgentId>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(AgentAnswer::from(state.agents.refresh(&permit, id.get()?).await?)))
}
