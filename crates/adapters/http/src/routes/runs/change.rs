//! Ending runs before their time, and holding them.

use actix_web::http::StatusCode;
use actix_web::{Responder, web};
use muster_kernel::{RunId, act};

use super::RunAnswer;
use crate::extract::{Id, May};
use crate::{AppState, Problem};

/// Cancel a run: no other machine begins, and what runs is ended. Asking again is harmless.
#[utoipa::path(
    post, path = "/runs/{id}/cancel", tag = "runs", operation_id = "cancel_run",
    params(("id" = Uuid, Path)),
    responses(
        (status = 202, body = RunAnswer),
        (status = 404),
        (status = 409, description = "`WRONG_STATE`: it has ended"),
    ),
)]
pub(crate) async fn cancel(
    state: web::Data<AppState>,
    permit: May<act::CancelCommands>,
    id: Id<RunId>,
) -> Result<impl Responder, Problem> {
    let run = state.runs.cancel(&permit, id.get()?).await?;
    Ok(web::Json(RunAnswer::from(run)).customize().with_status(StatusCode::ACCEPTED))
}

/// Let no other machine begin for now; those that work go on.
#[utoipa::path(
    post, path = "/runs/{id}/pause", tag = "runs", operation_id = "pause_run",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = RunAnswer),
        (status = 404),
        (status = 409, description = "`WRONG_STATE`: it has ended, or is being stopped"),
    ),
)]
pub(crate) async fn pause(
    state: web::Data<AppState>,
    permit: May<act::CancelCommands>,
    id: Id<RunId>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(RunAnswer::from(state.runs.pause(&permit, id.get()?, true).await?)))
}

/// Let machines begin again.
#[utoipa::path(
    post, path = "/runs/{id}/resume", tag = "runs", operation_id = "resume_run",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = RunAnswer),
        (status = 404),
        (status = 409, description = "`WRONG_STATE`: it has ended"),
    ),
)]
pub(crate) async fn resume(
    state: web::Data<AppState>,
    permit: May<act::CancelCommands>,
    id: Id<RunId>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(RunAnswer::from(state.runs.pause(&permit, id.get()?, false).await?)))
}
