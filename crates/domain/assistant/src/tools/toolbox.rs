//! Giving models what they ask for, if they may have it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use muster_commands::SafetyLevel;
use muster_commands::runs::RunsError;
use muster_kernel::{AgentId, CommandId, StorageError, TurnId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{AgentSearch, CommandSearch, Fleet, Rights, ToolError, ToolName};
use crate::Tool;
use crate::chats::{Chat, Step};
use crate::proposals::{Draft, Drafted, Place, Proposal, Proposals, Source, Verdict, Weighed};
use crate::quote::{Foreign, quote};
use crate::redact::redact;

/// What a reviewer says of a draft; nothing when it can't be asked.
pub(crate) type Reviewed = Option<(SafetyLevel, Vec<String>)>;

/// Looks at what is proposed before it is kept.
#[async_trait]
pub(crate) trait Review: Send + Sync {
    /// What it thinks of this, which is told as JSON.
    async fn review(&self, draft: &Value) -> Reviewed;
}

/// Which tools are offered, to whom and on whose behalf.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// What whoever asks may read.
    pub rights: &'a Rights,
    /// Who asks for tools.
    pub source: &'a Source,
    /// The conversation that it is in, if it is in one.
    pub chat: Option<(&'a Chat, TurnId)>,
    /// Which tools there are.
    pub tools: &'a BTreeSet<ToolName>,
}

impl Offer<'_> {
    /// The tools, as a model sees them.
    pub fn tools(&self) -> Vec<Tool> {
        let open = self.tools.iter().filter(|tool| self.rights.opens(**tool));
        open.map(|tool| tool.tool()).collect()
    }
}

/// What a tool gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// What the model is told: quoted, and without secrets.
    pub text: String,
    /// What is recorded of it.
    pub step: Step,
    /// How many secrets of which kind were taken out.
    pub redacted: BTreeMap<&'static str, usize>,
    /// What was proposed.
    pub proposal: Option<Proposal>,
}

impl Given {
    /// Whether it is no more than an excuse.
    pub const fn failed(&self) -> bool {
        matches!(self.step, Step::Read { failed: true, .. })
    }
}

/// The tools; cheap to clone.
#[derive(Debug, Clone)]
pub struct Toolbox {
    fleet: Arc<dyn Fleet>,
    proposals: Proposals,
}

impl Toolbox {
    /// Made of what is read, and of where proposals are kept.
    pub fn new(fleet: Arc<dyn Fleet>, proposals: Proposals) -> Self {
        Self { fleet, proposals }
    }

    /// What machines are like and how commands went, as tools read it.
    pub(crate) fn fleet(&self) -> &dyn Fleet {
        &*self.fleet
    }

    /// Gives what is asked for. What makes no sense, or may not be had, is answered with words that
    /// say so.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn give(
        &self,
        offer: Offer<'_>,
        name: &str,
        arguments: &Value,
    ) -> Result<Given, StorageError> {
        self.give_reviewed(offer, name, arguments, None).await
    }

    pub(crate) async fn give_reviewed(
        &self,
        offer: Offer<'_>,
        name: &str,
        arguments: &Value,
        reviewer: Option<&dyn Review>,
    ) -> Result<Given, StorageError> {
        let tool = ToolName::parse(name).filter(|tool| offer.tools.contains(tool));
        let tool = tool.filter(|tool| offer.rights.opens(*tool));
        let given = match tool {
            None => Err(ToolError::Useless("there is no such tool".to_owned())),
            Some(tool) if tool.proposes() => match self.propose(offer, arguments, reviewer).await {
                Ok(proposal) => return Ok(kept(name, proposal)),
                Err(error) => Err(error),
            },
            Some(tool) => self.read(offer.rights, tool, arguments).await,
        };
        match given {
            Ok(value) => Ok(given_text(name, arguments, &value)),
            Err(ToolError::Storage(error)) => Err(error),
            Err(error) => Ok(excuse(name, arguments, &error.to_string())),
        }
    }

    async fn read(
        &self,
        rights: &Rights,
        tool: ToolName,
        arguments: &Value,
    ) -> Result<Value, ToolError> {
        let fleet = &self.fleet;
        match tool {
            ToolName::SearchAgents => fleet.search(rights, &of::<AgentSearch>(arguments)?).await,
            ToolName::ReadAgent => fleet.agent(rights, of::<OfAgent>(arguments)?.agent_id).await,
            ToolName::ReadMetrics => {
                let OfAgent { agent_id, hours } = of(arguments)?;
                fleet.metrics(rights, agent_id, hours.unwrap_or(24)).await
            }
            ToolName::ListCommands => {
                fleet.commands(rights, &of::<CommandSearch>(arguments)?).await
            }
            ToolName::ReadCommand => {
                fleet.command(rights, of::<OfCommand>(arguments)?.command_id).await
            }
            ToolName::ListScripts => {
                fleet.scripts(rights, of::<OfScripts>(arguments)?.q.as_deref()).await
            }
            ToolName::ProposeCommand | ToolName::ProposeScript | ToolName::ProposeRun => {
                Err(ToolError::Useless("there is no such tool".to_owned()))
            }
        }
    }

    async fn propose(
        &self,
        offer: Offer<'_>,
        arguments: &Value,
        reviewer: Option<&dyn Review>,
    ) -> Result<Proposal, ToolError> {
        let draft: Draft = of(arguments)?;
        let replaces = draft.replaces;
        let drafted = draft.judge().map_err(ToolError::Useless)?;
        // Whoever can't see machines learns nothing of them by having something proposed.
        let scope = offer.rights.agents()?.scope();
        let weighed = match self.proposals.weigh(scope, &drafted).await {
            Ok(weighed) => weighed,
            Err(RunsError::Storage(error)) => return Err(error.into()),
            Err(error) => return Err(ToolError::Useless(error.to_string())),
        };
        let verdict = drafted.verdict(&weighed).map_err(ToolError::Useless)?;
        let verdict = match reviewer {
            Some(reviewer) => reviewed(reviewer, &drafted, &weighed, verdict).await,
            None => verdict,
        };
        let place = Place { chat: offer.chat, source: offer.source };
        let kept = (drafted, weighed, verdict);
        Ok(self.proposals.keep(offer.rights.asks(), &place, kept, replaces).await?)
    }
}

