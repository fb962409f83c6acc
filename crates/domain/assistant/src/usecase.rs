//! What people ask the assistant.

use std::sync::Arc;

use muster_agents::{Agent, AgentRepository};
use muster_commands::{SafetyLevel, ShellType, shell_of};
use muster_kernel::{Act, AgentId, Deed, Denied, Permit, Principal, StorageError, Timestamp, act};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::budget::Payer;
use crate::cache::{Cache, Question};
use crate::consultation::{Consultation, ConsultationPorts, Consulted, OwnKey, Sent, hide};
use crate::model::{Access, Message, ModelError, Prompt, Provider, Speaker};
use crate::prompts::{Job, machine, shells};
use crate::proposal::{Draft, Proposal, all_readable, readable, stricter};
use crate::quote::{Foreign, quote};
use crate::redact::redact;

/// How many characters a wish may have.
const MAX_WISH: usize = 4_000;
/// How many characters a command, script or output may have that is asked about.
const MAX_MATERIAL: usize = 64 * 1024;
/// How much of a question the audit log shows, in characters.
const AUDITED_TEXT: usize = 1000;
/// How many turns of a conversation may be shown.
const MAX_TURNS: usize = 20;

/// Why the assistant has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AssistantError {
    /// No model is set up, and nobody brought a key.
    #[error("no language model is set up: see the settings whose names begin with ai_")]
    NotConfigured,
    /// There is no such agent, or it is not the asker's.
    #[error("there is no such agent, or it is not yours")]
    AgentNotFound,
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A field of the request breaks a rule.
    #[error("{0}: {1}")]
    Invalid(&'static str, &'static str),
    /// The plan allows no more today.
    #[error("the plan allows no more of this today")]
    Exhausted {
        /// When there is more again.
        until: Timestamp,
    },
    /// The model did not answer.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// It answered, twice, what can't be used.
    #[error("the model's answer can't be used: {0}")]
    Unusable(String),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What is known of the place where a command is to run, and by whose key is asked.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// The machine.
    pub agent_id: Option<AgentId>,
    /// The shell; the one that the machine's system comes with when absent.
    pub shell_type: Option<ShellType>,
    /// A key of one's own.
    pub own_key: Option<OwnKey>,
}

/// A wish for a command.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// What it is to do, in plain words.
    pub message: String,
    /// What was said before, by the person and the model.
    pub history: Vec<Message>,
}

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// All of it, in a few sentences.
    pub explanation: String,
    /// Its parts and what they mean.
    pub parts: Vec<(String, String)>,
    /// What can go wrong.
    pub risks: Vec<String>,
    /// How dangerous it is: what the model thinks or what Muster thinks, whichever is more.
    pub safety_level: SafetyLevel,
    /// Why.
    pub safety_reasons: Vec<String>,
}

/// A command that failed.
#[derive(Debug, Clone, Default)]
pub struct Failed {
    /// The command, if it is known.
    pub command: String,
    /// What it wrote.
    pub error: String,
    /// How it ended.
    pub exit_code: Option<i64>,
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// What happened.
    pub explanation: String,
    /// Why, the likeliest first.
    pub causes: Vec<String>,
    /// What may help. Those that can't be commands are left out.
    pub fixes: Vec<Proposal>,
}

/// A command, said better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Optimized {
    /// The command.
    pub proposal: Proposal,
    /// What is better.
    pub improvements: Vec<String>,
}

/// Which model there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// Whose.
    pub provider: Provider,
    /// Which.
    pub model: String,
    /// Where.
    pub base_url: String,
    /// Whether it could be asked when it was asked last.
    pub reached: Option<bool>,
}

/// What people ask the assistant. It has no way to run anything.
#[derive(Debug)]
pub struct Assistant {
    consultation: Arc<Consultation>,
    agents: Arc<dyn AgentRepository>,
    proposals: Cache<Consulted<Proposal>>,
}

/// What a consultation is about.
struct Place {
    payer: Payer,
    agent: Option<Agent>,
    /// The shells that may be answered with; any when there are none.
    shells: Vec<ShellType>,
    access: Access,
    own: bool,
}

