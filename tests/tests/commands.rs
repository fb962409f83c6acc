//! Commands on real agents, from the request to the result.

use std::time::{Duration, Instant};

use muster_tests::{Agent, Api, Enrolled, Server, eventually};
use reqwest::Method;
use serde_json::{Value, json};

struct World {
    server: Server,
    api: Api,
    agent: Agent,
    id: String,
}

async fn world() -> World {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let agent = Agent::start(&server, "web-01", &token);
    let id = api.connected("web-01").await;
    World { server, api, agent, id }
}

impl World {
    async fn run(&self, body: &Value) -> Value {
        self.api.post(&format!("/agents/{}/command", self.id), body).await
    }
}

#[tokio::test]
async fn a_command_runs_and_its_whole_result_comes_back() {
    let world = world().await;
    let body = json!({
        "command": "printf '%s|' \"$GREETING\" \"$PWD\"; echo oops >&2; exit 3;",
        "environment": { "GREETING": "hello $(id)" },
        "working_directory": "/tmp",
        "shell": "sh",
    });
    let result = world.run(&body).await;
    assert_eq!(result["status"], "failed");
    assert_eq!(result["success"], false);
    assert_eq!(result["exit_code"], 3);
    assert_eq!(result["failure"]["code"], "EXIT_CODE");
    assert_eq!(result["output"], "hello $(id)|/tmp|");
    assert_eq!(result["error"], "oops\n");
    assert!(result["execution_time"].as_f64().unwrap() >= 0.0);
    assert_eq!(
        world.api.get(&format!("/commands/{}", result["id"].as_str().unwrap())).await,
        result
    );
}

