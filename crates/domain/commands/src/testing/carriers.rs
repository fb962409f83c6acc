//! What carries commands to agents, and news of them to listeners, within a test.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use muster_kernel::{AgentId, CommandId};
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::{Command, CommandFeed, Courier, Heard, Notice, Subscription};

/// A feed with one channel for everything.
#[derive(Debug)]
pub struct FakeFeed(broadcast::Sender<(CommandId, Arc<Notice>)>);

impl Default for FakeFeed {
    fn default() -> Self {
        Self(broadcast::channel(1024).0)
    }
}

impl CommandFeed for FakeFeed {
    fn publish(&self, command: &Arc<Command>, notice: Notice) {
        let _ = self.0.send((command.id, Arc::new(notice)));
    }

    fn subscribe(&self, id: CommandId) -> Subscription {
        let next = move |mut receiver: broadcast::Receiver<(CommandId, Arc<Notice>)>| async move {
            loop {
                match receiver.recv().await {
                    Ok((about, notice)) if about == id => {
                        return Some((Heard::Notice(notice), receiver));
                    }
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        return Some((Heard::Missed, receiver));
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        };
        futures_util::stream::unfold(self.0.subscribe(), next).boxed()
    }
}

/// A courier that remembers what it was given.
#[derive(Debug, Default)]
pub struct FakeCourier {
    /// Who is connected.
    pub connected: Mutex<HashSet<AgentId>>,
    /// What was handed over.
    pub delivered: Mutex<Vec<Arc<Command>>>,
    /// What was cancelled.
    pub cancelled: Mutex<Vec<CommandId>>,
    /// Whose connections were to look for more.
    pub looked: Mutex<Vec<AgentId>>,
    /// Whether it has lost sight of other nodes.
    pub sees_only_its_own: AtomicBool,
}

impl Courier for FakeCourier {
    fn is_connected(&self, agent_id: AgentId) -> bool {
        self.connected.lock().contains(&agent_id)
    }

    fn sees_all(&self) -> bool {
        !self.sees_only_its_own.load(Ordering::Relaxed)
    }

    fn has_room(&self, agent_id: AgentId) -> bool {
        self.is_connected(agent_id)
    }

    fn deliver(&self, command: Arc<Command>) {
        self.delivered.lock().push(command);
    }

    fn cancel(&self, _agent_id: AgentId, id: CommandId) {
        self.cancelled.lock().push(id);
    }

    fn look(&self, agent_id: AgentId) {
        self.looked.lock().push(agent_id);
    }
}
