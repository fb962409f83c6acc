//! The machines.

use std::collections::BTreeSet;

use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_agents::groups::GroupsError;
use muster_agents::{AgentChange, AgentFilter, AgentStatus, AgentView, AgentsError, RefreshError};
use muster_kernel::{
    AgentId, CustomerId, Dialect, GroupId, InvalidTags, Lack, Permit, ProblemCode, Tags, act,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::agent_query::{AgentQuery, SortQuery};
use super::connections::{CloneAnswer, ConnectionAnswer, ConnectionEntry};
use crate::extract::{Id, Json, ListAnswer, May, PageQuery, Query};
use crate::{AppState, Problem};

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
    /// The groups that it was put into; those with a filter are not among them.
    group_ids: Vec<Uuid>,
    machine_id: Option<String>,
    /// The older product whose agent it is: `dexagents`, `remote-agent-manager` or `deployflow`;
    /// `null` for Muster's own.
    dialect: Option<&'static str>,
    /// What it does not do because of that: `journal`, `streaming`, `cancel`, `signed_orders`.
    lacks: Vec<&'static str>,
    /// `once`: what was accepted runs and its result comes, whatever crashes. `at_most_once`: what
    /// was handed over and never told of again ends as `INTERRUPTED`.
    delivery: &'static str,
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
        let lacks = agent.dialect.map_or(&[][..], Dialect::lacks);
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
            group_ids: agent.groups.into_iter().map(GroupId::as_uuid).collect(),
            machine_id: agent.machine_id,
            dialect: agent.dialect.map(Dialect::as_str),
            lacks: lacks.iter().map(|lack| lack.as_str()).collect(),
            delivery: if lacks.contains(&Lack::Journal) { "at_most_once" } else { "once" },
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
            AgentsError::Refresh(RefreshError::Unable(_)) => {
                Self::new(ProblemCode::WrongState, text)
            }
            AgentsError::Refresh(RefreshError::TimedOut) => {
                Self::new(ProblemCode::AgentTimeout, text)
            }
            AgentsError::OtherOrder => Self::new(ProblemCode::Malformed, text),
            AgentsError::Denied(denied) => denied.into(),
            AgentsError::Storage(error) => error.into(),
        }
    }
}

/// A group that is no part of the path and not there.
fn no_group(error: GroupsError) -> Problem {
    match error {
        GroupsError::Unknown(_) => Problem::new(ProblemCode::NotFound, error.to_string()),
        error => error.into(),
    }
}

pub(super) async fn page(
    state: &AppState,
    permit: &Permit<act::ReadAgents>,
    query: AgentQuery,
    status: Option<AgentStatus>,
    sort: SortQuery,
    page: PageQuery,
) -> Result<web::Json<AgentList>, Problem> {
    let group = match query.group_id.map(GroupId::from_uuid) {
        None => None,
        Some(id) => Some(state.groups.membership(permit, id).await.map_err(no_group)?),
    };
    let customer_id = query.customer_id.map(CustomerId::from_uuid);
    let criteria = query.criteria(status).map_err(|error| {
        let (field, rule) = (error.field, error.rule);
        Problem::new(ProblemCode::Malformed, format!("{field}: {rule}"))
    })?;
    let (filter, order) = (AgentFilter { customer_id, criteria, group }, sort.order()?);
    let (page, counts) = state.agents.list(permit, &filter, order, &page.try_into()?).await?;
    Ok(web::Json(AgentList {
        page: ListAnswer::of(page, AgentAnswer::from),
        online: counts.online,
        offline: counts.offline,
    }))
}

/// The agents, in the order in which they enrolled unless another is asked for.
#[utoipa::path(
    get, path = "/agents", tag = "agents", operation_id = "list_agents",
    params(AgentQuery, SortQuery, PageQuery), responses((status = 200, body = AgentList)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
    query: Query<AgentQuery>,
    sort: Query<SortQuery>,
    list: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    page(&state, &permit, query.0, None, sort.0, list.0).await
}

/// A tag, and how many machines have it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TagAnswer {
    tag: String,
    agents: u64,
}

/// The tags that machines have, in the order of their letters.
#[utoipa::path(
    get, path = "/agents/tags", tag = "agents", operation_id = "list_agent_tags",
    responses((status = 200, body = ListAnswer<TagAnswer>)),
)]
pub(crate) async fn tags(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
) -> Result<impl Responder, Problem> {
    let tags = state.agents.tags(&permit).await?;
    let tags = tags.into_iter().map(|(tag, agents)| TagAnswer { tag, agents });
    Ok(web::Json(ListAnswer::whole(tags.collect())))
}

/// The agents that can be reached.
#[utoipa::path(
    get, path = "/agents/online", tag = "agents", operation_id = "list_online_agents",
    params(AgentQuery, SortQuery, PageQuery), responses((status = 200, body = AgentList)),
)]
pub(crate) async fn online(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
    query: Query<AgentQuery>,
    sort: Query<SortQuery>,
    list: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    page(&state, &permit, query.0, Some(AgentStatus::Online), sort.0, list.0).await
}

/// The agents that can't be reached.
#[utoipa::path(
    get, path = "/agents/offline", tag = "agents", operation_id = "list_offline_agents",
    params(AgentQuery, SortQuery, PageQuery), responses((status = 200, body = AgentList)),
)]
pub(crate) async fn offline(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
    query: Query<AgentQuery>,
    sort: Query<SortQuery>,
    list: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    page(&state, &permit, query.0, Some(AgentStatus::Offline), sort.0, list.0).await
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
    /// All groups without a filter that it is in from now on.
    group_ids: Option<Vec<Uuid>>,
    /// Gives the agent to another customer.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// An empty text removes the notes.
    notes: Option<String>,
}

/// The groups that an agent is to be in, if whoever asks may put it into those that are new to it
/// and take it out of those that are not among them.
async fn joinable(
    state: &AppState,
    permit: &Permit<act::ManageAgents>,
    reading: &Permit<act::ReadAgents>,
    id: AgentId,
    customer_id: Option<CustomerId>,
    groups: Vec<Uuid>,
) -> Result<BTreeSet<GroupId>, Problem> {
    let agent = state.agents.get(reading, id).await?.agent;
    let groups: BTreeSet<_> = groups.into_iter().map(GroupId::from_uuid).collect();
    let owner = customer_id.unwrap_or(agent.customer_id);
    let other = &groups ^ &agent.groups;
    let (new, left): (BTreeSet<_>, BTreeSet<_>) =
        other.into_iter().partition(|group| groups.contains(group));
    state.groups.check_joinable(permit, Some(owner), &new).await?;
    state.groups.check_joinable(permit, None, &left).await?;
    Ok(groups)
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
    reading: May<act::ReadAgents>,
    id: Id<AgentId>,
    body: Json<AgentUpdate>,
) -> Result<impl Responder, Problem> {
    let (id, body) = (id.get()?, body.value().await?);
    let customer_id = body.customer_id.map(CustomerId::from_uuid);
    if let Some(customer_id) = customer_id {
        // The new owner has to exist, too.
        state.customers.require(&permit, customer_id).await?;
    }
    let groups = match body.group_ids {
        None => None,
        Some(ids) => Some(joinable(&state, &permit, &reading, id, customer_id, ids).await?),
    };
    let change = AgentChange {
        hostname: body.hostname,
        tags: body.tags.map(Tags::parse).transpose()?,
        customer_id,
        notes: body.notes,
        groups,
    };
    Ok(web::Json(AgentAnswer::from(state.agents.update(&permit, id, change).await?)))
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
