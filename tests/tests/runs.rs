//! One order to many machines.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use muster_tests::{
    Agent, Api, Behaviour, EventSource, Fleet, PASSWORD, Server, ServerEvent, eventually,
};
use rand::RngExt;
use reqwest::Method;
use serde_json::{Value, json};

async fn world(size: usize, behaviour: Behaviour) -> (Server, Api, Fleet) {
    let server = Server::start().await;
    let api = server.admin().await;
    api.put("/settings", &json!({ "rate_limits": false })).await;
    let token = api.enrollment_token("Acme").await;
    let fleet = Fleet::start(&server.url(), &token, "m", size, behaviour).await;
    (server, api, fleet)
}

async fn start(api: &Api, strategy: Value) -> String {
    let wish = json!({ "target": { "all": true }, "command": "x", "strategy": strategy });
    api.post("/runs", &wish).await["id"].as_str().unwrap().to_owned()
}

fn quick() -> Behaviour {
    Behaviour { takes: Duration::from_millis(20), ..Behaviour::default() }
}

#[tokio::test]
async fn a_run_reaches_the_machines_that_pass_everything_its_target_asks_for() {
    let (_server, api, fleet) = world(6, quick()).await;
    for number in 0..4 {
        let tags = if number < 2 { json!(["web", "eu"]) } else { json!(["web"]) };
        api.put(&format!("/agents/{}", fleet.ids[number]), &json!({ "tags": tags })).await;
    }
    let totals = async |target: Value| {
        let wish = json!({ "target": target, "command": "uptime" });
        api.post("/runs/preview", &wish).await["total"].as_u64().unwrap()
    };
    let named: Vec<_> = fleet.ids[1..4].iter().map(ToString::to_string).collect();
    assert_eq!(totals(json!({ "all": true })).await, 6);
    assert_eq!(totals(json!({ "tags": ["web"] })).await, 4);
    assert_eq!(totals(json!({ "tags": ["web", "eu"] })).await, 2);
    assert_eq!(totals(json!({ "agent_ids": named })).await, 3);
    assert_eq!(totals(json!({ "agent_ids": named, "tags": ["eu"] })).await, 1);
    assert_eq!(totals(json!({ "os_type": "linux", "all": true })).await, 6);
    assert_eq!(fleet.record.started(), 0, "a preview runs nothing");

    let wish = json!({ "target": { "tags": ["web"] }, "command": "uptime" });
    let run = api.post("/runs", &wish).await;
    let run = api.run_ended(run["id"].as_str().unwrap()).await;
    assert_eq!((&run["status"], &run["total"]), (&json!("completed"), &json!(4)));
    assert_eq!(run["counts"]["completed"], 4);
    let mut machines = fleet.record.order.lock().clone();
    machines.sort_unstable();
    assert_eq!(machines, [0, 1, 2, 3]);
    let path = format!("/runs/{}/commands?status=completed", run["id"].as_str().unwrap());
    assert_eq!(api.get(&path).await["total"], 4);
}

#[tokio::test]
async fn a_target_that_means_nobody_or_somebody_unknown_is_refused_and_runs_nothing() {
    let (_server, api, fleet) = world(1, quick()).await;
    let stranger = "0190163d-8694-739b-aea5-966c26f8ad91";
    let known = fleet.ids[0].to_string();
    for (target, expected) in [
        (json!({}), (422, "VALIDATION_FAILED")),
        (json!({ "tags": ["nobody"] }), (422, "VALIDATION_FAILED")),
        (json!({ "all": true, "agent_ids": [known] }), (422, "VALIDATION_FAILED")),
        (json!({ "everyone": true }), (422, "VALIDATION_FAILED")),
        (json!({ "agent_ids": [known, stranger] }), (404, "NOT_FOUND")),
        (json!({ "customer_id": stranger }), (422, "VALIDATION_FAILED")),
    ] {
        let wish = json!({ "target": target, "command": "x" });
        let (status, code) = api.problem(Method::POST, "/runs", &wish).await;
        assert_eq!((status, code.as_str()), expected, "{target}");
    }
    let all = || json!({ "all": true });
    for wish in [
        json!({ "target": all() }),
        json!({ "target": all(), "command": " " }),
        json!({ "target": all(), "command": "x", "strategy": { "canary": 0 } }),
        json!({ "target": all(), "command": "x", "strategy": { "max_concurrency": 0 } }),
        json!({ "target": all(), "command": "x", "strategy": { "max_failures": -1 } }),
        json!({ "target": all(), "command": "x", "script_id": stranger }),
        json!({ "target": all(), "command": "x", "expires_in": 0 }),
    ] {
        assert_eq!(api.problem(Method::POST, "/runs", &wish).await.0, 422, "{wish}");
    }
    assert_eq!(api.get("/runs").await["total"], 0);
    assert_eq!(fleet.record.started(), 0);
}

