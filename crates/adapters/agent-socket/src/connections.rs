//! Who is connected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dashmap::DashMap;
use muster_agents::{AgentRepository, Connection, Metrics, Presence, RefreshError};
use muster_commands::{Command, Courier};
use muster_kernel::{AgentId, Clock, CommandId, ConnectionId, StorageError, Timestamp};
use muster_protocol::MAX_UNFINISHED_COMMANDS;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

/// How long an agent may take to say what kind of machine it is.
const REFRESH_PATIENCE: Duration = Duration::from_secs(10);

/// What a session is told from outside.
#[derive(Debug)]
pub(crate) enum Instruct {
    /// A durable command whose dispatch is recorded.
    Deliver(Arc<Command>),
    /// There are commands in the archive that nobody had yet.
    LookForMore,
    /// End a command.
    Cancel(CommandId),
    /// Ask what kind of machine it is, and tell when the answer is kept.
    Refresh(oneshot::Sender<()>),
    /// End the connection.
    Close(CloseReason),
}

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The same agent has connected again.
    Replaced,
    /// The agent was removed.
    Removed,
    /// The server is shutting down.
    Shutdown,
}

/// One live connection, as others see it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection_id: ConnectionId,
    connected_at: Timestamp,
    peer_address: Option<String>,
    last_frame_at: Mutex<Timestamp>,
    metrics: Mutex<Option<Metrics>>,
    /// Whether a frame came since last-seen times were last written.
    seen: AtomicBool,
    /// Commands that the agent has and that have not ended.
    unfinished: AtomicUsize,
    instructions: mpsc::UnboundedSender<Instruct>,
}

impl Link {
    pub(crate) fn new(
        connection_id: ConnectionId,
        now: Timestamp,
        peer_address: Option<String>,
        instructions: mpsc::UnboundedSender<Instruct>,
    ) -> Self {
        Self {
            connection_id,
            connected_at: now,
            peer_address,
            last_frame_at: Mutex::new(now),
            metrics: Mutex::new(None),
            seen: AtomicBool::new(false),
            unfinished: AtomicUsize::new(0),
            instructions,
        }
    }

    pub(crate) fn set_metrics(&self, metrics: Metrics) {
        *self.metrics.lock() = Some(metrics);
    }

    pub(crate) fn set_unfinished(&self, count: usize) {
        self.unfinished.store(count, Ordering::Relaxed);
    }

    fn instruct(&self, instruction: Instruct) {
        // A session that has ended misses nothing: the next one asks the archive.
        let _ = self.instructions.send(instruction);
    }
}

/// Who is connected to this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Connections {
    links: Arc<DashMap<AgentId, Arc<Link>>>,
    seen: Arc<Mutex<Vec<AgentId>>>,
    clock: Arc<dyn Clock>,
}

impl Connections {
    /// With nobody connected.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { links: Arc::default(), seen: Arc::default(), clock }
    }

    /// Enters a connection; an earlier one of the same agent is ended.
    pub(crate) fn enter(&self, id: AgentId, link: Arc<Link>) {
        if let Some(earlier) = self.links.insert(id, link) {
            earlier.instruct(Instruct::Close(CloseReason::Replaced));
        }
    }

    /// Takes a connection out, unless a later one has taken its place.
    pub(crate) fn leave(&self, id: AgentId, connection_id: ConnectionId) {
        self.links.remove_if(&id, |_, link| link.connection_id == connection_id);
    }

    /// Notes that a frame came.
    pub(crate) fn saw(&self, id: AgentId, link: &Link) {
        *link.last_frame_at.lock() = self.clock.now();
        if !link.seen.swap(true, Ordering::Relaxed) {
            self.seen.lock().push(id);
        }
    }

    /// Writes who was seen since the last call, in one write, and ends the connections of agents
    /// that no longer exist.
    ///
    /// # Errors
    /// When the storage fails; who was seen is then written by the next call.
    pub async fn write_last_seen(&self, agents: &dyn AgentRepository) -> Result<(), StorageError> {
        let seen = std::mem::take(&mut *self.seen.lock());
        for id in &seen {
            if let Some(link) = self.links.get(id) {
                link.seen.store(false, Ordering::Relaxed);
            }
        }
        if seen.is_empty() {
            return Ok(());
        }
        for gone in agents.record_seen(seen, self.clock.now()).await? {
            self.disconnect(gone);
        }
        Ok(())
    }

    /// Ends all connections: the server is shutting down.
    pub fn close_all(&self) {
        for link in self.links.iter() {
            link.instruct(Instruct::Close(CloseReason::Shutdown));
        }
    }
}

#[async_trait]
impl Presence for Connections {
    fn connection(&self, id: AgentId) -> Option<Connection> {
        self.links.get(&id).map(|link| Connection {
            connection_id: link.connection_id,
            connected_at: link.connected_at,
            peer_address: link.peer_address.clone(),
            last_frame_at: *link.last_frame_at.lock(),
            metrics: *link.metrics.lock(),
        })
    }

