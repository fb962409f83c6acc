//! Traces by OpenTelemetry: what a collector is told, and what it costs when it is away.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::time::{Duration, Instant};

use muster_tests::collector::{Collector, Mood, Seen};
use muster_tests::{Agent, Api, Server, eventually};
use reqwest::Method;
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const MARKER: &str = "marker-of-this-text";
const KEY: &str = "key-of-the-collector";

/// A server whose traces go to the collector.
async fn traced(collector: &Collector, more: &[(&str, &str)]) -> Server {
    let (endpoint, headers) = (collector.endpoint(), format!("x-collector-key={KEY}"));
    let settings =
        [("MUSTER_OTLP_ENDPOINT", endpoint.as_str()), ("MUSTER_OTLP_HEADERS", headers.as_str())];
    Server::start_with(&[&settings, more].concat()).await
}

/// An agent of the server that logs everything, and its id.
async fn agent(server: &Server, api: &Api) -> (Agent, String) {
    let token = api.enrollment_token("Acme").await;
    let agent = Agent::start_with(server, "web-01", &token, &[("RUST_LOG", "debug")]);
    (agent, api.connected("web-01").await)
}

/// Gives a command as part of the caller's trace, with these flags, and waits for its end.
async fn give(api: &Api, agent: &str, command: &str, flags: &str) -> String {
    let given = api
        .request(Method::POST, &format!("/agents/{agent}/commands"))
        .header("traceparent", format!("00-{TRACE}-{CALLER}-{flags}"))
        .json(&json!({ "command": command }))
        .send()
        .await
        .unwrap();
    let given: Value = given.error_for_status().unwrap().json().await.unwrap();
    let id = given["command_id"].as_str().unwrap().to_owned();
    api.ended(&id).await;
    id
}

/// The one span of this name in the caller's trace, once it has come.
async fn span(collector: &Collector, name: &str) -> Seen {
    let of_trace = |span: &Seen| span.trace_id == TRACE && span.name == name;
    eventually(name, async || collector.spans().into_iter().find(of_trace)).await
}

#[tokio::test]
async fn a_call_leads_to_one_trace_up_to_the_end_of_the_command_and_tells_no_secret() {
    // Traces do not go by what is logged.
    for level in ["warn", "info", "debug"] {
        follow_a_call(level).await;
    }
}

async fn follow_a_call(level: &str) {
    let collector = Collector::start(Mood::Takes);
    let server = traced(&collector, &[("RUST_LOG", level)]).await;
    let api = server.admin().await;
    let (agent, id) = agent(&server, &api).await;
    api.get(&format!("/agents?q={MARKER}")).await;
    let command = give(&api, &id, &format!("echo {MARKER}; sleep 0.2; exit 3"), "01").await;

    let request = span(&collector, "POST /api/v1/agents/{id}/commands").await;
    let submit = span(&collector, "command.submit").await;
    let deliver = span(&collector, "command.deliver").await;
    let run = span(&collector, "command.run").await;
    assert_eq!(request.parent_id, CALLER);
    assert_eq!(submit.parent_id, request.span_id);
    assert_eq!(deliver.parent_id, request.span_id);
    assert_eq!(run.parent_id, deliver.span_id);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/api/v1/agents/{id}/commands"),
        ("http.response.status_code", "202"),
    ] {
        assert_eq!(request.attributes[name], value, "{request:?}");
    }
    for span in [&submit, &deliver, &run] {
        assert_eq!(span.attributes["muster.command_id"], command, "{span:?}");
    }
    assert_eq!(run.attributes["process.exit.code"], "3");
    assert_eq!(run.attributes["muster.outcome"], "failed");
    assert_eq!(run.events, ["accepted"]);
    let took = run.times.1 - run.times.0;
    assert!((150_000_000..30_000_000_000).contains(&took), "{took} ns");
    assert!(deliver.times.0 <= run.times.0 && submit.times.0 <= deliver.times.0);

    let told = format!("00-{TRACE}-{}-01", deliver.span_id);
    let log = agent.log();
    let line = log.lines().find(|line| line.contains(&told));
    assert!(line.is_some_and(|line| line.contains(&command)), "{log}");

    for secret in [MARKER, muster_tests::PASSWORD, api.token(), KEY] {
        assert!(!collector.heard_of(secret), "{secret}");
    }
    assert!(collector.keys().iter().all(|key| key == KEY));
    assert!(!server.log().contains(KEY));
}

