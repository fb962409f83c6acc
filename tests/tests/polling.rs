//! Agents whose network lets no WebSocket through: the same guarantees in requests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use muster_tests::{Agent, Api, Enrolled, Server, eventually};
use reqwest::Method;
use serde_json::{Value, json};

const POLLING: (&str, &str) = ("MUSTER_AGENT_TRANSPORT", "http");

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
    let agent = Agent::start_with(&server, "far", &token, &[POLLING]);
    let id = api.connected("far").await;
    World { server, api, agent, id }
}

impl World {
    async fn run(&self, body: &Value) -> Value {
        self.api.post(&format!("/agents/{}/command", self.id), body).await
    }
}

#[tokio::test]
async fn a_command_runs_at_once_and_its_whole_result_comes_back() {
    let world = world().await;
    let begun = Instant::now();
    let body = json!({ "command": "printf '[%s]' \"$@\"; echo oops >&2; exit 3; true",
        "args": ["a b", "$(id)"] });
    let result = world.run(&body).await;
    assert_eq!(result["failure"]["code"], "EXIT_CODE", "{result}");
    assert_eq!((&result["exit_code"], &result["error"]), (&json!(3), &json!("oops\n")));
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    let agent = world.api.post(&format!("/agents/{}/refresh", world.id), &json!({})).await;
    assert!(agent["system_info"]["memory_bytes"].as_u64().unwrap() > 0, "{agent}");
}

#[tokio::test]
async fn a_mebibyte_of_output_arrives_whole_and_in_order() {
    let world = world().await;
    let result = world.run(&json!({ "command": "seq 1 200000", "timeout": 60 })).await;
    let lines = (1..=200_000).map(|n: u32| n.to_string());
    assert!(result["output"].as_str().unwrap().lines().eq(lines), "lines are missing");
    assert_eq!(result["output_truncated"], false);
}

#[tokio::test]
async fn a_running_command_is_cancelled() {
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
}

