//! Several servers that are one.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::time::{Duration, Instant};

use muster_tests::{
    Agent, Api, Behaviour, Enrolled, EventSource, Fleet, Nodes, RawAgent, Server, eventually,
};
use serde_json::{Value, json};

/// Two nodes, and an agent that is connected to the first of them.
async fn world() -> (Nodes, Vec<Api>, Agent, String) {
    let nodes = Nodes::start(2).await;
    let apis = nodes.admins().await;
    let token = apis[0].enrollment_token("Acme").await;
    let agent = Agent::start(&nodes.servers[0], "web-01", &token);
    let id = apis[1].connected("web-01").await;
    (nodes, apis, agent, id)
}

async fn run(api: &Api, agent: &str, command: &str) -> Value {
    let body = json!({ "command": command, "timeout": 30 });
    api.post(&format!("/agents/{agent}/command"), &body).await
}

#[tokio::test]
async fn an_agent_is_commanded_watched_and_cancelled_through_any_node() {
    let (_nodes, apis, _agent, id) = world().await;
    let begun = Instant::now();
    assert_eq!(run(&apis[1], &id, "echo hello").await["output"], "hello\n");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());

    let body = json!({ "command": "echo one; sleep 71", "timeout": 90 });
    let command = apis[1].queue(&id, &body).await;
    let output = format!("/commands/{command}/output");
    let mut watched = EventSource::open(&apis[1], &output, None).await;
    assert_eq!(watched.next().await.unwrap().data["text"], "one\n");
    let begun = Instant::now();
    apis[1].post(&format!("/commands/{command}/cancel"), &json!({})).await;
    assert_eq!(apis[1].ended(&command).await["status"], "cancelled");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    apis[1].post(&format!("/agents/{id}/refresh"), &json!({})).await;
    assert_eq!(apis[0].get("/agents").await["items"][0]["status"], "online");
    assert_eq!(apis[1].get("/agents").await["items"][0]["status"], "online");
}

#[tokio::test]
async fn events_reach_listeners_on_any_node_and_a_listener_may_move_to_another() {
    let (_nodes, apis, _agent, id) = world().await;
    let mut here = EventSource::open(&apis[0], "/events", None).await;
    let mut there = EventSource::open(&apis[1], "/events", None).await;
    let command = run(&apis[1], &id, "true").await["id"].clone();
    let mut ids = Vec::new();
    for stream in [&mut here, &mut there] {
        let end = loop {
            let event = stream.next().await.unwrap();
            let about = event.data["command_id"] == command;
            if event.name == "command" && about && event.data["status"] == "completed" {
                break event;
            }
        };
        ids.push(end.id.unwrap());
    }
    assert_eq!(ids[0], ids[1], "an event has the same id everywhere");
    let next = run(&apis[0], &id, "true").await["id"].clone();
    let mut moved = EventSource::open(&apis[1], "/events", Some(&ids[0])).await;
    let event = moved.next().await.unwrap();
    assert_eq!((event.name.as_str(), &event.data["command_id"]), ("command", &next));
}

