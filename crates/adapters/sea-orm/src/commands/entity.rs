//! The tables `commands` and `command_output`.

use std::time::Duration;

use muster_commands::{
    Command, End, Failure, Outcome, OutputBytes, OutputStream, Requester, SafetyLevel, ScriptRef,
    ShellType, Spec, State, Status,
};
use muster_kernel::{
    AgentId, ApiKeyId, CommandId, CustomerId, RolloutId, RunId, Sealed, UserId, VersionId,
};
use sea_orm::entity::prelude::*;

use crate::DatabaseError;
use crate::columns::{count, from_count, from_json, json, maybe_timestamp, micros, timestamp};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "commands")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub agent_id: Uuid,
    pub customer_id: Uuid,
    pub command: String,
    pub args: String,
    pub shell_type: String,
    pub timeout_micros: i64,
    pub working_directory: Option<String>,
    pub environment: String,
    pub requested_by: Uuid,
    pub requested_by_kind: String,
    pub safety_level: String,
    pub created_at: i64,
    pub expires_at: i64,
    pub dispatched_at: Option<i64>,
    pub cancel_requested_at: Option<i64>,
    pub status: String,
    pub accepted_at: Option<i64>,
    pub started_at: Option<i64>,
    pub pid: Option<i64>,
    pub finished_at: Option<i64>,
    pub exit_code: Option<i32>,
    pub execution_time_micros: Option<i64>,
    pub failure_code: Option<String>,
    pub failure_detail: Option<String>,
    pub stdout_bytes: i64,
    pub stderr_bytes: i64,
    pub stdout_written: i64,
    pub stderr_written: i64,
    pub run_id: Option<Uuid>,
    pub rollout_id: Option<Uuid>,
    pub held: bool,
    pub script_version_id: Option<Uuid>,
    pub script_sha256: Option<Vec<u8>>,
    pub script_bytes: Option<i64>,
    pub secrets: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The table `command_output`.
pub(crate) mod output {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "command_output")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub command_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub stream: i16,
        #[sea_orm(primary_key, auto_increment = false)]
        pub byte_offset: i64,
        /// See [`Encoding`](super::super::encoding::Encoding).
        pub encoding: i16,
        pub data: Vec<u8>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The number of a stream in its column.
pub(crate) const fn stream_number(stream: OutputStream) -> i16 {
    match stream {
        OutputStream::Stdout => 1,
        OutputStream::Stderr => 2,
    }
}

pub(crate) fn duration_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The columns that say how far a command is.
#[derive(Default)]
struct StateColumns {
    accepted_at: Option<i64>,
    started_at: Option<i64>,
    pid: Option<i64>,
    finished_at: Option<i64>,
    exit_code: Option<i32>,
    execution_time_micros: Option<i64>,
    failure: Option<Failure>,
    written: OutputBytes,
}

impl From<&State> for StateColumns {
    fn from(state: &State) -> Self {
        match state {
            State::Pending { accepted_at } => {
                Self { accepted_at: accepted_at.map(micros), ..Self::default() }
            }
            State::Running { started_at, pid } => Self {
                started_at: Some(micros(*started_at)),
                pid: pid.map(i64::from),
                ..Self::default()
            },
            State::Ended { started_at, end } => Self {
                started_at: started_at.map(micros),
                finished_at: Some(micros(end.at)),
                exit_code: end.exit_code,
                execution_time_micros: end.execution_time.map(duration_micros),
                failure: match &end.outcome {
                    Outcome::Failed(failure) => Some(failure.clone()),
                    Outcome::Completed | Outcome::Cancelled | Outcome::Expired => None,
                },
                written: end.written,
                ..Self::default()
            },
        }
    }
}

impl From<&Command> for Model {
    fn from(command: &Command) -> Self {
        let state = StateColumns::from(&command.state);
        let (failure_code, failure_detail) =
            state.failure.map_or((None, None), |failure| (Some(failure.code), failure.detail));
        let (kind, requested_by) = requester_columns(command.requested_by);
        Self {
            id: command.id.as_uuid(),
            agent_id: command.agent_id.as_uuid(),
            customer_id: command.customer_id.as_uuid(),
            command: command.spec.command.clone(),
            args: json(&command.spec.args),
            shell_type: command.spec.shell_type.as_str().to_owned(),
            timeout_micros: duration_micros(command.spec.timeout),
            working_directory: command.spec.working_directory.clone(),
            environment: json(&command.spec.environment),
            requested_by,
            requested_by_kind: kind.to_owned(),
            safety_level: command.safety_level.as_str().to_owned(),
            created_at: micros(command.created_at),
            expires_at: micros(command.expires_at),
            dispatched_at: command.dispatched_at.map(micros),
            cancel_requested_at: command.cancel_requested_at.map(micros),
            status: command.status().as_str().to_owned(),
            accepted_at: state.accepted_at,
            started_at: state.started_at,
            pid: state.pid,
            finished_at: state.finished_at,
            exit_code: state.exit_code,
            execution_time_micros: state.execution_time_micros,
            failure_code,
            failure_detail,
            stdout_bytes: count(command.output.stdout),
            stderr_bytes: count(command.output.stderr),
            stdout_written: count(state.written.stdout),
            stderr_written: count(state.written.stderr),
            run_id: command.run_id.map(RunId::as_uuid),
            rollout_id: command.rollout_id.map(RolloutId::as_uuid),
            held: command.held,
            script_version_id: command.spec.script.map(|script| script.version_id.as_uuid()),
            script_sha256: command.spec.script.map(|script| script.sha256.to_vec()),
            script_bytes: command.spec.script.map(|script| i64::from(script.bytes)),
            // Nobody needs them any more when it has ended.
            secrets: command
                .spec
                .secrets
                .clone()
                .filter(|_| command.end().is_none())
                .map(|it| it.0),
        }
    }
}