#[tokio::test]
async fn no_more_machines_work_at_a_time_than_the_strategy_allows() {
    let (_server, api, fleet) = world(30, quick()).await;
    let run = api.run_ended(&start(&api, json!({ "max_concurrency": 3 })).await).await;
    assert_eq!(run["counts"]["completed"], 30);
    assert_eq!(fleet.record.started(), 30);
    assert!(fleet.record.peak.load(Ordering::SeqCst) <= 3);
}

#[tokio::test]
async fn when_one_of_the_first_machines_fails_no_other_one_ever_begins() {
    // Every machine fails, so whichever go first do.
    let failing = Behaviour { failing: (0..30).collect(), ..quick() };
    let (_server, api, fleet) = world(30, failing).await;
    let run = api.run_ended(&start(&api, json!({ "canary": 2 })).await).await;
    assert_eq!((&run["status"], &run["stop_reason"]), (&json!("failed"), &json!("CANARY_FAILED")));
    assert_eq!(run["counts"]["cancelled"], 28);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(fleet.record.started() <= 2, "{:?}", fleet.record.order);
}

#[tokio::test]
async fn the_others_begin_when_the_first_machines_have_completed() {
    let (_server, api, fleet) = world(10, quick()).await;
    let run = api.run_ended(&start(&api, json!({ "canary": 3 })).await).await;
    assert_eq!((&run["status"], &run["counts"]["completed"]), (&json!("completed"), &json!(10)));
    assert_eq!(fleet.record.started(), 10);
}

#[tokio::test]
async fn more_failures_than_may_be_stop_a_run() {
    let failing = Behaviour { failing: (0..40).collect(), ..quick() };
    let (_server, api, fleet) = world(40, failing).await;
    let run = start(&api, json!({ "max_concurrency": 4, "max_failures": 3 })).await;
    let run = api.run_ended(&run).await;
    assert_eq!(run["stop_reason"], "TOO_MANY_FAILURES");
    assert!(run["counts"]["failed"].as_u64().unwrap() > 3);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = fleet.record.started();
    assert!((4..=7).contains(&started), "{started}");

    let run = api.run_ended(&start(&api, json!({ "max_failures": 0 })).await).await;
    assert_eq!(run["counts"]["failed"], 1, "a bound on failures alone lets nobody hurry");
    assert_eq!(fleet.record.started(), started + 1);
}

#[tokio::test]
async fn a_run_that_is_cancelled_lets_nobody_else_begin() {
    let takes = Duration::from_secs(2);
    let stubborn = Behaviour { takes, ignores_cancel: true, ..quick() };
    let (_server, api, fleet) = world(20, stubborn).await;
    let run = start(&api, json!({ "max_concurrency": 5 })).await;
    eventually("five begin", async || (fleet.record.started() == 5).then_some(())).await;
    let cancelled = api.request(Method::POST, &format!("/runs/{run}/cancel")).send().await.unwrap();
    assert_eq!(cancelled.status(), 202);
    // These machines do not obey: their word counts.
    let run = api.run_ended(&run).await;
    assert_eq!((&run["status"], &run["stop_reason"]), (&json!("cancelled"), &json!("CANCELLED")));
    assert_eq!((&run["counts"]["cancelled"], &run["counts"]["completed"]), (&json!(15), &json!(5)));
    assert_eq!(fleet.record.started(), 5);
    let path = format!("/runs/{}/cancel", run["id"].as_str().unwrap());
    let again = api.problem(Method::POST, &path, &json!({})).await;
    assert_eq!(again, (409, "WRONG_STATE".into()));
}

