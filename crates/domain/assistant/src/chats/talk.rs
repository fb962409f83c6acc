//! How a turn goes: the model reads with tools, proposes, and comes to an answer or to its bounds.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use muster_commands::SafetyLevel;
use muster_kernel::TurnId;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::setup::{Setup, access};
use super::usecase::{ChatError, Chats, Said, turn_told};
use super::{Chat, Step, Turn, TurnState};
use crate::consultation::{Consultation, Telling};
use crate::model::{Exchange, Message, Prompt, Speaker, ToolCall, Usage};
use crate::prompts::{Talk, review_schema};
use crate::proposal::{all_readable, readable};
use crate::proposals::Proposal;
use crate::quote::{Foreign, quote};
use crate::tools::Reviewed;
use crate::tools::{Given, Offer, ToolName};
use crate::usecase::parse;
use crate::workspace::{AssistantBody, Entry, Role};

/// How often the model is asked in a turn; the last time it gets no tools.
const MAX_STEPS: usize = 8;
/// How many tools it gets at once.
const MAX_CALLS: usize = 8;
/// How many things it may propose in a turn.
const MAX_PROPOSALS: usize = 5;
/// How many tokens a turn may take.
const MAX_TOKENS: u64 = 100_000;
/// How long it may take.
const MAX_TIME: Duration = Duration::from_mins(3);
/// How many turns before this one the model is shown.
const REMEMBERED: u16 = 10;
/// How many characters of a plan are kept.
const MAX_PLAN: usize = 4_000;

impl Chats {
    pub(super) async fn talk(self, setup: Setup, mut turn: Turn) -> Result<Said, ChatError> {
        let _at_work = self.at_work(setup.assistants());
        let mut proposals = Vec::new();
        let answering = self.answer(&setup, &mut turn, &mut proposals);
        let answered = tokio::time::timeout(MAX_TIME, answering).await;
        let answered = answered.unwrap_or(Err(ChatError::TimedOut));
        let now = self.ports.clock.now();
        turn.state = match &answered {
            Ok(()) => TurnState::Completed { at: now },
            Err(error) => TurnState::Failed { why: error.to_string(), at: now },
        };
        self.ports.repository.finish(turn.clone()).await?;
        self.tell(&setup.chat, "turn", &turn_told(&turn, now));
        answered?;
        Ok(Said { chat: setup.chat, turn, proposals })
    }

    async fn answer(
        &self,
        setup: &Setup,
        turn: &mut Turn,
        proposals: &mut Vec<Proposal>,
    ) -> Result<(), ChatError> {
        turn.steps = setup.steps();
        for given in &setup.known {
            turn.count(given.redacted.clone());
        }
        let prompt = self.opening(setup, turn).await?;
        let (mut prompt, sent) = Consultation::cleaned(prompt, &setup.access, false);
        turn.count(sent.redacted);
        let heard = Mutex::default();
        let telling = Window { chats: self, chat: &setup.chat, turn: turn.id, heard: &heard };
        let source = setup.source();
        let tools = tools_of(setup);
        let offer = Offer {
            rights: &setup.rights,
            source: &source,
            chat: Some((&setup.chat, turn.id)),
            tools: &tools,
        };
        for step in 1..=MAX_STEPS {
            prompt.tools = if step < MAX_STEPS { offer.tools() } else { Vec::new() };
            let first = turn.usage == Usage::default();
            let asked = self.consultation.ask_once(
                setup.payer,
                &setup.access,
                false,
                &prompt,
                first,
                Some(&telling),
            );
            let asked = asked.await;
            // Of an answer that was cut off, what came of it stays.
            add(&mut turn.response, &readable(&std::mem::take(&mut *heard.lock())));
            let (answer, usage) = asked?;
            turn.usage = turn.usage.plus(usage);
            let text = readable(&answer.text);
            if answer.tool_calls.is_empty() {
                return Ok(());
            }
            if turn.usage.total() > MAX_TOKENS {
                return Err(ChatError::Endless);
            }
            let results = self.serve(setup, offer, turn, proposals, &answer.tool_calls).await?;
            let calls = answer.tool_calls.into_iter().take(MAX_CALLS).collect();
            prompt.exchanges.push(Exchange { text, calls, results });
        }
        Err(ChatError::Endless)
    }

