//! Trying a proposed command on a machine.

use actix_web::{HttpResponse, Responder, web};
use muster_commands::{Request, SpecRequest, Waited};
use muster_kernel::{AgentId, act};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Json, May};
use crate::routes::approvals::waiting;
use crate::routes::commands::give::{AcceptedAnswer, GivenAnswer};
use crate::routes::commands::{CommandAnswer, Shell};
use crate::{AppState, Problem};

/// What is to be tried.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrialRequest {
    agent_id: Uuid,
    #[schema(example = "df -h")]
    command: String,
    #[serde(alias = "shell")]
    shell_type: Option<Shell>,
    /// Seconds that it may run.
    timeout: Option<f64>,
    /// That you mean it, though it is not known to only look.
    #[serde(default)]
    confirm: bool,
}

/// Try a command on one machine. What is not known to only look needs `confirm`, whatever a model
/// said of it.
#[utoipa::path(
    post, path = "/commands/ai/test", tag = "assistant", operation_id = "test_command",
    request_body = TrialRequest,
    responses(
        (status = 200, description = "it has ended", body = CommandAnswer),
        (status = 202, description = "it goes on, or waits for a second person", body = GivenAnswer),
        (status = 404, description = "no such agent"),
        (status = 409, description = "`DANGEROUS_COMMAND` without `confirm`"),
        (status = 422, description = "the command breaks a rule"),
    ),
)]
pub(crate) async fn run(
    state: web::Data<AppState>,
    permit: May<act::RunCommands>,
    body: Json<TrialRequest>,
) -> Result<impl Responder, Problem> {
    let TrialRequest { agent_id, command, shell_type, timeout, confirm } = body.value().await?;
    let shell_type = shell_type.map(Into::into);
    let spec = SpecRequest { command, shell_type, timeout, ..SpecRequest::default() };
    let request = Request { spec, confirm, ..Request::default() };
    match state.assistance.trials.run(&permit, AgentId::from_uuid(agent_id), request).await? {
        Waited::Ended(command) => {
            // It may be long since it was asked.
            permit.still(&state).await?.of(command.customer_id)?;
            Ok(HttpResponse::Ok().json(CommandAnswer::whole(&state, &command).await?))
        }
        Waited::GoesOn(given) => Ok(AcceptedAnswer::respond(&given)),
        Waited::Waits(approval) => Ok(waiting(&state, &approval)),
    }
}