#[tokio::test]
async fn a_run_that_is_paused_waits_and_goes_on_when_it_may() {
    // It goes on for longer than the request to pause it is under way.
    let behaviour = Behaviour { takes: Duration::from_secs(1), ..quick() };
    let (_server, api, fleet) = world(8, behaviour).await;
    let wish = json!({ "target": { "all": true }, "command": "x", "strategy": { "canary": 1 } });
    // Paused at once: the first machine may have begun.
    let run = api.post("/runs", &wish).await["id"].as_str().unwrap().to_owned();
    let paused = api.post(&format!("/runs/{run}/pause"), &json!({})).await;
    if paused["status"] == "paused" {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let before = fleet.record.started();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(fleet.record.started(), before);
    }
    api.post(&format!("/runs/{run}/resume"), &json!({})).await;
    assert_eq!(api.run_ended(&run).await["counts"]["completed"], 8);
}

#[tokio::test]
async fn the_failed_machines_are_tried_again_as_a_run_of_their_own() {
    let behaviour = Behaviour { failing: vec![1, 4], ..quick() };
    let (_server, api, fleet) = world(6, behaviour).await;
    let first = api.run_ended(&start(&api, json!({})).await).await;
    assert_eq!((&first["status"], &first["counts"]["failed"]), (&json!("failed"), &json!(2)));
    let first_id = first["id"].as_str().unwrap();
    let again = api.post(&format!("/runs/{first_id}/retry"), &json!({})).await;
    assert_eq!((&again["retry_of"], &again["total"]), (&first["id"], &json!(2)));
    api.run_ended(again["id"].as_str().unwrap()).await;
    let mut last: Vec<_> = fleet.record.order.lock().iter().rev().take(2).copied().collect();
    last.sort_unstable();
    assert_eq!(last, [1, 4]);
    assert_eq!(api.get(&format!("/runs?retry_of={first_id}")).await["total"], 1);
}

#[tokio::test]
async fn the_same_request_again_is_the_same_run() {
    let (_server, api, fleet) = world(3, quick()).await;
    let send = async |command: &str| {
        let wish = json!({ "target": { "all": true }, "command": command });
        let request = api.request(Method::POST, "/runs").header("Idempotency-Key", "k").json(&wish);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["id"].clone())
    };
    let (first, again) = (send("x").await, send("x").await);
    assert_eq!(first, again);
    assert_eq!(send("y").await.0, 409);
    api.run_ended(first.1.as_str().unwrap()).await;
    assert_eq!(fleet.record.started(), 3);
}

#[tokio::test]
async fn a_machine_that_is_away_gets_its_command_when_it_is_back_or_not_at_all() {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let mut agent = Agent::start(&server, "laptop", &token);
    api.connected("laptop").await;
    assert!(agent.stop());
    let wish = |expires_in: f64| {
        json!({ "target": { "all": true }, "command": "echo back", "expires_in": expires_in,
            "strategy": { "max_concurrency": 1 } })
    };
    let late = api.post("/runs", &wish(1.0)).await;
    let late = api.run_ended(late["id"].as_str().unwrap()).await;
    assert_eq!((&late["status"], &late["counts"]["expired"]), (&json!("failed"), &json!(1)));
    let patient = api.post("/runs", &wish(600.0)).await;
    agent.restart();
    let patient = api.run_ended(patient["id"].as_str().unwrap()).await;
    assert_eq!(patient["status"], "completed");
}

/// The states of each command, in the order of the events.
fn states(events: &[ServerEvent]) -> BTreeMap<String, Vec<String>> {
    let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.name == "command") {
        let text = |name: &str| event.data[name].as_str().unwrap().to_owned();
        states.entry(text("command_id")).or_default().push(text("status"));
    }
    states
}

