//! What agents report in requests of their own: the protocol where no WebSocket gets through, and a
//! plain form for simple clients.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, Responder, web};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use muster_agents::Metrics;
use muster_commands::{LeaseError, Leased, Outcome, PlainCommand, Said, ShellType, exit_code};
use muster_kernel::{AgentId, CommandId, Dialect, Permit, ProblemCode, act};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::older;
use crate::extract::{Id, Json, May, Older, Reporting, is_unversioned, name_in};
use crate::{AppState, Problem};

/// The largest body of an agent's request, in bytes.
const MAX_REPORT: usize = 1024 * 1024;
/// The same of somebody who is only known when it was read.
const MAX_OLDER_HEARTBEAT: usize = 64 * 1024;
/// Seconds that a simple client should let pass between two heartbeats.
const HEARTBEAT_INTERVAL: u64 = 30;

impl From<LeaseError> for Problem {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::NotFound => Self::new(ProblemCode::NotFound, error.to_string()),
            LeaseError::Denied(denied) => denied.into(),
            LeaseError::Storage(error) => error.into(),
        }
    }
}

/// The load of a machine. What is not said is 0, and what is not known is ignored: clients may be
/// newer than the server.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct MetricsReport {
    /// Busy share of all processors, 0 to 100.
    #[serde(alias = "cpu", alias = "cpu_usage")]
    cpu_percent: f32,
    /// Used share of the memory, 0 to 100.
    #[serde(alias = "memory", alias = "memory_usage")]
    memory_percent: f32,
    /// Used share of all disks together, 0 to 100.
    #[serde(alias = "disk", alias = "disk_usage")]
    disk_percent: f32,
    /// Bytes received since the machine booted.
    network_rx_bytes: u64,
    /// Bytes sent since the machine booted.
    network_tx_bytes: u64,
    /// Processes that run.
    processes: u32,
    /// Seconds since the machine booted.
    #[serde(alias = "uptime")]
    uptime_seconds: u64,
}

/// What a simple client says of its machine. With `messages` it is a request of the protocol
/// `muster.v1` instead, which `openapi/asyncapi.json` describes.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct HeartbeatReport {
    /// Ignored: who reports is there.
    #[expect(dead_code, reason = "older clients send it")]
    status: Option<String>,
    /// The load.
    metrics: Option<MetricsReport>,
    /// Who an agent of `DeployFlow` Fleet is, as it was told when it enrolled.
    #[serde(alias = "agent_id")]
    #[schema(value_type = Option<String>)]
    device_id: Option<Name>,
    /// What it enrolled with, if it is not in a header.
    enrollment_token: Option<String>,
    /// What an agent of `DeployFlow` Fleet that nobody knows yet calls itself.
    hostname: Option<String>,
}

/// The id of a machine, which some write as a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Number(u64),
}

impl Name {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Something that a simple client is to run.
#[derive(Serialize, ToSchema)]
pub(crate) struct ActionAnswer {
    /// The command's id.
    id: Uuid,
    /// `script`, or by its shell `powershell_inline` or `command`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The text: of the script, or the command.
    payload: String,
    /// `powershell`, `pwsh`, `cmd`, `bash` or `sh`.
    shell_type: &'static str,
    /// Arguments, each to be handed over as it is.
    args: Vec<String>,
    working_directory: Option<String>,
    /// Variables on top of the machine's own.
    environment: BTreeMap<String, String>,
    /// More of them, which the client has to keep out of the output.
    secrets: BTreeMap<String, String>,
    /// Seconds that it may run.
    timeout: f64,
    /// It may not begin later than this.
    expires_at: Option<DateTime<Utc>>,
    /// It comes again after this when nothing was heard of it; `null` when it never does.
    leased_until: Option<DateTime<Utc>>,
}

/// What a simple client is to do.
#[derive(Serialize, ToSchema)]
pub(crate) struct HeartbeatAnswer {
    agent_id: Uuid,
    server_time: DateTime<Utc>,
    /// Seconds until the next heartbeat is expected.
    heartbeat_interval: u64,
    /// What nobody had yet, and what was handed out a minute ago and nothing was heard of.
    actions: Vec<ActionAnswer>,
}

/// How far a command is at a simple client.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct ResultReport {
    /// `accepted`, `running`, `completed`, `failed`, `timed_out` or `cancelled`; by `success` or
    /// the exit code when absent.
    status: Option<String>,
    success: Option<bool>,
    exit_code: Option<i64>,
    /// All of its standard output.
    #[serde(alias = "stdout")]
    output: Option<String>,
    /// All of its standard error.
    #[serde(alias = "stderr")]
    error: Option<String>,
    /// Seconds that it ran.
    execution_time: Option<f64>,
    /// Its output, where that is told as one.
    logs: Option<String>,
    /// Who an agent of `DeployFlow` Fleet is; whoever has the command unless given.
    #[serde(alias = "agent_id")]
    #[schema(value_type = Option<String>)]
    device_id: Option<Name>,
    /// What it enrolled with, if it is not in a header.
    enrollment_token: Option<String>,
}

