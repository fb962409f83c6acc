//! Who is connected to any node. Each node tells the others who comes to it and goes, and holds in
//! memory what the others told; so nobody asks anybody.

mod replica;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use muster_agents::{
    Connection, CopyDecision, MachineCopy, Metrics, NewIdentity, Presence, PresenceWatch,
    RefreshError,
};
use muster_commands::{Command, Courier};
use muster_kernel::{AgentId, CommandId, ConnectionId, CustomerId, NodeId, TokenHash};
use parking_lot::{Mutex, MutexGuard};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisResult};
use tokio::sync::oneshot;

use self::replica::{Neighbour, Replica};
use crate::link::{Hearer, NODE_LIVES, Redis, presence_of};
use crate::words::{Answer, Batch, Errand, Move};

/// About what a connection takes in a batch, in bytes.
const CONNECTION_BYTES: usize = 400;
/// What an errand takes, in bytes.
const ERRAND_BYTES: usize = 120;
/// How long another node may take with an agent's fresh information.
const REFRESH_PATIENCE: Duration = Duration::from_secs(12);
/// How often it is made sure that this node counts as there.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// Who is connected to this node, told to the others.
#[derive(Debug, Clone)]
pub struct Here {
    redis: Redis,
    connections: Arc<Mutex<HashMap<AgentId, Connection>>>,
    /// What the other nodes told.
    replica: Arc<Mutex<Replica>>,
}

impl Here {
    /// With nobody connected.
    pub fn new(redis: &Redis) -> Self {
        Self { redis: redis.clone(), connections: Arc::default(), replica: Arc::default() }
    }

    /// What the other nodes told; nothing of it counts while Redis is lost.
    fn told(&self) -> Option<MutexGuard<'_, Replica>> {
        self.redis.is_up().then(|| self.replica.lock())
    }

    fn say(&self, step: Move) {
        self.redis.say(CONNECTION_BYTES, |outbox| outbox.batch.moves.push(step));
    }

    fn say_all(&self) {
        // Under the lock, so that nothing that is said meanwhile comes before.
        let connections = self.connections.lock();
        let there = connections.iter().map(|(id, it)| Move::There(*id, it.clone()));
        let all: Vec<_> = std::iter::once(Move::Anew).chain(there).collect();
        self.redis.say(all.len() * CONNECTION_BYTES, |outbox| outbox.batch.moves.extend(all));
    }
}

impl PresenceWatch for Here {
    fn is_there(&self, id: AgentId, connection: Connection) {
        let mut connections = self.connections.lock();
        connections.insert(id, connection.clone());
        self.say(Move::There(id, connection));
    }

    fn left(&self, id: AgentId, connection_id: ConnectionId) {
        let mut connections = self.connections.lock();
        if connections.get(&id).is_some_and(|known| known.connection_id == connection_id) {
            connections.remove(&id);
            self.say(Move::Left(id, connection_id));
        }
    }

    fn is_elsewhere(&self, id: AgentId) -> bool {
        self.told().is_some_and(|replica| replica.find(id).is_some())
    }
}

/// Who is connected to any node: to this one by its own connections, else by what others told.
#[derive(Debug, Clone)]
pub struct Everywhere(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    redis: Redis,
    here: Here,
    presence: Arc<dyn Presence>,
    courier: Arc<dyn Courier>,
    stale: AtomicBool,
    refreshes: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    next_refresh: AtomicU64,
}

impl Everywhere {
    /// Beside this node's own connections, of which `here` is told.
    pub fn new(
        redis: &Redis,
        here: Here,
        presence: Arc<dyn Presence>,
        courier: Arc<dyn Courier>,
    ) -> Self {
        let everywhere = Self(Arc::new(Inner {
            redis: redis.clone(),
            here,
            presence,
            courier,
            stale: AtomicBool::new(false),
            refreshes: Mutex::default(),
            next_refresh: AtomicU64::new(0),
        }));
        redis.joined_by(Arc::new(everywhere.clone()));
        everywhere
    }

