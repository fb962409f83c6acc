//! How a model is asked: by whose key, on whose account, without secrets, and once more if it has to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use muster_kernel::{Author, Clock, Deed, Secret, StorageError, Timestamp};
use parking_lot::Mutex;

use crate::AssistantError;
use crate::budget::{Budget, Daily, Payer, Plans, Spent, next_day};
use crate::model::{
    Access, Answer, Delta, LanguageModel, Message, ModelError, Prompt, Provider, Speaker, Usage,
};
use crate::redact::redact;

/// How long an answer may be when nobody says, in tokens.
pub const DEFAULT_MAX_TOKENS: u32 = 1000;
/// The longest key that somebody may bring, in bytes.
const MAX_KEY: usize = 512;

/// Says which model the installation has, at the moment that it is asked.
#[async_trait]
pub trait Configuration: Send + Sync + std::fmt::Debug {
    /// The model, if one is set up.
    async fn access(&self) -> Result<Option<Access>, StorageError>;
}

/// Writes down who asks what, before it is asked: no entry, no question.
#[async_trait]
pub trait AskLog: Send + Sync + std::fmt::Debug {
    /// Enters it in the audit log.
    async fn asked(&self, author: &Author, at: Timestamp, deed: Deed) -> Result<(), StorageError>;
}

/// A key that somebody brings for one request. It is nowhere afterwards.
#[derive(Debug, Clone)]
pub struct OwnKey {
    /// The key.
    pub key: Secret,
    /// Whose it is; that of the installation's provider when absent.
    pub provider: Option<Provider>,
    /// Which model; the provider's usual one when absent.
    pub model: Option<String>,
}

/// What left the house for an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sent {
    /// The conversation, as it was sent.
    pub messages: Vec<Message>,
    /// How many secrets of which kind were taken out before.
    pub redacted: BTreeMap<&'static str, usize>,
}

/// An answer and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Consulted<T> {
    /// The answer.
    pub answer: T,
    /// Who gave it.
    pub provider: Provider,
    /// Which model.
    pub model: String,
    /// What it took.
    pub usage: Usage,
    /// What was sent.
    pub sent: Sent,
    /// Whether it was given to somebody before.
    pub cached: bool,
}

/// The ports of a consultation.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct ConsultationPorts {
    pub model: Arc<dyn LanguageModel>,
    pub configuration: Arc<dyn Configuration>,
    pub budget: Arc<dyn Budget>,
    pub plans: Arc<dyn Plans>,
    pub log: Arc<dyn AskLog>,
    pub clock: Arc<dyn Clock>,
}

/// Asks models.
#[derive(Debug)]
pub(crate) struct Consultation {
    ports: ConsultationPorts,
    /// Whether the model of the house could be asked when it was asked last.
    reached: Mutex<Option<bool>>,
}

impl Consultation {
    pub(crate) const fn new(ports: ConsultationPorts) -> Self {
        Self { ports, reached: Mutex::new(None) }
    }

