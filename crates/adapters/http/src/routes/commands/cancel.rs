//! Cancelling commands.

use actix_web::{Responder, web};
use muster_kernel::{CommandId, act};

use super::CommandAnswer;
use crate::extract::{Id, May};
use crate::{AppState, Problem};

/// Cancel a command: at once when no agent can have it, else through its agent, which ends the
/// whole process tree. Asking again is harmless.
#[utoipa::path(
    post, path = "/commands/{id}/cancel", tag = "commands", operation_id = "cancel_command",
    params(("id" = Uuid, Path)),
    responses(
        (status = 202, body = CommandAnswer),
        (status = 404),
        (status = 409, description = "`COMMAND_ENDED`"),
    ),
)]
pub(crate) async fn cancel(
    state: web::Data<AppState>,
    permit: May<act::CancelCommands>,
    id: Id<CommandId>,
) -> Result<impl Responder, Problem> {
    let command = state.commands.cancel(&permit, id.get()?).await?;
    let answer = web::Json(CommandAnswer::of(&command));
    Ok(answer.customize().with_status(actix_web::http::StatusCode::ACCEPTED))
}
