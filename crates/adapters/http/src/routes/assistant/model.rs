//! Which language model there is.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, Responder, web};
use muster_assistant::{AssistantError, ModelError};
use muster_kernel::{ProblemCode, act};
use muster_settings::{Key, MASK, Settings};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{KeyText, KeyWish};
use crate::extract::{Json, May};
use crate::{AppState, Problem};

/// Which model there is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusAnswer {
    /// Whether a model is set up.
    configured: bool,
    /// `openai`, `openrouter` or `custom`.
    provider: Option<&'static str>,
    model: Option<String>,
    /// Whether it could be asked when it was asked last; null when nobody has asked since the start.
    reachable: Option<bool>,
}

/// Which language model there is, and whether it answers.
#[utoipa::path(
    get, path = "/commands/ai/status", tag = "assistant", operation_id = "read_assistant_status",
    responses((status = 200, body = StatusAnswer)),
)]
pub(crate) async fn status(
    state: web::Data<AppState>,
    permit: May<act::UseAssistant>,
) -> Result<impl Responder, Problem> {
    let model = state.assistance.assistant.model(&permit).await?;
    Ok(web::Json(StatusAnswer {
        configured: model.is_some(),
        provider: model.as_ref().map(|it| it.provider.as_str()),
        reachable: model.as_ref().and_then(|it| it.reached),
        model: model.map(|it| it.model),
    }))
}

/// Whether a provider takes a key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyAnswer {
    valid: bool,
}

/// Whether the provider takes a key of your own. It is used for this and kept nowhere.
#[utoipa::path(
    post, path = "/ai/validate-key", tag = "assistant", operation_id = "validate_ai_key",
    params(("X-AI-Key" = Option<String>, Header)),
    request_body = KeyWish,
    responses(
        (status = 200, body = KeyAnswer),
        (status = 422, description = "there is no key"),
        (status = 503, description = "the provider does not answer"),
    ),
)]
pub(crate) async fn validate_key(
    state: web::Data<AppState>,
    permit: May<act::UseAssistant>,
    request: HttpRequest,
    body: Json<KeyWish>,
) -> Result<impl Responder, Problem> {
    let own = body.value().await?.own(&request)?;
    let own = own.ok_or_else(|| Problem::invalid("/api_key", "a key is expected"))?;
    match state.assistance.assistant.validate_key(&permit, &own).await {
        Ok(()) => Ok(web::Json(KeyAnswer { valid: true })),
        Err(AssistantError::Model(ModelError::Unauthorised)) => {
            Ok(web::Json(KeyAnswer { valid: false }))
        }
        Err(error) => Err(error.into()),
    }
}

/// How the language model is set up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConfigAnswer {
    /// `openai`, `openrouter` or `custom`.
    provider: String,
    /// Masked; null when there is none.
    api_key: Option<&'static str>,
    model: String,
    base_url: String,
    /// How long an answer may be, in tokens.
    max_tokens: u64,
    /// How freely the model chooses its words, from 0 to 2.
    temperature: f64,
}

impl ConfigAnswer {
    fn of(settings: &Settings, permit: &May<act::ReadSettings>) -> Result<Self, Problem> {
        let key = settings.get(permit, Key::AiApiKey.as_str())?;
        let percent = u32::try_from(settings.number(Key::AiTemperaturePercent)).unwrap_or(0);
        Ok(Self {
            provider: settings.text(Key::AiProvider),
            api_key: key.set_at.map(|_| MASK),
            model: settings.text(Key::AiModel),
            base_url: settings.text(Key::AiBaseUrl),
            max_tokens: settings.number(Key::AiMaxTokens),
            temperature: f64::from(percent) / 100.0,
        })
    }
}

/// How the language model is set up, the key masked.
#[utoipa::path(
    get, path = "/settings/chatgpt/config", tag = "settings", operation_id = "read_ai_config",
    responses((status = 200, body = ConfigAnswer)),
)]
pub(crate) async fn config(
    state: web::Data<AppState>,
    permit: May<act::ReadSettings>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(ConfigAnswer::of(&state.settings, &permit)?))
}

