//! Commands on the server itself.

use std::collections::BTreeMap;

use actix_web::{Responder, web};
use chrono::{DateTime, Utc};
use muster_commands::local::{BatchOrder, LocalError, LocalRequest, LocalRun};
use muster_commands::{Outcome, SpecRequest};
use muster_kernel::{ProblemCode, act};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{FailureAnswer, Shell};
use crate::extract::{Json, May};
use crate::{AppState, Problem};

/// How many commands a batch has at most.
const MAX_BATCH: usize = 50;

/// What is to run on the server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LocalCommandRequest {
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
    /// That you know that it may be dangerous.
    #[serde(default)]
    confirm: bool,
}

impl From<LocalCommandRequest> for LocalRequest {
    fn from(body: LocalCommandRequest) -> Self {
        Self {
            spec: SpecRequest {
                command: body.command,
                args: body.args,
                shell_type: body.shell_type.map(Into::into),
                timeout: body.timeout,
                working_directory: body.working_directory,
                environment: body.environment,
            },
            confirm: body.confirm,
        }
    }
}

/// Several commands.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LocalBatchRequest {
    /// 1 to 50 of them.
    commands: Vec<LocalCommandRequest>,
    /// Whether they run beside one another, a few at a time; so unless `stop_on_error` is true.
    parallel: Option<bool>,
    /// Whether none begins after one that failed.
    #[serde(default)]
    stop_on_error: bool,
}

impl LocalBatchRequest {
    fn order(&self) -> Result<BatchOrder, Problem> {
        if !(1..=MAX_BATCH).contains(&self.commands.len()) {
            return Err(Problem::invalid("/commands", "1 to 50 commands are expected"));
        }
        match (self.parallel, self.stop_on_error) {
            (Some(true), true) => {
                let rule = "what runs beside one another can't stop at an error: parallel false";
                Err(Problem::invalid("/stop_on_error", rule))
            }
            (None | Some(true), false) => Ok(BatchOrder::Parallel),
            (None | Some(false), stop_on_error) => Ok(BatchOrder::InTurn { stop_on_error }),
        }
    }
}

/// What came of a command on the server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LocalRunAnswer {
    /// Which one it is in the audit log.
    id: Uuid,
    command: String,
    /// `powershell`, `pwsh`, `cmd`, `bash` or `sh`.
    shell_type: &'static str,
    /// `safe`, `caution` or `dangerous`.
    safety_level: &'static str,
    /// Whether it ended with exit code 0.
    success: bool,
    /// Standard output as text.
    output: String,
    /// Standard error as text.
    error: String,
    exit_code: Option<i32>,
    /// Whether it was ended because it was not done in time.
    timed_out: bool,
    /// Whether it wrote more than is shown.
    output_truncated: bool,
    /// Seconds from the start of the process to its end.
    execution_time: f64,
    started_at: DateTime<Utc>,
    failure: Option<FailureAnswer>,
}

impl From<LocalRun> for LocalRunAnswer {
    fn from(run: LocalRun) -> Self {
        let LocalRun { id, spec, safety_level, started_at, report } = run;
        let success = report.outcome == Outcome::Completed;
        let failure = match report.outcome {
            Outcome::Failed(failure) => {
                Some(FailureAnswer { code: failure.code, detail: failure.detail })
            }
            Outcome::Completed | Outcome::Cancelled | Outcome::Expired => None,
        };
        Self {
            id: id.as_uuid(),
            command: spec.command,
            shell_type: spec.shell_type.as_str(),
            safety_level: safety_level.as_str(),
            success,
            output: String::from_utf8_lossy(&report.stdout).into_owned(),
            error: String::from_utf8_lossy(&report.stderr).into_owned(),
            exit_code: report.exit_code,
            timed_out: failure.as_ref().is_some_and(|failure| failure.code == "TIMED_OUT"),
            output_truncated: report.truncated,
            execution_time: report.execution_time.as_secs_f64(),
            started_at,
            failure,
        }
    }
}

/// What came of several commands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LocalBatchAnswer {
    /// Of those that ran, in the order of the request.
    results: Vec<LocalRunAnswer>,
    /// How many were asked for.
    total: usize,
    succeeded: usize,
    failed: usize,
    /// How many did not begin because of `stop_on_error`.
    skipped: usize,
}

/// What went wrong with one command or with one of several.
fn problem(error: LocalError, pointer: &dyn Fn(usize) -> String) -> Problem {
    let text = error.to_string();
    match error {
        LocalError::SwitchedOff => Problem::new(ProblemCode::Forbidden, text),
        LocalError::Invalid { at, error } => {
            Problem::invalid(format!("{}/{}", pointer(at), error.field), error.rule)
        }
        LocalError::Dangerous { .. } => Problem::new(ProblemCode::DangerousCommand, text),
        LocalError::NotEntered(error) => error.into(),
        LocalError::EndNotEntered(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(error.cause = cause, "{text}");
            Problem::new(ProblemCode::Internal, text)
        }
        LocalError::Stopped => Problem::new(ProblemCode::Unavailable, text),
    }
}

/// Run a command on the server itself and wait for its end. Off unless the server is started with
/// `local_execution = true`.
#[utoipa::path(
    post, path = "/commands/execute", tag = "commands", operation_id = "execute_locally",
    request_body = LocalCommandRequest,
    responses(
        (status = 200, description = "it has ended", body = LocalRunAnswer),
        (status = 403, description = "not an admin, `CONFIRMATION_REQUIRED`, or switched off"),
        (status = 409, description = "`DANGEROUS_COMMAND` without `confirm`"),
        (status = 422, description = "the command breaks a rule"),
    ),
)]
pub(crate) async fn execute(
    state: web::Data<AppState>,
    permit: May<act::RunLocally>,
    body: Json<LocalCommandRequest>,
) -> Result<impl Responder, Problem> {
    let request = body.body().await?.value.into();
    let run = state.local.run(&permit, request).await;
    let run = run.map_err(|error| problem(error, &|_| String::new()))?;
    // It may be long since it was asked.
    permit.still(&state).await?;
    Ok(web::Json(LocalRunAnswer::from(run)))
}

/// Run several commands on the server itself and wait for their ends. When one of them breaks a
/// rule none runs.
#[utoipa::path(
    post, path = "/commands/execute/batch", tag = "commands",
    operation_id = "execute_batch_locally",
    request_body = LocalBatchRequest,
    responses(
        (status = 200, description = "they have ended", body = LocalBatchAnswer),
        (status = 403, description = "not an admin, `CONFIRMATION_REQUIRED`, or switched off"),
        (status = 409, description = "`DANGEROUS_COMMAND`: one of them is, without `confirm`"),
        (status = 422, description = "one of them breaks a rule"),
    ),
)]
pub(crate) async fn execute_batch(
    state: web::Data<AppState>,
    permit: May<act::RunLocally>,
    body: Json<LocalBatchRequest>,
) -> Result<impl Responder, Problem> {
    let body = body.body().await?.value;
    let (order, total) = (body.order()?, body.commands.len());
    let requests = body.commands.into_iter().map(Into::into).collect();
    let runs = state.local.run_batch(&permit, requests, order).await;
    let runs = runs.map_err(|error| problem(error, &|at| format!("/commands/{at}")))?;
    // It may be long since it was asked.
    permit.still(&state).await?;
    let results: Vec<LocalRunAnswer> = runs.into_iter().map(Into::into).collect();
    let succeeded = results.iter().filter(|result| result.success).count();
    Ok(web::Json(LocalBatchAnswer {
        total,
        succeeded,
        failed: results.len() - succeeded,
        skipped: total - results.len(),
        results,
    }))
}
