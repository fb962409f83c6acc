//! How machines fare over time: from a heartbeat to the points that people see.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use muster_protocol::{AgentMessage, Heartbeat, Metrics, ServerMessage};
use muster_tests::{Api, Enrolled, RawAgent, Server, eventually};
use reqwest::Method;
use serde_json::{Value, json};

fn beat(cpu_percent: f32, received: u64, uptime_seconds: u64) -> AgentMessage {
    let metrics = Metrics {
        cpu_percent,
        memory_percent: 40.0,
        disk_percent: 70.5,
        network_rx_bytes: received,
        network_tx_bytes: 0,
        processes: 99,
        uptime_seconds,
    };
    AgentMessage::Heartbeat(Heartbeat { metrics })
}

/// Says it, and waits until the server has heard it.
async fn say(agent: &mut RawAgent, beat: AgentMessage) {
    agent.say(&beat).await.unwrap();
    while !matches!(agent.hear().await.unwrap(), ServerMessage::HeartbeatAck(_)) {}
}

/// The points of the last day in one, when there are so many samples.
async fn day(api: &Api, id: &str, samples: u64) -> Value {
    eventually("the heartbeats show", async || {
        let series = api.get(&format!("/agents/{id}/metrics?step=86400")).await;
        let points = series["points"].as_array().unwrap();
        let number: u64 = points.iter().map(|point| point["samples"].as_u64().unwrap()).sum();
        (number == samples).then(|| points.last().unwrap().clone())
    })
    .await
}

#[tokio::test]
async fn what_a_machine_says_shows_within_seconds_and_is_kept() {
    let mut server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let enrolled = Enrolled::register(&server.url(), &token, "web").await;
    let id = enrolled.agent_id.to_string();
    let (mut agent, _) = RawAgent::welcomed(&server.url(), &enrolled, Vec::new()).await;
    say(&mut agent, beat(10.0, 5_000, 900)).await;
    say(&mut agent, beat(30.0, 6_000, 930)).await;
    // It has rebooted, and counts from nothing.
    say(&mut agent, beat(20.0, 300, 5)).await;
    let point = day(&api, &id, 3).await;
    assert_eq!(point["cpu_percent"], json!({ "min": 10.0, "avg": 20.0, "max": 30.0 }));
    assert_eq!(point["processes"]["avg"], 99.0);
    assert_eq!(point["uptime_seconds"], 5);
    assert!(point["network_rx"]["avg"].as_u64() < point["network_rx"]["max"].as_u64());
    let told = api.get(&format!("/agents/{id}/metrics?step=60")).await;
    assert_eq!((&told["resolution"], &told["step"]), (&json!("samples"), &json!(60)));

    // What came last is written before a server ends.
    say(&mut agent, beat(20.0, 400, 35)).await;
    assert!(server.stop());
    server.restart().await;
    let api = server.admin().await;
    day(&api, &id, 4).await;
    // And what is shown is not lost when it is killed.
    let written = api.put(&format!("/agents/{id}"), &json!({ "notes": "after it" })).await;
    assert_eq!(written["notes"], "after it");
    server.kill();
    server.restart().await;
    day(&server.admin().await, &id, 4).await;
}

#[tokio::test]
async fn machines_without_a_connection_are_measured_too() {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let enrolled = Enrolled::register(&server.url(), &token, "polled").await;
    let agent = api.with_token(&enrolled.agent_token);
    let metrics = json!({
        "cpu_percent": 12.5, "memory_percent": 1, "disk_percent": 2, "network_rx_bytes": 3,
        "network_tx_bytes": 4, "processes": 5, "uptime_seconds": 6,
    });
    agent.post("/agent/heartbeat", &json!({ "metrics": metrics })).await;
    let point = day(&api, &enrolled.agent_id.to_string(), 1).await;
    assert_eq!(point["cpu_percent"]["avg"], 12.5);
    assert_eq!(point["network_rx"], Value::Null, "one heartbeat makes no rate");
}

#[tokio::test]
async fn what_can_not_be_answered_says_what_can() {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let id = Enrolled::register(&server.url(), &token, "web").await.agent_id;
    let path = format!("/agents/{id}/metrics");
    assert_eq!(api.get(&path).await["points"], json!([]));
    for (query, pointer) in [
        ("from=2026-11-21T12:00:00Z&to=2026-11-21T11:00:00Z", "/from"),
        ("step=1", "/step"),
        ("from=2026-01-01T00:00:00Z&to=2028-01-01T00:00:00Z&step=3600", "/step"),
    ] {
        let answer = api.request(Method::GET, &format!("{path}?{query}")).send().await.unwrap();
        assert_eq!(answer.status(), 422, "{query}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let unreadable = api.problem(Method::GET, &format!("{path}?from=noon"), &json!({})).await;
    assert_eq!(unreadable.0, 400);
    let gone = format!("/agents/{id}");
    api.request(Method::DELETE, &gone).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(api.problem(Method::GET, &path, &json!({})).await.0, 404);
}
