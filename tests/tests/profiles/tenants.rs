//! Whose profiles are whose, and who may do what with them.

use muster_tests::Agent;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, command, counted, each, enrollment_token, text, to, with};

/// A profile of this owner with a task that leaves a mark.
async fn profile(world: &World, name: &str, owner: &Value) -> String {
    let wish = json!({ "name": name, "target_os_type": "linux", "customer_id": owner });
    let id = text(&world.api.post("/profiles", &wish).await["id"]);
    world.api.post(&format!("/profiles/{id}/tasks"), &counted("ran", "true")).await;
    id
}

#[tokio::test]
async fn a_customers_key_applies_its_own_profiles_and_those_that_are_shared_and_edits_none() {
    let world = World::start().await;
    let [device] = world.devices().await;
    let other = world.api.customer("Other").await;
    let token = enrollment_token(&world.api, &other).await;
    let _theirs = Agent::start(&world.server, "theirs", &token);
    let stranger = world.api.connected("theirs").await;
    let own = profile(&world, "Own", &json!(world.customer)).await;
    let shared = profile(&world, "Shared", &Value::Null).await;
    let foreign = profile(&world, "Foreign", &json!(other)).await;
    let key = world.api.key(&world.customer, &["profiles:apply"]).await.0;

    let mut seen = each(&key.get("/profiles").await["items"], "name");
    seen.sort_by_key(ToString::to_string);
    assert_eq!(seen, ["Own", "Shared"]);
    let body = to(&[&device]);
    for profile in [&own, &shared] {
        let rollout = key.post(&format!("/profiles/{profile}/apply"), &body).await;
        let id = text(&rollout["id"]);
        assert_eq!(rollout["requested_by"]["kind"], "api_key", "{rollout}");
        assert_eq!(world.ended(&id).await["status"], "completed");
        assert_eq!(key.get(&format!("/rollouts/{id}")).await["done"], 1);
        assert_eq!(key.get(&format!("/rollouts/{id}/devices")).await["total"], 1);
    }
    assert_eq!(device.lines("ran"), 2);

    let missing = (404, "NOT_FOUND".to_owned());
    let theirs = json!({ "device_ids": [stranger] });
    for (method, path, body) in [
        (Method::GET, format!("/profiles/{foreign}"), &json!({})),
        (Method::GET, format!("/profiles/{foreign}/tasks"), &json!({})),
        (Method::GET, format!("/profiles/{foreign}/compliance"), &json!({})),
        (Method::POST, format!("/profiles/{foreign}/apply"), &body),
        (Method::POST, format!("/profiles/{own}/apply"), &theirs),
    ] {
        assert_eq!(key.problem(method, &path, body).await, missing, "{path}");
    }
    let change = json!({ "name": "Changed" });
    let task = command("More", "true");
    for (method, path, body) in [
        (Method::POST, "/profiles".to_owned(), &change),
        // It has the texts of scripts in it.
        (Method::GET, format!("/profiles/{own}/export"), &json!({})),
        (Method::PUT, format!("/profiles/{own}"), &change),
        (Method::DELETE, format!("/profiles/{own}"), &json!({})),
        (Method::POST, format!("/profiles/{own}/tasks"), &task),
        (Method::POST, "/software".to_owned(), &change),
        (Method::POST, "/os-images".to_owned(), &change),
    ] {
        let refused = key.problem(method, &path, body).await;
        assert_eq!(refused, (403, "FORBIDDEN".into()), "{path}");
    }
    assert_eq!(world.api.get(&format!("/profiles/{own}")).await["task_count"], 1);
}