    /// Whether the model of the house could be asked when it was asked last.
    pub(crate) fn reached(&self) -> Option<bool> {
        *self.reached.lock()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    pub(crate) async fn configured(&self) -> Result<Option<Access>, StorageError> {
        self.ports.configuration.access().await
    }

    /// Writes down who asks what.
    pub(crate) async fn enter(&self, author: &Author, deed: Deed) -> Result<(), StorageError> {
        self.ports.log.asked(author, self.now(), deed).await
    }

    /// Which model is asked.
    pub(crate) async fn access(&self, own: Option<&OwnKey>) -> Result<Access, AssistantError> {
        let configured = self.configured().await?;
        let Some(own) = own else { return configured.ok_or(AssistantError::NotConfigured) };
        let key = own.key.expose();
        let printable = key.chars().all(|c| c.is_ascii_graphic());
        if key.is_empty() || key.len() > MAX_KEY || !printable {
            return Err(AssistantError::Invalid("api_key", "1 to 512 printable characters"));
        }
        let of_house = configured.filter(|it| own.provider.is_none_or(|own| own == it.provider));
        let provider = own.provider.or(of_house.as_ref().map(|it| it.provider));
        let provider = provider.unwrap_or(Provider::OpenRouter);
        let base_url = match (&of_house, provider.base_url()) {
            (Some(access), _) => access.base_url.clone(),
            (None, Some(known)) => known.to_owned(),
            // Where that is only an admin says: nobody else sends Muster anywhere.
            (None, None) => {
                return Err(AssistantError::Invalid("provider", "openai or openrouter"));
            }
        };
        let usual = || provider.usual_model().to_owned();
        let model = own.model.clone().filter(|model| !model.trim().is_empty());
        let model = model.or_else(|| of_house.as_ref().map(|it| it.model.clone()));
        Ok(Access {
            provider,
            base_url,
            model: model.unwrap_or_else(usual),
            key: Some(own.key.clone()),
            max_tokens: of_house.as_ref().map_or(DEFAULT_MAX_TOKENS, |it| it.max_tokens),
            temperature: of_house.and_then(|it| it.temperature),
        })
    }

    /// The conversation without its secrets, and without the key that it is sent with.
    pub(crate) fn cleaned(prompt: Prompt, access: &Access, own: bool) -> (Prompt, Sent) {
        let mut redacted = BTreeMap::new();
        let messages: Vec<_> = prompt
            .messages
            .into_iter()
            .map(|message| {
                let clean = redact(&message.text);
                for (kind, count) in clean.found {
                    *redacted.entry(kind).or_default() += count;
                }
                Message { text: hide(&clean.text, access, own), ..message }
            })
            .collect();
        let sent = Sent { messages: messages.clone(), redacted };
        (Prompt { messages, ..prompt }, sent)
    }

    /// Asks; what `read` finds wrong with the answer goes back to the model, once.
    pub(crate) async fn ask<T>(
        &self,
        payer: Payer,
        access: Access,
        own: bool,
        (mut prompt, mut sent): (Prompt, Sent),
        read: impl Fn(&str) -> Result<T, String> + Send + Sync,
    ) -> Result<Consulted<T>, AssistantError> {
        let mut usage = Usage::default();
        let mut first = true;
        loop {
            let answer = self.ask_once(payer, &access, own, &prompt, first, None).await?;
            usage = usage.plus(answer.1);
            let text = hide(&answer.0.text, &access, own);
            match read(&text) {
                Ok(answer) => {
                    let Access { provider, model, .. } = access;
                    return Ok(Consulted { answer, provider, model, usage, sent, cached: false });
                }
                Err(wrong) if !first => return Err(AssistantError::Unusable(wrong)),
                Err(wrong) => {
                    first = false;
                    let again = [
                        Message { speaker: Speaker::Model, text: redact(&text).text },
                        Message {
                            speaker: Speaker::Person,
                            text: format!("That can't be used: {wrong}. Answer again, whole."),
                        },
                    ];
                    prompt.messages.extend(again.clone());
                    sent.messages.extend(again);
                }
            }
        }
    }

    /// Asks, on somebody's account; what comes is told bit by bit to whoever listens.
    pub(crate) async fn ask_once(
        &self,
        payer: Payer,
        access: &Access,
        own: bool,
        prompt: &Prompt,
        first: bool,
        telling: Option<&dyn Telling>,
    ) -> Result<(Answer, Usage), AssistantError> {
        let now = self.now();
        let day = now.date_naive();
        let mut daily = Daily::of(self.ports.plans.plan(payer).await?);
        if own {
            daily.tokens = None;
        }
        let read = estimate(texts(prompt));
        let most = if own { 0 } else { read.saturating_add(u64::from(access.max_tokens)) };
        let wanted = Spent { requests: u64::from(first), tokens: most };
        if !self.ports.budget.reserve(payer, day, daily, wanted).await? {
            return Err(AssistantError::Exhausted { until: next_day(now) });
        }
        let answer = match telling {
            Some(telling) => self.hear(access, prompt, telling).await,
            None => self.ports.model.ask(access, prompt).await,
        };
        if !own {
            let lost = [ModelError::Unreachable, ModelError::Unauthorised, ModelError::Timeout];
            *self.reached.lock() = Some(!answer.as_ref().is_err_and(|it| lost.contains(it)));
        }
        let usage = match &answer {
            Ok(answer) => answer
                .usage
                .unwrap_or_else(|| Usage { read, written: estimate([answer.text.as_str()]) }),
            // Nobody knows what it took: the most that it may have.
            Err(
                ModelError::Timeout
                | ModelError::CutOff
                | ModelError::Malformed
                | ModelError::Refused,
            ) => Usage { read: most, written: 0 },
            Err(
                ModelError::RateLimited { .. }
                | ModelError::Unreachable
                | ModelError::Unauthorised
                | ModelError::Rejected(_),
            ) => Usage::default(),
        };
        let used = if own { 0 } else { usage.total() };
        self.ports.budget.settle(payer, day, most, used).await?;
        Ok((answer?, usage))
    }

    /// An answer that comes bit by bit, and as a whole at its end.
    async fn hear(
        &self,
        access: &Access,
        prompt: &Prompt,
        telling: &dyn Telling,
    ) -> Result<Answer, ModelError> {
        let mut deltas = self.ports.model.stream(access, prompt).await?;
        let mut answer = Answer::default();
        while let Some(delta) = deltas.next().await {
            match delta? {
                Delta::Text(text) => {
                    telling.tell(&text);
                    answer.text.push_str(&text);
                }
                Delta::Calls(calls) => answer.tool_calls.extend(calls),
                Delta::End(usage) => return Ok(Answer { usage, ..answer }),
            }
        }
        Err(ModelError::CutOff)
    }

    /// Whether the provider takes a key, that of the house when there is no other: by the shortest of
    /// questions.
    pub(crate) async fn try_key(
        &self,
        payer: Payer,
        own: Option<&OwnKey>,
    ) -> Result<(), AssistantError> {
        let access = Access { max_tokens: 16, ..self.access(own).await? };
        let text = "Answer with the word: yes".to_owned();
        let messages = vec![Message { speaker: Speaker::Person, text }];
        let prompt = Prompt { messages, ..Prompt::default() };
        match self.ask_once(payer, &access, own.is_some(), &prompt, true, None).await {
            // Whatever it says, it let the key in.
            Err(AssistantError::Model(ModelError::CutOff | ModelError::Refused)) => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

/// Hears an answer bit by bit.
pub(crate) trait Telling: Send + Sync {
    /// More of it.
    fn tell(&self, text: &str);
}

/// All that a model reads.
fn texts(prompt: &Prompt) -> impl Iterator<Item = &str> {
    let said = prompt.messages.iter().map(|message| message.text.as_str());
    let got = prompt.exchanges.iter().flat_map(|it| it.results.iter().map(String::as_str));
    let wrote = prompt.exchanges.iter().map(|it| it.text.as_str());
    said.chain(got).chain(wrote).chain(prompt.tools.iter().map(|tool| tool.description.as_str()))
}

/// A text without a key that somebody brought, should anybody have written it there.
pub(crate) fn hide(text: &str, access: &Access, own: bool) -> String {
    match &access.key {
        Some(key) if own && key.expose().len() >= 8 => text.replace(key.expose(), "[redacted key]"),
        Some(_) | None => text.to_owned(),
    }
}

/// About how many tokens texts have, rather too many.
fn estimate<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes: usize = texts.into_iter().map(|text| text.len() + 16).sum();
    u64::try_from(bytes / 3).unwrap_or(u64::MAX)
}
