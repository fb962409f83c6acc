//! The tools of assistants for people's own AI clients: MCP over streamable HTTP, at `/mcp`.
//!
//! Every request stands for itself: it shows a credential, opens no session, and is answered with one
//! JSON document. `docs/decisions/0022-mcp-without-sessions.md` says why the types are `rmcp`'s and the
//! transport is not.

mod answers;

use actix_web::http::StatusCode;
use actix_web::http::header::ALLOW;
use actix_web::{HttpRequest, HttpResponse, Responder, web};
use muster_assistant::proposals::Source;
use muster_assistant::tools::{Offer, Rights, ToolName};
use muster_kernel::act;
use rmcp::model::{ErrorCode, ErrorData};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::extract::{Json, May, check_origin};
use crate::{AppState, Problem};

/// The largest message, in bytes: a proposed command of the greatest length fits.
const MAX_BODY: usize = 256 * 1024;
/// What proposals are said to come from: the client tells its name to nobody but itself.
const SOURCE: &str = "MCP client";

/// A message of JSON-RPC: a request when it has an id and a method.
#[derive(Debug, Deserialize)]
struct Incoming {
    jsonrpc: String,
    id: Option<Value>,
    method: Option<String>,
    params: Option<Value>,
}

/// Mounts it.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.service(web::resource("/mcp").name("/mcp").route(web::post().to(take)).default_service(
        web::to(
            // There are no sessions that could be listened to or ended.
            async || HttpResponse::MethodNotAllowed().insert_header((ALLOW, "POST")).finish(),
        ),
    ));
}

async fn take(
    state: web::Data<AppState>,
    permit: May<act::UseAssistant>,
    request: HttpRequest,
    body: Json<Value>,
) -> Result<impl Responder, Problem> {
    check_origin(&request, &state)?;
    let message = body.up_to(MAX_BODY).value().await?;
    let Ok(Incoming { jsonrpc, id, method, params }) = serde_json::from_value(message) else {
        return Ok(refused(None, &invalid("one message of JSON-RPC 2.0 is expected")));
    };
    let (Some(method), true) = (method, jsonrpc == "2.0") else {
        let refusal = invalid("a request of JSON-RPC 2.0 is expected");
        return Ok(if id.is_some() { refused(id.as_ref(), &refusal) } else { accepted() });
    };
    let Some(id) = id else { return Ok(accepted()) };
    let params = params.unwrap_or_default();
    Ok(match answer(&state, &permit, &method, &params).await? {
        Ok(result) => {
            HttpResponse::Ok().json(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
        }
        Err(error) => refused(Some(&id), &error),
    })
}

/// The answer to a request, or why there is none.
async fn answer(
    state: &AppState,
    permit: &May<act::UseAssistant>,
    method: &str,
    params: &Value,
) -> Result<Result<Value, ErrorData>, Problem> {
    let rights = Rights::of(permit);
    let source = Source { name: SOURCE.to_owned(), ..Source::default() };
    let tools = ToolName::ALL.iter().copied().collect();
    let offer = Offer { rights: &rights, source: &source, chat: None, tools: &tools };
    Ok(match method {
        "initialize" => Ok(answers::welcome(params)),
        "ping" => Ok(json!({})),
        "tools/list" => Ok(answers::tools(&offer)),
        "tools/call" => {
            let Some(name) = params.get("name").and_then(Value::as_str) else {
                return Ok(Err(error(ErrorCode::INVALID_PARAMS, "name: a tool is expected")));
            };
            let arguments = params.get("arguments").cloned().unwrap_or_else(|| json!({}));
            let given = state.assistance.toolbox.give(offer, name, &arguments).await?;
            Ok(answers::given(given))
        }
        _ => Err(error(ErrorCode::METHOD_NOT_FOUND, "there is no such method here")),
    })
}

fn invalid(message: &'static str) -> ErrorData {
    error(ErrorCode::INVALID_REQUEST, message)
}

const fn error(code: ErrorCode, message: &'static str) -> ErrorData {
    ErrorData { code, message: std::borrow::Cow::Borrowed(message), data: None }
}

/// That a message was taken which wants no answer.
fn accepted() -> HttpResponse {
    HttpResponse::Accepted().finish()
}

fn refused(id: Option<&Value>, error: &ErrorData) -> HttpResponse {
    let status = if id.is_some() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    HttpResponse::build(status).json(json!({ "jsonrpc": "2.0", "id": id, "error": error }))
}
