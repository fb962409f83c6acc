//! Watching, and telling people.

use std::sync::Arc;
use std::time::Duration;

use muster_agents::{Heartbeat, HeartbeatListener};
use muster_alerts::{Dispatcher, Sample, Watcher};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::jobs::{log, pause};
use crate::leading::Leading;

/// How often it is looked what people have to know.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How many batches of heartbeats may wait.
const BATCHES: usize = 4;
/// How often it is looked whether there is something to send.
const SEND_EVERY: Duration = Duration::from_millis(500);

/// Finds out what people have to know, until `stop`, while this node leads.
///
/// How loaded machines are is not part of it: each node hears of its own machines and judges them
/// itself, by what the database knows of them. Of a rule and a machine there is one open alert,
/// whoever opens it, and who leads releases and resolves those of all nodes.
pub(crate) async fn watch(watcher: Arc<Watcher>, leading: Leading, stop: CancellationToken) {
    // At once: what happens from now on is news.
    let mut rest = Duration::ZERO;
    while pause(rest, &stop).await {
        if !leading.now() {
            watcher.rest();
            rest = LOOK_EVERY;
            continue;
        }
        if let Err(error) = watcher.tick().await {
            log(&error, "it could not be looked what people have to know");
        }
        rest = LOOK_EVERY;
    }
}

/// Hands on how loaded machines say that they are.
#[derive(Debug)]
pub(crate) struct Loads(mpsc::Sender<Vec<Sample>>);

impl Loads {
    /// It, and what it hands on.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Vec<Sample>>) {
        let (sender, heard) = mpsc::channel(BATCHES);
        (Self(sender), heard)
    }
}

impl HeartbeatListener for Loads {
    fn heard(&self, heartbeats: &[Heartbeat]) {
        let samples = heartbeats.iter().map(|heartbeat| Sample {
            agent_id: heartbeat.agent_id,
            customer_id: heartbeat.customer_id,
            cpu: Some(f64::from(heartbeat.metrics.cpu_percent)),
            memory: Some(f64::from(heartbeat.metrics.memory_percent)),
            disk: Some(f64::from(heartbeat.metrics.disk_percent)),
            at: heartbeat.at,
        });
        // Where nobody keeps up, the next heartbeats tell the same.
        let _ = self.0.try_send(samples.collect());
    }
}

/// Tells the watcher how loaded machines are, until `stop`.
pub(crate) async fn read_loads(
    watcher: Arc<Watcher>,
    mut loads: mpsc::Receiver<Vec<Sample>>,
    stop: CancellationToken,
) {
    while let Some(Some(samples)) = stop.run_until_cancelled(loads.recv()).await {
        if let Err(error) = watcher.samples(&samples).await {
            log(&error, "how loaded machines are could not be looked at");
        }
    }
}

/// Sends what there is to send, until `stop`. What is under way then is sent to its end.
pub(crate) async fn send(dispatcher: Arc<Dispatcher>, stop: CancellationToken) {
    let mut sending = JoinSet::new();
    while !stop.is_cancelled() {
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
        tokio::select! {
            // The next message of its channel does not wait.
            Some(_) = sending.join_next() => {}
            () = tokio::time::sleep(SEND_EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
    while sending.join_next().await.is_some() {}
}
