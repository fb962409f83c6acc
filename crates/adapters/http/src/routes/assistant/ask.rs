//! Asking the assistant.

use actix_web::{HttpRequest, Responder, web};
use muster_assistant::{Failed, Message, Speaker, Wish};
use muster_kernel::act;
use serde::Deserialize;
use utoipa::ToSchema;

use super::answer::{DiagnosisAnswer, ExplanationAnswer, GeneratedAnswer, OptimizedAnswer};
use super::{KeyWish, PlaceWish};
use crate::extract::{Json, May};
use crate::{AppState, Problem};

/// A turn of a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TurnRequest {
    /// `user` or `assistant`.
    role: String,
    content: String,
}

/// A wish for a command.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct GenerateRequest {
    /// What it is to do, in plain words; at most 4000 characters.
    #[serde(alias = "description")]
    #[schema(example = "Show the ten processes that use the most memory")]
    message: String,
    /// What was said before, the oldest first; at most 20 turns.
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    conversation_history: Vec<TurnRequest>,
    #[serde(flatten)]
    place: PlaceWish,
    #[serde(flatten)]
    key: KeyWish,
}

impl GenerateRequest {
    fn wish(message: String, history: Vec<TurnRequest>) -> Result<Wish, Problem> {
        let mut turns = Vec::with_capacity(history.len());
        for (number, turn) in history.into_iter().enumerate() {
            let place = format!("/conversation_history/{number}/role");
            let speaker = Speaker::in_history(&turn.role)
                .ok_or_else(|| Problem::invalid(place, "user or assistant is expected"))?;
            turns.push(Message { speaker, text: turn.content });
        }
        Ok(Wish { message, history: turns })
    }
}

/// Say in plain words what a command is to do, and get one proposed. A person decides about it.
#[utoipa::path(
    post, path = "/commands/ai/generate", tag = "assistant", operation_id = "generate_command",
    params(("X-AI-Key" = Option<String>, Header)),
    request_body = GenerateRequest,
    responses(
        (status = 200, body = GeneratedAnswer),
        (status = 404, description = "no such agent"),
        (status = 409, description = "no language model is set up"),
        (status = 422, description = "the wish breaks a rule, or the model refuses"),
        (status = 429, description = "the plan allows no more today"),
        (status = 503, description = "the model does not answer, or nothing that can be used"),
    ),
)]
pub(crate) async fn generate(
    state: web::Data<AppState>,
    permit: May<act::UseAssistant>,
    request: HttpRequest,
    body: Json<GenerateRequest>,
) -> Result<impl Responder, Problem> {
    let GenerateRequest { message, conversation_history, place, key } = body.value().await?;
    let wish = GenerateRequest::wish(message, conversation_history)?;
    let setting = place.setting(key, &request)?;
    let told = state.assistance.assistant.generate(&permit, &wish, &setting).await?;
    Ok(web::Json(GeneratedAnswer::from(told)))
}

/// The same as `/commands/ai/generate`, under the name that terminals know.
#[utoipa::path(
    post, path = "/ai/suggest-command", tag = "assistant", operation_id = "suggest_command",
    params(("X-AI-Key" = Option<String>, Header)),
    request_body = GenerateRequest,
    responses((status = 200, body = GeneratedAnswer), (status = 404), (status = 409), (status = 422), (status = 429), (status = 503)),
)]
pub(crate) async fn suggest(
    state: web::Data<AppState>,
    permit: May<act::UseAssistant>,
    request: HttpRequest,
    body: Json<GenerateRequest>,
) -> Result<impl Responder, Problem> {
    generate(state, permit, request, body).await
}

/// A command to talk about.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MaterialRequest {
    /// At most 65536 characters.
    #[schema(example = "find /var/log -name '*.gz' -mtime +30")]
    command: String,
    #[serde(flatten)]
    place: PlaceWish,
    #[serde(flatten)]
    key: KeyWish,
}

/// What a command does, part by part.
#[utoipa::path(
    post, path = "/ai/explain-command", tag = "assistant", operation_id = "explain_command",
    params(("X-AI-Key" = Option<String>, Header)),
    request_body = MaterialRequest,
    responses((status = 200, body = ExplanationAnswer), (status = 404), (status = 409), (status = 422), (status = 429), (status = 503)),
)]
pub(crate) async fn explain_command(
    state: web::Data<AppState>,
    permit: May<act::UseAssistant>,
    request: HttpRequest,
    body: Json<MaterialRequest>,
) -> Result<impl Responder, Problem> {
    let MaterialRequest { command, place, key } = body.value().await?;
    let setting = place.setting(key, &request)?;
    let told = state.assistance.assistant.explain_command(&permit, &command, &setting).await?;
    Ok(web::Json(ExplanationAnswer::from(told)))
}

/// A command that failed.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ErrorRequest {
    /// What it wrote; at most 65536 characters.
    #[serde(alias = "error_message", alias = "output")]
    error: String,
    /// The command.
    #[serde(default)]
    command: String,
    exit_code: Option<i64>,
    #[serde(flatten)]
    place: PlaceWish,
    #[serde(flatten)]
    key: KeyWish,
}

/// Why a command failed, and what may help.
#[utoipa::path(
    post, path = "/ai/explain-error", tag = "assistant", operation_id = "explain_error",
    params(("X-AI-Key" = Option<String>, Header)),
    request_body = ErrorRequest,
    responses((status = 200, body = DiagnosisAnswer), (status = 404), (status = 409), (status = 422), (status = 429), (status = 503)),
)]
pub(crate) async fn explain_error(
    state: web::Data<AppState>,
    permit: May<act::UseAssistant>,
    request: HttpRequest,
    body: Json<ErrorRequest>,
) -> Result<impl Responder, Problem> {
    let ErrorRequest { error, command, exit_code, place, key } = body.value().await?;
    let setting = place.setting(key, &request)?;
    let failed = Failed { command, error, exit_code };
    let told = state.assistance.assistant.explain_error(&permit, &failed, &setting).await?;
    Ok(web::Json(DiagnosisAnswer::from(told)))
}

/// The same command, said better.
#[utoipa::path(
    post, path = "/ai/optimize-command", tag = "assistant", operation_id = "optimize_command",
    params(("X-AI-Key" = Option<String>, Header)),
    request_body = MaterialRequest,
    responses((status = 200, body = OptimizedAnswer), (status = 404), (status = 409), (status = 422), (status = 429), (status = 503)),
)]
pub(crate) async fn optimize(
    state: web::Data<AppState>,
    permit: May<act::UseAssistant>,
    request: HttpRequest,
    body: Json<MaterialRequest>,
) -> Result<impl Responder, Problem> {
    let MaterialRequest { command, place, key } = body.value().await?;
    let setting = place.setting(key, &request)?;
    let told = state.assistance.assistant.optimize_command(&permit, &command, &setting).await?;
    Ok(web::Json(OptimizedAnswer::from(told)))
}
