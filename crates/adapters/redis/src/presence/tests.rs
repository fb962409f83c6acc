use super::*;
use crate::testing::{RedisServer, eventually, join, up};
use muster_agents::testing::FakePresence;
use muster_commands::testing::{FakeCourier, command};
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{Clock, Entropy};

/// A node, as others see it.
struct Node {
    redis: Redis,
    here: Here,
    presence: Arc<FakePresence>,
    courier: Arc<FakeCourier>,
    everywhere: Everywhere,
}

fn node(server: &RedisServer, seed: u64) -> Node {
    let redis = server.node(seed);
    let here = Here::new(&redis);
    let (presence, courier) = (Arc::new(FakePresence::default()), Arc::new(FakeCourier::default()));
    let everywhere = Everywhere::new(&redis, here.clone(), presence.clone(), courier.clone());
    Node { redis, here, presence, courier, everywhere }
}

impl Node {
    /// The agent connects here.
    fn connect(&self, id: AgentId, clock: &dyn Clock, entropy: &dyn Entropy) {
        self.presence.connect(id, clock, entropy);
        self.courier.connected.lock().insert(id);
        self.here.is_there(id, self.presence.connection(id).unwrap());
    }
}

#[tokio::test]
async fn who_is_connected_to_one_node_is_known_to_all_and_reached_through_it() {
    let server = RedisServer::start();
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(9));
    let (one, other) = (node(&server, 1), node(&server, 2));
    let (early, late) = (command(1), command(2));
    one.connect(early.agent_id, &clock, &entropy);
    let joined = join(&one.redis).await;
    let _other = join(&other.redis).await;
    one.connect(late.agent_id, &clock, &entropy);
    for agent in [early.agent_id, late.agent_id] {
        eventually(|| other.everywhere.is_connected(agent)).await;
        assert_eq!(other.everywhere.connection(agent), one.presence.connection(agent));
        assert!(!other.everywhere.has_room(agent), "a dispatch is recorded where it leaves");
    }
    assert_eq!(other.everywhere.connected(), 2);
    other.everywhere.deliver(Arc::new(early.clone()));
    other.everywhere.cancel(early.agent_id, early.id);
    eventually(|| *one.courier.looked.lock() == [early.agent_id]).await;
    eventually(|| *one.courier.cancelled.lock() == [early.id]).await;
    assert_eq!(other.everywhere.refresh(early.agent_id).await, Ok(()));
    let connection = one.presence.connection(early.agent_id).unwrap().connection_id;
    other.everywhere.disconnect(early.agent_id);
    eventually(|| one.presence.connection(early.agent_id).is_none()).await;
    one.here.left(early.agent_id, connection);
    eventually(|| !other.everywhere.is_connected(early.agent_id)).await;
    assert_eq!(other.everywhere.refresh(early.agent_id).await, Err(RefreshError::Offline));
    joined.leave().await;
}

#[tokio::test]
async fn a_later_connection_on_another_node_takes_the_place_of_the_earlier_one() {
    let server = RedisServer::start();
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(9));
    let (one, other) = (node(&server, 1), node(&server, 2));
    let _joined = (join(&one.redis).await, join(&other.redis).await);
    let agent = command(1).agent_id;
    one.connect(agent, &clock, &entropy);
    eventually(|| other.everywhere.is_connected(agent)).await;
    clock.advance(chrono::TimeDelta::milliseconds(1));
    other.connect(agent, &clock, &entropy);
    eventually(|| one.presence.connection(agent).is_none()).await;
    assert!(other.presence.connection(agent).is_some());
}

#[tokio::test]
async fn plain_requests_may_come_to_several_nodes_and_end_no_session() {
    let server = RedisServer::start();
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(9));
    let (one, other) = (node(&server, 1), node(&server, 2));
    let _joined = (join(&one.redis).await, join(&other.redis).await);
    let (asks, speaks) = (command(1), command(2));
    let hear = |command: &Command| {
        other.everywhere.heard(command.agent_id, command.customer_id, None, None)
    };
    one.connect(speaks.agent_id, &clock, &entropy);
    one.presence.ask(asks.agent_id, &clock, &entropy);
    one.here.is_there(asks.agent_id, one.presence.connection(asks.agent_id).unwrap());
    eventually(|| other.everywhere.connected() == 2).await;
    assert!(hear(&speaks), "its session is elsewhere");
    assert!(!hear(&asks), "it has none");
    clock.advance(chrono::TimeDelta::milliseconds(1));
    for agent in [asks.agent_id, speaks.agent_id] {
        other.presence.ask(agent, &clock, &entropy);
        other.here.is_there(agent, other.presence.connection(agent).unwrap());
        eventually(|| one.everywhere.elsewhere(agent).is_some()).await;
        assert!(one.presence.connection(agent).is_some(), "it goes on");
    }
}

#[tokio::test]
async fn when_redis_has_lost_everything_everybody_is_known_again() {
    let mut server = RedisServer::start();
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(9));
    let (one, other) = (node(&server, 1), node(&server, 2));
    let _joined = (join(&one.redis).await, join(&other.redis).await);
    let (stays, goes, comes) = (command(1).agent_id, command(2).agent_id, command(3).agent_id);
    one.connect(stays, &clock, &entropy);
    one.connect(goes, &clock, &entropy);
    eventually(|| other.everywhere.connected() == 2).await;
    server.kill();
    up(&one.redis, false).await;
    up(&other.redis, false).await;
    assert!(!other.everywhere.is_connected(stays) && !other.everywhere.sees_all(), "who knows");
    assert_eq!((other.everywhere.connection(stays), other.everywhere.connected()), (None, 0));
    one.here.left(goes, one.presence.connection(goes).unwrap().connection_id);
    one.connect(comes, &clock, &entropy);
    server.restart();
    up(&other.redis, true).await;
    eventually(|| {
        let is_there = |agent| other.everywhere.is_connected(agent);
        is_there(stays) && is_there(comes) && !is_there(goes) && other.everywhere.sees_all()
    })
    .await;
}

#[tokio::test]
async fn who_was_connected_to_a_node_that_died_is_forgotten_within_seconds() {
    let server = RedisServer::start();
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(9));
    let (one, other) = (node(&server, 1), node(&server, 2));
    let dying = join(&one.redis).await;
    let _other = join(&other.redis).await;
    let agent = command(1).agent_id;
    one.connect(agent, &clock, &entropy);
    eventually(|| other.everywhere.is_connected(agent)).await;
    dying.kill();
    let (begun, losses) = (Instant::now(), other.redis.losses());
    eventually(|| !other.everywhere.is_connected(agent)).await;
    eventually(|| other.redis.losses() > losses).await;
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}
