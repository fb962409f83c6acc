//! What this process tells of itself to whoever watches it.

mod exporter;
mod listener;
mod process;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use muster_agent_socket::Connections;
use muster_agents::Presence;
use muster_http::{Exposition, Probe, Probed, Probes};
use muster_kernel::Timestamp;
use muster_redis::Redis;
use muster_sea_orm::Database;
use tokio_util::sync::CancellationToken;

use crate::jobs::pause;

pub(crate) use exporter::{Exporter, SERVICE};
pub(crate) use listener::{listen, serve};

/// How often what was measured is put together, so that it takes no more and more memory while
/// nobody asks.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// Seconds, from a tenth of a millisecond to what people no longer wait for.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];
/// Jobs of a commit, which has at most 256.
const JOBS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Events that a listener is behind.
const EVENTS: &[f64] = &[0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0];

/// Begins to measure; what was measured before is lost.
pub(crate) fn start() -> anyhow::Result<PrometheusHandle> {
    let buckets = [
        ("muster_http_request_duration_seconds", SECONDS),
        ("muster_database_commit_duration_seconds", SECONDS),
        ("muster_database_commit_jobs", JOBS),
        ("muster_event_listener_lag_events", EVENTS),
    ];
    let builder = buckets.into_iter().try_fold(PrometheusBuilder::new(), |builder, (name, to)| {
        builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), to)
    });
    let recorder = builder.context("setting up metrics")?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).context("setting up metrics")?;
    describe();
    Ok(handle)
}

fn describe() {
    describe_gauge!("muster_build_info", "The version that runs; always 1");
    describe_gauge!("muster_agents_connected", "Agents that can be reached by this process");
    describe_gauge!("muster_agent_connections", "Lasting connections of agents, by transport");
    describe_counter!("muster_commands_total", "Commands that came into a status, durably");
    describe_gauge!(
        "muster_database_writer_queue_jobs",
        "Writes that wait for a commit or are part of one"
    );
    describe_histogram!("muster_database_commit_jobs", "Writes that share a commit");
    describe_histogram!(
        "muster_database_commit_duration_seconds",
        "How long a transaction takes, from its begin to its commit"
    );
    describe_gauge!("muster_database_readers", "Connections for queries");
    describe_gauge!("muster_database_readers_in_use", "Connections for queries that are in use");
    describe_histogram!(
        "muster_event_listener_lag_events",
        "How many events were behind the one that a listener took"
    );
    describe_counter!(
        "muster_event_listeners_too_slow_total",
        "Listeners that were let go because they were too slow"
    );
    describe_histogram!(
        "muster_http_request_duration_seconds",
        "How long answers take, until their head is ready"
    );
    describe_gauge!("muster_metric_samples_waiting", "Machines' metrics that wait to be written");
    describe_counter!("muster_metric_samples_lost_total", "Machines' metrics that were lost");
    process::describe();
}

/// The figures of this process.
pub(crate) struct Figures {
    handle: PrometheusHandle,
    connections: Connections,
    database: Database,
    started_at: Timestamp,
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

impl Figures {
    pub(crate) const fn new(
        handle: PrometheusHandle,
        connections: Connections,
        database: Database,
        started_at: Timestamp,
    ) -> Self {
        Self { handle, connections, database, started_at }
    }

    /// Puts together what was measured, until `stop`.
    pub(crate) async fn tidy(self: Arc<Self>, stop: CancellationToken) {
        while pause(TIDY_EVERY, &stop).await {
            self.handle.run_upkeep();
        }
    }
}

impl Exposition for Figures {
    fn render(&self) -> String {
        gauge!("muster_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
        let connected = u32::try_from(self.connections.connected()).unwrap_or(u32::MAX);
        gauge!("muster_agents_connected").set(connected);
        let (readers, in_use) = self.database.readers();
        gauge!("muster_database_readers").set(readers);
        gauge!("muster_database_readers_in_use").set(in_use);
        process::look(self.started_at);
        self.handle.render()
    }
}

/// What the server needs.
#[derive(Debug)]
pub(crate) struct Needs {
    pub(crate) database: Database,
    /// Where this is one of several nodes.
    pub(crate) redis: Option<Redis>,
}

impl Probes for Needs {
    fn database(&self) -> Probed<'_> {
        Box::pin(async {
            match self.database.ping().await {
                Ok(()) => Probe::Healthy,
                Err(_) => Probe::Unhealthy,
            }
        })
    }

    fn redis(&self) -> Probed<'_> {
        Box::pin(async {
            match &self.redis {
                None => Probe::NotConfigured,
                Some(redis) if redis.ping().await => Probe::Healthy,
                Some(_) => Probe::Unhealthy,
            }
        })
    }
}
