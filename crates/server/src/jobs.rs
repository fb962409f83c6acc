//! What the server does by itself.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use muster_agent_socket::Connections;
use muster_agents::AgentRepository;
use muster_audit::Audit;
use muster_commands::Sweep;
use muster_customers::ApiKeys;
use muster_settings::{Key, Settings};
use tokio_util::sync::CancellationToken;

/// How often commands are ended that no agent will end.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// How often it is written who was seen.
const WRITE_SEEN_EVERY: Duration = Duration::from_secs(15);
/// How often it is written when customers' keys were used.
const WRITE_KEY_USES_EVERY: Duration = Duration::from_mins(1);
/// How often it is looked whether another process changed settings.
const RELOAD_SETTINGS_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked whether audit entries are old enough to go.
const PRUNE_AUDIT_EVERY: Duration = Duration::from_mins(10);

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

/// Writes when customers' keys were last used, until `stop`.
pub(crate) async fn write_key_uses(keys: Arc<ApiKeys>, stop: CancellationToken) {
    while pause(WRITE_KEY_USES_EVERY, &stop).await {
        if let Err(error) = keys.write_last_used().await {
            log(&error, "when keys were last used could not be written");
        }
    }
    // The last minute's, too.
    if let Err(error) = keys.write_last_used().await {
        log(&error, "when keys were last used could not be written");
    }
}

/// Looks whether another process changed settings, until `stop`.
pub(crate) async fn reload_settings(settings: Arc<Settings>, stop: CancellationToken) {
    while pause(RELOAD_SETTINGS_EVERY, &stop).await {
        if let Err(error) = settings.reload().await {
            log(&error, "the settings could not be read");
        }
    }
}

/// Lets go of old audit entries as the settings say, until `stop`.
pub(crate) async fn prune_audit(audit: Audit, settings: Arc<Settings>, stop: CancellationToken) {
    while pause(PRUNE_AUDIT_EVERY, &stop).await {
        let days = i64::try_from(settings.number(Key::AuditRetentionDays)).unwrap_or(0);
        if days == 0 {
            continue;
        }
        match audit.prune(TimeDelta::days(days)).await {
            Ok(0) => {}
            Ok(gone) => tracing::info!(audit.entries = gone, "old audit entries were let go"),
            Err(error) => log(&error, "old audit entries could not be let go"),
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
