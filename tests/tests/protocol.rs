//! Agents that behave badly, and a server that keeps its word all the same.
#![expect(clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::time::Duration;

use chrono::TimeDelta;
use muster_protocol::{
    Accepted, AgentMessage, CommandProgress, Execute, Finished, Instruction, JournalEntry, Outcome,
    ServerMessage, StreamFrame, StreamKind,
};
use muster_tests::{Agent, Api, Enrolled, RawAgent, Server, eventually, now};
use reqwest::Method;
use serde_json::json;
use tokio_tungstenite::tungstenite::{Error, Message};
use uuid::Uuid;

struct World {
    server: Server,
    api: Api,
    enrolled: Enrolled,
}

async fn world() -> World {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let enrolled = Enrolled::register(&server.url(), &token, "raw").await;
    World { server, api, enrolled }
}

impl World {
    async fn welcomed(&self, journal: Vec<JournalEntry>) -> RawAgent {
        RawAgent::welcomed(&self.server.url(), &self.enrolled, journal).await.0
    }

    async fn queue(&self, command: &str) -> String {
        self.api.queue(&self.enrolled.agent_id.to_string(), &json!({ "command": command })).await
    }
}

async fn executed(agent: &mut RawAgent) -> Execute {
    match agent.order().await {
        Some(Instruction::Execute(execute)) => *execute,
        other => panic!("not an execute: {other:?}"),
    }
}

fn finished(command_id: Uuid) -> AgentMessage {
    AgentMessage::Finished(Finished {
        command_id,
        outcome: Outcome::Completed,
        exit_code: Some(0),
        execution_time: Some(0.1),
        stdout_bytes: 0,
        stderr_bytes: 0,
        failure_code: None,
        detail: None,
    })
}

async fn acknowledged(agent: &mut RawAgent) -> Uuid {
    loop {
        let heard = agent.hear().await.expect("the connection lives");
        if let ServerMessage::FinishedAck(ack) = heard {
            return ack.command_id;
        }
    }
}

#[tokio::test]
async fn frames_that_make_no_sense_close_their_connection_and_no_other() {
    let world = world().await;
    let token = world.api.enrollment_token("Other").await;
    let _good = Agent::start(&world.server, "good", &token);
    let good = world.api.connected("good").await;
    let bad: [(Message, u16); 8] = [
        (Message::text("{"), 1007),
        (Message::text("{\"type\":7}"), 1007),
        (Message::text("{\"type\":\"accepted\",\"command_id\":\"x\"}"), 1007),
        (Message::binary(vec![1; 12]), 1007),
        (Message::binary(vec![9; 20]), 1007),
        (Message::text("x".repeat(256 * 1024 + 1)), 1009),
        (Message::binary(vec![1; 1024 * 1024]), 1009),
        (Message::binary(vec![1; 13 + 65 * 1024]), 1007),
    ];
    for (frame, code) in bad {
        let mut agent = world.welcomed(Vec::new()).await;
        let shown = frame.to_string().chars().take(30).collect::<String>();
        agent.send(frame).await.unwrap();
        assert_eq!(agent.close_code().await, Some(code), "{shown}");
    }
    let mut unknown = world.welcomed(Vec::new()).await;
    unknown.send(Message::text("{\"type\":\"dance\"}")).await.unwrap();
    let body = json!({ "command": "echo unharmed" });
    let result = world.api.post(&format!("/agents/{good}/command"), &body).await;
    assert_eq!(result["output"], "unharmed\n");
    let id = world.queue("echo still here").await;
    assert_eq!(executed(&mut unknown).await.command_id.to_string(), id);
    assert!(!world.server.log().contains("panicked"));
}

