use std::time::Duration;

use muster_agents::testing::FakeAgents;
use muster_agents::{Connection, Heartbeats, RefreshError, Transport};
use muster_commands::Courier;
use muster_commands::testing::command;
use muster_kernel::ConnectionId;
use muster_kernel::events::{Channel, Event, From as Since, Listener};
use muster_kernel::testing::{FakeClock, SeededEntropy, SilentBus};
use muster_protocol::MAX_UNFINISHED_COMMANDS;

use super::*;

/// Keeps what is told.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<(&'static str, serde_json::Value)>>>);

impl EventBus for Told {
    fn tell(&self, _: Channel, event: Event) {
        self.0.lock().push((event.name, serde_json::from_str(&event.data).unwrap()));
    }

    fn close(&self, _: Channel) {}

    fn listen(&self, _: Channel, _: Since<'_>) -> Box<dyn Listener> {
        Box::new(SilentBus)
    }
}

impl Told {
    /// The changes of statuses since the last call.
    fn statuses(&self) -> Vec<String> {
        let told = std::mem::take(&mut *self.0.lock());
        let statuses = told.into_iter().filter(|(name, _)| *name == "agent");
        statuses.map(|(_, data)| data["status"].as_str().unwrap().to_owned()).collect()
    }
}

/// Keeps who came and went, and knows who is elsewhere.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<(AgentId, ConnectionId, bool)>>, Mutex<Vec<AgentId>>);

impl PresenceWatch for Seen {
    fn is_there(&self, id: AgentId, connection: Connection) {
        self.0.lock().push((id, connection.connection_id, true));
    }

    fn left(&self, id: AgentId, connection_id: ConnectionId) {
        self.0.lock().push((id, connection_id, false));
    }

    fn is_elsewhere(&self, id: AgentId) -> bool {
        self.1.lock().contains(&id)
    }
}

struct World {
    connections: Connections,
    clock: Arc<FakeClock>,
    entropy: SeededEntropy,
    told: Told,
    seen: Arc<Seen>,
}

fn world() -> World {
    let (clock, told) = (Arc::new(FakeClock::default()), Told::default());
    let random = Arc::new(SeededEntropy::new(4));
    let seen = Arc::new(Seen::default());
    let connections = Connections::new(ConnectionsPorts {
        node: NodeId::new(&*clock, &*random),
        watch: Some(seen.clone()),
        bus: Arc::new(told.clone()),
        heartbeats: Heartbeats::default(),
        traces: None,
        clock: clock.clone(),
        entropy: random,
    });
    World { connections, clock, entropy: SeededEntropy::new(3), told, seen }
}

struct End {
    id: AgentId,
    link: Arc<Link>,
    told: mpsc::UnboundedReceiver<Instruct>,
}

impl World {
    fn connect(&self, seed: u64) -> End {
        let command = command(seed);
        let (sender, told) = mpsc::unbounded_channel();
        let peer = Peer {
            connection_id: ConnectionId::new(&*self.clock, &self.entropy),
            customer_id: command.customer_id,
            transport: Transport::Websocket,
            address: None,
            incarnation: None,
            token: None,
            dialect: None,
        };
        let link = Arc::new(Link::new(peer, self.clock.now(), Some(sender)));
        self.connections.enter(command.agent_id, &link);
        End { id: command.agent_id, link, told }
    }

    fn hear(&self, seed: u64) -> bool {
        let command = command(seed);
        self.connections.heard(command.agent_id, command.customer_id, None, None)
    }

    /// Lets time pass, by both clocks.
    async fn pass(&self, seconds: u32) {
        self.clock.advance(chrono::TimeDelta::seconds(seconds.into()));
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    }

    fn watch(&self) {
        let connections = self.connections.clone();
        tokio::spawn(async move { connections.watch_silence().await });
    }
}

#[tokio::test]
async fn a_later_connection_takes_the_place_of_an_earlier_one() {
    let world = world();
    let mut first = world.connect(1);
    let second = world.connect(1);
    let told = first.told.try_recv();
    assert!(matches!(told, Ok(Instruct::Close(CloseReason::Replaced))));
    assert!(!world.connections.leave(first.id, &first.link, EndReason::Replaced));
    let connection = world.connections.connection(second.id).unwrap();
    assert_eq!(connection.connection_id, second.link.peer.connection_id);
    assert!(world.connections.leave(second.id, &second.link, EndReason::ClosedByAgent));
    assert_eq!(world.connections.connected(), 0);
    assert_eq!(world.told.statuses(), ["online"]);
}

