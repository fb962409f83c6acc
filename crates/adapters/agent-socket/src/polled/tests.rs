//! What sessions send, as requests collect it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_agents::testing::{FakeAgents, candidate};
use muster_agents::{ConnectionLog, EndReason, Enrol, Heartbeats, Presence};
use muster_commands::testing::{FakeFeed, FakeLedger, FakeTexts, command_for};
use muster_commands::{
    AgentChannel, Command, CommandArchive, CommandLedger, Outcome, Payloads, ScriptRef, Spec,
};
use muster_kernel::testing::{FakeClock, FakeVault, SeededEntropy, SilentBus};
use muster_kernel::{Author, CustomerId, NodeId, Secret, Vault, VersionId};
use muster_protocol::{Execute, Instruction, Order, ScriptText, Signed, StreamFrame, StreamKind};
use serde_json::json;

use super::*;
use crate::{Connections, ConnectionsPorts};

const TEXT: &str = "echo 'it is long'; # ";

struct World {
    ports: Arc<AgentSocketPorts>,
    polls: Polls,
    ledger: Arc<FakeLedger>,
    texts: Arc<FakeTexts>,
    agent: (AgentId, CustomerId),
}

async fn world() -> World {
    let clock = Arc::new(FakeClock::at(muster_commands::testing::noon()));
    let entropy = Arc::new(SeededEntropy::new(3));
    let (agents, ledger) = (Arc::new(FakeAgents::default()), Arc::new(FakeLedger::default()));
    let customer = CustomerId::new(&*clock, &*entropy);
    let machine = candidate("web-01", None, &*clock, &*entropy);
    let admission = muster_agents::Admission::Customer(customer);
    let agent_id = agents.enrol(admission, machine).await.unwrap();
    let (texts, feed) = (Arc::new(FakeTexts::default()), Arc::new(FakeFeed::default()));
    let ports = AgentSocketPorts {
        tokens: agents.clone(),
        agents: agents.clone(),
        verdicts: agents,
        channel: AgentChannel::new(ledger.clone(), ledger.clone(), feed, clock.clone()),
        payloads: Payloads::new(texts.clone(), Arc::new(FakeVault)),
        connections: Connections::new(ConnectionsPorts {
            node: NodeId::new(&*clock, &*entropy),
            watch: None,
            bus: Arc::new(SilentBus),
            heartbeats: Heartbeats::default(),
            traces: None,
            clock: clock.clone(),
            entropy: entropy.clone(),
        }),
        bus: Arc::new(SilentBus),
        clock,
        entropy,
        sign: Arc::new(|order: &Order| {
            let payload = serde_json::to_string(order).ok()?;
            Some(Signed { key_id: "k".into(), payload, signature: STANDARD.encode("s") })
        }),
        peer_address: Arc::new(|_| None),
        output_limit: 1024,
    };
    let agent = (agent_id, customer);
    World { ports: Arc::new(ports), polls: Polls::default(), ledger, texts, agent }
}

impl World {
    /// Gives the agent a command that runs a text of so many bytes.
    fn script(&self, seed: u64, bytes: usize) -> (Command, String) {
        let text: String = TEXT.chars().cycle().take(bytes).collect();
        let version_id = VersionId::new(&*self.ports.clock, &SeededEntropy::new(seed));
        let mut command = command_for(seed, self.agent.0, self.agent.1);
        let sha256 = [7; 32];
        let bytes = u32::try_from(bytes).unwrap();
        command.spec.script = Some(ScriptRef { version_id, sha256, bytes });
        self.texts.keep(version_id, &text);
        (command, text)
    }

    async fn give(&self, command: &Command) {
        self.ledger.submit(command.clone(), None, Author::system()).await.unwrap();
    }

    async fn exchange(&self, request: Value) -> PollAnswer {
        self.polls.exchange(&self.ports, self.agent.0, None, request).await.unwrap()
    }

    /// Connects and collects until so many messages came.
    async fn heard(&self, count: usize) -> Vec<Polled<ServerMessage>> {
        let mut answer = self.exchange(hello(&self.ports)).await;
        let mut heard = answer.messages;
        while heard.len() < count {
            answer = self
                .exchange(json!({ "connection_id": answer.connection_id, "messages": [],
                    "received": heard.len(), "wait": 5 }))
                .await;
            assert!(!answer.messages.is_empty(), "no more than {heard:?}");
            heard.extend(answer.messages);
        }
        heard
    }

    /// Waits until nobody takes the agent for connected, and looks what is kept about why.
    async fn is_left_for(&self, reason: EndReason) {
        let connections = &self.ports.connections;
        while connections.connection(self.agent.0).is_some() {
            tokio::task::yield_now().await;
        }
        let log = FakeAgents::default();
        connections.write_ended(&log).await.unwrap();
        let kept = log.latest(self.agent.0).await.unwrap().into_iter();
        assert_eq!(kept.map(|record| record.end.unwrap().reason).collect::<Vec<_>>(), [reason]);
    }

    async fn now(&self, command: &Command) -> Command {
        let mut known = self.ledger.in_flight(self.agent.0, &[command.id]).await.unwrap();
        known.remove(&command.id).unwrap()
    }
}

/// A request that says hello and waits for an answer.
fn hello(ports: &AgentSocketPorts) -> Value {
    let hello = json!({ "type": "hello", "version": "1", "os_type": "linux", "os": "Linux",
        "hostname": "raw", "boot_id": "b", "nonce": "n", "agent_time": ports.clock.now() });
    json!({ "messages": [hello], "wait": 5 })
}

