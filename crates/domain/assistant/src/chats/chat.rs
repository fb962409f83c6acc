//! A conversation and its turns.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use muster_commands::Requester;
use muster_kernel::{
    AgentId, AssistantId, Audited, ChatId, CustomerId, Place, ProjectId, ProposalId, Timestamp,
    TurnId,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::Usage;
use crate::redact::redact;
use crate::workspace::Role;

/// How long a turn may go on; what is older and has no end was interrupted.
pub(crate) const PATIENCE: TimeDelta = TimeDelta::minutes(4);
/// How much of a question the audit log shows, in characters.
const AUDITED_TEXT: usize = 1000;

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// Its id.
    pub id: ChatId,
    /// Whose machines it is about; all that whoever asks may see when absent.
    pub customer_id: Option<CustomerId>,
    /// The project that it belongs to: who sees that sees the conversation.
    pub project_id: Option<ProjectId>,
    /// Who answers; the usual one when absent.
    pub assistant_id: Option<AssistantId>,
    /// Who began it.
    pub owner: Requester,
    /// What they sign in with, or what the key is called.
    pub owner_name: String,
    /// What it is about: the beginning of the first question.
    pub title: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When something was last said.
    pub updated_at: Timestamp,
}

impl Audited for Chat {
    fn place(&self) -> Place {
        Place { kind: "chat", id: self.id.as_uuid(), customer_id: self.customer_id }
    }

    fn facts(&self) -> Value {
        json!({
            "project_id": self.project_id,
            "assistant_id": self.assistant_id,
            "title": self.title,
        })
    }
}

/// Something that was done for an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Step {
    /// Another role said something.
    Said {
        /// Which.
        role: Role,
        /// What.
        text: String,
    },
    /// A tool read something, and the model was told.
    Read {
        /// Which tool.
        tool: String,
        /// What it was asked, without secrets.
        arguments: Value,
        /// How much of it left the house, in characters.
        characters: usize,
        /// Whether there was nothing to be had.
        failed: bool,
    },
    /// Something was proposed.
    Proposed {
        /// By which tool.
        tool: String,
        /// Which proposal.
        proposal_id: ProposalId,
    },
}

/// How far a turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TurnStatus {
    /// The assistant is at it.
    Running,
    /// It answered.
    Completed,
    /// There is no answer, or only a part of one.
    Failed,
}

impl TurnStatus {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// How a turn went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnState {
    /// The assistant is at it, or was when the server ended: [`Turn::status`] knows.
    Running,
    /// It answered.
    Completed {
        /// When.
        at: Timestamp,
    },
    /// There is no answer, or only a part of one.
    Failed {
        /// Why, for people.
        why: String,
        /// Since when.
        at: Timestamp,
    },
}

/// What somebody said in a conversation, and what came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Its id.
    pub id: TurnId,
    /// The conversation.
    pub chat_id: ChatId,
    /// Who said it.
    pub asked_by: Requester,
    /// What they sign in with, or what the key is called.
    pub asker_name: String,
    /// The machine that it is about, if one was named.
    pub agent_id: Option<AgentId>,
    /// What they said.
    pub message: String,
    /// What the assistant answered, as far as it came.
    pub response: String,
    /// What was done for it: what left the house, and what was proposed.
    pub steps: Vec<Step>,
    /// How many secrets of which kind were taken out before anything left.
    pub redacted: BTreeMap<String, u64>,
    /// The provider that was asked.
    pub provider: String,
    /// The model that was asked.
    pub model: String,
    /// What it took.
    pub usage: Usage,
    /// When it was said.
    pub created_at: Timestamp,
    /// How it went.
    pub state: TurnState,
}

impl Turn {
    /// How far it is at the instant `now`.
    pub fn status(&self, now: Timestamp) -> TurnStatus {
        match self.state {
            TurnState::Running if now - self.created_at >= PATIENCE => TurnStatus::Failed,
            TurnState::Running => TurnStatus::Running,
            TurnState::Completed { .. } => TurnStatus::Completed,
            TurnState::Failed { .. } => TurnStatus::Failed,
        }
    }

    /// Why there is no whole answer, at the instant `now`.
    pub fn error(&self, now: Timestamp) -> Option<&str> {
        match &self.state {
            TurnState::Failed { why, .. } => Some(why),
            TurnState::Running if self.status(now) == TurnStatus::Failed => {
                Some("it was interrupted: ask again")
            }
            TurnState::Running | TurnState::Completed { .. } => None,
        }
    }

    /// When it ended.
    pub const fn finished_at(&self) -> Option<Timestamp> {
        match self.state {
            TurnState::Running => None,
            TurnState::Completed { at } | TurnState::Failed { at, .. } => Some(at),
        }
    }

    /// What the audit log shows of the question: without secrets.
    pub fn facts(&self) -> Value {
        let message = redact(&self.message).text;
        json!({
            "turn_id": self.id,
            "message": message.chars().take(AUDITED_TEXT).collect::<String>(),
            "agent_id": self.agent_id,
            "provider": self.provider,
            "model": self.model,
        })
    }

    pub(crate) fn count(&mut self, redacted: BTreeMap<&'static str, usize>) {
        for (kind, count) in redacted {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            let known = self.redacted.entry(kind.to_owned()).or_default();
            *known = known.saturating_add(count);
        }
    }
}