/// What became of a report.
#[derive(Serialize, ToSchema)]
pub(crate) struct ResultAnswer {
    command_id: Uuid,
    /// The command's status now.
    #[schema(example = "completed")]
    status: &'static str,
}

/// That the endpoint is there.
#[derive(Serialize, ToSchema)]
pub(crate) struct Alive {
    #[schema(example = "ok")]
    status: &'static str,
    server_time: DateTime<Utc>,
}

impl From<MetricsReport> for Metrics {
    fn from(report: MetricsReport) -> Self {
        Self {
            cpu_percent: report.cpu_percent,
            memory_percent: report.memory_percent,
            disk_percent: report.disk_percent,
            network_rx_bytes: report.network_rx_bytes,
            network_tx_bytes: report.network_tx_bytes,
            processes: report.processes,
            uptime_seconds: report.uptime_seconds,
        }
    }
}

impl From<Leased> for ActionAnswer {
    fn from(Leased { command, payload, until }: Leased) -> Self {
        let spec = &command.spec;
        let kind = match (&payload.script, spec.shell_type) {
            (Some(_), _) => "script",
            (None, ShellType::Powershell | ShellType::Pwsh) => "powershell_inline",
            (None, ShellType::Cmd | ShellType::Bash | ShellType::Sh) => "command",
        };
        let exposed = payload.secrets.iter();
        let exposed = exposed.map(|(name, value)| (name.clone(), value.expose().to_owned()));
        Self {
            id: command.id.as_uuid(),
            kind,
            payload: payload.script.map_or_else(|| spec.command.clone(), |text| text.to_string()),
            shell_type: spec.shell_type.as_str(),
            args: spec.args.clone(),
            working_directory: spec.working_directory.clone(),
            environment: spec.environment.clone(),
            secrets: exposed.collect(),
            timeout: spec.timeout.as_secs_f64(),
            expires_at: Some(command.expires_at),
            leased_until: Some(until),
        }
    }
}

impl From<PlainCommand> for ActionAnswer {
    fn from(command: PlainCommand) -> Self {
        Self {
            id: command.id.as_uuid(),
            kind: "powershell_inline",
            payload: command.text,
            shell_type: command.shell.as_str(),
            args: Vec::new(),
            working_directory: command.working_directory,
            environment: command.environment,
            secrets: BTreeMap::new(),
            timeout: Duration::from_secs(command.timeout).as_secs_f64(),
            expires_at: None,
            leased_until: None,
        }
    }
}

impl TryFrom<ResultReport> for Said {
    type Error = Problem;

    fn try_from(report: ResultReport) -> Result<Self, Problem> {
        let good = report.success.unwrap_or(report.exit_code.is_some_and(|code| code == 0));
        let outcome = match report.status.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("accepted") => return Ok(Self::Accepted),
            Some("running" | "started" | "in_progress") => return Ok(Self::Started),
            // Whoever calls it that whatever the code may be.
            Some("completed" | "success" | "succeeded") if report.exit_code.unwrap_or(0) != 0 => {
                Self::failure("EXIT_CODE", None)
            }
            Some("completed" | "success" | "succeeded") => Outcome::Completed,
            Some("failed" | "error") => Self::failure("EXIT_CODE", None),
            Some("timed_out" | "timeout") => Self::failure("TIMED_OUT", None),
            Some("cancelled" | "canceled") => Outcome::Cancelled,
            None if good => Outcome::Completed,
            None if report.success.is_some() || report.exit_code.is_some() => {
                Self::failure("EXIT_CODE", None)
            }
            Some(_) | None => {
                let rule = "accepted, running, completed, failed, timed_out or cancelled is \
                     expected; or success or exit_code instead";
                return Err(Problem::invalid("/status", rule));
            }
        };
        let seconds = report.execution_time.map(Duration::try_from_secs_f64);
        Ok(Self::Finished {
            outcome,
            exit_code: report.exit_code.map(exit_code),
            execution_time: seconds.and_then(Result::ok),
            stdout: Bytes::from(report.output.or(report.logs).unwrap_or_default()),
            stderr: Bytes::from(report.error.unwrap_or_default()),
        })
    }
}

