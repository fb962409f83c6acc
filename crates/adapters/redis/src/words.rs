//! What nodes tell each other.

use std::collections::BTreeSet;

use muster_agents::{Connection, RefreshError};
use muster_kernel::events::{Channel, Event};
use muster_kernel::{AgentId, CommandId, ConnectionId, Dialect, NodeId, RunId};
use serde::{Deserialize, Serialize};

/// What a node has to say, told to all nodes at once, itself among them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Batch {
    /// Who says it.
    pub(crate) from: Option<NodeId>,
    /// Commands that are other than before or wrote something.
    pub(crate) commands: BTreeSet<CommandId>,
    /// Commands of runs that are other than before.
    pub(crate) of_runs: BTreeSet<CommandId>,
    /// Runs that were begun or are to go on otherwise.
    pub(crate) runs: BTreeSet<RunId>,
    /// Channels in which something was told.
    pub(crate) told: BTreeSet<Channel>,
    /// Channels in which nothing more will be told.
    pub(crate) closed: BTreeSet<Channel>,
    /// Who came and went, in order.
    pub(crate) moves: Vec<Move>,
    /// What single nodes are to do.
    pub(crate) errands: Vec<(NodeId, Errand)>,
}

/// Somebody came or went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Move {
    /// All that was said before is void: whoever is there is named anew.
    Anew,
    There(AgentId, Connection),
    Left(AgentId, ConnectionId),
}

/// Something that a node is to do for an agent that is connected to it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Errand {
    Look(AgentId),
    Cancel(AgentId, CommandId),
    Disconnect(AgentId),
    /// Answered by [`Errand::Refreshed`] with the same number.
    Refresh(AgentId, u64),
    Refreshed(u64, Answer),
}

/// What came of asking an agent for fresh information.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Answer {
    Fresh,
    Offline,
    TimedOut,
    Unable(Dialect),
}

impl From<Result<(), RefreshError>> for Answer {
    fn from(result: Result<(), RefreshError>) -> Self {
        match result {
            Ok(()) => Self::Fresh,
            Err(RefreshError::Offline) => Self::Offline,
            Err(RefreshError::TimedOut) => Self::TimedOut,
            Err(RefreshError::Unable(dialect)) => Self::Unable(dialect),
        }
    }
}

impl From<Answer> for Result<(), RefreshError> {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Fresh => Ok(()),
            Answer::Offline => Err(RefreshError::Offline),
            Answer::TimedOut => Err(RefreshError::TimedOut),
            Answer::Unable(dialect) => Err(RefreshError::Unable(dialect)),
        }
    }
}

/// What waits to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) batch: Batch,
    pub(crate) events: Vec<(Channel, Event)>,
    /// About how many bytes all that is.
    pub(crate) size: usize,
}
