//! Watching, and telling people.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use muster_agent_socket::Connections;
use muster_agents::{AgentRepository, AgentSelection};
use muster_alerts::{Dispatcher, Sample, Watcher};
use muster_kernel::{StorageError, TenantScope};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::jobs::{log, pause};

/// How often it is looked what people have to know.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often it is looked how loaded machines are.
const READ_LOADS_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether there is something to send.
const SEND_EVERY: Duration = Duration::from_millis(500);

/// Finds out what people have to know, until `stop`.
pub(crate) async fn watch(watcher: Arc<Watcher>, stop: CancellationToken) {
    // At once: what happens from now on is news.
    let mut rest = Duration::ZERO;
    while pause(rest, &stop).await {
        if let Err(error) = watcher.tick().await {
            log(&error, "it could not be looked what people have to know");
        }
        rest = LOOK_EVERY;
    }
}

/// Tells the watcher how loaded connected machines are, until `stop`.
pub(crate) async fn read_loads(
    watcher: Arc<Watcher>,
    connections: Connections,
    agents: Arc<dyn AgentRepository>,
    stop: CancellationToken,
) {
    while pause(READ_LOADS_EVERY, &stop).await {
        if let Err(error) = samples(&watcher, &connections, &*agents).await {
            log(&error, "how loaded machines are could not be looked at");
        }
    }
}

async fn samples(
    watcher: &Watcher,
    connections: &Connections,
    agents: &dyn AgentRepository,
) -> Result<(), StorageError> {
    if !watcher.wants_samples().await? {
        return Ok(());
    }
    let loads = connections.loads();
    let ids: BTreeSet<_> = loads.keys().copied().collect();
    let selection = AgentSelection { ids: Some(ids), ..AgentSelection::default() };
    let known = agents.select(&TenantScope::All, &selection).await?;
    let samples = known.into_iter().filter_map(|agent| {
        let (metrics, at) = loads.get(&agent.id)?;
        Some(Sample {
            agent_id: agent.id,
            customer_id: agent.customer_id,
            cpu: Some(f64::from(metrics.cpu_percent)),
            memory: Some(f64::from(metrics.memory_percent)),
            disk: Some(f64::from(metrics.disk_percent)),
            at: *at,
        })
    });
    watcher.samples(&samples.collect::<Vec<_>>()).await
}

/// Sends what there is to send, until `stop`. What is under way then is sent to its end.
pub(crate) async fn send(dispatcher: Arc<Dispatcher>, stop: CancellationToken) {
    let mut sending = JoinSet::new();
    while pause(SEND_EVERY, &stop).await {
        while sending.try_join_next().is_some() {}
        match dispatcher.take().await {
            Ok(taken) => {
                for delivery in taken {
                    let dispatcher = dispatcher.clone();
                    sending.spawn(async move {
                        if let Err(error) = dispatcher.send(delivery).await {
                            log(&error, "what came of a message could not be kept");
                        }
                    });
                }
            }
            Err(error) => log(&error, "the messages that are due could not be read"),
        }
    }
    while sending.join_next().await.is_some() {}
}