impl Assistant {
    /// Made of its ports.
    pub fn new(ports: ConsultationPorts, agents: Arc<dyn AgentRepository>) -> Self {
        let consultation = Arc::new(Consultation::new(ports));
        Self { consultation, agents, proposals: Cache::default() }
    }

    /// What conversations ask the same model with.
    pub(crate) fn consultation(&self) -> Arc<Consultation> {
        Arc::clone(&self.consultation)
    }

    /// A command that does what somebody wishes.
    ///
    /// # Errors
    /// [`AssistantError`] says what is in the way.
    pub async fn generate(
        &self,
        permit: &Permit<act::UseAssistant>,
        wish: &Wish,
        setting: &Setting,
    ) -> Result<Consulted<Proposal>, AssistantError> {
        let place = self.place(permit, setting).await?;
        within(&wish.message, MAX_WISH, "message")?;
        let turns = wish.history.iter();
        if wish.history.len() > MAX_TURNS
            || turns.clone().any(|turn| turn.text.chars().count() > crate::quote::MAX_QUOTED)
            || turns.clone().any(|turn| turn.speaker == Speaker::System)
        {
            let rule = "at most 20 turns of the user and the assistant, of 8000 characters each";
            return Err(AssistantError::Invalid("conversation_history", rule));
        }
        let mut prompt = prompt(Job::Generate, &place, &[]);
        prompt.messages.extend(wish.history.iter().cloned());
        prompt.messages.push(Message { speaker: Speaker::Person, text: wish.message.clone() });
        let (prompt, sent) = Consultation::cleaned(prompt, &place.access, place.own);
        self.enter(permit, Job::Generate, &place, &wish.message).await?;
        let question = Question::new(place.payer, &place.access, &prompt);
        let now = self.consultation.now();
        if !place.own
            && let Some(known) = self.proposals.find(&question, now)
        {
            return Ok(Consulted { cached: true, ..known });
        }
        let Place { payer, shells, access, own, .. } = place;
        let read = |text: &str| parse::<Draft>(text)?.judge(&shells);
        let answer = self.consultation.ask(payer, access, own, (prompt, sent), read).await?;
        if !own {
            self.proposals.keep(question, answer.clone(), now);
        }
        Ok(answer)
    }

    /// What a command does.
    ///
    /// # Errors
    /// [`AssistantError`] says what is in the way.
    pub async fn explain_command(
        &self,
        permit: &Permit<act::UseAssistant>,
        command: &str,
        setting: &Setting,
    ) -> Result<Consulted<Explanation>, AssistantError> {
        let place = self.place(permit, setting).await?;
        within(command, MAX_MATERIAL, "command")?;
        let shell = place.shells.first().copied().unwrap_or(ShellType::Sh);
        let texts = [Foreign { label: "the command", text: command }];
        let read = |text: &str| {
            let told: ToldCommand = parse(text)?;
            let (safety_level, safety_reasons) = stricter(shell, command, &told.safety_level, &[]);
            let parts = told.parts.iter().take(50);
            Ok(Explanation {
                explanation: readable(&told.explanation),
                parts: parts.map(|it| (readable(&it.text), readable(&it.meaning))).collect(),
                risks: all_readable(&told.risks),
                safety_level,
                safety_reasons,
            })
        };
        self.enter(permit, Job::ExplainCommand, &place, command).await?;
        self.ask(Job::ExplainCommand, place, &texts, read).await
    }

    /// Why a command failed, and what may help.
    ///
    /// # Errors
    /// [`AssistantError`] says what is in the way.
    pub async fn explain_error(
        &self,
        permit: &Permit<act::UseAssistant>,
        failed: &Failed,
        setting: &Setting,
    ) -> Result<Consulted<Diagnosis>, AssistantError> {
        let place = self.place(permit, setting).await?;
        within(&failed.error, MAX_MATERIAL, "error")?;
        if failed.command.chars().count() > MAX_MATERIAL {
            return Err(AssistantError::Invalid("command", "at most 65536 characters"));
        }
        let code = failed.exit_code.map_or("unknown".to_owned(), |code| code.to_string());
        let texts = [
            Foreign { label: "the command", text: &failed.command },
            Foreign { label: "its exit code", text: &code },
            Foreign { label: "what it wrote", text: &failed.error },
        ];
        let shells = place.shells.clone();
        let read = |text: &str| {
            let told: ToldError = parse(text)?;
            let fixes = told.fixes.iter().take(10);
            Ok(Diagnosis {
                explanation: readable(&told.explanation),
                causes: all_readable(&told.causes),
                fixes: fixes.filter_map(|draft| draft.judge(&shells).ok()).collect(),
            })
        };
        self.enter(permit, Job::ExplainError, &place, &failed.error).await?;
        self.ask(Job::ExplainError, place, &texts, read).await
    }