#[tokio::test]
async fn a_rollout_is_seen_and_ended_by_those_who_see_all_of_its_devices() {
    let world = World::start().await;
    let [device] = world.devices().await;
    let other = world.api.customer("Other").await;
    let token = enrollment_token(&world.api, &other).await;
    let _theirs = Agent::start(&world.server, "theirs", &token);
    let stranger = world.api.connected("theirs").await;
    let shared = world.profile("Shared", &[command("Look", "true")]).await;
    let both = json!({ "agent_ids": [device.id, stranger] });
    let both = world.apply(&shared, &both).await;
    let theirs = world.apply(&shared, &json!({ "device_ids": [stranger] })).await;
    for id in [&both, &theirs] {
        assert_eq!(world.ended(id).await["status"], "completed");
    }
    let key = world.api.key(&world.customer, &["profiles:apply"]).await.0;
    let path = format!("/rollouts/{theirs}");
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/devices")),
        (Method::GET, format!("{path}/devices/{stranger}")),
        (Method::GET, format!("{path}/events")),
        (Method::POST, format!("{path}/cancel")),
        (Method::POST, format!("{path}/retry")),
        (Method::POST, format!("/rollouts/{both}/cancel")),
    ] {
        let missing = key.problem(method, &path, &json!({})).await;
        assert_eq!(missing, (404, "NOT_FOUND".into()), "{path}");
    }
    assert_eq!(key.get("/rollouts").await["total"], 0);
    let found = world.api.get(&format!("/rollouts?customer_id={other}")).await;
    assert_eq!(each(&found["items"], "id"), [json!(theirs), json!(both)]);
}

#[tokio::test]
async fn who_may_write_a_customers_scripts_writes_its_profiles_and_never_those_that_are_shared() {
    let world = World::start().await;
    let [device] = world.devices().await;
    let shared = profile(&world, "Shared", &Value::Null).await;
    let scopes = ["scripts:write", "profiles:apply"];
    let key = world.api.key(&world.customer, &scopes).await.0;
    let own = key.post("/profiles", &json!({ "name": "Shared" })).await;
    assert_eq!(own["customer_id"], json!(world.customer), "{own}");
    let own = text(&own["id"]);
    key.post(&format!("/profiles/{own}/tasks"), &counted("own", "true")).await;
    let rollout = key.post(&format!("/profiles/{own}/apply"), &to(&[&device])).await;
    assert_eq!(world.ended(&text(&rollout["id"])).await["status"], "completed");
    assert_eq!((device.lines("own"), device.lines("ran")), (1, 0));
    let path = format!("/profiles/{shared}");
    for (method, path, body) in [
        (Method::PUT, path.clone(), json!({ "name": "Mine" })),
        (Method::POST, format!("{path}/tasks"), counted("more", "true")),
        (Method::DELETE, path, json!({})),
    ] {
        assert_eq!(key.problem(method, &path, &body).await.0, 403, "{path}");
    }
    let other = world.api.customer("Other").await;
    let foreign = with(json!({ "name": "Theirs" }), json!({ "customer_id": other }));
    assert_eq!(key.problem(Method::POST, "/profiles", &foreign).await.0, 404);
}

#[tokio::test]
async fn somebody_who_may_run_what_is_there_applies_profiles_and_a_viewer_looks_on() {
    let world = World::start().await;
    let [device] = world.devices().await;
    let shared = profile(&world, "Shared", &Value::Null).await;
    let path = format!("/profiles/{shared}");
    let body = to(&[&device]);
    let mut people = Vec::new();
    for role in ["runner", "viewer"] {
        let user = world.api.colleague(role).await;
        let set = format!("/admin/users/{user}/set-role");
        world.api.post(&set, &json!({ "role": role })).await;
        people.push(world.api.login(role).await);
    }
    let apply = format!("{path}/apply");
    let rollout = people[0].post(&apply, &body).await;
    assert_eq!(world.ended(&text(&rollout["id"])).await["status"], "completed");
    assert_eq!(people[1].problem(Method::POST, &apply, &body).await, (403, "FORBIDDEN".into()));
    for who in &people {
        assert_eq!(who.get(&path).await["task_count"], 1);
        assert_eq!(who.get("/rollouts").await["total"], 1);
        let more = counted("more", "true");
        let refused = who.problem(Method::POST, &format!("{path}/tasks"), &more).await;
        assert_eq!(refused, (403, "FORBIDDEN".into()));
    }
    assert_eq!(device.lines("ran"), 1);
}
