//! Something that an assistant proposes to run, and what becomes of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use muster_commands::approvals::Decision;
use muster_commands::runs::{Strategy, Target, Template, Work};
use muster_commands::{Requester, SafetyLevel};
use muster_kernel::{
    AgentId, ApprovalId, AssistantId, Audited, ChatId, CustomerId, Place, ProjectId, ProposalId,
    RunId, Timestamp, TurnId, VersionId,
};
use serde_json::{Value, json};

/// How long a proposal waits.
pub const WAITS_FOR: TimeDelta = TimeDelta::hours(24);
/// How much of a command's text the audit log shows, in characters; the proposal has all of it.
const AUDITED_TEXT: usize = 1000;

/// How far a proposal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProposalStatus {
    /// It waits for a person.
    Proposed,
    /// Somebody approved it.
    Approved,
    /// Somebody rejected it.
    Rejected,
    /// Another one took its place.
    Superseded,
    /// Nobody decided in time.
    Expired,
}

impl ProposalStatus {
    /// Every status.
    pub const ALL: &[Self] =
        &[Self::Proposed, Self::Approved, Self::Rejected, Self::Superseded, Self::Expired];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
        }
    }

    /// Reads what [`ProposalStatus::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text)
    }
}

/// What came of a proposal that was approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It runs.
    Run(RunId),
    /// It is dangerous where the customer asks for a second person, and waits for one.
    Waits(ApprovalId),
}

/// What was decided. That nobody decided in time, the clock says: [`Proposal::status`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalState {
    /// Nothing yet.
    Proposed,
    /// That it runs.
    Approved {
        /// Who decided; it runs under their name.
        decision: Decision,
        /// What came of it, as soon as it has begun.
        outcome: Option<Outcome>,
    },
    /// That it does not run.
    Rejected {
        /// Who decided.
        decision: Decision,
        /// Why, if they said it.
        reason: Option<String>,
    },
    /// Another one took its place.
    Superseded {
        /// Which.
        by: ProposalId,
    },
}

/// Something that happens to a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalEvent {
    /// Somebody approved it.
    Approved(Decision),
    /// Somebody rejected it, and perhaps said why.
    Rejected(Decision, Option<String>),
    /// What was approved has begun.
    Began(Outcome),
    /// The assistant proposed another one instead.
    Superseded(ProposalId),
}

impl ProposalEvent {
    /// What it is called in the audit log.
    pub const fn deed(&self) -> &'static str {
        match self {
            Self::Approved(_) => "proposal.approve",
            Self::Rejected(..) => "proposal.reject",
            Self::Began(_) => "proposal.begin",
            Self::Superseded(_) => "proposal.supersede",
        }
    }
}

/// Which assistant proposed something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// Which, if it is one that people made.
    pub assistant_id: Option<AssistantId>,
    /// What people call it.
    pub name: String,
    /// Its model, if that is known.
    pub model: Option<String>,
}

/// Something that an assistant proposes to run: a record, until a person approves it.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Its id.
    pub id: ProposalId,
    /// The conversation in which it was proposed.
    pub chat_id: Option<ChatId>,
    /// The turn of that.
    pub turn_id: Option<TurnId>,
    /// The project in which it was proposed.
    pub project_id: Option<ProjectId>,
    /// Who proposed it.
    pub source: Source,
    /// Who had asked.
    pub asked_by: Requester,
    /// What they sign in with, or what the key is called.
    pub asker_name: String,
    /// On which machines, one by one.
    pub agent_ids: BTreeSet<AgentId>,
    /// Whose machines they are.
    pub customers: BTreeSet<CustomerId>,
    /// What.
    pub work: Work,
    /// The script of the library as it was when it was proposed; another one does not run.
    pub script_version_id: Option<VersionId>,
    /// How carefully.
    pub strategy: Strategy,
    /// What it does, in the assistant's words.
    pub explanation: String,
    /// How dangerous it is: what the model, a reviewer or Muster thinks, whichever is the most.
    pub safety_level: SafetyLevel,
    /// Why.
    pub safety_reasons: Vec<String>,
    /// When it was proposed.
    pub created_at: Timestamp,
    /// From then on nobody can approve it any more.
    pub expires_at: Timestamp,
    /// What was decided.
    pub state: ProposalState,
}

