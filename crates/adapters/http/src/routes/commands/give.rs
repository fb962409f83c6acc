//! Giving commands.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use muster_commands::{Accepted, Given, InvalidSpec, Once, Request, SpecRequest, Waited};
use muster_kernel::{AgentId, Permit, ScriptId, act};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{CommandAnswer, Shell};
use crate::extract::{Body, Id, IdempotencyKey, Json, May};
use crate::routes::approvals::{WaitingAnswer, waiting};
use crate::routes::runs::execute::{ExecuteRequest, Executed};
use crate::{AppState, Problem};

/// What is to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandRequest {
    /// The text for the shell, at most 64 KiB.
    #[serde(alias = "payload")]
    #[schema(example = "uptime")]
    command: String,
    /// Arguments, each handed over as it is and never read as code.
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    args: Vec<String>,
    /// `sh` unless given, on Windows `powershell`.
    #[serde(alias = "shell")]
    shell_type: Option<Shell>,
    /// Seconds that it may run.
    timeout: Option<f64>,
    working_directory: Option<String>,
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    environment: BTreeMap<String, String>,
    /// Seconds that an agent which is out of reach may come back for it; 7 days unless given.
    expires_in: Option<f64>,
    /// That you know that it may be dangerous; some customers ask for it.
    #[serde(default)]
    confirm: bool,
}

/// What kind of action it is.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ActionType {
    /// The payload is PowerShell.
    PowershellInline,
    /// The payload is for the machine's own shell, or for `shell_type`.
    Command,
    /// `script_id` is a script of the library.
    Script,
}

/// `DeployFlow`'s form of a command.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionRequest {
    #[serde(rename = "type")]
    kind: ActionType,
    /// What runs, unless it is a script.
    #[serde(default, alias = "command")]
    payload: String,
    script_id: Option<Uuid>,
    /// Of the script.
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    #[schema(value_type = BTreeMap<String, Object>)]
    parameters: BTreeMap<String, Value>,
    #[serde(alias = "shell")]
    shell_type: Option<Shell>,
    timeout: Option<f64>,
    expires_in: Option<f64>,
    #[serde(default)]
    confirm: bool,
}

impl From<ActionRequest> for CommandRequest {
    fn from(action: ActionRequest) -> Self {
        Self {
            command: action.payload,
            args: Vec::new(),
            shell_type: match action.kind {
                ActionType::PowershellInline => {
                    Some(action.shell_type.unwrap_or(Shell::Powershell))
                }
                ActionType::Command | ActionType::Script => action.shell_type,
            },
            timeout: action.timeout,
            working_directory: None,
            environment: BTreeMap::new(),
            expires_in: action.expires_in,
            confirm: action.confirm,
        }
    }
}

/// Work that was accepted: it is durable, and will be run or end otherwise.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedAnswer {
    /// The command's id, under R's name.
    task_id: Uuid,
    /// The command's id.
    command_id: Uuid,
    /// `pending` or `running`; more when the same request came before.
    status: &'static str,
    message: &'static str,
}

impl AcceptedAnswer {
    pub(crate) fn respond(given: &Given) -> HttpResponse {
        let id = given.command.id.as_uuid();
        let answer = Self {
            task_id: id,
            command_id: id,
            status: given.command.status().as_str(),
            message: if given.agent_connected {
                "the command is on its way"
            } else {
                "the agent is not connected; it gets the command when it is"
            },
        };
        let location = format!("/api/v1/commands/{id}");
        HttpResponse::Accepted().insert_header((LOCATION, location)).json(answer)
    }
}

/// A command that was accepted, or a dangerous one that waits for a second person.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is what the document shows")]
pub(crate) enum GivenAnswer {
    Accepted(AcceptedAnswer),
    Waiting(WaitingAnswer),
}

fn respond(state: &AppState, accepted: &Accepted) -> HttpResponse {
    match accepted {
        Accepted::Given(given) => AcceptedAnswer::respond(given),
        Accepted::Waits(approval) => waiting(state, approval),
    }
}

fn expires_in(seconds: Option<f64>) -> Result<Option<Duration>, Problem> {
    let duration = seconds.map(Duration::try_from_secs_f64).transpose();
    duration.map_err(|_| {
        let rule = "a number of seconds is expected".to_owned();
        InvalidSpec { field: "expires_in", rule }.into()
    })
}

