//! Who can be reached, why connections ended, and machines that show the identity of another.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::time::{Duration, Instant};

use muster_tests::{Agent, Api, Enrolled, EventSource, RawAgent, Server, eventually, now};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

struct World {
    server: Server,
    api: Api,
    token: String,
}

async fn world() -> World {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    World { server, api, token }
}

impl World {
    async fn enrolled(&self, name: &str) -> Enrolled {
        Enrolled::register(&self.server.url(), &self.token, name).await
    }

    async fn welcomed(&self, enrolled: &Enrolled) -> RawAgent {
        RawAgent::welcomed(&self.server.url(), enrolled, Vec::new()).await.0
    }

    async fn connections(&self, id: &str) -> Vec<Value> {
        let answer = self.api.get(&format!("/agents/{id}/connections")).await;
        answer["items"].as_array().unwrap().clone()
    }

    /// Waits until the latest connection of the agent has ended for this reason.
    async fn ended(&self, id: &str, reason: &str) -> Value {
        eventually(reason, async || {
            let latest = self.connections(id).await.into_iter().next()?;
            (latest["end_reason"] == reason).then_some(latest)
        })
        .await
    }

    /// Waits until the agent has heard its welcome: before, it has no connection that could end.
    async fn greeted(&self, id: &str) {
        self.api.post(&format!("/agents/{id}/command"), &json!({ "command": "true" })).await;
    }

    /// Waits for the machine that is kept apart.
    async fn clone_of(&self, id: &str) -> Value {
        eventually("a clone is shown", async || {
            let clone = self.api.get(&format!("/agents/{id}")).await["clones"][0].clone();
            (clone["state"] == "waiting").then_some(clone)
        })
        .await
    }

    async fn resolve(&self, id: &str, clone: &Value, decision: &str) -> Value {
        let connection = clone["connection_id"].as_str().unwrap();
        let path = format!("/agents/{id}/clones/{connection}/resolve");
        self.api.post(&path, &json!({ "decision": decision })).await
    }
}

