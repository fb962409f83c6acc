//! Agents whose node is gone: who does not come back is told of as offline.

use std::sync::Arc;
use std::time::Duration;

use muster_agent_socket::Connections;
use muster_agents::{
    Agent, AgentFilter, AgentOrder, AgentPage, AgentRepository, AgentStatus, ConnectionLog,
    ConnectionRecord, Criteria, EndReason, ONLINE_FOR, Presence,
};
use muster_kernel::page::MAX_LIMIT;
use muster_kernel::{Clock, PageRequest, StorageError, TenantScope, Timestamp};
use muster_redis::Redis;
use muster_sea_orm::SeaAgents;
use tokio_util::sync::CancellationToken;

use crate::jobs::{log, pause};
use crate::leading::Leading;

/// How often it is looked whether another node has gone: its agents have come back by then, if they
/// do, and nobody was silent for a minute yet.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How many looks it takes until what was left open is ended.
const LOOKS_PER_MINUTE: u32 = 4;

/// Looks after agents whose node is gone.
pub(crate) struct Orphans {
    pub(crate) agents: Arc<SeaAgents>,
    pub(crate) connections: Connections,
    /// Who is connected to any node.
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Orphans {
    /// Ends what an earlier process left open. The only node then looks after everybody whom that
    /// process saw last.
    pub(crate) async fn take_over(&self, alone: bool) -> Result<(), StorageError> {
        self.end_left_open(alone).await?;
        if alone {
            for agent in self.online().await? {
                self.expect(&agent);
            }
        }
        Ok(())
    }

    /// Ends the connections that processes left open which are gone: whose agents were not seen for
    /// a minute. The only process there is need not wait for that.
    async fn end_left_open(&self, alone: bool) -> Result<(), StorageError> {
        let (node, now) = (self.connections.node(), self.clock.now());
        let seen = if alone { now } else { now - ONLINE_FOR };
        let killed = self.agents.end_left_open(node, seen).await?;
        if killed > 0 {
            tracing::warn!(connections = killed, "a process did not end its connections");
        }
        Ok(())
    }

    /// On the node that leads, looks after the agents of any that is gone, until `stop`.
    pub(crate) async fn look_after(self, redis: Redis, leading: Leading, stop: CancellationToken) {
        let (mut settled, mut looks) = (None, 0_u32);
        while pause(LOOK_EVERY, &stop).await {
            if !leading.now() {
                settled = None;
                continue;
            }
            looks = looks.wrapping_add(1);
            let losses = redis.losses();
            // Without Redis nobody knows who is connected elsewhere.
            if redis.is_up() && settled != Some(losses) {
                match self.adopt().await {
                    Ok(()) => settled = Some(losses),
                    Err(error) => log(&error, "whose node is gone could not be read"),
                }
            }
            if looks.is_multiple_of(LOOKS_PER_MINUTE)
                && let Err(error) = self.end_left_open(false).await
            {
                log(&error, "connections that were left open could not be ended");
            }
        }
    }

    /// Looks after those who are online, connected to no node, and whose node did not live to tell.
    async fn adopt(&self) -> Result<(), StorageError> {
        for agent in self.online().await? {
            let Some(seen) = agent.last_seen else { continue };
            if self.presence.connection(agent.id).is_some() {
                continue;
            }
            let latest = self.agents.latest(agent.id).await?;
            if latest.first().is_none_or(|record| was_orphaned(record, seen)) {
                self.expect(&agent);
            }
        }
        Ok(())
    }

    fn expect(&self, agent: &Agent) {
        if let Some(seen) = agent.last_seen {
            self.connections.expect([(agent.id, agent.customer_id, seen)]);
        }
    }

    /// Who was seen within a minute.
    async fn online(&self) -> Result<Vec<Agent>, StorageError> {
        let criteria = Criteria { status: Some(AgentStatus::Online), ..Criteria::default() };
        let filter = AgentFilter { criteria, ..AgentFilter::default() };
        let (now, order) = (self.clock.now(), AgentOrder::default());
        let (mut all, mut wanted) = (Vec::new(), PageRequest::new(MAX_LIMIT, None));
        loop {
            let AgentPage { page, .. } =
                self.agents.list(&TenantScope::All, &filter, order, &wanted, now).await?;
            all.extend(page.items);
            let Some(cursor) = page.next_cursor else { return Ok(all) };
            wanted = PageRequest::new(MAX_LIMIT, Some(cursor));
        }
    }
}

/// Whether the node of an agent's latest connection went without looking after the agent, which was
/// `seen` last.
fn was_orphaned(latest: &ConnectionRecord, seen: Timestamp) -> bool {
    latest.end.as_ref().is_none_or(|end| {
        // Plain requests leave a record only when their node saw them end.
        let asked_since = end.at < seen;
        asked_since || matches!(end.reason, EndReason::ServerShutdown | EndReason::ServerKilled)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};
    use muster_agents::{ConnectionEnd, Transport};
    use muster_crypto::{OsEntropy, SystemClock};
    use muster_kernel::{AgentId, ConnectionId, NodeId};

    #[test]
    fn an_agent_is_orphaned_when_its_node_did_not_see_how_it_went() {
        let seen = DateTime::UNIX_EPOCH;
        let mut record = ConnectionRecord {
            id: ConnectionId::new(&SystemClock, &OsEntropy),
            agent_id: AgentId::new(&SystemClock, &OsEntropy),
            node_id: NodeId::new(&SystemClock, &OsEntropy),
            transport: Transport::Websocket,
            peer_address: None,
            boot_id: None,
            began_at: seen,
            last_frame_at: seen,
            reconnect_attempts: None,
            previous_end: None,
            end: None,
        };
        assert!(was_orphaned(&record, seen), "nobody ended it");
        for (reason, orphaned) in [
            (EndReason::ServerShutdown, true),
            (EndReason::ServerKilled, true),
            (EndReason::Lost, false),
            (EndReason::ClosedByAgent, false),
        ] {
            record.end = Some(ConnectionEnd { at: seen, reason, detail: None });
            assert_eq!(was_orphaned(&record, seen), orphaned, "{reason:?}");
            assert!(was_orphaned(&record, seen + TimeDelta::seconds(1)), "it asked since");
        }
    }
}
