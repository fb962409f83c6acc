//! Running what is in the library.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, Responder, web};
use muster_commands::runs::{Started, Target, Template, Wish, Work};
use muster_kernel::{AgentId, RunId, SavedCommandId, ScriptId, act};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::RunAnswer;
use super::start::{MAX_BODY, accepted, once};
use crate::extract::{Body, Id, IdempotencyKey, Json, May};
use crate::routes::approvals::{WaitingAnswer, waiting};
use crate::routes::wish::{StrategyBody, TargetBody, parameters, seconds};
use crate::{AppState, Problem};

/// Where a script or saved command runs, and with which values.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecuteRequest {
    /// On this machine alone. This, `agent_ids` or `target`.
    #[serde(alias = "device_id")]
    agent_id: Option<Uuid>,
    /// On these machines.
    #[serde(alias = "device_ids")]
    agent_ids: Option<Vec<Uuid>>,
    /// On the machines that are meant.
    target: Option<TargetBody>,
    /// Texts, numbers and booleans by the names of its parameters.
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    #[schema(value_type = BTreeMap<String, Object>)]
    parameters: BTreeMap<String, Value>,
    /// Seconds that it may run on each machine.
    timeout: Option<f64>,
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    strategy: StrategyBody,
    /// Seconds that a machine which is out of reach may come back for it; 7 days unless given.
    expires_in: Option<f64>,
    /// That you know that it may be dangerous; some customers ask for it.
    #[serde(default)]
    confirm: bool,
}

/// Work on one machine that was accepted: it is durable, and will be run or end otherwise.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskAnswer {
    /// The command's id, under R's name.
    task_id: Uuid,
    command_id: Uuid,
    run_id: Uuid,
    status: &'static str,
    message: &'static str,
}

/// A run of many machines, the command of one that was named alone, or what waits for a second
/// person.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is what the document shows")]
pub(crate) enum ExecuteAnswer {
    Task(TaskAnswer),
    Run(Box<RunAnswer>),
    Waiting(WaitingAnswer),
}

impl ExecuteRequest {
    /// The same for F's actions: on one machine.
    pub(crate) fn on(
        agent: AgentId,
        parameters: BTreeMap<String, Value>,
        timeout: Option<f64>,
        expires_in: Option<f64>,
        confirm: bool,
    ) -> Self {
        let agent_id = Some(agent.as_uuid());
        Self { agent_id, parameters, timeout, expires_in, confirm, ..Self::default() }
    }

    fn target(&mut self) -> Result<Target, Problem> {
        let named = |ids: Vec<Uuid>| Target {
            agent_ids: ids.into_iter().map(AgentId::from_uuid).collect(),
            ..Target::default()
        };
        match (self.agent_id, self.agent_ids.take(), self.target.take()) {
            (Some(id), None, None) => Ok(named(vec![id])),
            (None, Some(ids), None) => Ok(named(ids)),
            (None, None, Some(target)) => target.try_into(),
            _ => {
                let rule = "one of agent_id, agent_ids and target is expected";
                Err(Problem::invalid("/target", rule))
            }
        }
    }

    /// Begins it, and answers with the run, or with the command of the one machine.
    pub(crate) async fn begin(
        mut self,
        state: &AppState,
        permit: &May<act::RunSaved>,
        key: IdempotencyKey,
        fingerprint: [u8; 32],
        what: Executed,
    ) -> Result<HttpResponse, Problem> {
        let parameters = parameters(std::mem::take(&mut self.parameters))?;
        let timeout = self.timeout;
        let (name, work) = match what {
            Executed::Script(script_id) => (
                format!("scripts/{script_id}/execute"),
                Work::Script { script_id, parameters, timeout },
            ),
            Executed::SavedCommand(saved_command_id) => (
                format!("commands/saved/{saved_command_id}/execute"),
                Work::SavedCommand { saved_command_id, parameters, timeout },
            ),
        };
        let template = Template {
            target: self.target()?,
            work,
            secrets: None,
            strategy: self.strategy.into(),
            expires_in: seconds(self.expires_in, "/expires_in")?,
        };
        let wish = Wish {
            confirm: self.confirm,
            once: once(permit, key, &name, fingerprint),
            ..Wish::new(template)
        };
        let run = match state.runs.start(permit, None, wish).await? {
            Started::Run(run) => *run,
            Started::Waits(approval) => return Ok(waiting(state, &approval)),
        };
        if self.agent_id.is_none() {
            return Ok(accepted(run));
        }
        let id = state.runs.first_command(&run).await?.as_uuid();
        let location = format!("/api/v1/commands/{id}");
        Ok(HttpResponse::Accepted().insert_header(("Location", location)).json(TaskAnswer {
            task_id: id,
            command_id: id,
            run_id: RunId::as_uuid(run.id),
            status: "pending",
            message: "accepted; it runs as soon as the machine is there",
        }))
    }
}

/// What of the library runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Executed {
    Script(ScriptId),
    SavedCommand(SavedCommandId),
}

/// Run a script: on one machine (`agent_id`), or as a run on many.
#[utoipa::path(
    post, path = "/scripts/{id}/execute", tag = "library", operation_id = "execute_script",
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = ExecuteRequest,
    responses(
        (status = 202, body = ExecuteAnswer),
        (status = 404, description = "no such script, machine or customer"),
        (status = 409, description = "`IDEMPOTENCY_KEY_REUSED`, or `DANGEROUS_COMMAND` without `confirm`"),
        (status = 422, description = "a script for another system, or parameters that it does not take"),
    ),
)]
pub(crate) async fn script(
    state: web::Data<AppState>,
    permit: May<act::RunSaved>,
    id: Id<ScriptId>,
    key: IdempotencyKey,
    body: Json<ExecuteRequest>,
) -> Result<impl Responder, Problem> {
    let Body { value, fingerprint } = body.up_to(MAX_BODY).body().await?;
    value.begin(&state, &permit, key, fingerprint, Executed::Script(id.get()?)).await
}

/// Run a saved command: on one machine (`agent_id`), or as a run on many.
#[utoipa::path(
    post, path = "/commands/saved/{id}/execute", tag = "library",
    operation_id = "execute_saved_command",
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = ExecuteRequest,
    responses(
        (status = 202, body = ExecuteAnswer),
        (status = 404, description = "no such saved command, machine or customer"),
        (status = 409, description = "`IDEMPOTENCY_KEY_REUSED`, or `DANGEROUS_COMMAND` without `confirm`"),
        (status = 422, description = "made for another system, or parameters that it does not take"),
    ),
)]
pub(crate) async fn saved_command(
    state: web::Data<AppState>,
    permit: May<act::RunSaved>,
    id: Id<SavedCommandId>,
    key: IdempotencyKey,
    body: Json<ExecuteRequest>,
) -> Result<impl Responder, Problem> {
    let Body { value, fingerprint } = body.up_to(MAX_BODY).body().await?;
    value.begin(&state, &permit, key, fingerprint, Executed::SavedCommand(id.get()?)).await
}