/// Whether agents can report here.
#[utoipa::path(
    get, path = "/agent/heartbeat", tag = "agents", security(()), operation_id = "agents_alive",
    responses((status = 200, body = Alive)),
)]
pub(crate) async fn alive(state: web::Data<AppState>) -> impl Responder {
    web::Json(Alive { status: "ok", server_time: state.clock.now() })
}

/// Report that one is alive, as an agent, and fetch what is to run. An action that is neither
/// accepted nor finished within a minute comes again. With `messages` in the body it is a request
/// of the protocol `muster.v1`, for agents whose network lets no WebSocket through.
#[utoipa::path(
    post, path = "/agent/heartbeat", tag = "agents", operation_id = "agent_heartbeat",
    request_body = HeartbeatReport,
    responses(
        (status = 200, body = HeartbeatAnswer),
        (status = 409, description = "the polled connection is over: say hello anew"),
        (status = 422, description = "the report breaks a rule"),
    ),
)]
pub(crate) async fn heartbeat(
    state: web::Data<AppState>,
    reporting: Reporting,
    body: Json<Value>,
) -> Result<HttpResponse, Problem> {
    let readable = |error: serde_json::Error| Problem::invalid("", error.to_string());
    let permit = match reporting {
        Reporting::Own(permit) => permit,
        Reporting::Older(older) => {
            older.may_show_it_in_the_body(&state, Dialect::DeployFlow).await?;
            let body = body.up_to(MAX_OLDER_HEARTBEAT).value().await?;
            let report: HeartbeatReport = serde_json::from_value(body).map_err(readable)?;
            return older_heartbeat(&state, older, report).await;
        }
    };
    let body = body.up_to(MAX_REPORT).value().await?;
    if body.get("messages").is_none() {
        return take(&state, &permit, serde_json::from_value(body).map_err(readable)?).await;
    }
    let address = permit.author().address.map(|address| address.to_string());
    let answer = state.polls.exchange(permit.agent()?, address, body).await;
    let answer = answer.map_err(|(code, detail)| Problem::new(code, detail))?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Report that one is alive, under one's own id.
#[utoipa::path(
    post, path = "/agents/{id}/heartbeat", tag = "agents", operation_id = "own_heartbeat",
    params(("id" = String, Path)), request_body = HeartbeatReport,
    responses(
        (status = 200, body = HeartbeatAnswer), (status = 404, description = "not one's own id"),
    ),
)]
pub(crate) async fn own_heartbeat(
    state: web::Data<AppState>,
    reporting: Reporting,
    request: HttpRequest,
    id: Id<AgentId>,
    body: Json<HeartbeatReport>,
) -> Result<HttpResponse, Problem> {
    let permit = match reporting {
        Reporting::Own(permit) => permit,
        Reporting::Older(older) => {
            let name = name_in(&request);
            let speaking = if is_unversioned(&request) {
                [Dialect::RemoteAgentManager, Dialect::DexAgents]
            } else {
                [Dialect::DexAgents, Dialect::RemoteAgentManager]
            };
            let (permit, _) = older.permit_or_admit(&state, &speaking, &name, None).await?;
            let report = body.up_to(MAX_OLDER_HEARTBEAT).value().await?;
            state.agents.heartbeat(&permit, report.metrics.map(Metrics::from))?;
            // What they are to run they fetch elsewhere, or are sent.
            return Ok(answer(&state, permit.agent()?, Vec::new()));
        }
    };
    if id.get()? != permit.agent()? {
        let detail = "there is no such agent, or it is not yourself";
        return Err(Problem::new(ProblemCode::NotFound, detail));
    }
    take(&state, &permit, body.up_to(MAX_REPORT).value().await?).await
}