/// What is thought of a draft when a reviewer has looked at it. One who says nothing makes it no safer.
async fn reviewed(
    reviewer: &dyn Review,
    drafted: &Drafted,
    weighed: &Weighed,
    verdict: Verdict,
) -> Verdict {
    let draft = json!({
        "work": drafted.work,
        "machines": weighed.machines.len(),
        "strategy": drafted.strategy,
        "explanation": drafted.explanation,
        "safety_level": verdict.level.as_str(),
        "safety_reasons": verdict.reasons,
    });
    let silent = || (SafetyLevel::Caution, vec!["the reviewer did not answer".to_owned()]);
    let (level, reasons) = reviewer.review(&draft).await.unwrap_or_else(silent);
    verdict.raised(level, &reasons)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfAgent {
    agent_id: AgentId,
    hours: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfCommand {
    command_id: CommandId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfScripts {
    q: Option<String>,
}

fn of<T: DeserializeOwned>(arguments: &Value) -> Result<T, ToolError> {
    serde_json::from_value(arguments.clone())
        .map_err(|error| ToolError::Useless(format!("the arguments can't be used: {error}")))
}

/// Arguments without secrets.
fn shown(arguments: &Value) -> Value {
    let text = redact(&arguments.to_string()).text;
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// What was read, as a model gets it.
pub(crate) fn given_text(tool: &str, arguments: &Value, value: &Value) -> Given {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let clean = redact(&text);
    let texts = [Foreign { label: "what the tool answers", text: &clean.text }];
    let (text, _) = quote(&texts);
    let step = Step::Read {
        tool: tool.to_owned(),
        arguments: shown(arguments),
        characters: text.chars().count(),
        failed: false,
    };
    Given { text, step, redacted: clean.found, proposal: None }
}

/// That there is nothing to give.
fn excuse(tool: &str, arguments: &Value, why: &str) -> Given {
    let text = format!("It can't be had: {}", redact(why).text);
    let step = Step::Read {
        tool: tool.chars().take(100).collect(),
        arguments: shown(arguments),
        characters: text.chars().count(),
        failed: true,
    };
    Given { text, step, redacted: BTreeMap::new(), proposal: None }
}

fn kept(tool: &str, proposal: Proposal) -> Given {
    let text = json!({
        "proposal_id": proposal.id,
        "machines": proposal.agent_ids.len(),
        "safety_level": proposal.safety_level.as_str(),
        "safety_reasons": proposal.safety_reasons,
        "status": "proposed: it runs nothing before a person has approved it",
    });
    let step = Step::Proposed { tool: tool.to_owned(), proposal_id: proposal.id };
    let text = redact(&text.to_string()).text;
    Given { text, step, redacted: BTreeMap::new(), proposal: Some(proposal) }
}
