//! What the server does by itself.

use std::sync::Arc;
use std::time::Duration;

use muster_agent_socket::Connections;
use muster_agents::AgentRepository;
use muster_commands::Sweep;
use tokio_util::sync::CancellationToken;

/// How often commands are ended that no agent will end.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// How often it is written who was seen.
const WRITE_SEEN_EVERY: Duration = Duration::from_secs(15);

/// Ends commands that no agent will end, until `stop`.
pub(crate) async fn sweep(sweep: Sweep, stop: CancellationToken) {
    while pause(SWEEP_EVERY, &stop).await {
        loop {
            match sweep.run().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    log(&error, "commands that are due could not be ended");
                    break;
                }
            }
        }
    }
}

/// Writes who was seen, until `stop`.
pub(crate) async fn write_seen(
    connections: Connections,
    agents: Arc<dyn AgentRepository>,
    stop: CancellationToken,
) {
    while pause(WRITE_SEEN_EVERY, &stop).await {
        if let Err(error) = connections.write_last_seen(&*agents).await {
            log(&error, "who was seen could not be written");
        }
    }
}

/// Waits for `time`; false when it is time to stop.
pub(crate) async fn pause(time: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        () = stop.cancelled() => false,
    }
}

fn log(error: &dyn std::error::Error, message: &str) {
    let cause = error.source().map(ToString::to_string);
    tracing::error!(error.cause = cause, "{message}");
}