#[tokio::test]
async fn the_history_says_how_each_connection_ended_and_survives_the_server() {
    let mut world = world().await;
    let enrolled = world.enrolled("line").await;
    let id = enrolled.agent_id.to_string();
    drop(world.welcomed(&enrolled).await);
    world.ended(&id, "lost").await;

    let first = world.welcomed(&enrolled).await;
    let mut second = world.welcomed(&enrolled).await;
    eventually("the first was replaced", async || {
        (world.connections(&id).await.get(1)?["end_reason"] == "replaced").then_some(())
    })
    .await;
    drop(first);
    let open = &world.connections(&id).await[0];
    assert_eq!((&open["ended_at"], &open["transport"]), (&json!(null), &json!("websocket")));
    assert_eq!(open["peer_address"], "127.0.0.1");
    second.send(Message::text("no JSON")).await.unwrap();
    let refused = world.ended(&id, "refused_malformed").await;
    assert!(refused["end_detail"].as_str().unwrap().contains("expected"), "{refused}");

    let mut violating = RawAgent::connect(&world.server.url(), &enrolled).await.unwrap();
    violating.send(Message::text(r#"{"type":"dance"}"#)).await.unwrap();
    let refused = world.ended(&id, "refused_violation").await;
    assert_eq!(refused["end_detail"], "the first message is hello");
    let mut large = world.welcomed(&enrolled).await;
    let _ = large.send(Message::text("x".repeat(300 * 1024))).await;
    world.ended(&id, "refused_too_large").await;

    let upgrade = world
        .api
        .with_token(&enrolled.agent_token)
        .request(Method::GET, "/ws/agent")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==")
        .header("Sec-WebSocket-Protocol", "muster.v0");
    assert_eq!(upgrade.send().await.unwrap().status(), 426);
    let refused = world.ended(&id, "refused_wrong_version").await;
    assert!(refused["end_detail"].as_str().unwrap().contains("muster.v0"), "{refused}");

    let _there = world.welcomed(&enrolled).await;
    world.server.kill();
    world.server.restart().await;
    world.ended(&id, "server_killed").await;
    let _there = world.welcomed(&enrolled).await;
    assert!(world.server.stop(), "{}", world.server.log());
    world.server.restart().await;
    let ended = world.ended(&id, "server_shutdown").await;
    assert!(ended["ended_at"].is_string() && ended["last_frame_at"].is_string(), "{ended}");
    for _ in 0..4 {
        drop(world.welcomed(&enrolled).await);
    }
    world.ended(&id, "lost").await;
    let kept = world.connections(&id).await;
    assert_eq!(kept.len(), 10, "the latest ten: {kept:?}");
    let status = world.api.get(&format!("/agents/status/{id}")).await;
    assert_eq!(status["last_end"]["end_reason"], "lost", "{status}");
}

#[tokio::test]
async fn an_agent_says_how_often_it_tried_and_why_its_last_connection_ended() {
    let mut world = world().await;
    let mut agent = Agent::start(&world.server, "laptop", &world.token);
    let id = world.api.connected("laptop").await;
    let first = &world.connections(&id).await[0];
    assert_eq!((&first["reconnect_attempts"], &first["previous_end"]), (&json!(0), &json!(null)));
    world.greeted(&id).await;
    world.server.kill();
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.server.restart().await;
    world.api.connected("laptop").await;
    let second = &world.connections(&id).await[0];
    assert!(second["reconnect_attempts"].as_u64().unwrap() > 0, "{second}");
    assert!(second["previous_end"].is_string(), "{second}");
    world.greeted(&id).await;
    assert!(agent.stop());
    world.ended(&id, "closed_by_agent").await;
}

#[tokio::test]
async fn who_can_not_be_reached_any_more_is_told_of_once_and_a_minute_after_the_last_frame() {
    let world = world().await;
    let mut events = EventSource::open(&world.api, "/events?topics=agents", None).await;
    let (socket, plain) = (world.enrolled("socket").await, world.enrolled("plain").await);
    let mut agent = world.welcomed(&socket).await;
    world.api.with_token(&plain.agent_token).post("/agent/heartbeat", &json!({})).await;
    agent.send(Message::Ping("x".into())).await.unwrap();
    drop(agent);
    let begun = Instant::now();
    // Back at once: that is no news.
    drop(world.welcomed(&socket).await);
    let mut statuses = Vec::new();
    while statuses.len() < 4 {
        let event = events.next().await.unwrap();
        if event.name == "agent" {
            statuses.push((event.data["agent_id"].clone(), event.data["status"].clone()));
        }
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(59) && took < Duration::from_secs(62), "{took:?}");
    for agent in [&socket, &plain] {
        let id = json!(agent.agent_id);
        let own = statuses.iter().filter(|(about, _)| *about == id);
        let own: Vec<_> = own.map(|(_, status)| status).collect();
        assert_eq!(own, [&json!("online"), &json!("offline")]);
        eventually("it is listed as offline", async || {
            let agents = world.api.get("/agents/offline").await;
            agents["items"].as_array()?.iter().any(|shown| shown["id"] == id).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_copied_agent_is_kept_apart_until_it_becomes_one_of_its_own() {
    let world = world().await;
    let mut events = EventSource::open(&world.api, "/events?topics=agents", None).await;
    let original = Agent::start(&world.server, "golden", &world.token);
    let id = world.api.connected("golden").await;
    let copy = original.copied();
    let clone = world.clone_of(&id).await;
    assert_eq!((&clone["hostname"], &clone["state"]), (&json!("golden"), &json!("waiting")));
    assert!(clone["boot_id"].is_string() && clone["first_seen"].is_string(), "{clone}");
    let told = events.until("clone").await.pop().unwrap();
    assert_eq!(told.data["connection_id"], clone["connection_id"]);

    // Commands go on to the machine that was there.
    let folder = |agent: &Agent| agent.data_dir().display().to_string();
    let test = json!({ "command": "tr '\\0' '\\n' < /proc/$PPID/cmdline" });
    let ran = world.api.post(&format!("/agents/{id}/command"), &test).await;
    assert!(ran["output"].as_str().unwrap().contains(&folder(&original)), "{ran}");

    let shown = world.resolve(&id, &clone, "separate").await;
    assert_eq!(shown["clones"], json!([]));
    let new = eventually("it is an agent of its own", async || {
        let agents = world.api.get("/agents/online").await;
        let agents = agents["items"].as_array()?.clone();
        agents.into_iter().find(|agent| agent["id"] != id.as_str())?["id"]
            .as_str()
            .map(ToOwned::to_owned)
    })
    .await;
    let identity = std::fs::read_to_string(copy.data_dir().join("identity.json")).unwrap();
    assert!(identity.contains(&new), "it has kept who it is");
    let ran = world.api.post(&format!("/agents/{new}/command"), &test).await;
    assert!(ran["output"].as_str().unwrap().contains(&folder(&copy)), "{ran}");
    let ran = world.api.post(&format!("/agents/{id}/command"), &test).await;
    assert!(ran["output"].as_str().unwrap().contains(&folder(&original)), "{ran}");
    let audit = world.api.get("/audit?limit=100").await.to_string();
    assert!(audit.contains("agent.resolve_clone") && audit.contains("agent.separate"));
}

#[tokio::test]
async fn a_rejected_copy_is_not_let_in_until_it_is_decided_otherwise() {
    let mut world = world().await;
    let original = Agent::start(&world.server, "golden", &world.token);
    let id = world.api.connected("golden").await;
    let copy = original.copied();
    let clone = world.clone_of(&id).await;
    let shown = world.resolve(&id, &clone, "reject").await;
    assert_eq!(shown["clones"][0]["state"], "rejected", "{shown}");
    eventually("it is refused", async || copy.log().contains("was rejected").then_some(())).await;
    world.server.kill();
    world.server.restart().await;
    let refusals = copy.log().matches("was rejected").count();
    eventually("it is refused again", async || {
        (copy.log().matches("was rejected").count() > refusals).then_some(())
    })
    .await;
    world.resolve(&id, &clone, "replace").await;
    eventually("it has the place of the other, which is the copy now", async || {
        let agent = world.api.get(&format!("/agents/{id}")).await;
        (agent["clones"][0]["state"] == "waiting").then_some(())
    })
    .await;
    let test = json!({ "command": "tr '\\0' '\\n' < /proc/$PPID/cmdline" });
    let ran = world.api.post(&format!("/agents/{id}/command"), &test).await;
    let folder = copy.data_dir().display().to_string();
    assert!(ran["output"].as_str().unwrap().contains(&folder), "{ran}");
    let unknown = format!("/agents/{id}/clones/{id}/resolve");
    let decision = json!({ "decision": "reject" });
    assert_eq!(world.api.problem(Method::POST, &unknown, &decision).await.0, 404);
}

#[tokio::test]
async fn a_machine_that_was_booted_again_replaces_what_does_not_answer_any_more() {
    let world = world().await;
    let enrolled = world.enrolled("booted").await;
    let id = enrolled.agent_id.to_string();
    // Nobody reads here, so nobody answers either.
    let _dead = world.welcomed(&enrolled).await;
    let agent = RawAgent::connect(&world.server.url(), &enrolled).await.unwrap();
    let mut agent = agent.booted("another");
    let begun = Instant::now();
    agent.hello(Vec::new(), now()).await;
    assert!(agent.order().await.is_some());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(world.api.get(&format!("/agents/{id}")).await["clones"], json!([]));
    eventually("the dead one was replaced", async || {
        (world.connections(&id).await.get(1)?["end_reason"] == "replaced").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_copy_that_enrolled_again_does_not_cost_the_original_its_place() {
    let world = world().await;
    let first = world.enrolled("same-machine-id").await;
    let mut original = world.welcomed(&first).await;
    let (done, mut reading) = tokio::sync::oneshot::channel::<()>();
    let reader = tokio::spawn(async move {
        tokio::select! {
            () = async { while original.hear().await.is_some() {} } => {}
            _ = &mut reading => {}
        }
    });
    let second = world.enrolled("same-machine-id").await;
    assert_eq!(first.agent_id, second.agent_id, "the machine id is the same");
    let agent = RawAgent::connect(&world.server.url(), &second).await.unwrap();
    let mut agent = agent.booted("another");
    agent.hello(Vec::new(), now()).await;
    agent.order().await.unwrap();
    let id = first.agent_id.to_string();
    let clone = world.clone_of(&id).await;
    world.resolve(&id, &clone, "separate").await;
    let order = agent.order().await.unwrap();
    let muster_protocol::Instruction::Separate(separate) = order else { panic!("{order:?}") };
    assert_ne!(separate.agent_id, first.agent_id);
    let _ = done.send(());
    reader.await.unwrap();
    // The enrolment had taken its token; it has it back.
    world.welcomed(&first).await;
    let own = Enrolled {
        agent_id: separate.agent_id,
        agent_token: separate.agent_token,
        server_key: first.server_key,
    };
    world.welcomed(&own).await;
}
