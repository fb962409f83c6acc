//! The assistant.

pub(crate) mod answer;
pub(crate) mod ask;
pub(crate) mod assistants;
pub(crate) mod chat;
pub(crate) mod model;
mod problems;
pub(crate) mod projects;
pub(crate) mod proposals;
pub(crate) mod trial;

use actix_web::HttpRequest;
use muster_assistant::{AssistantError, ModelError, OwnKey, Provider, Setting, TrialError};
use muster_kernel::{AgentId, ProblemCode, Secret};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use uuid::Uuid;

use super::commands::Shell;
use crate::Problem;

/// The header in which a key of one's own comes.
const KEY_HEADER: &str = "X-AI-Key";

impl From<AssistantError> for Problem {
    fn from(error: AssistantError) -> Self {
        match error {
            AssistantError::NotConfigured => Self::new(ProblemCode::WrongState, error.to_string()),
            AssistantError::AgentNotFound => Self::new(ProblemCode::NotFound, error.to_string()),
            AssistantError::Denied(error) => error.into(),
            AssistantError::Invalid(field, rule) => Self::invalid(format!("/{field}"), rule),
            AssistantError::Exhausted { until } => {
                let detail = format!("{error}; there is more from {until} on");
                Self::new(ProblemCode::TooManyRequests, detail)
            }
            AssistantError::Model(error) => error.into(),
            AssistantError::Unusable(_) => Self::new(ProblemCode::Unavailable, error.to_string()),
            AssistantError::Storage(error) => error.into(),
        }
    }
}

impl From<ModelError> for Problem {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::RateLimited { retry_after } => {
                let problem = Self::new(ProblemCode::Unavailable, error.to_string());
                problem.retry_after(retry_after.map_or(60, |after| after.as_secs().max(1)))
            }
            ModelError::Refused => Self::new(ProblemCode::ValidationFailed, error.to_string()),
            ModelError::Timeout
            | ModelError::CutOff
            | ModelError::Unreachable
            | ModelError::Unauthorised
            | ModelError::Rejected(_)
            | ModelError::Malformed => Self::new(ProblemCode::Unavailable, error.to_string()),
        }
    }
}

impl From<TrialError> for Problem {
    fn from(error: TrialError) -> Self {
        match error {
            TrialError::NotConfirmed(_, ref reasons) => {
                let why: Vec<_> = reasons.iter().map(|reason| format!("; it {reason}")).collect();
                let detail = format!("{error}{}", why.concat());
                Self::new(ProblemCode::DangerousCommand, detail)
            }
            TrialError::Commands(error) => error.into(),
        }
    }
}

/// A key that came in a body, which nothing prints.
#[derive(Debug, Clone)]
pub(crate) struct KeyText(Secret);

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(Secret::from_text(String::deserialize(from)?)))
    }
}

/// Whose language model it is.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProviderName {
    OpenAi,
    OpenRouter,
    Custom,
}

impl From<ProviderName> for Provider {
    fn from(name: ProviderName) -> Self {
        match name {
            ProviderName::OpenAi => Self::OpenAi,
            ProviderName::OpenRouter => Self::OpenRouter,
            ProviderName::Custom => Self::Custom,
        }
    }
}

/// By whose key is asked. A key is used for this request and kept nowhere.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct KeyWish {
    /// A key of your own, unless it comes in `X-AI-Key`.
    #[schema(value_type = Option<String>)]
    api_key: Option<KeyText>,
    /// Whose key it is: `openai` or `openrouter`; the installation's provider unless given.
    provider: Option<ProviderName>,
    /// The model to ask with it.
    model: Option<String>,
}

impl KeyWish {
    /// The key of one's own, if there is one.
    fn own(self, request: &HttpRequest) -> Result<Option<OwnKey>, Problem> {
        let header = request.headers().get(KEY_HEADER);
        let header = header.map(|key| key.to_str()).transpose().map_err(|_| {
            Problem::new(ProblemCode::Malformed, "X-AI-Key: printable characters are expected")
        })?;
        let header = header.map(|key| Secret::from_text(key.trim()));
        let key = header.or(self.api_key.map(|key| key.0));
        let provider = self.provider.map(Into::into);
        Ok(key.map(|key| OwnKey { key, provider, model: self.model }))
    }
}

/// Where a command is to run.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct PlaceWish {
    /// The machine that it is about; the model is told its system, version and shells.
    agent_id: Option<Uuid>,
    /// The shell; the machine's usual one unless given.
    #[serde(alias = "shell")]
    shell_type: Option<Shell>,
}

impl PlaceWish {
    fn setting(self, key: KeyWish, request: &HttpRequest) -> Result<Setting, Problem> {
        Ok(Setting {
            agent_id: self.agent_id.map(AgentId::from_uuid),
            shell_type: self.shell_type.map(Into::into),
            own_key: key.own(request)?,
        })
    }
}
