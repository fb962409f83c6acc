//! What the server does by itself.

pub(crate) mod metrics;

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use chrono::TimeDelta;
use muster_agent_socket::Connections;
use muster_agents::{AgentRepository, ConnectionLog};
use muster_commands::runs::Runs;
use muster_commands::schedules::{HistoryRetention, Scheduler};
use muster_commands::{Compression, Retention, Sweep};
use muster_customers::ApiKeys;
use muster_deployment_profiles::compliance::Compliance;
use muster_deployment_profiles::rollouts::{Driver, Rollouts};
use muster_http::AppState;
use muster_kernel::Clock;
use muster_kernel::leadership::LOOK_EVERY;
use muster_sea_orm::Database;
use muster_settings::{Key, Settings};
use tokio_util::sync::CancellationToken;

use crate::leading::Leading;

/// How often commands are ended that no agent will end.
const SWEEP_EVERY: Duration = Duration::from_secs(2);
/// How long it is waited with what is due when the storage has failed.
const AFTER_A_FAILURE: Duration = Duration::from_secs(1);
/// How often it is written who was seen.
const WRITE_SEEN_EVERY: Duration = Duration::from_secs(15);
/// How often it is written which connections have ended.
const WRITE_ENDED_EVERY: Duration = Duration::from_secs(1);
/// How long a shutdown waits for connections to end.
const CONNECTIONS_END_WITHIN: Duration = Duration::from_secs(8);
/// How often it is written when customers' keys were used.
const WRITE_KEY_USES_EVERY: Duration = Duration::from_mins(1);
/// How often it is looked whether another process changed settings.
const RELOAD_SETTINGS_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked whether something is old enough to go.
const CLEAN_EVERY: Duration = Duration::from_mins(10);
/// For how long a request with an idempotency key is known again.
const REQUESTS_ARE_KNOWN_FOR: TimeDelta = TimeDelta::days(7);

