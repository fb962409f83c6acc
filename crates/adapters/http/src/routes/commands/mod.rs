//! What runs on machines.

pub(crate) mod cancel;
pub(crate) mod give;
pub(crate) mod local;
pub(crate) mod output;
pub(crate) mod read;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use muster_commands::{
    Command, CommandsError, InvalidSpec, Outcome, OutputStream, Requester, ShellType,
};
use muster_kernel::{ProblemCode, RolloutId, RunId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{AppState, Problem};

/// The program that reads a command's text.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shell {
    Powershell,
    Pwsh,
    Cmd,
    Bash,
    Sh,
}

impl From<Shell> for ShellType {
    fn from(shell: Shell) -> Self {
        match shell {
            Shell::Powershell => Self::Powershell,
            Shell::Pwsh => Self::Pwsh,
            Shell::Cmd => Self::Cmd,
            Shell::Bash => Self::Bash,
            Shell::Sh => Self::Sh,
        }
    }
}

impl From<ShellType> for Shell {
    fn from(shell: ShellType) -> Self {
        match shell {
            ShellType::Powershell => Self::Powershell,
            ShellType::Pwsh => Self::Pwsh,
            ShellType::Cmd => Self::Cmd,
            ShellType::Bash => Self::Bash,
            ShellType::Sh => Self::Sh,
        }
    }
}

/// One execution on one agent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CommandAnswer {
    id: Uuid,
    agent_id: Uuid,
    customer_id: Uuid,
    /// The run that it is part of.
    run_id: Option<Uuid>,
    /// The rollout that it is part of; null when it was given by itself.
    rollout_id: Option<Uuid>,
    /// The script of the library that it runs, as it was then; `command` is its name.
    script_version_id: Option<Uuid>,
    /// `command` or `script`.
    kind: &'static str,
    command: String,
    args: Vec<String>,
    /// `powershell`, `pwsh`, `cmd`, `bash` or `sh`.
    shell_type: &'static str,
    /// Seconds that it may run.
    timeout: f64,
    working_directory: Option<String>,
    environment: BTreeMap<String, String>,
    /// `safe` when it only looks, `dangerous` when it can cost data, access or protection, else
    /// `caution`.
    safety_level: &'static str,
    requested_by: RequesterAnswer,
    /// `pending`, `running`, `completed`, `failed`, `cancelled` or `expired`.
    status: &'static str,
    /// Whether it ended with exit code 0; null until it has ended.
    success: Option<bool>,
    exit_code: Option<i32>,
    /// Standard output as text; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    /// Standard error as text; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Whether the process wrote more than is kept.
    output_truncated: bool,
    /// Bytes of standard output that are kept.
    stdout_bytes: u64,
    /// Bytes of standard error that are kept.
    stderr_bytes: u64,
    /// Seconds from the start of the process to its end.
    execution_time: Option<f64>,
    created_at: DateTime<Utc>,
    /// It may not begin later than this.
    expires_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    cancel_requested_at: Option<DateTime<Utc>>,
    failure: Option<FailureAnswer>,
}

/// Who wanted a command.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RequesterAnswer {
    /// `user` or `api_key`.
    kind: &'static str,
    id: Uuid,
}

impl From<Requester> for RequesterAnswer {
    fn from(requester: Requester) -> Self {
        match requester {
            Requester::User(id) => Self { kind: "user", id: id.as_uuid() },
            Requester::ApiKey(id) => Self { kind: "api_key", id: id.as_uuid() },
        }
    }
}

/// Why a command failed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FailureAnswer {
    /// `EXIT_CODE`, `TIMED_OUT`, `INTERRUPTED`, `REFUSED`, `SPAWN_FAILED`, …
    code: String,
    detail: Option<String>,
}

impl CommandAnswer {
    /// Without its output.
    pub(crate) fn of(command: &Command) -> Self {
        let end = command.end();
        let failure = end.and_then(|end| match &end.outcome {
            Outcome::Failed(failure) => {
                Some(FailureAnswer { code: failure.code.clone(), detail: failure.detail.clone() })
            }
            Outcome::Completed | Outcome::Cancelled | Outcome::Expired => None,
        });
        Self {
            id: command.id.as_uuid(),
            agent_id: command.agent_id.as_uuid(),
            customer_id: command.customer_id.as_uuid(),
            run_id: command.run_id.map(RunId::as_uuid),
            rollout_id: command.rollout_id.map(RolloutId::as_uuid),
            script_version_id: command.spec.script.map(|script| script.version_id.as_uuid()),
            kind: if command.spec.script.is_some() { "script" } else { "command" },
            command: command.spec.command.clone(),
            args: command.spec.args.clone(),
            shell_type: command.spec.shell_type.as_str(),
            timeout: command.spec.timeout.as_secs_f64(),
            working_directory: command.spec.working_directory.clone(),
            environment: command.spec.environment.clone(),
            safety_level: command.safety_level.as_str(),
            requested_by: command.requested_by.into(),
            status: command.status().as_str(),
            success: end.map(|end| end.outcome == Outcome::Completed),
            exit_code: end.and_then(|end| end.exit_code),
            output: None,
            error: None,
            output_truncated: command.output_truncated(),
            stdout_bytes: command.output.stdout,
            stderr_bytes: command.output.stderr,
            execution_time: end.and_then(|end| end.execution_time).map(|time| time.as_secs_f64()),
            created_at: command.created_at,
            expires_at: command.expires_at,
            started_at: command.started_at(),
            finished_at: end.map(|end| end.at),
            cancel_requested_at: command.cancel_requested_at,
            failure,
        }
    }

    /// With its output, as far as there is any.
    pub(crate) async fn whole(state: &AppState, command: &Command) -> Result<Self, Problem> {
        let text = async |stream| {
            let bytes = state.commands.output_head(command, stream, state.output_limit).await?;
            Ok::<_, Problem>(match String::from_utf8_lossy(&bytes) {
                std::borrow::Cow::Borrowed(text) => text.to_owned(),
                std::borrow::Cow::Owned(text) => text,
            })
        };
        Ok(Self {
            output: Some(text(OutputStream::Stdout).await?),
            error: Some(text(OutputStream::Stderr).await?),
            ..Self::of(command)
        })
    }
}

impl From<InvalidSpec> for Problem {
    fn from(error: InvalidSpec) -> Self {
        Self::invalid(format!("/{}", error.field), error.rule)
    }
}

impl From<CommandsError> for Problem {
    fn from(error: CommandsError) -> Self {
        let text = error.to_string();
        match error {
            CommandsError::AgentNotFound | CommandsError::NotFound => {
                Self::new(ProblemCode::NotFound, text)
            }
            CommandsError::Invalid(error) => error.into(),
            CommandsError::KeyReused => Self::new(ProblemCode::IdempotencyConflict, text),
            CommandsError::Dangerous(_) => Self::new(ProblemCode::DangerousCommand, text),
            CommandsError::Denied(denied) => denied.into(),
            CommandsError::Ended => Self::new(ProblemCode::CommandEnded, text),
            CommandsError::CanNotCancel(_) => Self::new(ProblemCode::WrongState, text),
            CommandsError::Storage(error) => error.into(),
        }
    }
}
