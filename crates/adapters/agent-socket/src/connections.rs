//! Who is connected.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use dashmap::DashMap;
use muster_agents::{AgentRepository, Connection, Metrics, Presence, RefreshError};
use muster_commands::{Command, Courier};
use muster_kernel::{AgentId, Clock, CommandId, ConnectionId, Entropy, StorageError, Timestamp};
use muster_protocol::MAX_UNFINISHED_COMMANDS;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

/// How long an agent may take to say what kind of machine it is.
const REFRESH_PATIENCE: Duration = Duration::from_secs(10);

/// An agent that asks in plain requests is gone when none came for so long.
const SILENCE: TimeDelta = TimeDelta::seconds(60);

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
    /// `None` when nobody follows any: the agent asks in plain requests.
    instructions: Option<mpsc::UnboundedSender<Instruct>>,
}

impl Link {
    pub(crate) fn new(
        connection_id: ConnectionId,
        now: Timestamp,
        peer_address: Option<String>,
        instructions: Option<mpsc::UnboundedSender<Instruct>>,
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
        if let Some(instructions) = &self.instructions {
            let _ = instructions.send(instruction);
        }
    }

    /// Whether nothing but plain requests stands behind it, and none came for too long.
    fn is_silent(&self, now: Timestamp) -> bool {
        self.instructions.is_none() && now - *self.last_frame_at.lock() >= SILENCE
    }
}

/// Who is connected to this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Connections {
    links: Arc<DashMap<AgentId, Arc<Link>>>,
    seen: Arc<Mutex<Vec<AgentId>>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Connections {
    /// With nobody connected.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { links: Arc::default(), seen: Arc::default(), clock, entropy }
    }

    /// Enters a connection; an earlier one of the same agent is ended.
    pub(crate) fn enter(&self, id: AgentId, link: Arc<Link>) {
        if let Some(earlier) = self.links.insert(id, link) {
            earlier.instruct(Instruct::Close(CloseReason::Replaced));
        }
    }

    /// Takes a connection out, unless a later one has taken its place; says whether it was there.
    pub(crate) fn leave(&self, id: AgentId, connection_id: ConnectionId) -> bool {
        self.links.remove_if(&id, |_, link| link.connection_id == connection_id).is_some()
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
        let now = self.clock.now();
        self.forget_silent();
        let seen = std::mem::take(&mut *self.seen.lock());
        for id in &seen {
            if let Some(link) = self.links.get(id) {
                link.seen.store(false, Ordering::Relaxed);
            }
        }
        if seen.is_empty() {
            return Ok(());
        }
        for gone in agents.record_seen(seen, now).await? {
            self.disconnect(gone);
        }
        Ok(())
    }

    fn forget_silent(&self) {
        let now = self.clock.now();
        self.links.retain(|_, link| !link.is_silent(now));
    }

    /// How loaded each connected machine last said that it is, and when something last came from it.
    pub fn loads(&self) -> HashMap<AgentId, (Metrics, Timestamp)> {
        let load = |link: &Link| Some(((*link.metrics.lock())?, *link.last_frame_at.lock()));
        self.links.iter().filter_map(|link| Some((*link.key(), load(&link)?))).collect()
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
        self.links.remove_if(&id, |_, link| link.instructions.is_none());
        if let Some(link) = self.links.get(&id) {
            link.instruct(Instruct::Close(CloseReason::Removed));
        }
    }

    fn heard(&self, id: AgentId, metrics: Option<Metrics>, peer_address: Option<String>) -> bool {
        let link = self.links.entry(id).or_insert_with(|| {
            let connection_id = ConnectionId::new(&*self.clock, &*self.entropy);
            Arc::new(Link::new(connection_id, self.clock.now(), peer_address, None))
        });
        if let Some(metrics) = metrics {
            link.set_metrics(metrics);
        }
        self.saw(id, &link);
        link.instructions.is_some()
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
        self.links.get(&agent_id).is_some_and(|link| {
            let room = link.unfinished.load(Ordering::Relaxed) < MAX_UNFINISHED_COMMANDS;
            room && link.instructions.is_some()
        })
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
        let link = Arc::new(Link::new(connection_id, connections.clock.now(), None, Some(sender)));
        connections.enter(id, Arc::clone(&link));
        Peer { id, link, told }
    }

    fn world() -> (Connections, SeededEntropy) {
        let entropy = Arc::new(SeededEntropy::new(4));
        (Connections::new(Arc::new(FakeClock::default()), entropy), SeededEntropy::new(3))
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

    #[test]
    fn an_agent_that_asks_in_plain_requests_counts_as_connected_for_a_minute() {
        let clock = Arc::new(FakeClock::default());
        let connections = Connections::new(clock.clone(), Arc::new(SeededEntropy::new(4)));
        let id = command(1).agent_id;
        assert!(!connections.heard(id, None, None), "it has no connection of its own");
        assert!(connections.is_connected(id) && !connections.has_room(id));
        clock.advance(TimeDelta::seconds(59));
        connections.forget_silent();
        assert!(connections.is_connected(id));
        clock.advance(TimeDelta::seconds(1));
        connections.forget_silent();
        assert!(!connections.is_connected(id));
        let peer = connect(&connections, 1, &SeededEntropy::new(3));
        assert!(connections.heard(peer.id, None, None), "now it has one");
    }

    #[tokio::test]
    async fn an_agent_that_is_not_connected_gives_no_fresh_information() {
        let (connections, _) = world();
        assert_eq!(connections.refresh(command(1).agent_id).await, Err(RefreshError::Offline));
    }
}
