//! What happens to runs on this node, told to the node that drives them.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use muster_commands::runs::RunRelay;
use muster_kernel::{CommandId, NodeId, RunId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::link::{Hearer, Redis};
use crate::words::Batch;

/// What an id takes in a batch, in bytes.
const ID_BYTES: usize = 40;

/// What was heard of runs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Words {
    /// Commands of runs that are other than before.
    pub commands: BTreeSet<CommandId>,
    /// Runs that were begun or are to go on otherwise.
    pub runs: BTreeSet<RunId>,
}

/// What happens to runs, on all nodes.
#[derive(Debug, Clone)]
pub struct Relay {
    redis: Redis,
    heard: Arc<(Mutex<Words>, Notify)>,
}

impl Relay {
    /// By this link.
    pub fn new(redis: &Redis) -> Self {
        let relay = Self { redis: redis.clone(), heard: Arc::default() };
        redis.joined_by(Arc::new(relay.clone()));
        relay
    }

    /// Waits for words and takes them all. Dropping the future loses none.
    pub async fn next(&self) -> Words {
        loop {
            let (words, notify) = &*self.heard;
            let taken = std::mem::take(&mut *words.lock());
            if taken != Words::default() {
                return taken;
            }
            notify.notified().await;
        }
    }
}

impl RunRelay for Relay {
    fn changed(&self, id: CommandId) {
        self.redis.say(ID_BYTES, |outbox| {
            outbox.batch.of_runs.insert(id);
        });
    }

    fn turned(&self, id: RunId) {
        self.redis.say(ID_BYTES, |outbox| {
            outbox.batch.runs.insert(id);
        });
    }
}

#[async_trait]
impl Hearer for Relay {
    fn hear(&self, _: NodeId, batch: &Batch) {
        if batch.of_runs.is_empty() && batch.runs.is_empty() {
            return;
        }
        let (words, notify) = &*self.heard;
        let mut words = words.lock();
        words.commands.extend(&batch.of_runs);
        words.runs.extend(&batch.runs);
        notify.notify_one();
    }
}