fn executed(message: &Polled<ServerMessage>) -> Option<Execute> {
    let Polled::Message(ServerMessage::Signed(signed)) = message else { return None };
    let order: Order = serde_json::from_str(&signed.payload).unwrap();
    match order.instruction {
        Instruction::Execute(execute) => Some(*execute),
        Instruction::Welcome(_) | Instruction::Cancel(_) | Instruction::Separate(_) => None,
    }
}

fn failure(command: &Command) -> Option<String> {
    match &command.end()?.outcome {
        Outcome::Failed(failure) => Some(failure.code.clone()),
        Outcome::Completed | Outcome::Cancelled | Outcome::Expired => None,
    }
}

#[actix_web::test]
async fn the_text_of_a_script_comes_before_its_order_however_long_it_is() {
    let world = world().await;
    let (command, text) = world.script(1, 1024 * 1024);
    world.give(&command).await;
    let heard = world.heard(18).await;
    let mut arrived = Vec::new();
    for message in &heard[1..17] {
        let Polled::Frame(StreamFrame { kind, offset, bytes, .. }) = message else {
            panic!("no frame: {message:?}");
        };
        assert_eq!((*kind, usize::try_from(*offset)), (StreamKind::File, Ok(arrived.len())));
        arrived.extend_from_slice(bytes);
    }
    assert!(arrived == text.as_bytes());
    let execute = executed(&heard[17]).unwrap();
    assert_eq!(execute.script, Some(ScriptText::from_parts(&[7; 32], 1024 * 1024)));
}

#[actix_web::test]
async fn secrets_are_opened_for_the_order_and_nowhere_else() {
    let world = world().await;
    let mut command = command_for(1, world.agent.0, world.agent.1);
    let secrets = Secret::from_text(r#"{"TOKEN":"hunter2"}"#);
    let place = Spec::secrets_place(command.id);
    command.spec.secrets = Some(FakeVault.seal(&place, &secrets).await.unwrap());
    world.give(&command).await;
    let heard = world.heard(2).await;
    let execute = executed(&heard[1]).unwrap();
    assert_eq!(execute.secrets.get("TOKEN").map(String::as_str), Some("hunter2"));
    assert!(!format!("{heard:?} {execute:?}").contains("hunter2"));
}

#[actix_web::test]
async fn what_can_not_be_sent_as_it_was_meant_ends_and_what_waits_behind_it_is_sent() {
    let world = world().await;
    let (mut gone, _) = world.script(1, 10);
    gone.spec.script = gone.spec.script.map(|script| ScriptRef { bytes: 11, ..script });
    let mut unreadable = command_for(2, world.agent.0, world.agent.1);
    let secrets = Secret::from_text("{}");
    unreadable.spec.secrets = Some(FakeVault.seal("elsewhere", &secrets).await.unwrap());
    let (good, _) = world.script(3, 10);
    for command in [&gone, &unreadable, &good] {
        world.give(command).await;
    }
    // The welcome, two orders to cancel, a text and its order.
    let heard = world.heard(5).await;
    let executed: Vec<_> = heard.iter().filter_map(executed).collect();
    assert_eq!(executed.len(), 1, "{heard:?}");
    assert_eq!(executed[0].command_id, good.id.as_uuid());
    assert_eq!(failure(&world.now(&gone).await).as_deref(), Some("SCRIPT_GONE"));
    assert_eq!(failure(&world.now(&unreadable).await).as_deref(), Some("SECRETS_UNREADABLE"));
}

#[actix_web::test]
async fn a_later_hello_takes_the_place_of_an_earlier_connection() {
    let world = world().await;
    let connection = || world.ports.connections.connection(world.agent.0).unwrap().connection_id;
    world.heard(1).await;
    let first = connection();
    world.heard(1).await;
    assert_ne!(first, connection());
    let old = json!({ "connection_id": first.as_uuid(), "messages": [], "wait": 5 });
    let refused = world.polls.exchange(&world.ports, world.agent.0, None, old).await;
    assert_eq!(refused.map(|_| ()), Err(PollRefusal::over()));
    assert_eq!(world.polls.mailboxes.len(), 1, "nothing is left of it");
}

#[actix_web::test]
async fn a_good_bye_ends_the_connection_at_once_and_counts_as_one() {
    let world = world().await;
    world.heard(1).await;
    let connection_id = world.ports.connections.connection(world.agent.0).unwrap().connection_id;
    let close = json!({ "connection_id": connection_id.as_uuid(), "messages": [], "close": true });
    world.exchange(close).await;
    world.is_left_for(EndReason::ClosedByAgent).await;
}

#[actix_web::test]
async fn an_agent_is_not_taken_for_connected_after_a_defect_of_the_server() {
    let mut world = world().await;
    Arc::get_mut(&mut world.ports).unwrap().sign = Arc::new(|_| panic!("as planned"));
    let hello = hello(&world.ports);
    let refused = world.polls.exchange(&world.ports, world.agent.0, None, hello).await;
    assert_eq!(refused.map(|_| ()), Err(PollRefusal::over()));
    world.is_left_for(EndReason::Lost).await;
}

#[actix_web::test]
async fn a_session_that_waits_takes_little_memory() {
    let world = world().await;
    let (_to_session, requests) = mpsc::channel(1);
    let session = Session {
        ports: Arc::clone(&world.ports),
        agent_id: world.agent.0,
        connection_id: ConnectionId::new(&*world.ports.clock, &*world.ports.entropy),
        transport: Transport::Http,
        outgoing: Outgoing::Polled(mpsc::channel(1).0),
        peer_address: None,
        token: None,
        began_at: world.ports.clock.now(),
    };
    let bytes = size_of_val(&session.run(letters(requests)));
    assert!(bytes <= 3 * 1024, "{bytes} bytes for each of many thousands");
}
