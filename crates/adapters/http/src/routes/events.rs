//! Everything that happens, live.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, Responder, web};
use muster_kernel::act;
use muster_kernel::events::{Channel, From as Since, Topic};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::event_stream::{EventStream, Everything, Follower, since};
use crate::extract::{MayListen, Query};
use crate::{AppState, Problem};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Which topics, with commas between them: `agents`, `commands`, `runs`, `rollouts`, `alerts`,
    /// `assistant`. All unless given.
    #[param(example = "agents,runs")]
    topics: Option<String>,
}

impl EventsQuery {
    fn topics(&self) -> Result<BTreeSet<Topic>, Problem> {
        let Some(names) = &self.topics else { return Ok(Topic::ALL.iter().copied().collect()) };
        let topics = names.split(',').map(|name| Topic::parse(name.trim()));
        topics.collect::<Option<_>>().ok_or_else(|| {
            let known: Vec<_> = Topic::ALL.iter().map(|topic| topic.as_str()).collect();
            let detail = format!("topics: some of {} are expected", known.join(","));
            Problem::new(muster_kernel::ProblemCode::Malformed, detail)
        })
    }
}

/// Everything that you may see, live, from now on: events `agent` (a machine is `online` or `offline`
/// from now on), `connection` (one begins or has ended, and why), `clone` (another machine shows the
/// identity of an agent, or does no longer), `command`, `run`, `rollout`, `alert` and `proposal`. `Last-Event-ID`
/// goes on after the last event that was received; `reset` says that events before are not to be had
/// any more.
#[utoipa::path(
    get, path = "/events", tag = "events", operation_id = "events",
    params(EventsQuery, ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, content((String = "text/event-stream")))),
)]
pub(crate) async fn events(
    state: web::Data<AppState>,
    MayListen(permit): MayListen<act::ReadCommands>,
    query: Query<EventsQuery>,
    request: HttpRequest,
) -> Result<impl Responder, Problem> {
    let mut topics = query.0.topics()?;
    // Whoever may only run commands hears nothing of machines.
    if permit.also::<act::ReadAgents>().is_err() {
        topics.remove(&Topic::Agents);
    }
    if permit.also::<act::ReadRollouts>().is_err() {
        topics.remove(&Topic::Rollouts);
    }
    if permit.also::<act::ReadAlerts>().is_err() {
        topics.remove(&Topic::Alerts);
    }
    if permit.also::<act::ReadAssistants>().is_err() {
        topics.remove(&Topic::Assistant);
    }
    let since = match since(&request) {
        Since::Beginning => Since::Now,
        since => since,
    };
    let listener = state.bus.listen(Channel::Everything, since);
    Ok(EventStream::new(state, permit, listener, Everything(topics)).respond())
}
