//! Connections of agents: the live one, and how earlier ones came and went.

use muster_kernel::{AgentId, ConnectionId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Metrics;

/// How many connections of each agent are kept.
pub const CONNECTIONS_KEPT: usize = 10;

/// How frames come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// One WebSocket.
    Websocket,
    /// A row of requests.
    Http,
}

impl Transport {
    /// Every transport.
    pub const ALL: &[Self] = &[Self::Websocket, Self::Http];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Websocket => "websocket",
            Self::Http => "http",
        }
    }

    /// Reads what [`Transport::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|transport| transport.as_str() == text)
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The agent closed it.
    ClosedByAgent,
    /// The network broke, or the agent did not take what was sent to it.
    Lost,
    /// No frame came for a minute.
    TimedOut,
    /// The same agent connected again.
    Replaced,
    /// The server refused it: a frame that is not allowed at this point.
    Violation,
    /// The server refused it: a frame that can't be read.
    Malformed,
    /// The server refused it: a frame of more than 256 KiB.
    TooLarge,
    /// The server refused it: no version of the protocol that it speaks was offered.
    WrongVersion,
    /// The server refused it: a person rejected this copy of the machine.
    Rejected,
    /// The copy of a machine became an agent of its own.
    Separated,
    /// The copy of a machine takes its place.
    Promoted,
    /// The server was shut down.
    ServerShutdown,
    /// The server's process died.
    ServerKilled,
    /// The agent was removed.
    AgentRemoved,
    /// The server's database failed.
    DatabaseFailed,
}

impl EndReason {
    /// Every reason.
    pub const ALL: &[Self] = &[
        Self::ClosedByAgent,
        Self::Lost,
        Self::TimedOut,
        Self::Replaced,
        Self::Violation,
        Self::Malformed,
        Self::TooLarge,
        Self::WrongVersion,
        Self::Rejected,
        Self::Separated,
        Self::Promoted,
        Self::ServerShutdown,
        Self::ServerKilled,
        Self::AgentRemoved,
        Self::DatabaseFailed,
    ];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClosedByAgent => "closed_by_agent",
            Self::Lost => "lost",
            Self::TimedOut => "timed_out",
            Self::Replaced => "replaced",
            Self::Violation => "refused_violation",
            Self::Malformed => "refused_malformed",
            Self::TooLarge => "refused_too_large",
            Self::WrongVersion => "refused_wrong_version",
            Self::Rejected => "refused_clone",
            Self::Separated => "separated",
            Self::Promoted => "promoted",
            Self::ServerShutdown => "server_shutdown",
            Self::ServerKilled => "server_killed",
            Self::AgentRemoved => "agent_removed",
            Self::DatabaseFailed => "database_failed",
        }
    }

    /// Reads what [`EndReason::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionEnd {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: EndReason,
    /// What was wrong, where something was.
    pub detail: Option<String>,
}

/// One connection of an agent, for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// Which.
    pub id: ConnectionId,
    /// Whose.
    pub agent_id: AgentId,
    /// Which server process it was to.
    pub node_id: NodeId,
    /// How frames came and went.
    pub transport: Transport,
    /// From which address.
    pub peer_address: Option<String>,
    /// Which boot of its machine it came from, where the agent says.
    pub boot_id: Option<String>,
    /// When it began.
    pub began_at: Timestamp,
    /// When its last frame came.
    pub last_frame_at: Timestamp,
    /// How many attempts to connect the agent counted before this one succeeded.
    pub reconnect_attempts: Option<u32>,
    /// Why the agent's connection before this one ended, from its own point of view.
    pub previous_end: Option<String>,
    /// How it ended; `None` while it is open.
    pub end: Option<ConnectionEnd>,
}

/// A live connection of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// Which.
    pub connection_id: ConnectionId,
    /// Since when.
    pub connected_at: Timestamp,
    /// How frames come and go.
    pub transport: Transport,
    /// Whether it is a row of plain requests, on which nothing can be sent: such rows may come to
    /// several nodes at once.
    #[serde(default)]
    pub plain: bool,
    /// From which address.
    pub peer_address: Option<String>,
    /// When its last frame came.
    pub last_frame_at: Timestamp,
    /// What its last heartbeat said.
    pub metrics: Option<Metrics>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for reason in EndReason::ALL {
            assert_eq!(EndReason::parse(reason.as_str()), Some(*reason));
        }
        for transport in Transport::ALL {
            assert_eq!(Transport::parse(transport.as_str()), Some(*transport));
        }
    }
}