fn wish(
    permit: &Permit<act::RunCommands>,
    agent_id: AgentId,
    key: IdempotencyKey,
    body: CommandRequest,
    fingerprint: [u8; 32],
) -> Result<Request, Problem> {
    let asker = permit.actor().id().unwrap_or_default();
    let once = key.0.map(|key| {
        // The agent is part of the request, though it stands in the path.
        Once { scope: format!("{asker}/agents/{agent_id}/commands"), key, fingerprint }
    });
    Ok(Request {
        spec: SpecRequest {
            command: body.command,
            args: body.args,
            shell_type: body.shell_type.map(Into::into),
            timeout: body.timeout,
            working_directory: body.working_directory,
            environment: body.environment,
        },
        expires_in: expires_in(body.expires_in)?,
        confirm: body.confirm,
        once,
    })
}

/// Run a command and wait for its end, as long as it may run. For an agent that is not connected
/// nobody waits: it is accepted, and runs when the agent comes back.
#[utoipa::path(
    post, path = "/agents/{id}/command", tag = "commands", operation_id = "run_command",
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = CommandRequest,
    responses(
        (status = 200, description = "it has ended", body = CommandAnswer),
        (status = 202, description = "it goes on, or waits for a second person", body = GivenAnswer),
        (status = 404, description = "no such agent"),
        (status = 409, description = "`IDEMPOTENCY_KEY_REUSED`, or `DANGEROUS_COMMAND` without `confirm`"),
        (status = 422, description = "the command breaks a rule"),
    ),
)]
pub(crate) async fn run(
    state: web::Data<AppState>,
    permit: May<act::RunCommands>,
    id: Id<AgentId>,
    key: IdempotencyKey,
    body: Json<CommandRequest>,
) -> Result<impl Responder, Problem> {
    let Body { value, fingerprint } = body.body().await?;
    let request = wish(&permit, id.get()?, key, value, fingerprint)?;
    match state.commands.run(&permit, id.get()?, request).await? {
        Waited::Ended(command) => {
            // It may be long since it was asked.
            permit.still(&state).await?.of(command.customer_id)?;
            Ok(HttpResponse::Ok().json(CommandAnswer::whole(&state, &command).await?))
        }
        Waited::GoesOn(given) => Ok(AcceptedAnswer::respond(&given)),
        Waited::Waits(approval) => Ok(waiting(&state, &approval)),
    }
}

/// Queue a command.
#[utoipa::path(
    post, path = "/agents/{id}/commands", tag = "commands", operation_id = "queue_command",
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = CommandRequest,
    responses(
        (status = 202, body = GivenAnswer),
        (status = 404, description = "no such agent"),
        (status = 409, description = "`IDEMPOTENCY_KEY_REUSED`, or `DANGEROUS_COMMAND` without `confirm`"),
        (status = 422, description = "the command breaks a rule"),
    ),
)]
pub(crate) async fn queue(
    state: web::Data<AppState>,
    permit: May<act::RunCommands>,
    id: Id<AgentId>,
    key: IdempotencyKey,
    body: Json<CommandRequest>,
) -> Result<impl Responder, Problem> {
    let Body { value, fingerprint } = body.body().await?;
    let request = wish(&permit, id.get()?, key, value, fingerprint)?;
    let accepted = state.commands.give(&permit, id.get()?, request).await?;
    Ok(respond(&state, &accepted))
}

/// Queue a command in `DeployFlow`'s form.
#[utoipa::path(
    post, path = "/devices/{id}/actions", tag = "commands", operation_id = "queue_action",
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = ActionRequest,
    responses((status = 202, body = GivenAnswer), (status = 404), (status = 422)),
)]
pub(crate) async fn action(
    state: web::Data<AppState>,
    saved: May<act::RunSaved>,
    id: Id<AgentId>,
    key: IdempotencyKey,
    body: Json<ActionRequest>,
) -> Result<impl Responder, Problem> {
    let Body { value, fingerprint } = body.body().await?;
    if let (ActionType::Script, script_id) = (value.kind, value.script_id) {
        let rule = "the id of a script of the library is expected";
        let script_id = script_id.ok_or_else(|| Problem::invalid("/script_id", rule))?;
        let ActionRequest { parameters, timeout, expires_in, confirm, .. } = value;
        let request = ExecuteRequest::on(id.get()?, parameters, timeout, expires_in, confirm);
        let script = Executed::Script(ScriptId::from_uuid(script_id));
        return request.begin(&state, &saved, key, fingerprint, script).await;
    }
    let permit = saved.also::<act::RunCommands>()?;
    let request = wish(&permit, id.get()?, key, value.into(), fingerprint)?;
    let accepted = state.commands.give(&permit, id.get()?, request).await?;
    Ok(respond(&state, &accepted))
}
