//! Why a connection ends.

use actix_ws::CloseCode;
use muster_agents::EndReason;
use muster_kernel::{AgentId, StorageError};

use crate::link::CloseReason;

/// The longest detail that is kept, in characters.
const MAX_DETAIL: usize = 500;

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer closed it.
    Closed,
    /// The transport broke, or the peer does not take what is sent to it.
    Gone,
    /// No frame came for too long.
    TimedOut,
    /// A frame that makes no sense, and why.
    Malformed(String),
    /// A frame that is too large.
    TooLarge,
    /// A frame that makes sense and is not allowed here.
    Violation(&'static str),
    /// The database failed; the agent says it again on its next connection.
    Storage(StorageError),
    /// The server's code failed on it; the log says how.
    Defect,
    /// The server wants it to end.
    Told(CloseReason),
}

impl From<StorageError> for End {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl End {
    /// What the peer is told, if it can still be told anything.
    pub(crate) fn close_reason(&self) -> Option<actix_ws::CloseReason> {
        let (code, description) = match self {
            Self::Closed => (CloseCode::Normal, ""),
            Self::Gone => return None,
            Self::TimedOut => (CloseCode::Policy, "no frame for 60 seconds"),
            Self::Malformed(_) => (CloseCode::Invalid, "the frame could not be read"),
            Self::TooLarge => (CloseCode::Size, "a frame may have at most 256 KiB"),
            Self::Violation(rule) => (CloseCode::Policy, *rule),
            Self::Storage(_) => (CloseCode::Again, "the server's database failed; try again"),
            Self::Defect => (CloseCode::Error, "the server failed; its log says how"),
            Self::Told(CloseReason::Replaced) => {
                (CloseCode::Policy, "this agent has connected again")
            }
            Self::Told(CloseReason::Removed) => (CloseCode::Policy, "this agent was removed"),
            Self::Told(CloseReason::Shutdown) => (CloseCode::Away, "the server is shutting down"),
            Self::Told(CloseReason::Rejected) => {
                (CloseCode::Policy, "this copy of a machine was rejected")
            }
            Self::Told(CloseReason::Separated) => (CloseCode::Normal, "connect as who you are now"),
            Self::Told(CloseReason::Promoted) => {
                (CloseCode::Normal, "connect again: this is the machine now")
            }
        };
        Some(actix_ws::CloseReason { code, description: Some(description.to_owned()) })
    }

    /// The same for the history.
    pub(crate) const fn reason(&self) -> EndReason {
        match self {
            Self::Closed => EndReason::ClosedByAgent,
            Self::Gone | Self::Defect => EndReason::Lost,
            Self::TimedOut => EndReason::TimedOut,
            Self::Malformed(_) => EndReason::Malformed,
            Self::TooLarge => EndReason::TooLarge,
            Self::Violation(_) => EndReason::Violation,
            Self::Storage(_) => EndReason::DatabaseFailed,
            Self::Told(CloseReason::Replaced) => EndReason::Replaced,
            Self::Told(CloseReason::Removed) => EndReason::AgentRemoved,
            Self::Told(CloseReason::Shutdown) => EndReason::ServerShutdown,
            Self::Told(CloseReason::Rejected) => EndReason::Rejected,
            Self::Told(CloseReason::Separated) => EndReason::Separated,
            Self::Told(CloseReason::Promoted) => EndReason::Promoted,
        }
    }

    /// What was wrong, where something was.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Self::Malformed(detail) => Some(detail.chars().take(MAX_DETAIL).collect()),
            Self::Violation(rule) => Some((*rule).to_owned()),
            Self::Defect => Some("the server failed; its log says how".to_owned()),
            Self::Closed
            | Self::Gone
            | Self::TimedOut
            | Self::TooLarge
            | Self::Storage(_)
            | Self::Told(_) => None,
        }
    }

    pub(crate) fn log(&self, agent_id: AgentId) {
        match self {
            Self::Closed | Self::Gone | Self::TimedOut | Self::Told(_) => {
                tracing::info!(agent.id = %agent_id, connection.end = ?self, "agent disconnected");
            }
            Self::Malformed(detail) => {
                tracing::warn!(
                    agent.id = %agent_id, error.detail = detail,
                    "an agent sent what could not be read and was disconnected"
                );
            }
            Self::TooLarge | Self::Violation(_) => {
                tracing::warn!(
                    agent.id = %agent_id, connection.end = ?self,
                    "an agent broke the protocol and was disconnected"
                );
            }
            Self::Defect => {
                tracing::error!(agent.id = %agent_id, "the server failed; an agent was disconnected");
            }
            Self::Storage(error) => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::error!(
                    agent.id = %agent_id, error.cause = cause,
                    "the database failed; the agent was disconnected and will say it again"
                );
            }
        }
    }
}