/// The kind and the id of whoever asked.
pub(crate) const fn requester_columns(requester: Requester) -> (&'static str, Uuid) {
    match requester {
        Requester::User(id) => ("user", id.as_uuid()),
        Requester::ApiKey(id) => ("api_key", id.as_uuid()),
    }
}

pub(crate) fn requester(kind: &str, id: Uuid) -> Result<Requester, DatabaseError> {
    match kind {
        "user" => Ok(Requester::User(UserId::from_uuid(id))),
        "api_key" => Ok(Requester::ApiKey(ApiKeyId::from_uuid(id))),
        _ => Err(DatabaseError::bad_row("commands.requested_by_kind")),
    }
}

impl TryFrom<Model> for Command {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let state = state(&row)?;
        let shell_type = ShellType::parse(&row.shell_type)
            .ok_or_else(|| DatabaseError::bad_row("commands.shell_type"))?;
        let script = script(&row)?;
        let timeout = from_count(row.timeout_micros, "commands.timeout_micros")?;
        Ok(Self {
            id: CommandId::from_uuid(row.id),
            agent_id: AgentId::from_uuid(row.agent_id),
            customer_id: CustomerId::from_uuid(row.customer_id),
            spec: Spec {
                command: row.command,
                args: from_json(&row.args, "commands.args")?,
                shell_type,
                timeout: Duration::from_micros(timeout),
                working_directory: row.working_directory,
                environment: from_json(&row.environment, "commands.environment")?,
                script,
                secrets: row.secrets.map(Sealed),
            },
            run_id: row.run_id.map(RunId::from_uuid),
            rollout_id: row.rollout_id.map(RolloutId::from_uuid),
            held: row.held,
            requested_by: requester(&row.requested_by_kind, row.requested_by)?,
            safety_level: SafetyLevel::parse(&row.safety_level)
                .ok_or_else(|| DatabaseError::bad_row("commands.safety_level"))?,
            created_at: timestamp(row.created_at, "commands.created_at")?,
            expires_at: timestamp(row.expires_at, "commands.expires_at")?,
            dispatched_at: maybe_timestamp(row.dispatched_at, "commands.dispatched_at")?,
            cancel_requested_at: maybe_timestamp(
                row.cancel_requested_at,
                "commands.cancel_requested_at",
            )?,
            state,
            output: OutputBytes {
                stdout: from_count(row.stdout_bytes, "commands.stdout_bytes")?,
                stderr: from_count(row.stderr_bytes, "commands.stderr_bytes")?,
            },
        })
    }
}

fn script(row: &Model) -> Result<Option<ScriptRef>, DatabaseError> {
    let Some(version_id) = row.script_version_id else { return Ok(None) };
    let bad = || DatabaseError::bad_row("commands.script_sha256");
    let sha256 = row.script_sha256.as_deref().and_then(|bytes| bytes.try_into().ok());
    let bytes = row.script_bytes.and_then(|bytes| u32::try_from(bytes).ok());
    Ok(Some(ScriptRef {
        version_id: VersionId::from_uuid(version_id),
        sha256: sha256.ok_or_else(bad)?,
        bytes: bytes.ok_or_else(bad)?,
    }))
}

fn state(row: &Model) -> Result<State, DatabaseError> {
    let bad = || DatabaseError::bad_row("commands.status");
    let started_at = maybe_timestamp(row.started_at, "commands.started_at")?;
    let outcome = match Status::parse(&row.status).ok_or_else(bad)? {
        Status::Pending => {
            let accepted_at = maybe_timestamp(row.accepted_at, "commands.accepted_at")?;
            return Ok(State::Pending { accepted_at });
        }
        Status::Running => {
            let pid = row.pid.map(u32::try_from).transpose().map_err(|_| bad())?;
            return Ok(State::Running { started_at: started_at.ok_or_else(bad)?, pid });
        }
        Status::Completed => Outcome::Completed,
        Status::Cancelled => Outcome::Cancelled,
        Status::Expired => Outcome::Expired,
        Status::Failed => Outcome::Failed(Failure {
            code: row.failure_code.clone().ok_or_else(bad)?,
            detail: row.failure_detail.clone(),
        }),
    };
    let execution_time = row.execution_time_micros.and_then(|micros| u64::try_from(micros).ok());
    let end = End {
        outcome,
        at: maybe_timestamp(row.finished_at, "commands.finished_at")?.ok_or_else(bad)?,
        exit_code: row.exit_code,
        execution_time: execution_time.map(Duration::from_micros),
        written: OutputBytes {
            stdout: from_count(row.stdout_written, "commands.stdout_written")?,
            stderr: from_count(row.stderr_written, "commands.stderr_written")?,
        },
    };
    Ok(State::Ended { started_at, end })
}