#[tokio::test]
async fn arguments_reach_a_command_as_they_are() {
    let world = world().await;
    let args = ["a b", "$(id)", "'; id", "*", ""];
    let result = world.run(&json!({ "command": "printf '[%s]'", "args": args })).await;
    assert_eq!(result["output"], "[a b][$(id)]['; id][*][]");
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_everything_it_started() {
    let world = world().await;
    let marker = world.server.data_dir().join("survivor");
    let command = format!("(sleep 4; touch {}) & sleep 71", marker.display());
    let begun = Instant::now();
    let result = world.run(&json!({ "command": command, "timeout": 1 })).await;
    assert_eq!(result["failure"]["code"], "TIMED_OUT", "{result}");
    assert!(begun.elapsed() < Duration::from_secs(20), "it was not cut short");
    let orphan = world.run(&json!({ "command": "sleep 4.2; pgrep -fc 'sleep [7]1'" })).await;
    assert_eq!(orphan["output"], "0\n");
    assert!(!marker.exists(), "a grandchild outlived its command");
}

#[tokio::test]
async fn a_running_command_is_cancelled_through_its_agent() {
    let world = world().await;
    let id = world.api.queue(&world.id, &json!({ "command": "echo begun; sleep 60" })).await;
    let path = format!("/commands/{id}");
    eventually("it runs", async || {
        (world.api.get(&path).await["status"] == "running").then_some(())
    })
    .await;
    world.api.post(&format!("{path}/cancel"), &json!({})).await;
    let ended = world.api.ended(&id).await;
    assert_eq!((&ended["status"], &ended["output"]), (&json!("cancelled"), &json!("begun\n")));
    let again = world.api.problem(Method::POST, &format!("{path}/cancel"), &json!({})).await;
    assert_eq!(again, (409, "COMMAND_ENDED".into()));
}

#[tokio::test]
async fn a_command_for_an_agent_out_of_reach_waits_for_it_or_is_cancelled_at_once() {
    let mut world = world().await;
    assert!(world.agent.stop(), "{}", world.agent.log());
    eventually("it is disconnected", async || {
        let agent = world.api.get(&format!("/agents/{}", world.id)).await;
        agent["connection"].is_null().then_some(())
    })
    .await;
    let waits = world.api.queue(&world.id, &json!({ "command": "echo late" })).await;
    let cancelled = world.api.queue(&world.id, &json!({ "command": "echo never" })).await;
    world.api.post(&format!("/commands/{cancelled}/cancel"), &json!({})).await;
    let short = json!({ "command": "echo never", "expires_in": 0.1 });
    let expired = world.api.queue(&world.id, &short).await;
    assert_eq!(world.api.ended(&cancelled).await["status"], "cancelled");
    assert_eq!(world.api.ended(&expired).await["status"], "expired");
    world.agent.restart();
    assert_eq!(world.api.ended(&waits).await["output"], "late\n");
}

#[tokio::test]
async fn two_hundred_thousand_lines_arrive_whole_and_in_order() {
    let world = world().await;
    let result = world.run(&json!({ "command": "seq 1 200000", "timeout": 60 })).await;
    let output = result["output"].as_str().unwrap();
    let lines = (1..=200_000).map(|n: u32| n.to_string());
    assert!(output.lines().eq(lines), "lines are missing or out of order");
    assert!(output.ends_with("200000\n"));
    assert_eq!(result["output_truncated"], false);
    let path = format!("/commands/{}/output?offset=5", result["id"].as_str().unwrap());
    let text = world.api.request(Method::GET, &path).send().await.unwrap().text().await.unwrap();
    assert!(output.get(5..) == Some(&text), "the text from an offset on is another");
}

#[tokio::test]
async fn output_is_seen_live_and_a_listener_goes_on_where_it_was_cut_off() {
    let world = world().await;
    let command = "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.5; done; echo end >&2";
    let id = world.api.queue(&world.id, &json!({ "command": command })).await;
    let listen = async |last: Option<&str>| {
        let path = format!("/commands/{id}/output");
        let request = world.api.request(Method::GET, &path).header("Accept", "text/event-stream");
        let request = match last {
            Some(last) => request.header("Last-Event-ID", last),
            None => request,
        };
        request.send().await.unwrap()
    };
    let mut answer = listen(None).await;
    let mut first = String::new();
    while !first.contains("line 2") {
        first.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert!(!first.contains("line 6"), "it came while the command ran");
    drop(answer);
    let (whole_events, _) = first.rsplit_once("\n\n").unwrap();
    let last = whole_events.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap();
    let rest = listen(Some(last)).await.text().await.unwrap();
    let mut text = String::new();
    for line in whole_events.lines().chain(rest.lines()) {
        let data = line.strip_prefix("data: ").and_then(|data| serde_json::from_str(data).ok());
        let Some(data): Option<Value> = data else { continue };
        text.push_str(data["text"].as_str().unwrap_or_default());
    }
    assert_eq!(text, "line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nend\n");
    assert!(rest.contains("event: finished") && rest.contains("\"status\":\"completed\""));
}

#[tokio::test]
async fn the_same_request_again_is_the_same_command() {
    let world = world().await;
    let path = format!("/agents/{}/commands", world.id);
    let send = async |command: &str| {
        let request = world.api.request(Method::POST, &path).header("Idempotency-Key", "k-1");
        let answer = request.json(&json!({ "command": command })).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap())
    };
    let (first, second) = (send("echo once").await, send("echo once").await);
    assert_eq!((first.0, second.0), (202, 202));
    assert_eq!(first.1["command_id"], second.1["command_id"]);
    let (status, problem) = send("echo other").await;
    assert_eq!((status, &problem["code"]), (409, &json!("IDEMPOTENCY_KEY_REUSED")));
    let page = world.api.get(&path).await;
    assert_eq!(page["total"], 1);
}

#[tokio::test]
async fn the_older_products_names_lead_to_the_same_commands() {
    let world = world().await;
    let id = &world.id;
    let body = json!({ "command": "echo hi" });
    let result = world.api.post(&format!("/commands/agent/{id}/execute"), &body).await;
    let command = result["id"].as_str().unwrap();
    let path = format!("/commands/agent/{id}/result/{command}");
    assert_eq!(world.api.get(&path).await["output"], "hi\n");
    let accepted = world.api.post(&format!("/commands/agent/{id}/execute/async"), &body).await;
    world.api.ended(accepted["task_id"].as_str().unwrap()).await;
    let action = json!({ "type": "command", "payload": "echo hi" });
    let accepted = world.api.post(&format!("/devices/{id}/actions"), &action).await;
    world.api.ended(accepted["task_id"].as_str().unwrap()).await;
    for path in ["tasks", "commands"] {
        assert_eq!(world.api.get(&format!("/agents/{id}/{path}")).await["total"], 3);
    }
}

#[tokio::test]
async fn a_fresh_look_at_the_machine_is_taken_when_asked_for() {
    let world = world().await;
    let agent = world.api.post(&format!("/agents/{}/refresh", world.id), &json!({})).await;
    assert_eq!(agent["status"], "online");
    assert!(agent["system_info"]["memory_bytes"].as_u64().unwrap() > 0, "{agent}");
    let status = world.api.get(&format!("/agents/status/{}", world.id)).await;
    assert_eq!(status["connected"], true);
}

#[tokio::test]
async fn a_deleted_agent_is_cut_off_and_what_it_had_not_begun_is_cancelled() {
    let mut world = world().await;
    world.agent.stop();
    let waits = world.api.queue(&world.id, &json!({ "command": "echo late" })).await;
    let path = format!("/agents/{}", world.id);
    let deleted = world.api.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    assert_eq!(world.api.ended(&waits).await["status"], "cancelled");
    let gone = world.api.problem(Method::GET, &path, &json!({})).await;
    assert_eq!(gone, (404, "NOT_FOUND".into()));
    world.agent.restart();
    eventually("it is refused", async || world.agent.log().contains("401").then_some(())).await;
}

#[tokio::test]
async fn what_a_killed_agent_was_doing_is_reported_as_interrupted_and_not_done_again() {
    let mut world = world().await;
    let marker = world.server.data_dir().join("ran");
    let command = format!("echo x >> {}; echo begun; sleep 6543", marker.display());
    let id = world.api.queue(&world.id, &json!({ "command": command, "timeout": 900 })).await;
    let path = format!("/commands/{id}");
    eventually("it has begun", async || {
        (world.api.get(&path).await["output"] == "begun\n").then_some(())
    })
    .await;
    world.agent.kill();
    world.agent.restart();
    let ended = world.api.ended(&id).await;
    assert_eq!(ended["failure"]["code"], "INTERRUPTED");
    assert_eq!(ended["output"], "begun\n");
    assert_eq!(std::fs::read_to_string(&marker).unwrap(), "x\n");
    let left = world.run(&json!({ "command": "pgrep -fc 'sleep [6]543'" })).await;
    assert_eq!(left["output"], "0\n", "what it left running was ended");
}

#[tokio::test]
async fn somebody_who_listens_does_not_hold_up_a_shutdown() {
    let mut world = world().await;
    let id = world.api.queue(&world.id, &json!({ "command": "echo begun; sleep 30" })).await;
    let path = format!("/commands/{id}/output");
    let request = world.api.request(Method::GET, &path).header("Accept", "text/event-stream");
    let mut answer = request.send().await.unwrap();
    let first = answer.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"id: 6-0\nevent: output\n"), "{first:?}");
    let begun = Instant::now();
    assert!(world.server.stop(), "{}", world.server.log());
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_dangerous_command_says_so_and_is_confirmed_where_the_customer_asks_for_it() {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let agent = Enrolled::register(&server.url(), &token, "away").await.agent_id.to_string();
    let path = format!("/agents/{agent}/commands");
    let level = async |body: &Value| {
        let id = api.queue(&agent, body).await;
        api.get(&format!("/commands/{id}")).await["safety_level"].clone()
    };
    let dangerous = json!({ "command": "sudo rm -rf /etc" });
    assert_eq!(level(&dangerous).await, "dangerous", "nobody asked for more");
    assert_eq!(level(&json!({ "command": "df -h" })).await, "safe");
    let customers = api.get("/customers").await;
    let customer = format!("/customers/{}", customers["items"][0]["id"].as_str().unwrap());
    api.put(&customer, &json!({ "dangerous_commands": "confirm" })).await;
    let refused = api.request(Method::POST, &path).json(&dangerous).send().await.unwrap();
    assert_eq!(refused.status(), 409);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["code"], "DANGEROUS_COMMAND");
    assert!(refused["detail"].as_str().unwrap().contains("removes"), "{refused}");
    assert_eq!(level(&json!({ "command": "df -h" })).await, "safe");
    assert_eq!(level(&json!({ "command": "rm -rf /etc", "confirm": true })).await, "dangerous");
    assert_eq!(api.get(&path).await["total"], 4, "what was refused is no command");
    assert_eq!(api.get("/commands?safety_level=dangerous").await["total"], 2);
    let me = api.get("/auth/me").await["id"].as_str().unwrap().to_owned();
    assert_eq!(api.get(&format!("/commands?requested_by={me}")).await["total"], 4);
    assert_eq!(api.get("/commands?to=2020-01-01T00:00:00Z").await["total"], 0);
}
