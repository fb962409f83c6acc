//! One order to thousands of machines: from the request to the last durable result, with a listener
//! that follows it live, and beside it a profile of one task and of five, step by step on each machine.
//! `make bench` runs it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark ends where it fails, and prints what it found"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use muster_tests::{Api, Behaviour, EventSource, Fleet, Server};
use serde_json::json;

const MACHINES: usize = 5000;
const ROUNDS: usize = 3;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let server = Server::start().await;
    let api = server.admin().await;
    api.put("/settings", &json!({ "rate_limits": false })).await;
    let token = api.enrollment_token("Acme").await;
    let begun = Instant::now();
    let behaviour = Behaviour { output: "ok\n".into(), ..Behaviour::default() };
    let fleet = Fleet::start(&server.url(), &token, "m", MACHINES, behaviour).await;
    println!("{MACHINES} machines enrolled and connected in {:.1?}", begun.elapsed());
    println!("resident memory before       {} MiB", server.resident_kib() / 1024);
    for _ in 0..ROUNDS {
        one_run(&server, &api, json!({})).await;
    }
    println!("with 500 machines at a time:");
    one_run(&server, &api, json!({ "max_concurrency": 500 })).await;
    for tasks in [1, 5] {
        one_rollout(&server, &api, tasks).await;
    }
    println!("resident memory after        {} MiB", server.resident_kib() / 1024);
    assert_eq!(fleet.record.started(), MACHINES * (ROUNDS + 1 + 6));
}

async fn one_run(server: &Server, api: &Api, strategy: serde_json::Value) {
    let cpu = server.cpu_seconds();
    let begun = Instant::now();
    let wish = json!({ "target": { "all": true }, "command": "x", "strategy": strategy });
    let run = api.post("/runs", &wish).await;
    let accepted = begun.elapsed();
    let id = run["id"].as_str().unwrap();
    let mut stream = EventSource::open(api, &format!("/runs/{id}/events"), None).await;
    let events = stream.until("finished").await;
    let heard = begun.elapsed();
    let done = durable(api, id, begun).await;
    let mut states: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.name == "command") {
        let command = event.data["command_id"].as_str().unwrap();
        states.entry(command).or_default().push(event.data["status"].as_str().unwrap());
    }
    let in_order = states.values().filter(|states| **states == ["running", "completed"]).count();
    println!(
        "accepted after {accepted:.2?}, last result durable after {done:.2?}, told after {heard:.2?}; \
         {in_order} of {} machines told once and in order; {:.1} s of processor time",
        run["total"],
        server.cpu_seconds() - cpu,
    );
}

/// A profile of so many commands, brought to all machines.
async fn one_rollout(server: &Server, api: &Api, tasks: usize) {
    let profile = api.post("/profiles", &json!({ "name": format!("{tasks} tasks") })).await;
    let id = profile["id"].as_str().unwrap();
    for number in 0..tasks {
        let task = json!({ "name": number.to_string(), "action_type": "command", "payload": "x" });
        api.post(&format!("/profiles/{id}/tasks"), &task).await;
    }
    let cpu = server.cpu_seconds();
    let begun = Instant::now();
    let wish = json!({ "target": { "all": true } });
    let rollout = api.post(&format!("/profiles/{id}/apply"), &wish).await;
    let accepted = begun.elapsed();
    let path = format!("/rollouts/{}", rollout["id"].as_str().unwrap());
    let ended = loop {
        let rollout = api.get(&path).await;
        if rollout["status"] != "running" {
            break rollout;
        }
        assert!(begun.elapsed() < Duration::from_mins(5), "{rollout}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let took = begun.elapsed();
    assert_eq!(ended["done"], MACHINES, "{ended}");
    println!(
        "a profile of {tasks} tasks: accepted after {accepted:.2?}, all machines done after \
         {took:.2?}; {:.0} tasks a second; {:.1} s of processor time",
        f64::from(u32::try_from(MACHINES * tasks).unwrap()) / took.as_secs_f64(),
        server.cpu_seconds() - cpu,
    );
}

/// When the last result was durable, measured from `begun`.
async fn durable(api: &Api, run: &str, begun: Instant) -> Duration {
    loop {
        let run = api.get(&format!("/runs/{run}")).await;
        if run["status"] != "running" {
            let took =
                |name: &str| run[name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>();
            let server = took("finished_at").unwrap() - took("created_at").unwrap();
            return server.to_std().unwrap_or_default().max(Duration::from_millis(1));
        }
        assert!(begun.elapsed() < Duration::from_mins(2), "{run}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
