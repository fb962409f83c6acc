//! How machines are and were connected, and machines that show the identity of others.

use actix_web::{Responder, web};
use chrono::{DateTime, Utc};
use muster_agents::{Connection, ConnectionRecord, CopyDecision, MachineCopy};
use muster_kernel::{AgentId, act};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::agents::AgentAnswer;
use crate::extract::{ConnectionIn, Id, Json, May};
use crate::{AppState, Problem};

/// A live connection.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionAnswer {
    id: Uuid,
    connected_at: DateTime<Utc>,
    /// `websocket` or `http`.
    transport: &'static str,
    peer_address: Option<String>,
    /// When its last frame came.
    last_frame_at: DateTime<Utc>,
}

impl From<Connection> for ConnectionAnswer {
    fn from(connection: Connection) -> Self {
        Self {
            id: connection.connection_id.as_uuid(),
            connected_at: connection.connected_at,
            transport: connection.transport.as_str(),
            peer_address: connection.peer_address,
            last_frame_at: connection.last_frame_at,
        }
    }
}

/// Another machine that shows the identity of the agent: a copied disk image, mostly.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CloneAnswer {
    connection_id: Uuid,
    /// Which boot of it.
    boot_id: String,
    hostname: String,
    peer_address: Option<String>,
    first_seen: DateTime<Utc>,
    /// `waiting` while it is connected, gets no commands and nobody has decided; `rejected` when it
    /// is not let in.
    state: &'static str,
}

impl From<MachineCopy> for CloneAnswer {
    fn from(copy: MachineCopy) -> Self {
        Self {
            connection_id: copy.connection_id.as_uuid(),
            boot_id: copy.incarnation.boot_id,
            hostname: copy.hostname,
            peer_address: copy.peer_address,
            first_seen: copy.first_seen,
            state: if copy.decision.is_some() { "rejected" } else { "waiting" },
        }
    }
}

/// A connection, and how it ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionEntry {
    id: Uuid,
    /// `websocket` or `http`.
    transport: &'static str,
    peer_address: Option<String>,
    /// Which boot of the machine it came from; null where the agent does not say.
    boot_id: Option<String>,
    began_at: DateTime<Utc>,
    /// When its last frame came; to the second while it is open on this node.
    last_frame_at: DateTime<Utc>,
    /// How many attempts to connect failed before it, as the agent counted them.
    reconnect_attempts: Option<u32>,
    /// Why the connection before it ended, from the agent's point of view.
    previous_end: Option<String>,
    /// Null while it is open.
    ended_at: Option<DateTime<Utc>>,
    /// `closed_by_agent`; `lost` (the network broke, or the agent took nothing any more);
    /// `timed_out` (no frame for a minute); `replaced` by a newer one; refused:
    /// `refused_violation`, `refused_malformed`, `refused_too_large`, `refused_wrong_version`,
    /// `refused_clone`; `separated` or `promoted`, of clones; `server_shutdown`, `server_killed`,
    /// `agent_removed`, `database_failed`.
    end_reason: Option<&'static str>,
    /// What was wrong, where something was.
    end_detail: Option<String>,
}

impl From<ConnectionRecord> for ConnectionEntry {
    fn from(record: ConnectionRecord) -> Self {
        let end = record.end;
        Self {
            id: record.id.as_uuid(),
            transport: record.transport.as_str(),
            peer_address: record.peer_address,
            boot_id: record.boot_id,
            began_at: record.began_at,
            last_frame_at: record.last_frame_at,
            reconnect_attempts: record.reconnect_attempts,
            previous_end: record.previous_end,
            ended_at: end.as_ref().map(|end| end.at),
            end_reason: end.as_ref().map(|end| end.reason.as_str()),
            end_detail: end.and_then(|end| end.detail),
        }
    }
}

/// An agent's latest connections.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionsAnswer {
    /// At most ten, the newest first.
    items: Vec<ConnectionEntry>,
}

/// The latest connections of an agent, with how and why each has ended. One that ended a moment ago
/// is there a second later.
#[utoipa::path(
    get, path = "/agents/{id}/connections", tag = "agents", operation_id = "agent_connections",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = ConnectionsAnswer), (status = 404)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
    id: Id<AgentId>,
) -> Result<impl Responder, Problem> {
    let connections = state.agents.connections(&permit, id.get()?).await?;
    let items = connections.into_iter().map(Into::into).collect();
    Ok(web::Json(ConnectionsAnswer { items }))
}

/// What a clone is.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CloneDecision {
    /// A machine of its own: it gets an id and a token of its own, and connects as that. It has
    /// nothing of the agent's tags, notes and history.
    Separate,
    /// The machine: it connects again in place of the other, whose connection ends.
    Replace,
    /// Not to be let in, until it is decided otherwise or the machine starts anew.
    Reject,
}

impl From<CloneDecision> for CopyDecision {
    fn from(decision: CloneDecision) -> Self {
        match decision {
            CloneDecision::Separate => Self::Separate,
            CloneDecision::Replace => Self::Replace,
            CloneDecision::Reject => Self::Reject,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloneResolution {
    #[schema(inline)]
    decision: CloneDecision,
}

/// Decide what another machine is that shows the identity of the agent.
#[utoipa::path(
    post, path = "/agents/{id}/clones/{connection_id}/resolve", tag = "agents",
    operation_id = "resolve_clone",
    params(("id" = Uuid, Path), ("connection_id" = Uuid, Path)),
    request_body = CloneResolution,
    responses((status = 200, body = AgentAnswer), (status = 404)),
)]
pub(crate) async fn resolve(
    state: web::Data<AppState>,
    permit: May<act::ResolveClones>,
    id: Id<AgentId>,
    connection: ConnectionIn,
    body: Json<CloneResolution>,
) -> Result<impl Responder, Problem> {
    let decision = body.value().await?.decision.into();
    let (id, connection) = (id.get()?, connection.get()?);
    let view = state.agents.resolve(&permit, id, connection, decision).await?;
    Ok(web::Json(AgentAnswer::from(view)))
}