    /// The same command, said better.
    ///
    /// # Errors
    /// [`AssistantError`] says what is in the way.
    pub async fn optimize_command(
        &self,
        permit: &Permit<act::UseAssistant>,
        command: &str,
        setting: &Setting,
    ) -> Result<Consulted<Optimized>, AssistantError> {
        let place = self.place(permit, setting).await?;
        within(command, MAX_MATERIAL, "command")?;
        let texts = [Foreign { label: "the command", text: command }];
        let shells = place.shells.clone();
        let read = |text: &str| {
            let told: ToldBetter = parse(text)?;
            let improvements = all_readable(&told.improvements);
            Ok(Optimized { proposal: told.draft.judge(&shells)?, improvements })
        };
        self.enter(permit, Job::Optimize, &place, command).await?;
        self.ask(Job::Optimize, place, &texts, read).await
    }

    /// Whether the provider takes somebody's key.
    ///
    /// # Errors
    /// [`AssistantError::Model`] with what the provider says.
    pub async fn validate_key(
        &self,
        permit: &Permit<act::UseAssistant>,
        own: &OwnKey,
    ) -> Result<(), AssistantError> {
        self.consultation.try_key(payer_of(permit, None)?, Some(own)).await
    }

    /// Whether the model of the installation answers.
    ///
    /// # Errors
    /// [`AssistantError::Model`] with what the provider says.
    pub async fn try_model(
        &self,
        permit: &Permit<act::ManageSettings>,
    ) -> Result<(), AssistantError> {
        self.consultation.try_key(payer_of(permit, None)?, None).await
    }

    /// Which model the installation has, if one is set up.
    ///
    /// # Errors
    /// [`AssistantError::Storage`].
    pub async fn model(
        &self,
        _: &Permit<act::UseAssistant>,
    ) -> Result<Option<ModelInfo>, AssistantError> {
        let access = self.consultation.configured().await?;
        Ok(access.map(|it| ModelInfo {
            provider: it.provider,
            model: it.model,
            base_url: it.base_url,
            reached: self.consultation.reached(),
        }))
    }

    async fn place(
        &self,
        permit: &Permit<act::UseAssistant>,
        setting: &Setting,
    ) -> Result<Place, AssistantError> {
        let agent = match setting.agent_id {
            Some(id) => {
                let agent = self.agents.find(permit.scope(), id).await?;
                Some(agent.ok_or(AssistantError::AgentNotFound)?)
            }
            None => None,
        };
        let shells = match (setting.shell_type, &agent) {
            (Some(shell), _) => vec![shell],
            (None, Some(agent)) => {
                let mut all = vec![shell_of(agent.os_type)];
                all.extend(shells(agent).filter(|shell| *shell != shell_of(agent.os_type)));
                all
            }
            (None, None) => Vec::new(),
        };
        let own = setting.own_key.as_ref();
        Ok(Place {
            payer: payer_of(permit, agent.as_ref())?,
            access: self.consultation.access(own).await?,
            own: own.is_some(),
            agent,
            shells,
        })
    }