/// What is to be another about the language model; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigRequest {
    /// `openai`, `openrouter` or `custom`.
    provider: Option<String>,
    /// Sealed when it is kept.
    #[schema(value_type = Option<String>)]
    api_key: Option<KeyText>,
    model: Option<String>,
    base_url: Option<String>,
    max_tokens: Option<u64>,
    /// From 0 to 2.
    temperature: Option<f64>,
}

impl ConfigRequest {
    fn values(self) -> Result<BTreeMap<String, Value>, Problem> {
        let mut values = BTreeMap::new();
        let mut put = |key: Key, value: Option<Value>| {
            values.extend(value.map(|value| (key.as_str().to_owned(), value)));
        };
        put(Key::AiProvider, self.provider.map(Value::from));
        put(Key::AiApiKey, self.api_key.map(|key| Value::from(key.0.expose())));
        put(Key::AiModel, self.model.map(Value::from));
        put(Key::AiBaseUrl, self.base_url.map(Value::from));
        put(Key::AiMaxTokens, self.max_tokens.map(Value::from));
        if let Some(temperature) = self.temperature {
            if !(0.0..=2.0).contains(&temperature) {
                return Err(Problem::invalid("/temperature", "a number from 0 to 2 is expected"));
            }
            // In whole hundredths, as settings keep it.
            let percent = format!("{:.0}", temperature * 100.0).parse::<u64>().unwrap_or(0);
            put(Key::AiTemperaturePercent, Some(json!(percent)));
        }
        Ok(values)
    }
}

/// Set up the language model. It takes effect at once here, and within seconds on other nodes.
#[utoipa::path(
    post, path = "/settings/chatgpt/config", tag = "settings", operation_id = "update_ai_config",
    request_body = ConfigRequest,
    responses((status = 200, body = ConfigAnswer), (status = 422)),
)]
pub(crate) async fn configure(
    state: web::Data<AppState>,
    permit: May<act::ManageSettings>,
    reading: May<act::ReadSettings>,
    body: Json<ConfigRequest>,
) -> Result<impl Responder, Problem> {
    state.settings.set(&permit, &body.value().await?.values()?).await?;
    Ok(web::Json(ConfigAnswer::of(&state.settings, &reading)?))
}

/// Whether the language model answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TestAnswer {
    success: bool,
    /// What is in the way, if it does not.
    message: String,
}

/// Ask the language model that is set up the shortest of questions.
#[utoipa::path(
    post, path = "/settings/chatgpt/test", tag = "settings", operation_id = "test_ai_config",
    responses((status = 200, body = TestAnswer), (status = 409, description = "none is set up")),
)]
pub(crate) async fn test(
    state: web::Data<AppState>,
    permit: May<act::ManageSettings>,
) -> Result<impl Responder, Problem> {
    match state.assistance.assistant.try_model(&permit).await {
        Ok(()) => Ok(web::Json(TestAnswer { success: true, message: "it answers".to_owned() })),
        Err(AssistantError::Model(error)) => {
            Ok(web::Json(TestAnswer { success: false, message: error.to_string() }))
        }
        Err(error) => Err(error.into()),
    }
}

/// Look again at how the language model is set up, should another program have changed it.
#[utoipa::path(
    post, path = "/settings/reload-ai-service", tag = "settings", operation_id = "reload_ai_service",
    responses((status = 200, body = TestAnswer)),
)]
pub(crate) async fn reload(
    state: web::Data<AppState>,
    _: May<act::ManageSettings>,
) -> Result<impl Responder, Problem> {
    let again = state.settings.reload().await;
    again.map_err(|_| Problem::new(ProblemCode::Unavailable, "the settings can't be read"))?;
    let message = "the settings are in force".to_owned();
    Ok(web::Json(TestAnswer { success: true, message }))
}