/// Starts a run on all machines, a few at a time.
async fn start(api: &Api, strategy: Value) -> String {
    let wish = json!({ "target": { "all": true }, "command": "x", "strategy": strategy });
    api.post("/runs", &wish).await["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_run_goes_on_when_the_node_that_drives_it_is_killed_and_each_machine_runs_it_once() {
    let mut nodes = Nodes::start(3).await;
    let apis = nodes.admins().await;
    let token = apis[0].enrollment_token("Acme").await;
    let takes = || Behaviour { takes: Duration::from_millis(100), ..Behaviour::default() };
    let one = Fleet::start(&nodes.servers[1].url(), &token, "one", 30, takes()).await;
    let other = Fleet::start(&nodes.servers[2].url(), &token, "other", 30, takes()).await;
    let id = start(&apis[2], json!({ "max_concurrency": 3 })).await;
    eventually("it goes on", async || (one.record.started() > 3).then_some(())).await;
    let shown = apis[1].get(&format!("/runs/{id}")).await;
    assert_eq!(shown["total"], 60);
    nodes.servers[0].kill();
    let killed = one.record.started() + other.record.started();
    eventually("another node drives it", async || {
        (one.record.started() + other.record.started() > killed + 3).then_some(())
    })
    .await;
    nodes.servers[1].kill();
    nodes.servers[1].restart().await;
    let run = apis[2].run_ended(&id).await;
    assert_eq!((&run["status"], &run["counts"]["completed"]), (&json!("completed"), &json!(60)));
    for fleet in [&one, &other] {
        assert_eq!(fleet.record.starts.lock().len(), 30);
        assert!(fleet.record.starts.lock().values().all(|times| *times == 1));
    }
}

#[tokio::test]
async fn a_run_is_watched_paused_and_cancelled_through_a_node_that_does_not_drive_it() {
    let nodes = Nodes::start(2).await;
    let apis = nodes.admins().await;
    let token = apis[0].enrollment_token("Acme").await;
    let takes = Behaviour { takes: Duration::from_millis(50), ..Behaviour::default() };
    let fleet = Fleet::start(&nodes.servers[1].url(), &token, "m", 20, takes).await;
    let id = start(&apis[1], json!({ "max_concurrency": 2 })).await;
    let mut stream = EventSource::open(&apis[1], &format!("/runs/{id}/events"), None).await;
    apis[1].post(&format!("/runs/{id}/pause"), &json!({})).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = fleet.record.started();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(fleet.record.started(), started, "it is paused");
    apis[1].post(&format!("/runs/{id}/resume"), &json!({})).await;
    let events = stream.until("finished").await;
    let ends = events.iter().filter(|event| event.data["status"] == "completed");
    assert_eq!(ends.filter(|event| event.name == "command").count(), 20);
    let id = start(&apis[1], json!({ "max_concurrency": 1 })).await;
    apis[1].post(&format!("/runs/{id}/cancel"), &json!({})).await;
    assert_eq!(apis[0].run_ended(&id).await["status"], "cancelled");
}

#[tokio::test]
async fn without_redis_everything_works_and_when_it_is_back_it_is_fast_again() {
    let (mut nodes, apis, _agent, id) = world().await;
    let token = apis[0].enrollment_token("Other").await;
    let takes = Behaviour { takes: Duration::from_millis(50), ..Behaviour::default() };
    let fleet = Fleet::start(&nodes.servers[1].url(), &token, "m", 10, takes).await;
    let all = fleet.ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    for frozen in [false, true] {
        let wish = json!({
            "target": { "agent_ids": all }, "command": "x", "strategy": { "max_concurrency": 1 },
        });
        let started = apis[0].post("/runs", &wish).await["id"].as_str().unwrap().to_owned();
        if frozen {
            nodes.redis.freeze(true);
        } else {
            nodes.redis.kill();
        }
        let begun = Instant::now();
        assert_eq!(run(&apis[1], &id, "echo slow").await["output"], "slow\n");
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        let command = apis[1].queue(&id, &json!({ "command": "sleep 71", "timeout": 90 })).await;
        eventually("it runs", async || {
            let command = apis[0].get(&format!("/commands/{command}")).await;
            (command["status"] == "running").then_some(())
        })
        .await;
        apis[1].post(&format!("/commands/{command}/cancel"), &json!({})).await;
        assert_eq!(apis[1].ended(&command).await["status"], "cancelled");
        assert_eq!(apis[1].run_ended(&started).await["status"], "completed");
        if frozen {
            nodes.redis.freeze(false);
        } else {
            nodes.redis.restart();
        }
        eventually("it is fast again", async || {
            let begun = Instant::now();
            run(&apis[1], &id, "true").await;
            (begun.elapsed() < Duration::from_millis(300)).then_some(())
        })
        .await;
    }
    assert!(fleet.record.starts.lock().values().all(|times| *times == 1));
}

#[tokio::test]
async fn what_a_schedule_plans_starts_once() {
    let nodes = Nodes::start(2).await;
    let apis = nodes.admins().await;
    let token = apis[0].enrollment_token("Acme").await;
    let fleet = Fleet::start(&nodes.servers[1].url(), &token, "m", 1, Behaviour::default()).await;
    let wish = json!({
        "name": "s", "target": { "all": true }, "command": "x", "cron": "* * * * * *",
    });
    let id = apis[1].post("/schedules", &wish).await["id"].as_str().unwrap().to_owned();
    eventually("some runs", async || (fleet.record.started() >= 3).then_some(())).await;
    apis[1].put(&format!("/schedules/{id}"), &json!({ "enabled": false })).await;
    let history = apis[1].get(&format!("/schedules/{id}/runs?limit=500")).await;
    let history = history["items"].as_array().unwrap();
    let mut due: Vec<_> = history.iter().map(|it| it["due_at"].to_string()).collect();
    due.sort_unstable();
    due.dedup();
    assert_eq!(due.len(), history.len(), "{history:?}");
}

#[tokio::test]
async fn a_ticket_opens_one_stream_on_whichever_node_it_comes_to() {
    let nodes = Nodes::start(2).await;
    let apis = nodes.admins().await;
    let ticket =
        apis[0].post("/auth/tickets", &json!({})).await["ticket"].as_str().unwrap().to_owned();
    let mut statuses = Vec::new();
    for server in nodes.servers.iter().rev() {
        let url = format!("{}/api/v1/events?ticket={ticket}", server.url());
        let asked = reqwest::Client::new().get(url).header("accept", "text/event-stream");
        statuses.push(asked.send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 401]);
}

/// The statuses of an agent that are told until something else is.
async fn statuses(
    stream: &mut EventSource,
    id: &str,
    until: impl Fn(&Value) -> bool,
) -> Vec<String> {
    let mut statuses = Vec::new();
    loop {
        let event = stream.next().await.unwrap();
        if event.data["agent_id"] != id {
            continue;
        }
        if event.name == "agent" {
            statuses.push(event.data["status"].as_str().unwrap().to_owned());
        }
        if until(&event.data) {
            return statuses;
        }
    }
}

#[tokio::test]
async fn an_agent_that_moves_to_another_node_was_never_away() {
    let nodes = Nodes::start(2).await;
    let apis = nodes.admins().await;
    let token = apis[0].enrollment_token("Acme").await;
    let [one, other] = [&nodes.servers[0], &nodes.servers[1]].map(Server::url);
    let enrolled = Enrolled::register(&one, &token, "web-01").await;
    let _first = RawAgent::welcomed(&one, &enrolled, Vec::new()).await;
    let id = apis[1].connected("web-01").await;
    eventually("the other node knows", async || {
        apis[1].get(&format!("/agents/{id}")).await["connection"].is_object().then_some(())
    })
    .await;
    let mut stream = EventSource::open(&apis[1], "/events", None).await;
    let _second = RawAgent::welcomed(&other, &enrolled, Vec::new()).await;
    let told = statuses(&mut stream, &id, |news| news["end_reason"] == "replaced").await;
    assert_eq!(told, [""; 0]);
}

#[tokio::test]
async fn an_agent_whose_node_was_killed_and_that_does_not_come_back_is_told_of_as_offline() {
    let (mut nodes, apis, _agent, id) = world().await;
    let mut stream = EventSource::open(&apis[1], "/events", None).await;
    nodes.servers[0].kill();
    let told = statuses(&mut stream, &id, |news| news["status"] == "offline").await;
    assert_eq!(told, ["offline"]);
    assert_eq!(apis[1].get(&format!("/agents/{id}")).await["status"], "offline");
}