#[tokio::test]
async fn nobody_connects_without_a_token_a_protocol_or_with_an_origin() {
    let world = world().await;
    let stranger = Enrolled { agent_token: "ag_nothing".into(), ..world.enrolled.clone() };
    let Err(Error::Http(refusal)) = RawAgent::connect(&world.server.url(), &stranger).await else {
        panic!("a stranger was let in");
    };
    assert_eq!(refusal.status(), 401);
    let upgrade = |protocol: &str| {
        let request = world.api.with_token(&world.enrolled.agent_token);
        request
            .request(Method::GET, "/ws/agent")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Protocol", protocol)
    };
    let old = upgrade("muster.v0").send().await.unwrap();
    assert_eq!(
        (old.status().as_u16(), &old.headers()["sec-websocket-protocol"]),
        (426, &"muster.v1".parse().unwrap())
    );
    let browser = upgrade("muster.v1").header("Origin", "https://evil.example").send().await;
    assert_eq!(browser.unwrap().status(), 403);
}

#[tokio::test]
async fn an_agent_that_does_not_say_hello_first_is_turned_away() {
    let world = world().await;
    let mut agent = RawAgent::connect(&world.server.url(), &world.enrolled).await.unwrap();
    agent.say(&finished(Uuid::nil())).await.unwrap();
    assert_eq!(agent.close_code().await, Some(1008));
}

#[tokio::test]
async fn a_command_is_sent_again_until_it_is_accepted_and_a_result_counts_once() {
    let world = world().await;
    let mut agent = world.welcomed(Vec::new()).await;
    let id = world.queue("echo hi").await;
    let first = executed(&mut agent).await;
    assert_eq!(first.command_id.to_string(), id);
    drop(agent);
    // It was not accepted, so it comes again; with it in the journal, it does not.
    let mut agent = world.welcomed(Vec::new()).await;
    assert_eq!(executed(&mut agent).await.command_id, first.command_id);
    agent.say(&AgentMessage::Accepted(Accepted { command_id: first.command_id })).await.unwrap();
    agent.say(&finished(first.command_id)).await.unwrap();
    assert_eq!(acknowledged(&mut agent).await, first.command_id);
    let ended = world.api.ended(&id).await;
    let again = AgentMessage::Finished(Finished {
        command_id: first.command_id,
        outcome: Outcome::Failed,
        exit_code: Some(1),
        execution_time: None,
        stdout_bytes: 0,
        stderr_bytes: 0,
        failure_code: None,
        detail: None,
    });
    agent.say(&again).await.unwrap();
    assert_eq!(acknowledged(&mut agent).await, first.command_id);
    assert_eq!(world.api.ended(&id).await, ended, "a repeated result changes nothing");
}

#[tokio::test]
async fn a_command_whose_agent_lost_its_journal_is_interrupted_and_not_sent_again() {
    let world = world().await;
    let mut agent = world.welcomed(Vec::new()).await;
    let id = world.queue("echo hi").await;
    let command_id = executed(&mut agent).await.command_id;
    agent.say(&AgentMessage::Accepted(Accepted { command_id })).await.unwrap();
    // Once something later is acknowledged, what came before it is durable.
    agent.say(&finished(Uuid::from_u128(1))).await.unwrap();
    acknowledged(&mut agent).await;
    drop(agent);
    let _agent = world.welcomed(Vec::new()).await;
    assert_eq!(world.api.ended(&id).await["failure"]["code"], "INTERRUPTED");
}

#[tokio::test]
async fn output_goes_on_where_it_was_cut_off_without_a_gap_and_nothing_comes_twice() {
    let world = world().await;
    let mut agent = world.welcomed(Vec::new()).await;
    let id = world.queue("long").await;
    let execute = executed(&mut agent).await;
    let command_id = execute.command_id;
    let frame = |stream_id, offset, bytes: &'static str| StreamFrame {
        kind: StreamKind::Stdout,
        stream_id,
        offset,
        bytes: bytes.into(),
    };
    agent.say(&AgentMessage::Accepted(Accepted { command_id })).await.unwrap();
    agent.write(&frame(execute.stream_id, 0, "one ")).await.unwrap();
    eventually("it is kept", async || {
        (world.api.get(&format!("/commands/{id}")).await["output"] == "one ").then_some(())
    })
    .await;
    drop(agent);
    let journal = vec![JournalEntry { command_id, progress: CommandProgress::Accepted }];
    let url = world.server.url();
    let (mut agent, welcome) = RawAgent::welcomed(&url, &world.enrolled, journal.clone()).await;
    let point = welcome.resume[0];
    assert_eq!((point.command_id, point.stdout_bytes), (command_id, 4));
    agent.write(&frame(point.stream_id, 0, "one two ")).await.unwrap();
    agent.write(&frame(point.stream_id, 90, "gap")).await.unwrap();
    assert_eq!(agent.close_code().await, Some(1008));
    let (mut agent, welcome) = RawAgent::welcomed(&url, &world.enrolled, journal).await;
    let point = welcome.resume[0];
    assert_eq!(point.stdout_bytes, 8);
    agent.write(&frame(point.stream_id, 8, "three")).await.unwrap();
    agent.say(&finished(command_id)).await.unwrap();
    acknowledged(&mut agent).await;
    assert_eq!(world.api.ended(&id).await["output"], "one two three");
}

