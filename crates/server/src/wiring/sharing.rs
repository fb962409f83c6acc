//! What a node shares with others: by Redis where there is one, else within this process.

use std::sync::Arc;

use anyhow::Context;
use muster_agent_socket::{Connections, ConnectionsPorts, Traces};
use muster_agents::{Heartbeats, Presence};
use muster_commands::runs::Boards;
use muster_commands::{CommandFeed, Courier};
use muster_identity::TicketStore;
use muster_kernel::events::EventBus;
use muster_kernel::leadership::Candidate;
use muster_kernel::limits::RateLimiter;
use muster_kernel::{Entropy, NodeId};
use muster_local_bus::{LocalEvents, LocalFeed, LocalLimiter, LocalTickets};
use muster_redis::{
    Everywhere, Here, Redis, RedisEvents, RedisFeed, RedisLimiter, RedisTickets, Relay,
};
use muster_sea_orm::SeaLeaderships;
use opentelemetry::global;

use super::Base;
use crate::config::Config;
use crate::observability::SERVICE;

/// The work that one node does for all of them, under this name.
const LEADER: &str = "leader";

/// What a node shares with others.
pub(super) struct Sharing {
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) limiter: Arc<dyn RateLimiter>,
    pub(super) tickets: Arc<dyn TicketStore>,
    feed: Arc<dyn CommandFeed>,
    traces: Option<Arc<Traces>>,
    nodes: Option<(Redis, Relay, Here)>,
}

/// What it takes to be one of several nodes.
pub(crate) struct Nodes {
    pub(crate) redis: Redis,
    pub(crate) relay: Relay,
    pub(crate) candidate: Candidate,
}

/// Who is connected, as far as this node is concerned.
pub(super) struct Reach {
    pub(super) connections: Connections,
    pub(super) presence: Arc<dyn Presence>,
    pub(super) courier: Arc<dyn Courier>,
}

impl Sharing {
    pub(super) fn new(base: &Base, config: &Config) -> anyhow::Result<Self> {
        let limiter = Arc::new(LocalLimiter::default());
        let tickets = Arc::new(LocalTickets::default());
        let feed = Arc::new(LocalFeed::default());
        let traces = config.otlp.as_ref().map(|_| Arc::new(Traces::new(global::tracer(SERVICE))));
        let Some(url) = &config.redis else {
            let bus = Arc::new(LocalEvents::new(epoch(&*base.entropy)));
            return Ok(Self { bus, limiter, tickets, feed, traces, nodes: None });
        };
        let node = NodeId::new(&*base.clock, &*base.entropy);
        // Nodes that hold the same key are one installation.
        let key = base.master.derive("redis", &[]);
        let installation = key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let redis = Redis::new(url, &format!("{installation:016x}"), node).context("REDIS_URL")?;
        tracing::info!(node.id = %node, "this is one of several nodes");
        Ok(Self {
            bus: Arc::new(RedisEvents::new(&redis)),
            limiter: Arc::new(RedisLimiter::new(&redis, limiter)),
            tickets: Arc::new(RedisTickets::new(&redis, tickets)),
            feed: Arc::new(RedisFeed::new(&redis, feed)),
            traces,
            nodes: Some((redis.clone(), Relay::new(&redis), Here::new(&redis))),
        })
    }

    pub(super) fn boards(&self) -> Boards {
        let boards = Boards::new(self.feed.clone(), self.bus.clone());
        match &self.nodes {
            Some((_, relay, _)) => boards.on_one_of_several(Arc::new(relay.clone())),
            None => boards,
        }
    }

    pub(super) fn reach(&self, base: &Base, heartbeats: &Heartbeats) -> Reach {
        let ports = |node, watch| ConnectionsPorts {
            node,
            watch,
            bus: self.bus.clone(),
            heartbeats: heartbeats.clone(),
            traces: self.traces.clone(),
            clock: base.clock.clone(),
            entropy: base.entropy.clone(),
        };
        let Some((redis, _, here)) = &self.nodes else {
            let node = NodeId::new(&*base.clock, &*base.entropy);
            let connections = Connections::new(ports(node, None));
            let (presence, courier) = (connections.clone(), connections.clone());
            let (presence, courier) = (Arc::new(presence), Arc::new(courier));
            return Reach { connections, presence, courier };
        };
        let connections = Connections::new(ports(redis.node(), Some(Arc::new(here.clone()))));
        let own = Arc::new(connections.clone());
        let everywhere = Everywhere::new(redis, here.clone(), own.clone(), own);
        let (presence, courier) = (Arc::new(everywhere.clone()), Arc::new(everywhere));
        Reach { connections, presence, courier }
    }

    pub(super) fn nodes(self, base: &Base) -> Option<Nodes> {
        let (redis, relay, _) = self.nodes?;
        let leaderships = Arc::new(SeaLeaderships::new(base.database.clone()));
        let candidate = Candidate::new(leaderships, base.clock.clone(), LEADER, redis.node());
        Some(Nodes { redis, relay, candidate })
    }
}

/// What tells the events of this process from those of any other.
fn epoch(entropy: &dyn Entropy) -> String {
    let mut bytes = [0_u8; 8];
    entropy.fill(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}