#[tokio::test]
async fn a_listener_hears_each_change_once_in_order_also_when_it_was_cut_off() {
    let behaviour = Behaviour { output: "hello".into(), failing: vec![7], ..quick() };
    let (_server, api, _fleet) = world(50, behaviour).await;
    let run = start(&api, json!({ "max_concurrency": 10 })).await;
    let path = format!("/runs/{run}/events");
    let mut stream = EventSource::open(&api, &path, None).await;
    let mut events = Vec::new();
    for _ in 0..40 {
        events.push(stream.next().await.unwrap());
    }
    drop(stream);
    let last = events.last().unwrap().id.clone().unwrap();
    events.extend(EventSource::open(&api, &path, Some(&last)).await.until("finished").await);

    let ids: BTreeSet<_> = events.iter().map(|event| event.id.clone().unwrap()).collect();
    assert_eq!(ids.len(), events.len(), "no event twice");
    let states = states(&events);
    assert_eq!(states.len(), 50);
    for (command, states) in &states {
        let good = states == &["running", "completed"] || states == &["running", "failed"];
        assert!(good, "{command}: {states:?}");
    }
    let outputs = events.iter().filter(|event| event.name == "output");
    assert!(outputs.clone().all(|event| event.data["text"] == "hello"));
    assert_eq!(outputs.count(), 50);
    let finished = &events.last().unwrap().data;
    assert_eq!((&finished["completed"], &finished["failed"]), (&json!(49), &json!(1)));
    // From the beginning again, and from where nobody ever was.
    let whole = EventSource::open(&api, &path, None).await.until("finished").await;
    assert_eq!(whole, events);
    let mut elsewhere = EventSource::open(&api, &path, Some("elsewhere-3")).await;
    assert_eq!(elsewhere.next().await.unwrap().name, "reset");
    assert_eq!(elsewhere.next().await.unwrap().name, "finished");
    assert_eq!(elsewhere.next().await, None);
}