#[tokio::test]
async fn an_agent_that_is_stopped_is_gone_at_once_and_does_not_hold_up_a_shutdown() {
    let mut world = world().await;
    // It has heard the welcome, too: an agent that was not let in yet has nothing to take leave of.
    let command = world.api.queue(&world.id, &json!({ "command": "true" })).await;
    world.api.ended(&command).await;
    let begun = Instant::now();
    assert!(world.agent.stop(), "{}", world.agent.log());
    let path = format!("/agents/{}", world.id);
    eventually("it is disconnected", async || {
        world.api.get(&path).await["connection"].is_null().then_some(())
    })
    .await;
    world.agent.restart();
    world.api.connected("far").await;
    assert!(world.server.stop(), "{}", world.server.log());
    assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn whatever_is_killed_no_command_is_lost_none_runs_twice_and_no_result_is_lost() {
    const COMMANDS: usize = 60;
    let mut world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for n in 0..COMMANDS {
        let file = folder.path().join(n.to_string());
        let pause = if n % 3 == 0 { "sleep 0.3; " } else { "" };
        let command = format!("echo ran >> {}; {pause}echo result {n}", file.display());
        ids.push(world.api.queue(&world.id, &json!({ "command": command })).await);
        match n {
            15 | 45 => {
                world.server.kill();
                world.server.restart().await;
            }
            30 => {
                world.agent.kill();
                world.agent.restart();
            }
            _ => {}
        }
    }
    let mut outcomes = BTreeMap::<String, usize>::new();
    for (n, id) in ids.iter().enumerate() {
        let command = world.api.ended(id).await;
        let ran = std::fs::read_to_string(folder.path().join(n.to_string())).unwrap_or_default();
        let runs = ran.lines().count();
        let outcome = command["failure"]["code"].as_str().or_else(|| command["status"].as_str());
        let good = match outcome.unwrap() {
            "completed" => runs == 1 && command["output"] == format!("result {n}\n"),
            "INTERRUPTED" => runs <= 1,
            _ => false,
        };
        assert!(good, "{n}: ran {runs} times, {command}");
        *outcomes.entry(outcome.unwrap().to_owned()).or_default() += 1;
    }
    assert!(outcomes["completed"] > COMMANDS / 2, "{outcomes:?}");
    assert!(!world.server.log().contains("panicked") && !world.agent.log().contains("panicked"));
}

#[tokio::test]
async fn a_request_that_comes_again_or_out_of_step_ends_the_connection() {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let enrolled = Enrolled::register(&server.url(), &token, "raw").await;
    let agent = api.with_token(&enrolled.agent_token);
    let hello = json!({ "type": "hello", "version": "1", "os_type": "linux", "os": "Linux",
        "hostname": "raw", "boot_id": "b", "nonce": "n", "agent_time": muster_tests::now() });
    let open = json!({ "messages": [hello], "wait": 20 });
    let answer = agent.post("/agent/heartbeat", &open).await;
    assert_eq!(answer["messages"][0]["type"], "signed", "{answer}");
    let received = answer["messages"].as_array().unwrap().len();
    let bring = json!({ "connection_id": answer["connection_id"], "sent": 1,
        "messages": [{ "type": "dance" }] });
    agent.post("/agent/heartbeat", &bring).await;
    let again = agent.problem(Method::POST, "/agent/heartbeat", &bring).await;
    assert_eq!(again, (409, "WRONG_STATE".into()));
    let collect = json!({ "connection_id": answer["connection_id"], "messages": [],
        "received": received, "wait": 0 });
    let over = agent.problem(Method::POST, "/agent/heartbeat", &collect).await;
    assert_eq!(over, (409, "WRONG_STATE".into()));
    let broken = json!({ "messages": [{ "type": "output" }] });
    let refused = agent.problem(Method::POST, "/agent/heartbeat", &broken).await;
    assert_eq!(refused, (400, "MALFORMED_REQUEST".into()));
}

#[tokio::test]
async fn a_simple_client_fetches_what_is_to_run_and_reports_results() {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let enrolled = Enrolled::register(&server.url(), &token, "simple").await;
    let other = Enrolled::register(&server.url(), &token, "other").await;
    let id = enrolled.agent_id.to_string();
    let agent = api.with_token(&enrolled.agent_token);
    let command = json!({ "command": "hostname", "args": ["a b"], "shell_type": "powershell" });
    let waits = api.queue(&id, &command).await;
    let report = json!({ "status": "online", "metrics": { "cpu_percent": 12.5 } });
    let heartbeat = agent.post("/agent/heartbeat", &report).await;
    let action = &heartbeat["actions"][0];
    assert_eq!(action["id"], json!(waits), "{heartbeat}");
    assert_eq!(action["type"], "powershell_inline");
    assert_eq!((&action["payload"], &action["args"]), (&json!("hostname"), &json!(["a b"])));
    let shown = api.get(&format!("/agents/{id}")).await;
    assert_eq!(shown["metrics"]["cpu_percent"], 12.5, "{shown}");
    let later = api.queue(&id, &json!({ "command": "uptime" })).await;
    let path = format!("/agents/{id}/heartbeat");
    let heartbeat = agent.post(&path, &json!({})).await;
    assert_eq!(heartbeat["actions"].as_array().unwrap().len(), 1, "the first is leased");
    let result = json!({ "success": true, "exit_code": 0, "output": "web-01\n",
        "execution_time": 0.5 });
    let path = format!("/agent/actions/{waits}/result");
    let stranger = api.with_token(&other.agent_token);
    let refused = stranger.problem(Method::POST, &path, &result).await;
    assert_eq!(refused, (404, "NOT_FOUND".into()));
    for _ in 0..2 {
        assert_eq!(agent.post(&path, &result).await["status"], "completed");
    }
    let ended = api.ended(&waits).await;
    assert_eq!((&ended["output"], &ended["execution_time"]), (&json!("web-01\n"), &json!(0.5)));
    let path = format!("/agent/actions/{later}/result");
    let failed = json!({ "status": "failed", "exit_code": 2, "error": "no" });
    assert_eq!(agent.post(&path, &failed).await["status"], "failed");
    let nonsense = agent.problem(Method::POST, &path, &json!({ "status": "dancing" })).await;
    assert_eq!(nonsense, (422, "VALIDATION_FAILED".into()));
    let public = api.with_token("").request(Method::GET, "/agent/heartbeat").send().await;
    assert_eq!(public.unwrap().status(), 200);
}
