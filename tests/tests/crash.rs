//! Server and agent are killed at random moments, and the commands themselves count what happened.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use muster_tests::{Agent, Api, Server, eventually};
use rand::RngExt;
use reqwest::Method;
use serde_json::{Value, json};

const COMMANDS: usize = 1000;
const KILLS: usize = 20;

/// Hands commands in until each is accepted, however often the server dies meanwhile: under a key,
/// so that one which was accepted without an answer is not handed in twice.
async fn hand_in(api: Api, agent: String, folder: String) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..COMMANDS {
        // Every third takes its time, so that some are always in the middle.
        let pause = if n % 3 == 0 { "sleep 0.2; " } else { "" };
        let command = format!("echo ran >> {folder}/{n}; {pause}echo result {n}");
        let body = json!({ "command": command, "timeout": 60 });
        loop {
            let request = api
                .request(Method::POST, &format!("/agents/{agent}/commands"))
                .header("Idempotency-Key", format!("crash-{n}"));
            if let Ok(answer) = request.json(&body).send().await
                && answer.status() == 202
                && let Ok(accepted) = answer.json::<Value>().await
            {
                ids.push(accepted["command_id"].as_str().unwrap().to_owned());
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Spread over the time of the killing, so that every kill finds commands in every state.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ids
}

#[tokio::test]
async fn whatever_is_killed_no_command_is_lost_none_runs_twice_and_no_result_is_lost() {
    let mut server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let mut agent = Agent::start(&server, "crash", &token);
    let id = api.connected("crash").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();

    let handing_in = tokio::spawn(hand_in(api.clone(), id, path));
    let mut random = rand::rng();
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..700))).await;
        server.kill();
        server.restart().await;
        tokio::time::sleep(Duration::from_millis(random.random_range(50..700))).await;
        agent.kill();
        agent.restart();
    }
    let ids = handing_in.await.unwrap();
    assert_eq!(ids.len(), COMMANDS, "every command was accepted in the end");

    let begun = Instant::now();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let mut faults = String::new();
    for (n, id) in ids.iter().enumerate() {
        let command = eventually("every accepted command ends", async || {
            assert!(begun.elapsed() < Duration::from_mins(2), "{}", server.log());
            let command = api.get(&format!("/commands/{id}")).await;
            let open = ["pending", "running"].contains(&command["status"].as_str()?);
            if open { None } else { Some(command) }
        })
        .await;
        let ran = std::fs::read_to_string(folder.path().join(n.to_string())).unwrap_or_default();
        let runs = ran.lines().count();
        let code = command["failure"]["code"].as_str();
        let outcome = code.or_else(|| command["status"].as_str()).unwrap().to_owned();
        let fault = match outcome.as_str() {
            // Its result says that it ran, so it did, once, and all of its output is there.
            "completed" => runs != 1 || command["output"] != format!("result {n}\n"),
            // The agent died while it had it: it ran or it did not, and never again.
            "INTERRUPTED" => runs > 1,
            _ => true,
        };
        if fault {
            let _ = writeln!(faults, "{n}: ran {runs} times, {command}");
        }
        *outcomes.entry(outcome).or_default() += 1;
    }
    assert!(faults.is_empty(), "{faults}");
    assert!(outcomes["completed"] > COMMANDS / 2, "{outcomes:?}");
    assert!(!server.log().contains("panicked") && !agent.log().contains("panicked"));
    println_outcomes(&outcomes);
}

#[expect(clippy::print_stdout, reason = "the figures are worth knowing")]
fn println_outcomes(outcomes: &BTreeMap<String, usize>) {
    println!("{COMMANDS} commands, {KILLS} kills of each: {outcomes:?}");
}