    /// Gives the model what it asks for, and writes down what it got.
    async fn serve(
        &self,
        setup: &Setup,
        offer: Offer<'_>,
        turn: &mut Turn,
        proposals: &mut Vec<Proposal>,
        calls: &[ToolCall],
    ) -> Result<Vec<String>, ChatError> {
        let mut results = Vec::new();
        for call in calls.iter().take(MAX_CALLS) {
            let proposes = ToolName::parse(&call.name).is_some_and(ToolName::proposes);
            if proposes && proposals.len() >= MAX_PROPOSALS {
                results.push("It can't be had: enough was proposed in one turn".to_owned());
                continue;
            }
            let review = setup.reviewer.as_ref().map(|entry| Reviewing {
                chats: self,
                setup,
                entry,
                used: [AtomicU64::new(0), AtomicU64::new(0)],
            });
            let reviewer = review.as_ref().map(|it| -> &dyn crate::tools::Review { it });
            let toolbox = &self.ports.toolbox;
            let given = toolbox.give_reviewed(offer, &call.name, &call.arguments, reviewer).await?;
            if let Some(review) = review {
                turn.usage = turn.usage.plus(review.usage());
            }
            let Given { text, step, redacted, proposal } = given;
            self.tell(&setup.chat, "step", &step_told(turn, &step));
            turn.steps.push(step);
            turn.count(redacted);
            proposals.extend(proposal);
            results.push(text);
        }
        Ok(results)
    }

    /// The conversation as the model gets it.
    async fn opening(&self, setup: &Setup, turn: &mut Turn) -> Result<Prompt, ChatError> {
        let own = setup.speaker.as_ref().map_or("", |it| it.body.prompt.as_str());
        let system = Talk::of(setup.role).system(own);
        let mut messages = vec![Message { speaker: Speaker::System, text: system }];
        if let Some(project) = &setup.project {
            let about = json!({
                "project": project.name,
                "description": project.body.description,
                "agent_ids": project.body.agent_ids,
                "script_ids": project.body.script_ids,
            });
            messages.push(quoted("what the project is about", &about.to_string()));
        }
        for past in self.ports.repository.turns(turn.chat_id, REMEMBERED).await? {
            if past.id == turn.id || past.response.is_empty() {
                continue;
            }
            messages.push(Message { speaker: Speaker::Person, text: past.message });
            messages.push(Message { speaker: Speaker::Model, text: past.response });
        }
        for given in &setup.known {
            messages.push(Message { speaker: Speaker::Person, text: given.text.clone() });
        }
        let question = Message { speaker: Speaker::Person, text: turn.message.clone() };
        if let Some(planner) = &setup.planner
            && let Some(plan) = self.plan(setup, planner, &messages, &question, turn).await?
        {
            messages.push(quoted("a plan that another assistant made for this", &plan));
            turn.steps.push(Step::Said { role: Role::Planner, text: plan });
        }
        messages.push(question);
        Ok(Prompt { messages, ..Prompt::default() })
    }

    /// In which steps a planner would do it.
    async fn plan(
        &self,
        setup: &Setup,
        planner: &Entry<AssistantBody>,
        before: &[Message],
        question: &Message,
        turn: &mut Turn,
    ) -> Result<Option<String>, ChatError> {
        let system = Talk::Planner.system(&planner.body.prompt);
        let mut messages = vec![Message { speaker: Speaker::System, text: system }];
        messages.extend(before.iter().skip(1).cloned());
        messages.push(question.clone());
        let access = access(self, Some(planner)).await?;
        let prompt = Prompt { messages, ..Prompt::default() };
        let (prompt, sent) = Consultation::cleaned(prompt, &access, false);
        turn.count(sent.redacted);
        let (answer, usage) =
            self.consultation.ask_once(setup.payer, &access, false, &prompt, true, None).await?;
        turn.usage = turn.usage.plus(usage);
        let plan: String = readable(&answer.text).chars().take(MAX_PLAN).collect();
        Ok(Some(plan).filter(|plan| !plan.is_empty()))
    }
}

