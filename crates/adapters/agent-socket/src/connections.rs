//! Who is connected.
//!
//! A session looks after its own silence. Agents that are online without one (their connection has
//! just ended, or they ask in plain requests) stand in one queue of deadlines, and are looked at
//! when theirs is over: nothing goes through all connections.

mod ports;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dashmap::DashMap;
use futures_util::StreamExt;
use muster_agents::{
    AgentRepository, AgentStatus, ConnectionEnd, ConnectionLog, ConnectionRecord, EndReason,
    Heartbeat, Heartbeats, Incarnation, MachineCopy, Metrics, Presence, PresenceWatch,
};
use muster_kernel::events::EventBus;
use muster_kernel::{
    AgentId, Clock, ConnectionId, CustomerId, Entropy, NodeId, StorageError, Timestamp,
};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::time::DelayQueue;

use crate::apart::Apart;
use crate::history::History;
use crate::link::{CloseReason, Instruct, Link, Peer, SILENCE};
use crate::traces::Traces;

/// How many agents are let in at a time. When a whole fleet comes back at once the others wait,
/// which costs nothing: what each of them takes is little, and all of it together would keep
/// everybody else waiting.
const LET_IN_AT_ONCE: usize = 32;

/// What those who are connected need.
#[derive(Debug, Clone)]
pub struct ConnectionsPorts {
    /// This process, among those that connections may be to.
    pub node: NodeId,
    /// Whoever has to know who comes and goes.
    pub watch: Option<Arc<dyn PresenceWatch>>,
    /// Where listeners hear of it.
    pub bus: Arc<dyn EventBus>,
    /// Where what machines say of their load goes.
    pub heartbeats: Heartbeats,
    /// Where commands are followed, if they are.
    pub traces: Option<Arc<Traces>>,
    #[expect(missing_docs, reason = "the names are those of the ports")]
    pub clock: Arc<dyn Clock>,
    #[expect(missing_docs, reason = "the names are those of the ports")]
    pub entropy: Arc<dyn Entropy>,
}

