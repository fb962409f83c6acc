//! What is asked of a language model, and what it answers.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use muster_kernel::Secret;
use serde_json::Value;

/// Who says something in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speaker {
    /// Muster: its word is above what anybody else says.
    System,
    /// The person who asks.
    Person,
    /// The model, earlier.
    Model,
}

impl Speaker {
    /// The name that models know.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Person => "user",
            Self::Model => "assistant",
        }
    }

    /// Who says something in a conversation that a person shows: never Muster.
    pub fn in_history(text: &str) -> Option<Self> {
        [Self::Person, Self::Model].into_iter().find(|speaker| speaker.as_str() == text)
    }
}

/// Something that somebody says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who.
    pub speaker: Speaker,
    /// What.
    pub text: String,
}

/// The form that an answer has to have.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// What it is called: letters, digits and underscores.
    pub name: &'static str,
    /// The JSON schema of an object, in which every property is required.
    pub schema: Value,
}

/// Something that a model may ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// What it is called: letters, digits and underscores.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The JSON schema of what it takes.
    pub parameters: Value,
}

/// A model asks for a tool. Whether it gets it is not the model's to say.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// Names the call.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// What for: an object, or a text that is none where the model wrote what can't be read.
    pub arguments: Value,
}

/// What is asked of a model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prompt {
    /// The conversation, the oldest first.
    pub messages: Vec<Message>,
    /// The form of the answer; free text when absent.
    pub schema: Option<Schema>,
    /// What the model may ask for.
    pub tools: Vec<Tool>,
    /// What it asked for since, and got, the oldest first.
    pub exchanges: Vec<Exchange>,
}

/// A model asked for tools, and got something.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exchange {
    /// What it said beside that.
    pub text: String,
    /// What it asked for.
    pub calls: Vec<ToolCall>,
    /// What it got, one text for each call.
    pub results: Vec<String>,
}

/// How much was read and written, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Of the conversation.
    pub read: u64,
    /// Of the answer.
    pub written: u64,
}

impl Usage {
    /// Both together.
    pub const fn total(self) -> u64 {
        self.read.saturating_add(self.written)
    }

    /// Together with another.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            read: self.read.saturating_add(other.read),
            written: self.written.saturating_add(other.written),
        }
    }
}

/// What a model answers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// What it says.
    pub text: String,
    /// What it asks for.
    pub tool_calls: Vec<ToolCall>,
    /// What that took, as far as the provider says.
    pub usage: Option<Usage>,
}

/// A part of an answer that comes bit by bit.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// More text.
    Text(String),
    /// What it asks for, all of it.
    Calls(Vec<ToolCall>),
    /// The end: the answer is whole. A stream without it was cut.
    End(Option<Usage>),
}

/// An answer that comes bit by bit. After an error nothing comes any more.
pub type Deltas = BoxStream<'static, Result<Delta, ModelError>>;

/// Which model, where, and by whose key.
#[derive(Debug, Clone)]
pub struct Access {
    /// What people call the provider.
    pub provider: Provider,
    /// Where its API is: an address without a slash at its end.
    pub base_url: String,
    /// Which model.
    pub model: String,
    /// The key; a model on one's own machine may need none.
    pub key: Option<Secret>,
    /// How long an answer may be, in tokens.
    pub max_tokens: u32,
    /// How freely the model chooses its words, from 0 to 2; the provider's own choice when absent.
    pub temperature: Option<f32>,
}

/// Who runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// `OpenAI`.
    OpenAi,
    /// `OpenRouter`, which passes on to many.
    OpenRouter,
    /// Anybody whose API is like `OpenAI`'s: Azure, Bedrock, Ollama, vLLM.
    Custom,
}

impl Provider {
    /// Every provider.
    pub const ALL: &[Self] = &[Self::OpenAi, Self::OpenRouter, Self::Custom];

    /// The name in the API and the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::OpenRouter => "openrouter",
            Self::Custom => "custom",
        }
    }

    /// Reads what [`Provider::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|provider| provider.as_str() == text)
    }

    /// Where its API is, if that is known.
    pub const fn base_url(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("https://api.openai.com/v1"),
            Self::OpenRouter => Some("https://openrouter.ai/api/v1"),
            Self::Custom => None,
        }
    }

    /// The model that is asked when nobody names one.
    pub const fn usual_model(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Custom => "gpt-4o-mini",
            Self::OpenRouter => "openai/gpt-4o-mini",
        }
    }
}

/// Why a model did not answer. None of these holds what the provider wrote: that may be a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// It took too long.
    #[error("the model did not answer in time")]
    Timeout,
    /// Too much was asked of it.
    #[error("the provider takes no more requests for now")]
    RateLimited {
        /// When it may be asked again, if the provider says.
        retry_after: Option<Duration>,
    },
    /// It does not want to.
    #[error("the model refuses to answer this")]
    Refused,
    /// The answer has no end.
    #[error("the model's answer was cut off before its end")]
    CutOff,
    /// Nobody is there, or only an error.
    #[error("the provider can't be reached")]
    Unreachable,
    /// The key is none.
    #[error("the provider does not accept the key")]
    Unauthorised,
    /// The provider does not understand the request, such as the model's name.
    #[error("the provider does not take the request{}", .0.as_ref().map(|it| format!(": {it}")).unwrap_or_default())]
    Rejected(Option<String>),
    /// The answer is none.
    #[error("the provider's answer can't be read")]
    Malformed,
}

/// A language model.
///
/// An implementation MUST NOT log, trace or keep the key or the conversation, nor repeat either in
/// an error, and MUST come to an end by itself. It MAY ask again what failed for a reason that
/// passes.
#[async_trait]
pub trait LanguageModel: Send + Sync + std::fmt::Debug {
    /// Asks, and waits for the whole answer. One that was cut off MUST be [`ModelError::CutOff`].
    async fn ask(&self, access: &Access, prompt: &Prompt) -> Result<Answer, ModelError>;

    /// Asks, and gives the answer bit by bit.
    async fn stream(&self, access: &Access, prompt: &Prompt) -> Result<Deltas, ModelError>;
}