    fn connected(&self) -> usize {
        self.links.len()
    }

    fn disconnect(&self, id: AgentId) {
        if let Some(link) = self.links.get(&id) {
            link.instruct(Instruct::Close(CloseReason::Removed));
        }
    }

    async fn refresh(&self, id: AgentId) -> Result<(), RefreshError> {
        let (sender, answer) = oneshot::channel();
        let link = self.links.get(&id).map(|link| Arc::clone(&link));
        link.ok_or(RefreshError::Offline)?.instruct(Instruct::Refresh(sender));
        match tokio::time::timeout(REFRESH_PATIENCE, answer).await {
            Ok(Ok(())) => Ok(()),
            // The connection ended while the answer was awaited.
            Ok(Err(_)) => Err(RefreshError::Offline),
            Err(_) => Err(RefreshError::TimedOut),
        }
    }
}

impl Courier for Connections {
    fn is_connected(&self, agent_id: AgentId) -> bool {
        self.links.contains_key(&agent_id)
    }

    fn has_room(&self, agent_id: AgentId) -> bool {
        self.links
            .get(&agent_id)
            .is_some_and(|link| link.unfinished.load(Ordering::Relaxed) < MAX_UNFINISHED_COMMANDS)
    }

    fn deliver(&self, command: Arc<Command>) {
        if let Some(link) = self.links.get(&command.agent_id) {
            link.instruct(if command.dispatched_at.is_some() {
                Instruct::Deliver(command)
            } else {
                Instruct::LookForMore
            });
        }
    }

    fn cancel(&self, agent_id: AgentId, id: CommandId) {
        if let Some(link) = self.links.get(&agent_id) {
            link.instruct(Instruct::Cancel(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_agents::testing::FakeAgents;
    use muster_commands::testing::command;
    use muster_kernel::testing::{FakeClock, SeededEntropy};

    struct Peer {
        id: AgentId,
        link: Arc<Link>,
        told: mpsc::UnboundedReceiver<Instruct>,
    }

    fn connect(connections: &Connections, seed: u64, entropy: &SeededEntropy) -> Peer {
        let id = command(seed).agent_id;
        let (sender, told) = mpsc::unbounded_channel();
        let connection_id = ConnectionId::new(&*connections.clock, entropy);
        let link = Arc::new(Link::new(connection_id, connections.clock.now(), None, sender));
        connections.enter(id, Arc::clone(&link));
        Peer { id, link, told }
    }

    fn world() -> (Connections, SeededEntropy) {
        (Connections::new(Arc::new(FakeClock::default())), SeededEntropy::new(3))
    }

    #[test]
    fn a_later_connection_takes_the_place_of_an_earlier_one() {
        let (connections, entropy) = world();
        let mut first = connect(&connections, 1, &entropy);
        let second = connect(&connections, 1, &entropy);
        let told = first.told.try_recv();
        assert!(matches!(told, Ok(Instruct::Close(CloseReason::Replaced))));
        connections.leave(first.id, first.link.connection_id);
        let connection = connections.connection(second.id).unwrap();
        assert_eq!(connection.connection_id, second.link.connection_id);
        connections.leave(second.id, second.link.connection_id);
        assert_eq!(connections.connected(), 0);
    }

    #[test]
    fn a_command_goes_to_its_agent_and_only_when_its_dispatch_is_recorded() {
        let (connections, entropy) = world();
        let mut peer = connect(&connections, 1, &entropy);
        let mut other = connect(&connections, 2, &entropy);
        let mut waiting = command(1);
        connections.deliver(Arc::new(waiting.clone()));
        waiting.dispatched_at = Some(waiting.created_at);
        connections.deliver(Arc::new(waiting));
        assert!(matches!(peer.told.try_recv(), Ok(Instruct::LookForMore)));
        assert!(matches!(peer.told.try_recv(), Ok(Instruct::Deliver(_))));
        assert!(other.told.try_recv().is_err());
    }

    #[test]
    fn an_agent_with_a_full_window_has_no_room() {
        let (connections, entropy) = world();
        let peer = connect(&connections, 1, &entropy);
        assert!(connections.has_room(peer.id));
        peer.link.set_unfinished(MAX_UNFINISHED_COMMANDS);
        assert!(!connections.has_room(peer.id));
    }

    #[tokio::test]
    async fn a_removed_agent_is_disconnected_by_the_next_write() {
        let (connections, entropy) = world();
        let mut peer = connect(&connections, 1, &entropy);
        connections.saw(peer.id, &peer.link);
        connections.write_last_seen(&FakeAgents::default()).await.unwrap();
        assert!(matches!(peer.told.try_recv(), Ok(Instruct::Close(CloseReason::Removed))));
    }

    #[tokio::test]
    async fn an_agent_that_is_not_connected_gives_no_fresh_information() {
        let (connections, _) = world();
        assert_eq!(connections.refresh(command(1).agent_id).await, Err(RefreshError::Offline));
    }
}
