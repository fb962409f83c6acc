//! What others ask of and tell to who is connected.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_agents::{
    AgentStatus, Connection, CopyDecision, EndReason, MachineCopy, Metrics, NewIdentity, Presence,
    RefreshError, Transport,
};
use muster_commands::{Command, Courier};
use muster_kernel::{AgentId, CommandId, ConnectionId, CustomerId, Dialect, TokenHash};
use tokio::sync::oneshot;

use super::Connections;
use crate::link::{CloseReason, Instruct, Link, Peer};

/// How long an agent may take to say what kind of machine it is.
const REFRESH_PATIENCE: Duration = Duration::from_secs(10);

#[async_trait]
impl Presence for Connections {
    fn connection(&self, id: AgentId) -> Option<Connection> {
        self.inner.links.get(&id).map(|link| link.view())
    }

    fn connected(&self) -> usize {
        self.inner.links.len()
    }

    fn disconnect(&self, id: AgentId) {
        self.inner.apart.close(Some(id), CloseReason::Removed);
        let lingering = self.inner.lingering.lock();
        let plain = self.inner.links.remove_if(&id, |_, link| link.is_plain());
        if let Some((_, link)) = plain {
            self.inner.left(id, link.peer.connection_id);
            self.inner.history.tell_status(id, link.peer.customer_id, AgentStatus::Offline);
        }
        drop(lingering);
        if let Some(link) = self.inner.links.get(&id) {
            link.instruct(Instruct::Close(CloseReason::Removed));
        }
    }

    fn replaced(&self, id: AgentId, by: ConnectionId) {
        let mut lingering = self.inner.lingering.lock();
        // It is online elsewhere: nobody is told that it has gone.
        lingering.remove(&id);
        let earlier = |_: &AgentId, link: &Arc<Link>| link.peer.connection_id < by;
        let Some((_, link)) = self.inner.links.remove_if(&id, earlier) else { return };
        self.inner.left(id, link.peer.connection_id);
        drop(lingering);
        link.instruct(Instruct::Close(CloseReason::Replaced));
        if link.is_plain() {
            self.end_plain(id, &link, EndReason::Replaced);
        }
    }

    fn heard(
        &self,
        id: AgentId,
        customer_id: CustomerId,
        metrics: Option<Metrics>,
        peer_address: Option<String>,
    ) -> bool {
        let link = self.inner.link(id).unwrap_or_else(|| {
            let peer = Peer {
                connection_id: ConnectionId::new(&*self.inner.clock, &*self.inner.entropy),
                customer_id,
                transport: Transport::Http,
                address: peer_address,
                incarnation: None,
                token: None,
                dialect: None,
            };
            let link = Arc::new(Link::new(peer, self.inner.clock.now(), None));
            self.enter_plain(id, link)
        });
        match metrics {
            Some(metrics) => self.measured(id, &link, metrics),
            None => self.inner.is_there(id, &link),
        }
        // A session goes by its own frames: these requests show nothing of its network.
        if link.is_plain() {
            self.saw(id, &link);
        }
        !link.is_plain()
    }

    fn copies(&self, id: AgentId) -> Vec<MachineCopy> {
        self.inner.apart.of(id)
    }

    fn token(&self, id: AgentId) -> Option<TokenHash> {
        self.inner.links.get(&id).and_then(|link| link.peer.token)
    }

    fn settle(
        &self,
        id: AgentId,
        copy: ConnectionId,
        decision: CopyDecision,
        identity: Option<NewIdentity>,
    ) {
        self.inner.apart.settle(id, copy, decision, identity);
    }

    async fn refresh(&self, id: AgentId) -> Result<(), RefreshError> {
        let (sender, answer) = oneshot::channel();
        let link = self.inner.link(id).ok_or(RefreshError::Offline)?;
        if let Some(dialect @ Dialect::RemoteAgentManager) = link.peer.dialect {
            return Err(RefreshError::Unable(dialect));
        }
        link.instruct(Instruct::Refresh(sender));
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
        self.inner.links.contains_key(&agent_id)
    }

    fn has_room(&self, agent_id: AgentId) -> bool {
        self.inner.links.get(&agent_id).is_some_and(|link| link.has_room())
    }

    fn deliver(&self, command: Arc<Command>) {
        if let Some(link) = self.inner.links.get(&command.agent_id) {
            if let Some(traces) = self.traces() {
                traces.leaves(&command);
            }
            link.instruct(if command.dispatched_at.is_some() {
                Instruct::Deliver(command)
            } else {
                Instruct::LookForMore
            });
        }
    }

    fn cancel(&self, agent_id: AgentId, id: CommandId) {
        if let Some(link) = self.inner.links.get(&agent_id) {
            link.instruct(Instruct::Cancel(id));
        }
    }

    fn look(&self, agent_id: AgentId) {
        if let Some(link) = self.inner.links.get(&agent_id) {
            link.instruct(Instruct::LookForMore);
        }
    }
}