#[tokio::test]
async fn everybody_hears_of_what_they_may_see_and_of_nothing_else() {
    let (_server, api, fleet) = world(2, quick()).await;
    let other = api.customer("Other").await;
    let acme = api.get(&format!("/agents/{}", fleet.ids[0])).await["customer_id"].clone();
    let (own, _) = api.key(acme.as_str().unwrap(), &["agents:read"]).await;
    let (foreign, _) = api.key(&other, &["agents:read"]).await;
    let mut all = EventSource::open(&api, "/events", None).await;
    let mut mine = EventSource::open(&own, "/events?topics=commands", None).await;
    let mut theirs = EventSource::open(&foreign, "/events", None).await;
    let run = start(&api, json!({})).await;
    api.run_ended(&run).await;
    let seen = all.until("run").await;
    assert!(seen.iter().any(|event| event.data["run_id"] == json!(run)));
    for _ in 0..4 {
        let event = mine.next().await.unwrap();
        assert_eq!((event.name.as_str(), &event.data["customer_id"]), ("command", &acme));
    }
    let nothing = tokio::time::timeout(Duration::from_secs(2), theirs.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    assert_eq!(api.problem(Method::GET, "/events?topics=all", &json!({})).await.0, 400);
}

#[tokio::test]
async fn a_machine_that_comes_or_goes_is_told_of() {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let mut events = EventSource::open(&api, "/events?topics=agents", None).await;
    let mut agent = Agent::start(&server, "laptop", &token);
    let id = api.connected("laptop").await;
    let came = events.next().await.unwrap();
    assert_eq!((came.name.as_str(), &came.data["status"]), ("agent", &json!("online")));
    let begun = events.next().await.unwrap();
    assert_eq!((begun.name.as_str(), &begun.data["connected"]), ("connection", &json!(true)));
    assert!(agent.stop());
    let went = events.next().await.unwrap();
    assert_eq!((&went.data["agent_id"], &went.data["connected"]), (&json!(id), &json!(false)));
}

#[tokio::test]
async fn a_run_over_several_customers_is_seen_by_those_who_see_all_of_them() {
    let (server, api, fleet) = world(1, quick()).await;
    let token = api.enrollment_token("Other").await;
    let theirs = Fleet::start(&server.url(), &token, "o", 1, quick()).await;
    let acme = api.get(&format!("/agents/{}", fleet.ids[0])).await["customer_id"].clone();
    let user = api.colleague("ann").await;
    api.put(&format!("/users/{user}/customers"), &json!({ "customer_ids": [acme] })).await;
    let ann = api.login("ann").await;

    let both = start(&api, json!({})).await;
    assert_eq!(api.run_ended(&both).await["total"], 2);
    let path = format!("/runs/{both}");
    assert_eq!(ann.problem(Method::GET, &path, &json!({})).await.0, 404);
    assert_eq!(ann.problem(Method::POST, &format!("{path}/cancel"), &json!({})).await.0, 404);
    assert_eq!(ann.problem(Method::GET, &format!("{path}/events"), &json!({})).await.0, 404);
    let hers = start(&ann, json!({})).await;
    assert_eq!(ann.run_ended(&hers).await["total"], 1, "all that she may use");
    assert_eq!(ann.get("/runs").await["total"], 1);
    let wish = json!({ "target": { "agent_ids": [theirs.ids[0]] }, "command": "x" });
    assert_eq!(ann.problem(Method::POST, "/runs", &wish).await.0, 404);
}

#[tokio::test]
async fn who_may_only_run_what_is_in_the_library_runs_no_text_of_their_own() {
    let (_server, api, fleet) = world(1, quick()).await;
    let user = api.colleague("rob").await;
    api.post(&format!("/admin/users/{user}/set-role"), &json!({ "role": "runner" })).await;
    let rob = api.login("rob").await;
    let wish = json!({ "target": { "all": true }, "command": "x" });
    assert_eq!(rob.problem(Method::POST, "/runs", &wish).await, (403, "FORBIDDEN".into()));
    let path = format!("/agents/{}/commands", fleet.ids[0]);
    assert_eq!(rob.problem(Method::POST, &path, &json!({ "command": "x" })).await.0, 403);
    assert_eq!(fleet.record.started(), 0);
}

#[tokio::test]
async fn a_run_on_very_many_machines_takes_somebody_who_sits_there() {
    let (server, api, fleet) = world(101, quick()).await;
    let confirmation = json!({ "password": PASSWORD });
    server.sql("UPDATE sessions SET confirmed_at = 1").await;
    // What was known of the session is looked up again by now.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let wish = json!({ "target": { "all": true }, "command": "x" });
    let refused = api.problem(Method::POST, "/runs", &wish).await;
    assert_eq!(refused, (403, "CONFIRMATION_REQUIRED".into()));
    assert_eq!(fleet.record.started(), 0);
    api.post("/auth/confirm", &confirmation).await;
    let run = start(&api, json!({})).await;
    assert_eq!(api.run_ended(&run).await["counts"]["completed"], 101);
}

#[tokio::test]
async fn a_run_ends_as_it_would_have_however_often_the_server_is_killed_meanwhile() {
    const MACHINES: usize = 200;
    const KILLS: usize = 20;
    let failing: Vec<_> = (0..MACHINES).filter(|number| number % 10 == 3).collect();
    let behaviour =
        Behaviour { takes: Duration::from_millis(300), failing: failing.clone(), ..quick() };
    let (mut server, api, fleet) = world(MACHINES, behaviour).await;
    let run = start(&api, json!({ "max_concurrency": 4, "max_failures": 100 })).await;
    let mut random = rand::rng();
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..900))).await;
        server.kill();
        server.restart().await;
    }
    let run = api.run_ended(&run).await;
    let counts = &run["counts"];
    assert_eq!(counts["failed"], failing.len(), "{counts}");
    assert_eq!(counts["completed"], MACHINES - failing.len(), "{counts}");
    let starts = fleet.record.starts.lock();
    assert_eq!(starts.len(), MACHINES);
    assert!(starts.values().all(|times| *times == 1), "no machine runs it twice");
    assert!(!server.log().contains("panicked"));
}
