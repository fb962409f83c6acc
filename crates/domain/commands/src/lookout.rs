//! What is to be told to the agents that are connected here, and nobody told this node of.
//!
//! Of several nodes each has connections of its own, and hears from the others what it is to do for
//! them. Such a word may be lost, and an agent may move to this node while another one records that
//! a command leaves for it. What it was about is in the database, and is found there.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use muster_kernel::{AgentId, Clock, CommandId, StorageError};
use parking_lot::Mutex;

use crate::ports::{CommandArchive, Courier, Waiting};

/// How many agents one question is about.
const AT_ONCE: usize = 500;
/// A command that left so long ago and was not accepted may have gone nowhere.
const ACCEPTED_WITHIN: TimeDelta = TimeDelta::seconds(10);

/// Looks into the database for what waits for the agents that are connected to this node.
#[derive(Debug)]
pub struct Lookout {
    archive: Arc<dyn CommandArchive>,
    courier: Arc<dyn Courier>,
    clock: Arc<dyn Clock>,
    /// The ends that were asked for when it looked last: each is told once.
    told: Mutex<BTreeSet<CommandId>>,
}

impl Lookout {
    /// Made of its ports; `courier` knows this node's own connections.
    pub fn new(
        archive: Arc<dyn CommandArchive>,
        courier: Arc<dyn Courier>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { archive, courier, clock, told: Mutex::default() }
    }

    /// Looks once for `agents`, which are those that are connected here.
    ///
    /// # Errors
    /// When the storage fails; what was not found is found by the next look.
    pub async fn run(&self, agents: &[AgentId]) -> Result<(), StorageError> {
        let mut cancelled = BTreeSet::new();
        for agents in agents.chunks(AT_ONCE) {
            for waiting in self.archive.waiting(agents).await? {
                match waiting {
                    Waiting::Backlog(agent_id) => self.courier.look(agent_id),
                    Waiting::Cancel(agent_id, id) => {
                        cancelled.insert(id);
                        if !self.told.lock().contains(&id) {
                            self.courier.cancel(agent_id, id);
                        }
                    }
                }
            }
            let now = self.clock.now();
            // A connection ignores what it sent already, and an agent what it has.
            for command in self.archive.unaccepted(agents, now - ACCEPTED_WITHIN, now).await? {
                self.courier.deliver(Arc::new(command));
            }
        }
        *self.told.lock() = cancelled;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeCourier, FakeLedger, command, noon};
    use crate::{CommandLedger, Entry, Event};
    use muster_kernel::Author;
    use muster_kernel::testing::FakeClock;

    #[tokio::test]
    async fn what_waits_for_agents_here_is_told_to_them_and_an_end_only_once() {
        let (ledger, courier) = (Arc::new(FakeLedger::default()), Arc::new(FakeCourier::default()));
        let (new, running, elsewhere) = (command(1), command(2), command(3));
        for command in [&new, &running, &elsewhere] {
            ledger.submit(command.clone(), None, Author::system()).await.unwrap();
        }
        let at = noon();
        for event in [Event::Dispatched { at }, Event::CancelRequested { at }] {
            ledger.record(running.agent_id, running.id, Entry::Event(event)).await.unwrap();
        }
        let clock = Arc::new(FakeClock::at(noon()));
        let lookout = Lookout::new(ledger, courier.clone(), clock);
        for _ in 0..2 {
            lookout.run(&[new.agent_id, running.agent_id]).await.unwrap();
        }
        assert_eq!(*courier.looked.lock(), [new.agent_id, new.agent_id]);
        assert_eq!(*courier.cancelled.lock(), [running.id]);
    }

    #[tokio::test]
    async fn what_another_node_recorded_as_sent_and_nobody_accepted_is_delivered_here() {
        let (ledger, courier) = (Arc::new(FakeLedger::default()), Arc::new(FakeCourier::default()));
        let lost = command(1);
        ledger.submit(lost.clone(), None, Author::system()).await.unwrap();
        let sent = Entry::Event(Event::Dispatched { at: noon() });
        ledger.record(lost.agent_id, lost.id, sent).await.unwrap();
        let clock = Arc::new(FakeClock::at(noon()));
        let lookout = Lookout::new(ledger.clone(), courier.clone(), clock.clone());
        let delivered = || courier.delivered.lock().iter().map(|it| it.id).collect::<Vec<_>>();
        lookout.run(&[lost.agent_id]).await.unwrap();
        assert_eq!(delivered(), [], "it may be on its way");
        clock.advance(TimeDelta::seconds(11));
        lookout.run(&[command(2).agent_id]).await.unwrap();
        assert_eq!(delivered(), [], "its agent is connected elsewhere");
        lookout.run(&[lost.agent_id]).await.unwrap();
        assert_eq!(delivered(), [lost.id]);
        let accepted = Entry::Event(Event::Accepted { at: clock.now() });
        ledger.record(lost.agent_id, lost.id, accepted).await.unwrap();
        lookout.run(&[lost.agent_id]).await.unwrap();
        assert_eq!(delivered(), [lost.id]);
    }
}