#[tokio::test]
async fn whoever_watches_is_told_of_each_connection_when_it_comes_and_when_it_goes() {
    let world = world();
    let (first, second) = (world.connect(1), world.connect(1));
    let (one, other) = (first.link.peer.connection_id, second.link.peer.connection_id);
    world.connections.leave(first.id, &first.link, EndReason::Replaced);
    world.connections.leave(second.id, &second.link, EndReason::ClosedByAgent);
    let polled = command(2).agent_id;
    world.hear(2);
    let third = world.connections.connection(polled).unwrap().connection_id;
    world.connections.disconnect(polled);
    let expected = [
        (first.id, one, true),
        (first.id, other, true),
        (first.id, other, false),
        (polled, third, true),
        (polled, third, false),
    ];
    assert_eq!(*world.seen.0.lock(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_later_connection_elsewhere_takes_the_place_of_an_earlier_one_here() {
    let world = world();
    world.watch();
    let earlier = ConnectionId::new(&*world.clock, &world.entropy);
    world.clock.advance(chrono::TimeDelta::milliseconds(1));
    let mut peer = world.connect(1);
    world.connections.replaced(peer.id, earlier);
    assert!(peer.told.try_recv().is_err(), "it is the later one");
    world.clock.advance(chrono::TimeDelta::milliseconds(1));
    world.connections.replaced(peer.id, ConnectionId::new(&*world.clock, &world.entropy));
    let told = peer.told.try_recv();
    assert!(matches!(told, Ok(Instruct::Close(CloseReason::Replaced))));
    assert!(!world.connections.leave(peer.id, &peer.link, EndReason::Replaced));
    world.pass(90).await;
    assert_eq!(world.told.statuses(), ["online"], "nobody is told that it has gone");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_comes_back_elsewhere_has_not_gone() {
    let world = world();
    world.watch();
    let peer = world.connect(1);
    world.connections.leave(peer.id, &peer.link, EndReason::Lost);
    world.connections.replaced(peer.id, ConnectionId::new(&*world.clock, &world.entropy));
    world.pass(90).await;
    assert_eq!(world.told.statuses(), ["online"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_moves_between_nodes_is_neither_offline_nor_online_a_second_time() {
    let world = world();
    world.watch();
    let (speaks, asks) = (command(1).agent_id, command(2).agent_id);
    world.seen.1.lock().extend([speaks, asks]);
    let peer = world.connect(1);
    world.hear(2);
    world.connections.leave(peer.id, &peer.link, EndReason::Lost);
    world.pass(90).await;
    assert!(!world.connections.is_connected(asks));
    assert_eq!(world.told.statuses(), [""; 0]);
    world.seen.1.lock().clear();
    world.hear(2);
    world.pass(90).await;
    assert_eq!(world.told.statuses(), ["online", "offline"]);
}

#[tokio::test]
async fn a_command_goes_to_its_agent_and_only_when_its_dispatch_is_recorded() {
    let world = world();
    let (mut peer, mut other) = (world.connect(1), world.connect(2));
    let mut waiting = command(1);
    world.connections.deliver(Arc::new(waiting.clone()));
    waiting.dispatched_at = Some(waiting.created_at);
    world.connections.deliver(Arc::new(waiting));
    assert!(matches!(peer.told.try_recv(), Ok(Instruct::LookForMore)));
    assert!(matches!(peer.told.try_recv(), Ok(Instruct::Deliver(_))));
    assert!(other.told.try_recv().is_err());
}

#[tokio::test]
async fn an_agent_with_a_full_window_has_no_room() {
    let world = world();
    let peer = world.connect(1);
    assert!(world.connections.has_room(peer.id));
    peer.link.set_unfinished(MAX_UNFINISHED_COMMANDS);
    assert!(!world.connections.has_room(peer.id));
}

#[tokio::test]
async fn a_removed_agent_is_disconnected_by_the_next_write_and_offline_at_once() {
    let world = world();
    let mut peer = world.connect(1);
    world.connections.saw(peer.id, &peer.link);
    world.connections.write_last_seen(&FakeAgents::default()).await.unwrap();
    assert!(matches!(peer.told.try_recv(), Ok(Instruct::Close(CloseReason::Removed))));
    world.connections.leave(peer.id, &peer.link, EndReason::AgentRemoved);
    assert_eq!(world.told.statuses(), ["online", "offline"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_told_of_as_offline_once_a_minute_after_its_last_frame() {
    let world = world();
    world.watch();
    let peer = world.connect(1);
    world.pass(20).await;
    world.connections.saw(peer.id, &peer.link);
    world.pass(10).await;
    world.connections.leave(peer.id, &peer.link, EndReason::Lost);
    assert_eq!(world.told.statuses(), ["online"]);
    world.pass(49).await;
    assert_eq!(world.told.statuses(), [""; 0], "it was seen 59 seconds ago");
    world.pass(2).await;
    assert_eq!(world.told.statuses(), ["offline"]);
    world.connect(1);
    world.pass(200).await;
    assert_eq!(world.told.statuses(), ["online"], "its session looks after itself");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_back_in_time_was_never_offline() {
    let world = world();
    world.watch();
    for _ in 0..5 {
        let peer = world.connect(1);
        world.pass(30).await;
        world.connections.saw(peer.id, &peer.link);
        world.connections.leave(peer.id, &peer.link, EndReason::Lost);
        world.pass(30).await;
    }
    assert_eq!(world.told.statuses(), ["online"]);
    world.pass(31).await;
    assert_eq!(world.told.statuses(), ["offline"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_asks_in_plain_requests_counts_as_connected_for_a_minute() {
    let world = world();
    world.watch();
    let id = command(1).agent_id;
    assert!(!world.hear(1), "it has no connection of its own");
    assert!(world.connections.is_connected(id) && !world.connections.has_room(id));
    world.pass(40).await;
    world.hear(1);
    world.pass(59).await;
    assert!(world.connections.is_connected(id));
    assert_eq!(world.told.statuses(), ["online"]);
    world.pass(2).await;
    assert!(!world.connections.is_connected(id));
    assert_eq!(world.told.statuses(), ["offline"]);
    world.connect(1);
    assert!(world.hear(1), "now it has one");
    let log = FakeAgents::default();
    world.connections.write_ended(&log).await.unwrap();
    let latest = log.latest(id).await.unwrap();
    assert_eq!(latest[0].end.as_ref().map(|end| end.reason), Some(EndReason::TimedOut));
    assert_eq!(latest[0].last_frame_at - latest[0].began_at, chrono::TimeDelta::seconds(40));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_come_back_after_a_restart_of_the_server_is_told_of_as_offline() {
    let world = world();
    world.watch();
    let agent = |seed| (command(seed).agent_id, command(seed).customer_id);
    let seen = world.clock.now() - chrono::TimeDelta::seconds(20);
    world.connections.expect([1, 2].map(|seed| (agent(seed).0, agent(seed).1, seen)));
    let _back = world.connect(1);
    world.pass(39).await;
    assert_eq!(world.told.statuses(), [""; 0]);
    world.pass(2).await;
    assert_eq!(world.told.statuses(), ["offline"]);
}

#[tokio::test]
async fn an_agent_that_is_not_connected_gives_no_fresh_information() {
    let world = world();
    let refreshed = world.connections.refresh(command(1).agent_id).await;
    assert_eq!(refreshed, Err(RefreshError::Offline));
}

#[tokio::test]
async fn who_connects_while_the_server_shuts_down_is_told_so() {
    let world = world();
    world.connections.close_all();
    let mut late = world.connect(1);
    let told = late.told.try_recv();
    assert!(matches!(told, Ok(Instruct::Close(CloseReason::Shutdown))));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_says_its_load_all_the_time_takes_nobody_elses_place() {
    let world = world();
    let peer = world.connect(1);
    let load = muster_agents::testing::metrics::heartbeat(1, 0).metrics;
    let mut news = 0;
    for _ in 0..1000 {
        news += usize::from(peer.link.set_metrics(load));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(news, 24, "it said it for a minute and a half");
}