    /// Writes down who asks what of which machine, without secrets and without the key.
    async fn enter(
        &self,
        permit: &Permit<act::UseAssistant>,
        job: Job,
        place: &Place,
        text: &str,
    ) -> Result<(), StorageError> {
        let text = hide(&redact(text).text, &place.access, place.own);
        let facts = json!({
            "job": job.as_str(),
            "text": text.chars().take(AUDITED_TEXT).collect::<String>(),
            "agent_id": place.agent.as_ref().map(|agent| agent.id),
            "provider": place.access.provider.as_str(),
            "model": place.access.model,
            "own_key": place.own,
        });
        let customer_id = match place.payer {
            Payer::Customer(id) => Some(id),
            Payer::Person(_) => None,
        };
        let id = place.agent.as_ref().map(|agent| agent.id.as_uuid()).unwrap_or_default();
        let about = muster_kernel::Place { kind: "assistant", id, customer_id };
        self.consultation
            .enter(permit.author(), Deed::done("assistant.ask", about, Some(facts)))
            .await
    }

    async fn ask<T>(
        &self,
        job: Job,
        place: Place,
        texts: &[Foreign<'_>],
        read: impl Fn(&str) -> Result<T, String> + Send + Sync,
    ) -> Result<Consulted<T>, AssistantError> {
        let prompt = prompt(job, &place, texts);
        let cleaned: (Prompt, Sent) = Consultation::cleaned(prompt, &place.access, place.own);
        self.consultation.ask(place.payer, place.access, place.own, cleaned, read).await
    }
}

/// The conversation's beginning: the rules, and what is known, quoted.
fn prompt(job: Job, place: &Place, texts: &[Foreign<'_>]) -> Prompt {
    let machine = place.agent.as_ref().map(machine);
    let mut all = Vec::with_capacity(texts.len() + 1);
    if let Some(machine) = &machine {
        all.push(Foreign { label: "what the machine says of itself", text: machine });
    }
    all.extend_from_slice(texts);
    let shell = place.shells.first().copied();
    let mut messages = vec![Message { speaker: Speaker::System, text: job.system(shell) }];
    if !all.is_empty() {
        let (text, _) = quote(&all);
        messages.push(Message { speaker: Speaker::Person, text });
    }
    Prompt { messages, schema: Some(job.schema()), ..Prompt::default() }
}

/// On whose account it is asked: the customer's whose machine or key it is, else the person's.
pub(crate) fn payer_of<A: Act>(
    permit: &Permit<A>,
    agent: Option<&Agent>,
) -> Result<Payer, AssistantError> {
    match (permit.principal(), agent) {
        (_, Some(agent)) => Ok(Payer::Customer(agent.customer_id)),
        (Principal::ApiKey { customer_id, .. }, None) => Ok(Payer::Customer(*customer_id)),
        (Principal::User { user_id, .. }, None) => Ok(Payer::Person(*user_id)),
        (Principal::Agent { .. }, None) => Err(Denied::Forbidden.into()),
    }
}

pub(crate) fn within(text: &str, most: usize, field: &'static str) -> Result<(), AssistantError> {
    if text.trim().is_empty() {
        return Err(AssistantError::Invalid(field, "a text is expected"));
    }
    if text.chars().count() > most {
        let rule =
            if most == MAX_WISH { "at most 4000 characters" } else { "at most 65536 characters" };
        return Err(AssistantError::Invalid(field, rule));
    }
    Ok(())
}

/// A JSON object, be it with fences around it: not every model knows forms.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let text = text.trim();
    let bare = text.strip_prefix("```json").or_else(|| text.strip_prefix("```"));
    let bare = bare.and_then(|text| text.strip_suffix("```")).unwrap_or(text);
    serde_json::from_str(bare).map_err(|error| format!("it is not the JSON object: {error}"))
}

#[derive(Deserialize)]
struct ToldCommand {
    explanation: String,
    #[serde(default)]
    parts: Vec<ToldPart>,
    #[serde(default)]
    risks: Vec<String>,
    #[serde(default)]
    safety_level: String,
}

#[derive(Deserialize)]
struct ToldPart {
    text: String,
    meaning: String,
}

#[derive(Deserialize)]
struct ToldError {
    explanation: String,
    #[serde(default)]
    causes: Vec<String>,
    #[serde(default)]
    fixes: Vec<Draft>,
}

#[derive(Deserialize)]
struct ToldBetter {
    #[serde(flatten)]
    draft: Draft,
    #[serde(default)]
    improvements: Vec<String>,
}