    fn told(&self) -> Option<MutexGuard<'_, Replica>> {
        self.0.here.told()
    }

    /// Whether the agent has a session on another node.
    fn has_session_elsewhere(&self, id: AgentId) -> bool {
        let session = |replica: MutexGuard<'_, Replica>| Some(!replica.find(id)?.1.plain);
        self.told().and_then(session).unwrap_or(false)
    }

    /// The node that the agent is connected to, when it is another one.
    fn elsewhere(&self, id: AgentId) -> Option<NodeId> {
        self.told()?.find(id).map(|(node, _)| node)
    }

    /// Has the node that the agent is connected to do something; says whether it is told.
    fn send(&self, id: AgentId, errand: Errand) -> bool {
        self.elsewhere(id).is_some_and(|node| self.send_to(node, errand))
    }

    fn send_to(&self, node: NodeId, errand: Errand) -> bool {
        self.0.redis.say(ERRAND_BYTES, |outbox| outbox.batch.errands.push((node, errand)))
    }

    fn run(&self, from: NodeId, errand: Errand) {
        match errand {
            Errand::Look(id) => self.0.courier.look(id),
            Errand::Cancel(id, command) => self.0.courier.cancel(id, command),
            Errand::Disconnect(id) => self.0.presence.disconnect(id),
            Errand::Refresh(id, number) => {
                let everywhere = self.clone();
                tokio::spawn(async move {
                    let answer = everywhere.0.presence.refresh(id).await.into();
                    everywhere.send_to(from, Errand::Refreshed(number, answer));
                });
            }
            Errand::Refreshed(number, answer) => {
                if let Some(waiting) = self.0.refreshes.lock().remove(&number) {
                    let _ = waiting.send(answer);
                }
            }
        }
    }
}

#[async_trait]
impl Presence for Everywhere {
    fn connection(&self, id: AgentId) -> Option<Connection> {
        let here = self.0.presence.connection(id);
        here.or_else(|| self.told()?.find(id).map(|(_, connection)| connection.clone()))
    }

    fn connected(&self) -> usize {
        self.0.presence.connected() + self.told().map_or(0, |replica| replica.places.len())
    }

    fn disconnect(&self, id: AgentId) {
        self.0.presence.disconnect(id);
        self.send(id, Errand::Disconnect(id));
    }

    fn replaced(&self, id: AgentId, by: ConnectionId) {
        self.0.presence.replaced(id, by);
    }

    fn heard(
        &self,
        id: AgentId,
        customer: CustomerId,
        metrics: Option<Metrics>,
        peer_address: Option<String>,
    ) -> bool {
        if self.0.presence.connection(id).is_none() && self.has_session_elsewhere(id) {
            return true;
        }
        self.0.presence.heard(id, customer, metrics, peer_address)
    }

    // Copies are told apart by the node that they are connected to, and shown there.
    fn copies(&self, id: AgentId) -> Vec<MachineCopy> {
        self.0.presence.copies(id)
    }

    fn token(&self, id: AgentId) -> Option<TokenHash> {
        self.0.presence.token(id)
    }

    fn settle(
        &self,
        id: AgentId,
        copy: ConnectionId,
        decision: CopyDecision,
        identity: Option<NewIdentity>,
    ) {
        self.0.presence.settle(id, copy, decision, identity);
    }

    async fn refresh(&self, id: AgentId) -> Result<(), RefreshError> {
        if self.0.presence.connection(id).is_some() {
            return self.0.presence.refresh(id).await;
        }
        let node = self.elsewhere(id).ok_or(RefreshError::Offline)?;
        let number = self.0.next_refresh.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.0.refreshes.lock().insert(number, sender);
        let answered = if self.send_to(node, Errand::Refresh(id, number)) {
            tokio::time::timeout(REFRESH_PATIENCE, answer).await.ok().and_then(Result::ok)
        } else {
            None
        };
        self.0.refreshes.lock().remove(&number);
        answered.map_or(Err(RefreshError::TimedOut), Result::from)
    }
}

impl Courier for Everywhere {
    fn is_connected(&self, agent_id: AgentId) -> bool {
        self.0.courier.is_connected(agent_id) || self.elsewhere(agent_id).is_some()
    }

    fn sees_all(&self) -> bool {
        self.0.redis.is_up()
    }

    // Elsewhere the node that has the connection records that a command leaves, and it alone.
    fn has_room(&self, agent_id: AgentId) -> bool {
        self.0.courier.has_room(agent_id)
    }