/// Which tools the speaker of a turn gets. Who explains what happened proposes nothing.
fn tools_of(setup: &Setup) -> BTreeSet<ToolName> {
    let all = || ToolName::ALL.iter().copied().collect();
    let own: BTreeSet<_> = setup.speaker.as_ref().map_or_else(all, |it| it.body.tools.clone());
    own.into_iter().filter(|tool| setup.role == Role::Author || !tool.proposes()).collect()
}

/// Adds what was said to what was said before.
fn add(response: &mut String, text: &str) {
    if !text.is_empty() {
        let gap = if response.is_empty() { "" } else { "\n\n" };
        *response = format!("{response}{gap}{text}");
    }
}

fn quoted(label: &'static str, text: &str) -> Message {
    let (text, _) = quote(&[Foreign { label, text }]);
    Message { speaker: Speaker::Person, text }
}

fn step_told(turn: &Turn, step: &Step) -> Value {
    json!({ "chat_id": turn.chat_id, "turn_id": turn.id, "step": step })
}

/// The windows that are open on a conversation.
struct Window<'a> {
    chats: &'a Chats,
    chat: &'a Chat,
    turn: TurnId,
    /// What came since the model was asked last.
    heard: &'a Mutex<String>,
}

impl Telling for Window<'_> {
    fn tell(&self, text: &str) {
        self.heard.lock().push_str(text);
        let told = json!({
            "chat_id": self.chat.id, "turn_id": self.turn, "text": readable(text),
        });
        self.chats.tell(self.chat, "delta", &told);
    }
}

/// A reviewer who is asked about a proposal.
struct Reviewing<'a> {
    chats: &'a Chats,
    setup: &'a Setup,
    entry: &'a Entry<AssistantBody>,
    /// Tokens that it read and wrote.
    used: [AtomicU64; 2],
}

/// What a reviewer says.
#[derive(Deserialize)]
struct Told {
    safety_level: String,
    #[serde(default)]
    reasons: Vec<String>,
}

impl Reviewing<'_> {
    fn usage(&self) -> Usage {
        let [read, written] = &self.used;
        Usage { read: read.load(Ordering::Relaxed), written: written.load(Ordering::Relaxed) }
    }

    async fn ask(&self, draft: &Value) -> Result<Reviewed, ChatError> {
        let access = access(self.chats, Some(self.entry)).await?;
        let system = Talk::Reviewer.system(&self.entry.body.prompt);
        let text = serde_json::to_string_pretty(draft).unwrap_or_default();
        let messages = vec![
            Message { speaker: Speaker::System, text: system },
            quoted("what another assistant proposes", &text),
        ];
        let prompt = Prompt { messages, schema: Some(review_schema()), ..Prompt::default() };
        let (prompt, _) = Consultation::cleaned(prompt, &access, false);
        let asked = self.chats.consultation.ask_once(
            self.setup.payer,
            &access,
            false,
            &prompt,
            false,
            None,
        );
        let (answer, usage) = asked.await?;
        let [read, written] = &self.used;
        read.fetch_add(usage.read, Ordering::Relaxed);
        written.fetch_add(usage.written, Ordering::Relaxed);
        let Ok(told) = parse::<Told>(&answer.text) else { return Ok(None) };
        let level = SafetyLevel::parse(&told.safety_level);
        Ok(level.map(|level| (level, all_readable(&told.reasons))))
    }
}

#[async_trait]
impl crate::tools::Review for Reviewing<'_> {
    async fn review(&self, draft: &Value) -> Reviewed {
        if !self.entry.body.active {
            return None;
        }
        self.ask(draft).await.ok().flatten()
    }
}
