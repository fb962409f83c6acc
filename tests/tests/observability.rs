//! What the server tells of itself: figures, health, and what is made of them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use muster_tests::{Agent, EventSource, Server, eventually};
use reqwest::{Client, Method};
use serde_json::{Value, json};

/// One line of figures: the name, the labels as they stand there, the value.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: String,
    value: f64,
}

/// Reads Prometheus' text format, and that each figure has a type before it is told.
fn parse(text: &str) -> Vec<Sample> {
    let mut types = BTreeMap::new();
    let mut samples = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line} twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap();
        let whole = ["_bucket", "_sum", "_count"].iter().find_map(|it| name.strip_suffix(it));
        let kind =
            types.get(name).or_else(|| types.get(whole?)).unwrap_or_else(|| panic!("{line}"));
        if kind == "counter" {
            assert!(name.ends_with("_total"), "{line}");
        }
        samples.push(Sample {
            name: name.to_owned(),
            labels: labels.to_owned(),
            value: value.parse().unwrap_or_else(|_| panic!("{line}")),
        });
    }
    samples
}

fn value(samples: &[Sample], name: &str, label: &str) -> Option<f64> {
    let found = samples.iter().find(|it| it.name == name && it.labels.contains(label))?;
    Some(found.value)
}

/// A server with a listener for scrapers, where that is, and an agent that ran a command.
async fn watched() -> (Server, Agent, String, String) {
    let server = Server::start_with(&[
        ("MUSTER_METRICS_LISTEN", "127.0.0.1:0"),
        ("MUSTER_LOG_FORMAT", "json"),
    ])
    .await;
    let api = server.admin().await;
    let token = api.enrollment_token("Secret Customer").await;
    let agent = Agent::start(&server, "web-01", &token);
    let id = api.connected("web-01").await;
    let command = api.queue(&id, &json!({ "command": "echo hidden" })).await;
    assert_eq!(api.ended(&command).await["status"], "completed");
    let address = eventually("figures are served", async || {
        let log = server.log();
        let line = log.lines().find(|line| line.contains("metrics are served"))?.to_owned();
        let line: Value = serde_json::from_str(&line).unwrap();
        Some(line["server.address"].as_str().unwrap().to_owned())
    });
    let scrape = format!("http://{}/metrics", address.await);
    (server, agent, id, scrape)
}

async fn scrape(url: &str) -> String {
    let answer = reqwest::get(url).await.unwrap().error_for_status().unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn a_scrape_tells_what_happened_and_nothing_of_whom() {
    let (server, _agent, id, url) = watched().await;
    let api = server.admin().await;
    for path in ["/no-such-path-7", "/agents/no-such-agent-7"] {
        api.request(Method::GET, path).send().await.unwrap();
    }
    let brew = Method::from_bytes(b"BREW").unwrap();
    api.request(brew, "/agents").send().await.unwrap();
    let text = scrape(&url).await;
    let samples = parse(&text);
    let told = |name: &str, label: &str| value(&samples, name, label);
    assert_eq!(told("muster_commands_total", "status=\"completed\""), Some(1.0));
    assert_eq!(told("muster_commands_total", "status=\"pending\""), Some(1.0));
    assert_eq!(told("muster_agent_connections", "transport=\"websocket\""), Some(1.0));
    assert_eq!(told("muster_agents_connected", ""), Some(1.0));
    assert_eq!(told("muster_build_info", "version="), Some(1.0));
    assert_eq!(told("muster_database_readers_in_use", ""), Some(0.0));
    assert!(told("muster_database_commit_duration_seconds_count", "").unwrap() > 5.0);
    let queued = "method=\"POST\",route=\"/agents/{id}/commands\",status=\"202\"";
    assert_eq!(told("muster_http_request_duration_seconds_count", queued), Some(1.0));
    if cfg!(target_os = "linux") {
        assert!(told("process_resident_memory_bytes", "").unwrap() > 1e6);
        assert!(told("process_open_fds", "").unwrap() > 3.0);
    }
    for private in [id.as_str(), "Secret Customer", "web-01", "hidden", "no-such", "BREW"] {
        assert!(!text.contains(private), "{private}");
    }
}

#[tokio::test]
async fn figures_are_for_admins_and_for_whoever_reaches_the_listener_of_scrapers() {
    let (server, _agent, _, url) = watched().await;
    let api = server.admin().await;
    let own = api.request(Method::GET, "/metrics").send().await.unwrap();
    assert!(!parse(&own.text().await.unwrap()).is_empty());
    assert_eq!(
        reqwest::get(format!("{}/api/v1/metrics", server.url())).await.unwrap().status(),
        401
    );
    assert_eq!(reqwest::get(format!("{}/metrics", server.url())).await.unwrap().status(), 404);
    // That listener has nothing else.
    let other = url.replace("/metrics", "/api/v1/system/health");
    assert_eq!(Client::new().get(other).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn health_tells_of_each_thing_that_the_server_needs() {
    let server = Server::start().await;
    for (path, status) in [("db", "healthy"), ("redis", "not_configured")] {
        let url = format!("{}/api/v1/health/{path}", server.url());
        let answer: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], status);
        assert_eq!(answer["latency_ms"].is_number(), status == "healthy", "{answer}");
    }
}

/// The names of figures in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = |word: &&str| word.starts_with("muster_") || word.starts_with("process_");
    words.filter(ours).map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn what_is_delivered_for_prometheus_and_grafana_uses_figures_that_there_are() {
    let (server, _agent, _, url) = watched().await;
    let api = server.admin().await;
    let mut events = EventSource::open(&api, "/events", None).await;
    let listening = tokio::spawn(async move { while events.next().await.is_some() {} });
    let token = api.enrollment_token("Other").await;
    let _other = Agent::start(&server, "web-02", &token);
    let known = eventually("all figures are told", async || {
        let known: BTreeSet<_> = parse(&scrape(&url).await).into_iter().map(|it| it.name).collect();
        let late = ["muster_metric_samples_waiting", "muster_event_listener_lag_events_bucket"];
        late.iter().all(|name| known.contains(*name)).then_some(known)
    })
    .await;
    listening.abort();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let rules = std::fs::read_to_string(root.join("deploy/prometheus/rules.yml")).unwrap();
    let board = std::fs::read_to_string(root.join("deploy/grafana/muster.json")).unwrap();
    serde_json::from_str::<Value>(&board).unwrap();
    for (file, text) in [("rules.yml", rules), ("muster.json", board)] {
        let used = names(&text);
        assert!(used.len() > 5, "{file}: {used:?}");
        for name in used {
            assert!(known.contains(&name), "{file}: {name}");
        }
    }
}
