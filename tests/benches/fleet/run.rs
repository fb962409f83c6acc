//! One order to a whole fleet, until the last result is durable.

use std::time::{Duration, Instant};

use muster_tests::{Api, Server};
use reqwest::Method;
use serde_json::{Value, json};

use crate::Skipped;
use crate::postgres::Postgres;
use crate::swarm::{Wish, needs_files, prepared};

const ROUNDS: usize = 3;
/// How long a run may take before it is given up.
const PATIENCE: Duration = Duration::from_mins(5);

pub(crate) async fn measure(agents: usize) -> Result<(), Skipped> {
    needs_files(agents)?;
    on("SQLite", &Server::start().await, agents).await;
    let postgres = Postgres::start()?;
    let url = postgres.url();
    let server = Server::start_with(&[("DATABASE_URL", &url)]).await;
    on(&postgres.version(), &server, agents).await;
    Ok(())
}

async fn on(database: &str, server: &Server, agents: usize) {
    let (api, token) = prepared(server).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("machines");
    let begun = Instant::now();
    let url = server.url();
    let wish = Wish {
        servers: &url,
        token: &token,
        agents,
        state: &state,
        name: "m",
        more: &[],
        namespace: None,
    };
    let mut swarm = wish.start();
    swarm.connected().await;
    println!("  {database}: {agents} machines enrolled and connected in {:.1?}", begun.elapsed());
    for _ in 0..ROUNDS {
        one(server, &api, agents).await;
    }
    let summary = swarm.stop().await;
    println!("  order to result kept, as the machines saw it: {}", summary["command_ms"]);
    each_once(&[summary], agents * ROUNDS);
}

async fn one(server: &Server, api: &Api, agents: usize) {
    let (cpu, begun) = (server.cpu_seconds(), Instant::now());
    let run = start(api).await;
    let accepted = begun.elapsed();
    let run = ended(api, &run, begun).await;
    assert_eq!(run["counts"]["completed"], agents, "{run}");
    println!(
        "  accepted after {accepted:.2?}, all {agents} results durable after {:.2?} (asked: < 6 s); \
         {:.1} s of the server's processor time, {} MiB",
        begun.elapsed(),
        server.cpu_seconds() - cpu,
        server.resident_kib() / 1024
    );
}

/// Starts a run on all machines; answers with its id.
pub(crate) async fn start(api: &Api) -> String {
    let wish = json!({ "target": { "all": true }, "command": "x" });
    api.post("/runs", &wish).await["id"].as_str().unwrap().to_owned()
}

/// The run once it has ended.
pub(crate) async fn ended(api: &Api, run: &str, begun: Instant) -> Value {
    loop {
        // A server at its limit closes a connection that was quiet for long: asked again.
        let answer = api.request(Method::GET, &format!("/runs/{run}")).send().await;
        if let Ok(answer) = answer {
            let now: Value = answer.json().await.unwrap();
            if now["status"] != "running" {
                return now;
            }
        }
        assert!(begun.elapsed() < PATIENCE, "the run does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Holds what the machines did against what they were to do.
pub(crate) fn each_once(summaries: &[Value], commands: usize) {
    let sum = |name: &str| -> u64 {
        summaries.iter().map(|summary| summary[name].as_u64().unwrap()).sum()
    };
    let (started, again) = (sum("commands_started"), sum("commands_started_again"));
    let acknowledged = sum("results_acknowledged");
    println!(
        "  {started} commands started, {again} of them more than once, {acknowledged} results \
         acknowledged, {} orders repeated",
        sum("commands_ordered_again")
    );
    let commands = u64::try_from(commands).unwrap();
    assert_eq!((started, again, acknowledged), (commands, 0, commands), "each once, none lost");
}