/// Who is connected to this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Connections {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node: NodeId,
    links: DashMap<AgentId, Arc<Link>>,
    apart: Apart,
    /// Agents without a connection that were heard of less than a minute ago: whose they are, and
    /// until when they count as online. Who comes and goes holds its lock, so that each change of a
    /// status is told once and in order.
    lingering: Mutex<HashMap<AgentId, (CustomerId, Instant)>>,
    /// Deadlines of agents without a session, and their queue until somebody watches it.
    deadlines: mpsc::UnboundedSender<(AgentId, Instant)>,
    unwatched: Mutex<Option<mpsc::UnboundedReceiver<(AgentId, Instant)>>>,
    seen: Mutex<Vec<AgentId>>,
    history: History,
    watch: Option<Arc<dyn PresenceWatch>>,
    heartbeats: Heartbeats,
    traces: Option<Arc<Traces>>,
    door: Semaphore,
    closing: AtomicBool,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Connections {
    /// With nobody connected.
    pub fn new(ports: ConnectionsPorts) -> Self {
        let ConnectionsPorts { node, watch, bus, heartbeats, traces, clock, entropy } = ports;
        let (deadlines, unwatched) = mpsc::unbounded_channel();
        let inner = Inner {
            node,
            links: DashMap::new(),
            apart: Apart::default(),
            lingering: Mutex::default(),
            deadlines,
            unwatched: Mutex::new(Some(unwatched)),
            seen: Mutex::default(),
            history: History::new(bus, clock.clone()),
            watch,
            heartbeats,
            traces,
            door: Semaphore::new(LET_IN_AT_ONCE),
            closing: AtomicBool::new(false),
            clock,
            entropy,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Waits until it is an agent's turn to be let in; the next one's comes when the answer is
    /// dropped. Nobody waits in there for what a peer says, or takes.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.inner.door.acquire().await.ok()
    }

    /// This process, among those that connections may be to.
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// Where commands are followed, if they are.
    pub(crate) fn traces(&self) -> Option<&Traces> {
        self.inner.traces.as_deref()
    }

    /// The agents that are connected here.
    pub fn agents(&self) -> Vec<AgentId> {
        self.inner.links.iter().map(|link| *link.key()).collect()
    }

    /// Enters a connection; an earlier one of the same agent is ended.
    pub(crate) fn enter(&self, id: AgentId, link: &Arc<Link>) {
        let mut lingering = self.inner.lingering.lock();
        self.inner.is_there(id, link);
        let earlier = self.inner.links.insert(id, Arc::clone(link));
        let was_here = lingering.remove(&id).is_some() || earlier.is_some();
        let Peer { customer_id, connection_id, .. } = link.peer;
        if !was_here && !self.inner.is_elsewhere(id) {
            self.inner.history.tell_status(id, customer_id, AgentStatus::Online);
        }
        self.inner.history.tell_connection(id, customer_id, connection_id, None);
        drop(lingering);
        if let Some(earlier) = earlier {
            earlier.instruct(Instruct::Close(CloseReason::Replaced));
            if earlier.is_plain() {
                self.end_plain(id, &earlier, EndReason::Replaced);
            }
        }
        if self.inner.closing.load(Ordering::SeqCst) {
            link.instruct(Instruct::Close(CloseReason::Shutdown));
        }
    }

    /// Enters a row of plain requests, unless somebody came first; answers with who is there then.
    fn enter_plain(&self, id: AgentId, link: Arc<Link>) -> Arc<Link> {
        let mut lingering = self.inner.lingering.lock();
        if let Some(known) = self.inner.link(id) {
            return known;
        }
        self.inner.links.insert(id, Arc::clone(&link));
        if lingering.remove(&id).is_none() && !self.inner.is_elsewhere(id) {
            let customer = link.peer.customer_id;
            self.inner.history.tell_status(id, customer, AgentStatus::Online);
        }
        self.inner.await_silence(id, link.silent_at());
        link
    }

    /// Takes a connection out, unless a later one has taken its place; says whether it was there.
    /// The agent counts as online until a minute after its last frame, if it is there any more.
    pub(crate) fn leave(&self, id: AgentId, link: &Link, reason: EndReason) -> bool {
        let mut lingering = self.inner.lingering.lock();
        let connection_id = link.peer.connection_id;
        let own = |_: &AgentId, entered: &Arc<Link>| entered.peer.connection_id == connection_id;
        let left = self.inner.links.remove_if(&id, own).is_some();
        let customer = link.peer.customer_id;
        self.inner.history.tell_connection(id, customer, connection_id, Some(reason));
        if !left {
            return false;
        }
        self.inner.left(id, connection_id);
        let silent_at = link.silent_at();
        if reason == EndReason::AgentRemoved || silent_at <= Instant::now() {
            self.inner.history.tell_status(id, customer, AgentStatus::Offline);
        } else {
            lingering.insert(id, (customer, silent_at));
            self.inner.await_silence(id, silent_at);
        }
        true
    }

    /// Whether nobody has taken the place of this connection.
    pub(crate) fn is_current(&self, id: AgentId, link: &Link) -> bool {
        let entered = self.inner.links.get(&id);
        entered.is_some_and(|entered| entered.peer.connection_id == link.peer.connection_id)
    }

    /// Enters a machine that is kept apart because it shows the identity of another; says whether
    /// there is room for it.
    pub(crate) fn enter_copy(
        &self,
        id: AgentId,
        customer: CustomerId,
        copy: &MachineCopy,
        instructions: mpsc::UnboundedSender<Instruct>,
    ) -> bool {
        if self.inner.closing.load(Ordering::SeqCst)
            || !self.inner.apart.enter(id, copy.clone(), instructions)
        {
            return false;
        }
        self.inner.history.tell_copy(id, customer, copy, None);
        true
    }

    /// Takes it out again, for this reason.
    pub(crate) fn leave_copy(
        &self,
        id: AgentId,
        customer: CustomerId,
        copy: &MachineCopy,
        reason: EndReason,
    ) {
        self.inner.apart.leave(id, copy.connection_id);
        self.inner.history.tell_copy(id, customer, copy, Some(reason));
    }

    /// The connection of another process with this identity.
    pub(crate) fn rival(&self, id: AgentId, incarnation: &Incarnation) -> Option<Arc<Link>> {
        let link = self.inner.link(id)?;
        link.is_other(incarnation).then_some(link)
    }

    /// Keeps a connection that has ended, with the next write.
    pub(crate) fn keep(&self, record: ConnectionRecord) {
        self.inner.history.keep(record);
    }

    /// Takes in what a machine says of its load. Of one that says it all the time most is passed
    /// over: nobody else's goes without its place because of it.
    pub(crate) fn measured(&self, id: AgentId, link: &Link, metrics: Metrics) {
        let metrics = metrics.bounded();
        if !link.set_metrics(metrics) {
            return;
        }
        self.inner.is_there(id, link);
        let (customer_id, at) = (link.peer.customer_id, self.inner.clock.now());
        self.inner.heartbeats.hear(Heartbeat { agent_id: id, customer_id, metrics, at });
    }

    /// Notes that a frame came.
    pub(crate) fn saw(&self, id: AgentId, link: &Link) {
        if link.saw(self.inner.clock.now()) {
            self.inner.seen.lock().push(id);
        }
    }

    /// Writes who was seen since the last call, in one write, and ends the connections of agents
    /// that no longer exist.
    ///
    /// # Errors
    /// When the storage fails; who was seen is then written by the next call.
    pub async fn write_last_seen(&self, agents: &dyn AgentRepository) -> Result<(), StorageError> {
        let now = self.inner.clock.now();
        let mut seen = std::mem::take(&mut *self.inner.seen.lock());
        // When those were last seen who are gone is written with how their connections ended.
        seen.retain(|id| {
            self.inner.links.get(id).is_some_and(|link| {
                link.look();
                true
            })
        });
        seen.sort_unstable();
        seen.dedup();
        if seen.is_empty() {
            return Ok(());
        }
        match agents.record_seen(seen.clone(), now).await {
            Ok(gone) => {
                for gone in gone {
                    self.disconnect(gone);
                }
                Ok(())
            }
            Err(error) => {
                self.inner.seen.lock().extend(seen);
                Err(error)
            }
        }
    }

    /// Writes the connections that have ended since the last call.
    ///
    /// # Errors
    /// When the storage fails; what is not written is written by the next call.
    pub async fn write_ended(&self, log: &dyn ConnectionLog) -> Result<(), StorageError> {
        self.inner.history.write(log).await
    }

    /// Goes on as if these agents, who were seen by an earlier process, had just lost their
    /// connections: who does not come back is told of as offline.
    pub fn expect(&self, agents: impl IntoIterator<Item = (AgentId, CustomerId, Timestamp)>) {
        let (now, present) = (self.inner.clock.now(), Instant::now());
        let mut lingering = self.inner.lingering.lock();
        for (id, customer, seen) in agents {
            let ago = (now - seen).to_std().unwrap_or_default();
            let until = present + SILENCE.saturating_sub(ago);
            if !self.inner.links.contains_key(&id) {
                lingering.insert(id, (customer, until));
                self.inner.await_silence(id, until);
            }
        }
    }

    /// Looks after agents that are online without a session, for ever: each is told of as offline
    /// when a minute has passed since its last sign of life. Only the first call does.
    pub async fn watch_silence(&self) {
        let Some(mut deadlines) = self.inner.unwatched.lock().take() else { return };
        let mut queue = DelayQueue::new();
        loop {
            tokio::select! {
                Some((id, until)) = deadlines.recv() => drop(queue.insert_at(id, until)),
                Some(due) = queue.next(), if !queue.is_empty() => {
                    if let Some(until) = self.lapse(due.into_inner()) {
                        queue.insert_at(until.0, until.1);
                    }
                }
            }
        }
    }

    /// The agent's deadline has come: answers with the next one, if it said something meanwhile.
    fn lapse(&self, id: AgentId) -> Option<(AgentId, Instant)> {
        let mut lingering = self.inner.lingering.lock();
        let now = Instant::now();
        if let Some(link) = self.inner.link(id) {
            if !link.is_plain() {
                return None;
            }
            if link.silent_at() > now {
                return Some((id, link.silent_at()));
            }
            self.inner.links.remove(&id);
            self.inner.left(id, link.peer.connection_id);
            self.inner.tell_silent(id, link.peer.customer_id);
            self.end_plain(id, &link, EndReason::TimedOut);
        } else if lingering.get(&id).is_some_and(|(_, until)| *until <= now)
            && let Some((customer, _)) = lingering.remove(&id)
        {
            self.inner.tell_silent(id, customer);
        }
        None
    }

    /// Keeps that a row of plain requests has ended.
    fn end_plain(&self, id: AgentId, link: &Link, reason: EndReason) {
        self.keep(ConnectionRecord {
            id: link.peer.connection_id,
            agent_id: id,
            node_id: self.inner.node,
            transport: link.peer.transport,
            peer_address: link.peer.address.clone(),
            boot_id: None,
            began_at: link.connected_at,
            last_frame_at: link.last_frame_at(),
            reconnect_attempts: None,
            previous_end: None,
            end: Some(ConnectionEnd { at: self.inner.clock.now(), reason, detail: None }),
        });
    }

    /// Ends all connections: the server is shutting down.
    pub fn close_all(&self) {
        self.inner.closing.store(true, Ordering::SeqCst);
        for link in &self.inner.links {
            link.instruct(Instruct::Close(CloseReason::Shutdown));
        }
        self.inner.apart.close(None, CloseReason::Shutdown);
    }

    /// Whether no session is left.
    pub fn is_closed(&self) -> bool {
        self.inner.apart.is_empty() && self.inner.links.iter().all(|link| link.is_plain())
    }
}

impl Inner {
    fn link(&self, id: AgentId) -> Option<Arc<Link>> {
        self.links.get(&id).map(|link| Arc::clone(&link))
    }

    fn is_there(&self, id: AgentId, link: &Link) {
        if let Some(watch) = &self.watch {
            watch.is_there(id, link.view());
        }
    }

    fn left(&self, id: AgentId, connection_id: ConnectionId) {
        if let Some(watch) = &self.watch {
            watch.left(id, connection_id);
        }
    }

    fn is_elsewhere(&self, id: AgentId) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.is_elsewhere(id))
    }

    /// Tells that the agent says nothing any more, unless it does elsewhere.
    fn tell_silent(&self, id: AgentId, customer: CustomerId) {
        if !self.is_elsewhere(id) {
            self.history.tell_status(id, customer, AgentStatus::Offline);
        }
    }

    fn await_silence(&self, id: AgentId, until: Instant) {
        // Nobody watches any more when the process ends.
        let _ = self.deadlines.send((id, until));
    }
}

#[cfg(test)]
mod tests;