#[tokio::test]
async fn a_caller_who_keeps_no_trace_and_a_ratio_of_zero_lead_to_no_spans() {
    let collector = Collector::start(Mood::Takes);
    let mut server = traced(&collector, &[("MUSTER_OTLP_SAMPLE_RATIO", "0")]).await;
    let api = server.admin().await;
    let (agent, id) = agent(&server, &api).await;
    give(&api, &id, "true", "00").await;
    let command = api.queue(&id, &json!({ "command": "true" })).await;
    api.ended(&command).await;
    assert!(!agent.log().contains("traceparent"), "the agent is told of no trace");
    assert!(server.stop(), "what is left is sent before it ends");
    assert_eq!(collector.requests(), 0);
}

#[tokio::test]
async fn what_is_left_is_sent_before_the_server_ends() {
    let collector = Collector::start(Mood::Takes);
    let mut server = traced(&collector, &[]).await;
    let api = server.admin().await;
    api.get("/agents").await;
    assert!(server.stop());
    let spans = collector.spans();
    assert!(spans.iter().any(|span| span.name == "GET /api/v1/agents"), "{spans:?}");
}

#[tokio::test]
async fn what_a_run_does_at_once_belongs_to_the_trace_of_its_request() {
    let collector = Collector::start(Mood::Takes);
    let server = traced(&collector, &[]).await;
    let api = server.admin().await;
    let (_agent, id) = agent(&server, &api).await;
    let wish = json!({ "command": "true", "target": { "agent_ids": [id] } });
    let run = api
        .request(Method::POST, "/runs")
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .json(&wish)
        .send()
        .await
        .unwrap();
    let run: Value = run.error_for_status().unwrap().json().await.unwrap();
    api.run_ended(run["id"].as_str().unwrap()).await;
    let request = span(&collector, "POST /api/v1/runs").await;
    let deliver = span(&collector, "command.deliver").await;
    let ran = span(&collector, "command.run").await;
    assert_eq!((deliver.parent_id, ran.parent_id), (request.span_id, deliver.span_id));
    assert_eq!(deliver.attributes["muster.run_id"], run["id"].as_str().unwrap());
    assert_eq!(ran.attributes["muster.run_id"], run["id"].as_str().unwrap());
}

#[tokio::test]
async fn a_server_that_was_killed_shows_the_end_of_a_command_in_a_trace_of_its_own() {
    let collector = Collector::start(Mood::Takes);
    let mut server = traced(&collector, &[]).await;
    let api = server.admin().await;
    let (_agent, id) = agent(&server, &api).await;
    let command = api.queue(&id, &json!({ "command": "sleep 2" })).await;
    eventually("it runs", async || {
        let command = api.get(&format!("/commands/{command}")).await;
        (command["status"] == "running").then_some(())
    })
    .await;
    server.kill();
    server.restart().await;
    server.admin().await.ended(&command).await;
    let ended = eventually("its end is shown", async || {
        let spans = collector.spans();
        spans.into_iter().find(|span| span.name == "command.run")
    })
    .await;
    assert_eq!(ended.attributes["muster.command_id"], command);
    assert_eq!(ended.parent_id, "", "{ended:?}");
    assert!(ended.times.1 - ended.times.0 >= 1_500_000_000, "{ended:?}");
}

#[tokio::test]
async fn a_collector_that_fails_or_hangs_slows_nobody_and_is_told_of_once() {
    for mood in [Mood::Fails, Mood::Hangs] {
        let collector = Collector::start(mood);
        let mut server = traced(&collector, &[]).await;
        let api = server.admin().await;
        eventually("the collector is tried", async || (collector.requests() > 0).then_some(()))
            .await;
        let begun = Instant::now();
        for _ in 0..50 {
            assert!(
                api.request(Method::GET, "/agents").send().await.unwrap().status().is_success()
            );
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{mood:?}: {:?}", begun.elapsed());
        eventually("the log says so", async || {
            server.log().contains("takes no traces").then_some(())
        })
        .await;
        api.request(Method::GET, "/agents").send().await.unwrap();
        let begun = Instant::now();
        assert!(server.stop(), "{mood:?}: it ends well");
        assert!(begun.elapsed() < Duration::from_secs(25), "{mood:?}: {:?}", begun.elapsed());
        assert_eq!(server.log().matches("takes no traces").count(), 1, "{mood:?}");
    }
}

#[tokio::test]
async fn traces_are_off_unless_somebody_asks_for_them() {
    let collector = Collector::start(Mood::Takes);
    // Named as other programs are told of it.
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())];
    let settings = settings.iter().map(|(name, value)| (*name, value.as_str()));
    let mut server = Server::start_with(&settings.collect::<Vec<_>>()).await;
    let api = server.admin().await;
    let (agent, id) = agent(&server, &api).await;
    give(&api, &id, "true", "01").await;
    assert!(!agent.log().contains("traceparent"), "the agent is told of no trace");
    assert!(server.stop());
    assert_eq!(collector.requests(), 0);
}