/// Ends commands that no agent will end, until `stop`.
pub(crate) async fn sweep(sweep: Sweep, leading: Leading, stop: CancellationToken) {
    while pause(SWEEP_EVERY, &stop).await {
        while leading.now() {
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

/// Drives the runs that go on, until `stop`.
pub(crate) async fn drive(runs: Runs, leading: Leading, stop: CancellationToken) {
    let mut taken_up = false;
    while !stop.is_cancelled() {
        if !leading.now() {
            taken_up = false;
            pause(LOOK_EVERY, &stop).await;
            continue;
        }
        if !taken_up {
            taken_up = runs
                .take_up()
                .await
                .inspect_err(|error| {
                    log(error, "the runs that go on could not be read");
                })
                .is_ok();
        }
        let done = runs.drive().await;
        let failed = done.inspect_err(|error| log(error, "a run could not be driven on")).is_err();
        tokio::select! {
            () = async {
                runs.wait().await;
                if failed || !taken_up {
                    tokio::time::sleep(SWEEP_EVERY).await;
                }
            } => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Tells listeners how far runs are, until `stop`.
pub(crate) async fn tell(runs: Runs, stop: CancellationToken) {
    tokio::select! {
        () = runs.tell() => {}
        () = stop.cancelled() => {}
    }
}

/// Brings the rollouts on that go on, until `stop`.
pub(crate) async fn bring_rollouts_on(
    rollouts: Rollouts,
    leading: Leading,
    stop: CancellationToken,
) {
    tokio::select! {
        () = Driver::new(rollouts).run(move || leading.now()) => {}
        () = stop.cancelled() => {}
    }
}

/// Compares machines with profiles when that is due, until `stop`.
pub(crate) async fn compare(compliance: Compliance, leading: Leading, stop: CancellationToken) {
    while pause(SWEEP_EVERY, &stop).await {
        if leading.now()
            && let Err(error) = compliance.tick().await
        {
            log(&error, "compliance checks that are due could not be begun");
        }
    }
}

/// Starts what schedules plan, until `stop`.
pub(crate) async fn run_schedules(
    scheduler: Scheduler,
    clock: Arc<dyn Clock>,
    leading: Leading,
    stop: CancellationToken,
) {
    let mut rest = Duration::ZERO;
    while pause(rest, &stop).await {
        if !leading.now() {
            rest = LOOK_EVERY;
            continue;
        }
        rest = match scheduler.tick().await {
            Ok(next) => (next - clock.now()).to_std().unwrap_or_default(),
            Err(error) => {
                log(&error, "runs that are due could not be started");
                AFTER_A_FAILURE
            }
        };
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

/// Writes which connections have ended, until `stop`, and then those that it ends.
pub(crate) async fn write_ended(
    connections: Connections,
    log: Arc<dyn ConnectionLog>,
    stop: CancellationToken,
) {
    let write = async || {
        if let Err(error) = connections.write_ended(&*log).await {
            self::log(&error, "which connections have ended could not be written");
        }
    };
    while pause(WRITE_ENDED_EVERY, &stop).await {
        write().await;
    }
    let closed = async {
        while !connections.is_closed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(CONNECTIONS_END_WITHIN, closed).await;
    write().await;
}

/// Tells who can't be reached any more, until `stop`.
pub(crate) async fn watch_silence(connections: Connections, stop: CancellationToken) {
    tokio::select! {
        () = connections.watch_silence() => {}
        () = stop.cancelled() => {}
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

/// What is let go of, or kept smaller, when it is old enough.
pub(crate) struct Housekeeping {
    pub(crate) state: Data<AppState>,
    pub(crate) retention: Retention,
    pub(crate) history: HistoryRetention,
    pub(crate) compression: Compression,
    pub(crate) alerts: muster_alerts::Retention,
    pub(crate) database: Database,
}

impl Housekeeping {
    /// Looks again and again, until `stop`.
    pub(crate) async fn run(self, leading: Leading, stop: CancellationToken) {
        while pause(CLEAN_EVERY, &stop).await {
            if !leading.now() {
                continue;
            }
            if let Some(keep) = self.keep(Key::AuditRetentionDays) {
                told("old audit entries", self.state.audit.prune(keep).await);
            }
            if let Some(keep) = self.keep(Key::CommandRetentionDays) {
                told("old commands", self.retention.run(keep).await);
                told("entries of schedules' histories", self.history.run(keep).await);
            }
            if let Some(keep) = self.keep(Key::AlertRetentionDays) {
                told("old alerts", self.alerts.run(keep).await);
            }
            told("sessions that were over", self.state.identity.forget_sessions().await);
            let before = self.state.clock.now() - REQUESTS_ARE_KNOWN_FOR;
            told("idempotency keys", self.database.forget_requests(before).await);
            if let Some(after) = self.keep(Key::CommandsCompressAfterDays) {
                // Years of output take a while at the first time, and can go on at the next start.
                tokio::select! {
                    looked_at = self.compression.run(after) => compressed(looked_at),
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// How long something is kept; `None` for ever.
    fn keep(&self, key: Key) -> Option<TimeDelta> {
        let days = i64::try_from(self.state.settings.number(key)).ok()?;
        (days > 0).then(|| TimeDelta::days(days))
    }
}

fn told<E: std::error::Error>(what: &str, gone: Result<u64, E>) {
    match gone {
        Ok(0) => {}
        Ok(number) => tracing::info!(number, "{what} were let go"),
        Err(error) => log(&error, &format!("{what} could not be let go")),
    }
}

fn compressed<E: std::error::Error>(looked_at: Result<u64, E>) {
    match looked_at {
        Ok(0) => {}
        Ok(number) => tracing::info!(number, "pieces of old output were compressed"),
        Err(error) => log(&error, "old output could not be compressed"),
    }
}

/// Waits for `time`; false when it is time to stop.
pub(crate) async fn pause(time: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        () = stop.cancelled() => false,
    }
}

pub(crate) fn log(error: &dyn std::error::Error, message: &str) {
    let cause = error.source().map(ToString::to_string);
    tracing::error!(error.cause = cause, "{message}");
}
