//! A run, live.

use actix_web::{HttpRequest, Responder, web};
use muster_kernel::{RunId, act};

use crate::event_stream::{EventStream, Follower, since};
use crate::extract::{Id, MayListen};
use crate::{AppState, Problem};

/// A run, live, from its beginning: events `command` (a machine's command is further: its ids,
/// `status`, `exit_code`, …), `output` (`{command_id, agent_id, stream, offset, bytes, text,
/// truncated}`: at most 8 KiB of text at a time), `progress` (the counts) and, at the end,
/// `finished`. `Last-Event-ID` goes on after the last event that was received; `reset` says that
/// events before are not to be had any more, and the counts follow.
#[utoipa::path(
    get, path = "/runs/{id}/events", tag = "runs", operation_id = "run_events",
    params(("id" = Uuid, Path), ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, content((String = "text/event-stream"))), (status = 404)),
)]
pub(crate) async fn events(
    state: web::Data<AppState>,
    MayListen(permit): MayListen<act::ReadCommands>,
    id: Id<RunId>,
    request: HttpRequest,
) -> Result<impl Responder, Problem> {
    let run = state.runs.get(&permit, id.get()?).await?;
    let listener = state.runs.listen(&run, since(&request));
    Ok(EventStream::new(state, permit, listener, run.id).respond())
}
