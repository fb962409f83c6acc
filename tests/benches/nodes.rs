//! What it costs to command a machine through another node than the one it is connected to.
//! `make bench` runs it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark ends where it fails, and prints what it found"
)]

use std::time::{Duration, Instant};

use muster_tests::{Api, Behaviour, Fleet, Nodes};
use serde_json::json;

const ROUNDS: usize = 500;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let nodes = Nodes::start(2).await;
    let apis = nodes.admins().await;
    let token = apis[0].enrollment_token("Acme").await;
    let fleet = Fleet::start(&nodes.servers[0].url(), &token, "m", 1, Behaviour::default()).await;
    let agent = fleet.ids[0].to_string();
    apis[1].connected("m-0").await;
    // In turns, so that whatever else the machine does falls on both alike.
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        own.push(round(&apis[0], &agent).await);
        other.push(round(&apis[1], &agent).await);
    }
    let (own, other) = (figures(own), figures(other));
    println!("through its own node         p50 {:>9.2?}  p99 {:>9.2?}", own.0, own.1);
    println!("through another node         p50 {:>9.2?}  p99 {:>9.2?}", other.0, other.1);
    println!("  {:.2?} more at p50", other.0.saturating_sub(own.0));
}

async fn round(api: &Api, agent: &str) -> Duration {
    let begun = Instant::now();
    let ended = api.post(&format!("/agents/{agent}/command"), &json!({ "command": "x" })).await;
    assert_eq!(ended["status"], "completed");
    begun.elapsed()
}

/// The median, and what one in a hundred exceeds.
fn figures(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    (at(50), at(99))
}