/// Report how far a command is, or its result; the same again changes nothing.
#[utoipa::path(
    post, path = "/agent/actions/{command_id}/result", tag = "agents",
    operation_id = "report_result",
    params(("command_id" = Uuid, Path)), request_body = ResultReport,
    responses(
        (status = 200, body = ResultAnswer), (status = 404, description = "no such command"),
        (status = 422, description = "the report breaks a rule"),
    ),
)]
pub(crate) async fn result(
    state: web::Data<AppState>,
    reporting: Reporting,
    request: HttpRequest,
    body: Json<ResultReport>,
) -> Result<impl Responder, Problem> {
    let id: Option<CommandId> =
        request.match_info().get("command_id").and_then(|text| text.parse().ok());
    let (permit, report) = match reporting {
        Reporting::Own(permit) => ((**permit).clone(), body.up_to(MAX_REPORT).value().await?),
        Reporting::Older(older) => older_result(&state, older, id, body).await?,
    };
    let id = id.ok_or(LeaseError::NotFound)?;
    let command = state.leases.report(&permit, id, report.try_into()?).await?;
    state.agents.heartbeat(&permit, None)?;
    let status = command.status().as_str();
    Ok(web::Json(ResultAnswer { command_id: command.id.as_uuid(), status }))
}

/// Notes the heartbeat and hands out what is to run, unless a connection does that already.
async fn take(
    state: &AppState,
    permit: &May<act::ReportAsAgent>,
    report: HeartbeatReport,
) -> Result<HttpResponse, Problem> {
    let connected = state.agents.heartbeat(permit, report.metrics.map(Metrics::from))?;
    let leased = if connected { Vec::new() } else { state.leases.take(permit).await? };
    let actions = leased.into_iter().map(ActionAnswer::from).collect();
    Ok(answer(state, permit.agent()?, actions))
}

fn answer(state: &AppState, id: AgentId, actions: Vec<ActionAnswer>) -> HttpResponse {
    HttpResponse::Ok().json(HeartbeatAnswer {
        agent_id: id.as_uuid(),
        server_time: state.clock.now(),
        heartbeat_interval: HEARTBEAT_INTERVAL,
        actions,
    })
}

/// A heartbeat of `DeployFlow` Fleet, which is answered with what is to run, each command once.
async fn older_heartbeat(
    state: &AppState,
    shown: Older,
    report: HeartbeatReport,
) -> Result<HttpResponse, Problem> {
    let shown = shown.or(report.enrollment_token);
    let name = report.device_id.map(Name::into_text).ok_or_else(|| {
        let rule = "the device_id is expected that the answer to /agent/register had";
        Problem::invalid("/device_id", rule)
    });
    let (permit, dialect) = match name {
        Ok(name) => {
            let speaking = &[Dialect::DeployFlow];
            shown.permit_or_admit(state, speaking, &name, report.hostname).await?
        }
        // Who shows nothing good learns nothing of what is expected.
        Err(problem) => {
            shown.is_let_in(state, Dialect::DeployFlow).await?;
            return Err(problem);
        }
    };
    let agent_id = permit.agent()?;
    state.agents.heartbeat(&permit, report.metrics.map(Metrics::from))?;
    let given = older::hand_out(&state.leases, agent_id, dialect).await?;
    Ok(answer(state, agent_id, given.into_iter().map(ActionAnswer::from).collect()))
}

/// A result of `DeployFlow` Fleet, whose agent is whoever has the command unless it says so.
async fn older_result(
    state: &AppState,
    shown: Older,
    id: Option<CommandId>,
    body: Json<ResultReport>,
) -> Result<(Permit<act::ReportAsAgent>, ResultReport), Problem> {
    let holder = match id {
        Some(id) => state.leases.holder(id).await.ok(),
        None => None,
    };
    let early = match holder.filter(|_| !shown.shows_nothing()) {
        // Before its body, which may be large, is taken.
        Some(holder) => {
            let name = holder.to_string();
            Some(shown.permit(state, &[Dialect::DeployFlow], &name).await?.0)
        }
        None => None,
    };
    shown.may_show_it_in_the_body(state, Dialect::DeployFlow).await?;
    let limit = if early.is_some() { older::largest_result(state) } else { MAX_OLDER_HEARTBEAT };
    let mut report = body.up_to(limit).without_nuls().value().await?;
    let name = report.device_id.take().map(Name::into_text);
    if let (Some(permit), None) = (&early, &name) {
        return Ok((permit.clone(), report));
    }
    let name = name.or_else(|| holder.map(|id| id.to_string())).ok_or(LeaseError::NotFound)?;
    let shown = shown.or(report.enrollment_token.take());
    Ok((shown.permit(state, &[Dialect::DeployFlow], &name).await?.0, report))
}