impl Proposal {
    /// How far it is at the instant `now`.
    pub fn status(&self, now: Timestamp) -> ProposalStatus {
        match &self.state {
            ProposalState::Proposed if now >= self.expires_at => ProposalStatus::Expired,
            ProposalState::Proposed => ProposalStatus::Proposed,
            ProposalState::Approved { .. } => ProposalStatus::Approved,
            ProposalState::Rejected { .. } => ProposalStatus::Rejected,
            ProposalState::Superseded { .. } => ProposalStatus::Superseded,
        }
    }

    /// What came of it.
    pub const fn outcome(&self) -> Option<Outcome> {
        match &self.state {
            ProposalState::Approved { outcome, .. } => *outcome,
            ProposalState::Proposed
            | ProposalState::Rejected { .. }
            | ProposalState::Superseded { .. } => None,
        }
    }

    /// The customer, when all machines are of one.
    pub fn customer_id(&self) -> Option<CustomerId> {
        self.customers.first().copied().filter(|_| self.customers.len() == 1)
    }

    /// What runs when it is approved: exactly what was proposed, on exactly these machines.
    pub fn template(&self) -> Template {
        Template {
            target: Target { agent_ids: self.agent_ids.clone(), ..Target::default() },
            work: self.work.clone(),
            secrets: None,
            strategy: self.strategy,
            expires_in: None,
        }
    }

    /// Does what `event` says where it can be done; says whether it was. It is decided about once
    /// and in time, and one thing comes of it.
    pub fn apply(&mut self, event: ProposalEvent) -> bool {
        let next = match (&self.state, event) {
            (ProposalState::Proposed, ProposalEvent::Approved(decision))
                if decision.at < self.expires_at =>
            {
                ProposalState::Approved { decision, outcome: None }
            }
            (ProposalState::Proposed, ProposalEvent::Rejected(decision, reason)) => {
                ProposalState::Rejected { decision, reason }
            }
            (ProposalState::Proposed, ProposalEvent::Superseded(by)) => {
                ProposalState::Superseded { by }
            }
            (
                ProposalState::Approved { decision, outcome: None },
                ProposalEvent::Began(outcome),
            ) => {
                let decision = decision.clone();
                ProposalState::Approved { decision, outcome: Some(outcome) }
            }
            (
                ProposalState::Proposed
                | ProposalState::Approved { .. }
                | ProposalState::Rejected { .. }
                | ProposalState::Superseded { .. },
                _,
            ) => return false,
        };
        self.state = next;
        true
    }
}

/// What the audit log shows of what would run. Values of parameters may be secrets.
fn work_facts(work: &Work) -> Value {
    match work {
        Work::Command(wording) => json!({
            "command": wording.command.chars().take(AUDITED_TEXT).collect::<String>(),
            "shell_type": wording.shell_type.map(muster_commands::ShellType::as_str),
        }),
        Work::Script { script_id, parameters, .. } => json!({
            "script_id": script_id, "parameters": parameters.keys().collect::<Vec<_>>(),
        }),
        Work::SavedCommand { saved_command_id, parameters, .. } => json!({
            "saved_command_id": saved_command_id,
            "parameters": parameters.keys().collect::<Vec<_>>(),
        }),
    }
}

impl Audited for Proposal {
    fn place(&self) -> Place {
        Place { kind: "proposal", id: self.id.as_uuid(), customer_id: self.customer_id() }
    }

    fn facts(&self) -> Value {
        let (decided_by, reason) = match &self.state {
            ProposalState::Approved { decision, .. } => (Some(Arc::clone(&decision.name)), None),
            ProposalState::Rejected { decision, reason } => {
                (Some(Arc::clone(&decision.name)), reason.clone())
            }
            ProposalState::Proposed | ProposalState::Superseded { .. } => (None, None),
        };
        let (run_id, approval_id) = match self.outcome() {
            Some(Outcome::Run(id)) => (Some(id), None),
            Some(Outcome::Waits(id)) => (None, Some(id)),
            None => (None, None),
        };
        json!({
            "proposed_by": {
                "assistant_id": self.source.assistant_id,
                "name": self.source.name,
                "model": self.source.model,
            },
            "asked_by": { "id": self.asked_by.id(), "name": self.asker_name },
            "chat_id": self.chat_id,
            "agent_ids": self.agent_ids,
            "work": work_facts(&self.work),
            "script_version_id": self.script_version_id,
            "safety_level": self.safety_level.as_str(),
            "safety_reasons": self.safety_reasons,
            "decided_by": decided_by,
            "reason": reason,
            "run_id": run_id,
            "approval_id": approval_id,
        })
    }
}