#[tokio::test]
async fn a_peer_that_sends_more_output_than_it_may_is_cut_off() {
    let world = world().await;
    let mut agent = world.welcomed(Vec::new()).await;
    world.queue("flood").await;
    let execute = executed(&mut agent).await;
    for n in 0..64 {
        let frame = StreamFrame {
            kind: StreamKind::Stdout,
            stream_id: execute.stream_id,
            // All at the same place: nothing of it is new, and it counts all the same.
            offset: 0,
            bytes: vec![b'x'; 64 * 1024].into(),
        };
        if agent.write(&frame).await.is_err() {
            assert!(n > 3, "the window is 256 KiB");
            break;
        }
    }
    assert_eq!(agent.close_code().await.unwrap_or(1008), 1008);
}

#[tokio::test]
async fn an_agent_whose_clock_is_a_day_off_works_all_the_same() {
    let world = world().await;
    let mut agent = RawAgent::connect(&world.server.url(), &world.enrolled).await.unwrap();
    agent.hello(Vec::new(), now() - TimeDelta::days(1)).await;
    let Some(Instruction::Welcome(welcome)) = agent.order().await else { panic!("no welcome") };
    assert!((welcome.server_time - now()).abs() < TimeDelta::minutes(1));
    let id = world.queue("echo hi").await;
    let execute = executed(&mut agent).await;
    assert!(execute.deadline > now());
    agent.say(&finished(execute.command_id)).await.unwrap();
    assert_eq!(world.api.ended(&id).await["status"], "completed");
    assert!(world.server.log().contains("clock is off"));
}

#[tokio::test]
async fn an_agent_gets_no_more_commands_at_a_time_than_its_window_and_the_rest_when_there_is_room()
{
    let world = world().await;
    let mut agent = world.welcomed(Vec::new()).await;
    for n in 0..80 {
        world.queue(&format!("echo {n}")).await;
    }
    let mut taken = Vec::new();
    for _ in 0..muster_protocol::MAX_UNFINISHED_COMMANDS {
        taken.push(executed(&mut agent).await.command_id);
    }
    let more = tokio::time::timeout(Duration::from_millis(300), agent.order()).await;
    assert!(more.is_err(), "the window is full");
    for id in taken.drain(..).take(16) {
        agent.say(&finished(id)).await.unwrap();
    }
    for _ in 0..16 {
        executed(&mut agent).await;
    }
}

#[tokio::test]
async fn a_text_with_a_nul_is_kept_without_it_and_spoils_nobody_elses_writes() {
    let world = world().await;
    let id = world.queue("x").await;
    let mut agent = world.welcomed(Vec::new()).await;
    let execute = executed(&mut agent).await;
    let AgentMessage::Finished(failed) = finished(execute.command_id) else { panic!("another") };
    let outcome = Outcome::Failed;
    let detail = Some("a\0b".to_owned());
    let failed = Finished { outcome, exit_code: Some(1), detail, ..failed };
    agent.say(&AgentMessage::Finished(failed)).await.expect("it is heard");
    let ended = world.api.ended(&id).await;
    assert_eq!((&ended["status"], &ended["failure"]["detail"]), (&json!("failed"), &json!("ab")));
    let (status, code) = world.api.problem(Method::GET, "/agents?q=%00", &json!({})).await;
    assert_eq!((status, code.as_str()), (400, "MALFORMED_REQUEST"));
}
