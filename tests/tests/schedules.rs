//! What runs again and again.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use muster_tests::{Agent, Api, Behaviour, Fleet, Server, eventually, eventually_within, now};
use serde_json::{Value, json};

const MINUTE: Duration = Duration::from_mins(1);

async fn world() -> (Server, Api, Fleet, String) {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let fleet = Fleet::start(&server.url(), &token, "m", 2, Behaviour::default()).await;
    let agent = api.get(&format!("/agents/{}", fleet.ids[0])).await;
    let acme = agent["customer_id"].as_str().unwrap().to_owned();
    (server, api, fleet, acme)
}

async fn schedule(api: &Api, more: Value) -> String {
    let mut wish = json!({ "name": "s", "target": { "all": true }, "command": "x" });
    wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    api.post("/schedules", &wish).await["id"].as_str().unwrap().to_owned()
}

async fn history(api: &Api, schedule: &str) -> Vec<Value> {
    let page = api.get(&format!("/schedules/{schedule}/runs?limit=500")).await;
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_comes_due_runs_on_the_machines_that_are_meant_then() {
    let (_server, api, fleet, acme) = world().await;
    let id = schedule(&api, json!({ "cron": "* * * * * *", "customer_id": acme })).await;
    let started = eventually("two runs", async || {
        let started = history(&api, &id).await;
        let started: Vec<_> =
            started.into_iter().filter(|firing| !firing["run_id"].is_null()).collect();
        (started.len() >= 2).then_some(started)
    })
    .await;
    api.put(&format!("/schedules/{id}"), &json!({ "enabled": false })).await;
    let run = api.get(&format!("/runs/{}", started[0]["run_id"].as_str().unwrap())).await;
    assert_eq!((&run["schedule_id"], &run["total"]), (&json!(id), &json!(2)));
    assert_eq!(run["requested_by"]["kind"], "user");
    assert!(fleet.record.started() >= 2);
    let runs = api.get(&format!("/runs?schedule_id={id}")).await["total"].as_u64().unwrap();
    assert!(runs >= 2);
}

#[tokio::test]
async fn what_came_due_once_while_the_server_was_down_runs_when_it_is_back() {
    let (mut server, api, fleet, acme) = world().await;
    let at = now() + TimeDelta::seconds(2);
    let more = json!({ "at": at, "customer_id": acme, "missed_runs": "run_once" });
    let id = schedule(&api, more).await;
    server.kill();
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.restart().await;
    fleet.all_connected().await;
    let firing = eventually("it runs", async || history(&api, &id).await.first().cloned()).await;
    let run = firing["run_id"].as_str().unwrap().to_owned();
    eventually("both machines run it", async || (fleet.record.started() == 2).then_some(())).await;
    assert_eq!(api.get(&format!("/runs/{run}")).await["total"], 2);
}

#[tokio::test]
async fn a_schedule_in_each_machines_own_zone_goes_by_their_clocks() {
    let (server, api, _fleet, acme) = world().await;
    let wish = json!({ "customer_id": acme, "name": "t", "max_uses": null });
    let token = api.post("/enrollment-tokens", &wish).await["token"].as_str().unwrap().to_owned();
    let agents: Vec<_> = [("tokyo", "Asia/Tokyo"), ("honolulu", "Pacific/Honolulu")]
        .map(|(name, zone)| Agent::start_with(&server, name, &token, &[("TZ", zone)]))
        .into();
    for name in ["tokyo", "honolulu"] {
        api.connected(name).await;
    }
    eventually("both told their zones", async || {
        let page = api.get("/agents?os_type=linux").await;
        let told = page["items"].as_array()?.iter();
        (told.filter(|it| it["system_info"]["time_zone"].is_string()).count() == 2).then_some(())
    })
    .await;
    // The next whole minute on a clock in Tokyo, which no other clock shows at that instant.
    let soon = now() + TimeDelta::seconds(2);
    let tokyo = soon + TimeDelta::hours(9);
    let cron = tokyo.format("%S %M %H * * *").to_string();
    let id =
        schedule(&api, json!({ "cron": cron, "time_zone": "agent", "customer_id": acme })).await;
    let started = eventually("it runs in Tokyo", async || {
        history(&api, &id).await.into_iter().find(|firing| !firing["run_id"].is_null())
    })
    .await;
    let run = api.get(&format!("/runs/{}", started["run_id"].as_str().unwrap())).await;
    assert_eq!(run["total"], 1);
    let path = format!("/runs/{}/commands", run["id"].as_str().unwrap());
    let agent = api.get(&path).await["items"][0]["agent_id"].as_str().unwrap().to_owned();
    assert_eq!(api.get(&format!("/agents/{agent}")).await["hostname"], "tokyo");
    drop(agents);
}

#[tokio::test]
async fn each_instant_runs_once_however_often_the_server_is_killed_meanwhile() {
    let (mut server, api, _fleet, acme) = world().await;
    let more = json!({ "cron": "* * * * * *", "customer_id": acme, "overlap": "allow" });
    let id = schedule(&api, more).await;
    for pause in [700, 1300, 400, 1100, 900, 300] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        server.kill();
        server.restart().await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    api.put(&format!("/schedules/{id}"), &json!({ "enabled": false })).await;
    // A run whose process died before it could note it is noted when its lease is over.
    let (firings, total) = eventually_within(MINUTE, "each run is in the history", async || {
        let total = api.get(&format!("/runs?schedule_id={id}&limit=500")).await["total"].as_u64();
        let firings = history(&api, &id).await;
        let noted = firings.iter().filter(|firing| firing["run_id"].is_string()).count();
        (total == u64::try_from(noted).ok()).then_some((firings, noted))
    })
    .await;
    let started: Vec<_> = firings.iter().filter_map(|firing| firing["run_id"].as_str()).collect();
    let instants: BTreeSet<_> = firings.iter().map(|firing| firing["due_at"].to_string()).collect();
    assert_eq!(instants.len(), firings.len(), "each instant is decided once");
    let distinct: BTreeSet<_> = started.iter().collect();
    assert_eq!(distinct.len(), started.len());
    assert_eq!(total, started.len());
    assert!(total >= 3);
}

#[tokio::test]
async fn the_schedules_of_somebody_who_may_no_longer_run_anything_run_no_more() {
    let (_server, api, fleet, acme) = world().await;
    let user = api.colleague("ann").await;
    let ann = api.login("ann").await;
    let at = now() + TimeDelta::hours(1);
    let id = schedule(&ann, json!({ "at": at, "customer_id": acme })).await;
    api.post(&format!("/admin/users/{user}/set-role"), &json!({ "role": "viewer" })).await;
    api.post(&format!("/schedules/{id}/run"), &json!({})).await;
    let firing =
        eventually("it is tried", async || history(&api, &id).await.first().cloned()).await;
    assert!(firing["run_id"].is_null(), "{firing}");
    assert_eq!(fleet.record.started(), 0);
}

#[tokio::test]
async fn a_schedule_is_no_way_around_what_beginning_a_run_asks_for() {
    let (_server, api, fleet, acme) = world().await;
    api.put(&format!("/customers/{acme}"), &json!({ "dangerous_commands": "confirm" })).await;
    let at = now() + TimeDelta::hours(1);
    let mut wish = json!({
        "name": "s", "at": at, "customer_id": acme, "target": { "all": true },
        "command": "rm -rf / --no-preserve-root",
    });
    let refused = api.problem(reqwest::Method::POST, "/schedules", &wish).await;
    assert_eq!(refused, (409, "DANGEROUS_COMMAND".into()));
    wish["confirm"] = json!(true);
    let made = api.post("/schedules", &wish).await;
    let path = format!("/schedules/{}", made["id"].as_str().unwrap());
    let change = json!({ "command": "mkfs.ext4 /dev/sda" });
    assert_eq!(api.problem(reqwest::Method::PUT, &path, &change).await.0, 409);
    api.put(&path, &json!({ "command": "uptime" })).await;
    assert_eq!(fleet.record.started(), 0);
}