    fn deliver(&self, command: Arc<Command>) {
        if self.0.courier.is_connected(command.agent_id) {
            self.0.courier.deliver(command);
        } else {
            self.send(command.agent_id, Errand::Look(command.agent_id));
        }
    }

    fn cancel(&self, agent_id: AgentId, id: CommandId) {
        if self.0.courier.is_connected(agent_id) {
            self.0.courier.cancel(agent_id, id);
        } else {
            self.send(agent_id, Errand::Cancel(agent_id, id));
        }
    }

    fn look(&self, agent_id: AgentId) {
        if self.0.courier.is_connected(agent_id) {
            self.0.courier.look(agent_id);
        } else {
            self.send(agent_id, Errand::Look(agent_id));
        }
    }
}

#[async_trait]
impl Hearer for Everywhere {
    fn hear(&self, from: NodeId, batch: &Batch) {
        let Inner { redis, here, presence, stale, .. } = &*self.0;
        for (to, errand) in &batch.errands {
            if *to == redis.node() {
                self.run(from, *errand);
            }
        }
        if here.replica.lock().forget_silent() {
            redis.misses_a_node();
        }
        let mut replaced = Vec::new();
        let mut replica = here.replica.lock();
        if from == redis.node() {
            return;
        }
        match replica.nodes.get_mut(&from) {
            Some(neighbour) => neighbour.heard = Instant::now(),
            // It is new, or was silent for so long that it was forgotten.
            None => stale.store(true, Ordering::Release),
        }
        for step in &batch.moves {
            match step {
                Move::Anew => replica.forget_all_of(from),
                Move::There(id, connection) => {
                    replica.there(from, *id, connection.clone());
                    if !connection.plain {
                        replaced.push((*id, connection.connection_id));
                    }
                }
                Move::Left(id, connection_id) => replica.left(from, *id, *connection_id),
            }
        }
        // Connections ask for what others told while they hold locks of their own.
        drop(replica);
        for (id, by) in replaced {
            presence.replaced(id, by);
        }
    }

    fn wants_to_load(&self) -> bool {
        self.0.stale.load(Ordering::Acquire)
    }

    async fn load(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let redis = &self.0.redis;
        self.0.stale.store(false, Ordering::Release);
        let nodes: Vec<String> = connection.smembers(redis.name("nodes")).await?;
        let mut loaded = Replica::default();
        for node in nodes.iter().filter_map(|node| node.parse::<NodeId>().ok()) {
            if node == redis.node() {
                continue;
            }
            let fields: HashMap<String, String> =
                connection.hgetall(redis.name(&presence_of(node))).await?;
            if fields.is_empty() {
                let () = connection.srem(redis.name("nodes"), node.to_string()).await?;
                continue;
            }
            let neighbour = Neighbour { heard: Instant::now(), agents: HashMap::new() };
            loaded.nodes.insert(node, neighbour);
            for (id, text) in fields {
                if let (Ok(id), Ok(there)) = (id.parse(), serde_json::from_str(&text)) {
                    loaded.there(node, id, there);
                }
            }
        }
        let later: Vec<_> = loaded
            .places
            .keys()
            .filter_map(|id| Some((*id, loaded.find(*id)?.1)))
            .filter(|(_, connection)| !connection.plain)
            .map(|(id, connection)| (id, connection.connection_id))
            .collect();
        *self.0.here.replica.lock() = loaded;
        for (id, by) in later {
            self.0.presence.replaced(id, by);
        }
        Ok(())
    }

    fn up(&self) {
        self.0.here.say_all();
    }

    fn down(&self) {
        *self.0.here.replica.lock() = Replica::default();
    }

    async fn work(&self, mut connection: MultiplexedConnection) -> redis::RedisError {
        let redis = &self.0.redis;
        let own = redis.name(&presence_of(redis.node()));
        let lives = i64::try_from(NODE_LIVES.as_secs()).unwrap_or(i64::MAX);
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            // Nothing that takes room: Redis may be full.
            let known: RedisResult<bool> = connection.expire(&own, lives).await;
            match known {
                // It was forgotten there, with all that it had said.
                Ok(false) => self.0.here.say_all(),
                Ok(true) => {}
                Err(error) => return error,
            }
        }
    }
}

#[cfg(test)]
mod tests;
