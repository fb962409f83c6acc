//! What only agents of older products ask, in their own words.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, Responder, web};
use futures_util::future::join_all;
use muster_commands::{LeaseError, Leases, PlainCommand};
use muster_kernel::{AgentId, CommandId, Dialect};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::reports::ResultReport;
use crate::extract::{Json, Reporting, name_in};
use crate::{AppState, Problem};

/// How much longer a result is than the output that is in it, in bytes.
const ENVELOPE: usize = 64 * 1024;

/// A command in the words of Remote Agent Manager.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskOrder {
    task_id: Uuid,
    agent_id: Uuid,
    #[serde(rename = "type")]
    #[schema(example = "command")]
    kind: &'static str,
    command: String,
    /// `cmd`, `powershell` or `bash`.
    shell_type: &'static str,
    /// Seconds that it may run.
    timeout: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_directory: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    environment: BTreeMap<String, String>,
}

impl From<PlainCommand> for TaskOrder {
    fn from(command: PlainCommand) -> Self {
        Self {
            task_id: command.id.as_uuid(),
            agent_id: command.agent_id.as_uuid(),
            kind: "command",
            command: command.text,
            shell_type: command.shell.as_str(),
            timeout: command.timeout,
            working_directory: command.working_directory,
            environment: command.environment,
        }
    }
}

/// What an agent of Remote Agent Manager is to run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskOrders {
    commands: Vec<TaskOrder>,
    count: usize,
}

/// Hands out what the agent is to run, each command once.
pub(crate) async fn hand_out(
    leases: &Leases,
    agent_id: AgentId,
    dialect: Dialect,
) -> Result<Vec<PlainCommand>, LeaseError> {
    let waiting = leases.waiting(agent_id, dialect).await?.commands;
    let entrusting = waiting.iter().map(|command| leases.entrust(agent_id, command.id));
    let entrusted = join_all(entrusting.collect::<Vec<_>>()).await;
    let (mut given, mut failed) = (Vec::new(), None);
    for (command, entrusted) in waiting.into_iter().zip(entrusted) {
        match entrusted {
            Ok(Some(_)) => given.push(command),
            Ok(None) => {}
            Err(error) => failed = Some(error),
        }
    }
    // What it was entrusted with it has to be given, whatever became of the rest.
    match failed {
        Some(error) if given.is_empty() => Err(error.into()),
        Some(_) | None => Ok(given),
    }
}

/// The same in the words of Remote Agent Manager.
pub(crate) async fn orders(state: &AppState, id: AgentId) -> Result<TaskOrders, Problem> {
    let given = hand_out(&state.leases, id, Dialect::RemoteAgentManager).await?;
    let commands: Vec<_> = given.into_iter().map(TaskOrder::from).collect();
    Ok(TaskOrders { count: commands.len(), commands })
}

/// That a result is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubmittedAnswer {
    #[schema(example = "Task result submitted successfully")]
    message: &'static str,
}

/// How many bytes a result may have that comes in one piece.
pub(crate) fn largest_result(state: &AppState) -> usize {
    state.output_limit.saturating_add(ENVELOPE)
}

/// Report the result of a command, as an agent of Remote Agent Manager; the same again changes
/// nothing.
#[utoipa::path(
    post, path = "/agents/{id}/tasks/{command_id}/result", tag = "agents",
    operation_id = "submit_task_result",
    params(("id" = String, Path), ("command_id" = Uuid, Path)), request_body = ResultReport,
    responses(
        (status = 200, body = SubmittedAnswer), (status = 404, description = "no such command"),
        (status = 422, description = "the report breaks a rule"),
    ),
)]
pub(crate) async fn submit(
    state: web::Data<AppState>,
    reporting: Reporting,
    request: HttpRequest,
    body: Json<ResultReport>,
) -> Result<impl Responder, Problem> {
    let name = name_in(&request);
    let agent_id = match &reporting {
        Reporting::Own(permit) => {
            let own = permit.agent()?;
            (own.to_string() == name).then_some(own).ok_or(LeaseError::NotFound)?
        }
        Reporting::Older(older) => {
            let speaking = &[Dialect::RemoteAgentManager];
            let (permit, _) = older.permit(&state, speaking, &name).await?;
            state.agents.heartbeat(&permit, None)?;
            permit.agent()?
        }
    };
    let id: Option<CommandId> =
        request.match_info().get("command_id").and_then(|text| text.parse().ok());
    let body = body.up_to(largest_result(&state)).without_nuls();
    let said = body.value().await?.try_into()?;
    state.leases.hear(agent_id, id.ok_or(LeaseError::NotFound)?, said).await?;
    Ok(web::Json(SubmittedAnswer { message: "Task result submitted successfully" }))
}
