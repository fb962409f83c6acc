//! Whether machines are still as their profiles say.

use std::collections::BTreeMap;

use muster_tests::eventually;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Device, OWN_FOLDER, World, counted, delete, each, text, to, unless, with};

const MOTD: &str = "as it is to be\n";

/// Two machines that are as a profile says, and its id.
async fn settled(world: &World) -> ([Device; 2], String) {
    let devices = world.devices().await;
    let file = json!({ "path": format!("{OWN_FOLDER}/motd"), "content": MOTD });
    let software = world.software(
        "Tool",
        "test -e \"$DEVICE/tool\"",
        "echo ran >> \"$DEVICE/installs\"; touch \"$DEVICE/tool\"",
    );
    let tasks = [
        json!({ "name": "Message", "action_type": "file", "file": file }),
        json!({ "name": "Tool", "action_type": "software", "software_id": software.await }),
        unless(counted("checked", "touch \"$DEVICE/set\""), "test -e \"$DEVICE/set\""),
        counted("unchecked", "true"),
    ];
    let profile = world.profile("Compared", &tasks).await;
    assert_eq!(world.applied(&profile, &devices.each_ref()).await["status"], "completed");
    (devices, profile)
}

/// A check that comes due next year at the earliest.
fn check(profile: &str, devices: &[&Device]) -> Value {
    with(to(devices), json!({ "name": "Nightly", "profile_id": profile, "cron": "0 0 0 1 1 *" }))
}

/// Runs a check to its end.
async fn run(world: &World, check: &str) -> Value {
    let rollout = world.api.post(&format!("/compliance-checks/{check}/run"), &json!({})).await;
    assert_eq!(rollout["dry_run"], true, "{rollout}");
    world.ended(&text(&rollout["id"])).await
}

/// What is known of each machine: its status, and which tasks drifted.
async fn known(world: &World, profile: &str) -> (BTreeMap<String, (String, Vec<Value>)>, Value) {
    let page = world.api.get(&format!("/profiles/{profile}/compliance")).await;
    let machines = page["items"].as_array().unwrap().iter().map(|it| {
        let drifted = it["drifted"].as_array().unwrap().clone();
        (text(&it["agent_id"]), (text(&it["status"]), drifted))
    });
    (machines.collect(), page["counts"].clone())
}

/// What a machine is that is as it is to be, or of which these tasks are not.
fn is(drifted: &[&str]) -> (String, Vec<Value>) {
    let status = if drifted.is_empty() { "compliant" } else { "drifted" };
    (status.to_owned(), drifted.iter().map(|name| json!(name)).collect())
}

#[tokio::test]
async fn a_machine_that_is_no_longer_as_its_profile_says_is_told_of_until_it_is_again() {
    let world = World::start().await;
    let (devices, profile) = settled(&world).await;
    let [first, second] = &devices;
    let made = world.api.post("/compliance-checks", &check(&profile, &[first, second])).await;
    assert_eq!((&made["time_zone"], &made["enabled"]), (&json!("UTC"), &json!(true)), "{made}");
    assert!(made["next_at"].is_string() && made["last_rollout_id"].is_null(), "{made}");
    let id = text(&made["id"]);
    let path = format!("/compliance-checks/{id}");

    let rollout = run(&world, &id).await;
    assert_eq!(world.api.get(&path).await["last_rollout_id"], rollout["id"]);
    let (machines, counts) = known(&world, &profile).await;
    let good = BTreeMap::from([(first.id.clone(), is(&[])), (second.id.clone(), is(&[]))]);
    assert_eq!(machines, good);
    assert_eq!(counts, json!({ "compliant": 2, "drifted": 0, "unknown": 0 }));

    std::fs::write(first.own_file("motd"), "something else\n").unwrap();
    std::fs::remove_file(first.file("tool")).unwrap();
    std::fs::remove_file(second.file("set")).unwrap();
    let rollout = run(&world, &id).await;
    let (machines, counts) = known(&world, &profile).await;
    let drifted =
        [(first.id.clone(), is(&["Message", "Tool"])), (second.id.clone(), is(&["checked"]))];
    assert_eq!(machines, BTreeMap::from(drifted));
    assert_eq!(counts, json!({ "compliant": 0, "drifted": 2, "unknown": 0 }));
    let page = world.api.get(&format!("/profiles/{profile}/compliance?status=drifted")).await;
    assert_eq!(each(&page["items"], "rollout_id"), [rollout["id"].clone(), rollout["id"].clone()]);
    assert!(page["items"][0]["checked_at"].is_string(), "{page}");
    for device in &devices {
        let ran = ["installs", "checked", "unchecked"].map(|name| device.lines(name));
        assert_eq!(ran, [1, 1, 1], "a check changes nothing");
    }
    let motd = || std::fs::read_to_string(first.own_file("motd")).unwrap();
    assert_eq!(motd(), "something else\n");
    assert!(!first.has("tool") && !second.has("set"));

    assert_eq!(world.applied(&profile, &devices.each_ref()).await["status"], "completed");
    assert_eq!(motd(), MOTD);
    run(&world, &id).await;
    assert_eq!(known(&world, &profile).await.0, good);
}

/// Waits until a check has come by itself once more.
async fn comes_again(world: &World, check: &str) {
    let path = format!("/compliance-checks/{check}");
    let before = world.api.get(&path).await["last_rollout_id"].clone();
    eventually("a check comes", async || {
        let last = world.api.get(&path).await["last_rollout_id"].clone();
        (last != before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_check_comes_by_itself_when_it_is_due_and_no_more_when_it_is_switched_off() {
    let world = World::start().await;
    let ([first, second], profile) = settled(&world).await;
    let own = first.own_file("motd");
    std::fs::write(&own, "something else\n").unwrap();
    let each_second = json!({ "cron": "* * * * * *" });
    let wish = with(check(&profile, &[&first]), each_second.clone());
    let id = text(&world.api.post("/compliance-checks", &wish).await["id"]);
    let path = format!("/compliance-checks/{id}");
    eventually("it is known that the machine drifted", async || {
        let machines = known(&world, &profile).await.0;
        (machines.get(&first.id)? == &is(&["Message"])).then_some(())
    })
    .await;
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "something else\n");

    let other = with(with(check(&profile, &[&second]), each_second), json!({ "name": "Clock" }));
    let other = text(&world.api.post("/compliance-checks", &other).await["id"]);
    let off = world.api.put(&path, &with(wish, json!({ "enabled": false }))).await;
    assert_eq!((&off["enabled"], &off["next_at"]), (&json!(false), &Value::Null), "{off}");
    // One may have begun just then.
    comes_again(&world, &other).await;
    let last = text(&world.api.get(&path).await["last_rollout_id"]);
    comes_again(&world, &other).await;
    comes_again(&world, &other).await;
    assert_eq!(world.api.get(&path).await["last_rollout_id"], json!(last));

    let asked = run(&world, &id).await;
    assert_eq!(world.api.get(&path).await["last_rollout_id"], asked["id"], "somebody may ask");
    delete(&world.api, &path).await;
    assert_eq!(world.api.get("/compliance-checks").await["total"], 1);
    assert_eq!(world.rollout(&last).await["id"], json!(last));
}

#[tokio::test]
async fn a_dry_run_that_somebody_asks_for_counts_as_well() {
    let world = World::start().await;
    let (devices, profile) = settled(&world).await;
    assert_eq!(known(&world, &profile).await.0, BTreeMap::new(), "nobody looked yet");
    std::fs::remove_file(devices[1].file("tool")).unwrap();
    let rollout = world.dry_run(&profile, &devices.each_ref()).await;
    assert_eq!(rollout["status"], "completed", "{rollout}");
    let expected = [(devices[0].id.clone(), is(&[])), (devices[1].id.clone(), is(&["Tool"]))];
    assert_eq!(known(&world, &profile).await.0, BTreeMap::from(expected));
}

#[tokio::test]
async fn a_check_that_makes_no_sense_is_refused() {
    let world = World::start().await;
    let [device] = world.devices().await;
    let profile = world.profile("Compared", &[counted("ran", "true")]).await;
    let good = check(&profile, &[&device]);
    let stranger = "0190163d-8694-739b-aea5-966c26f8ad91";
    for (change, status) in [
        (json!({ "cron": "every now and then" }), 422),
        (json!({ "time_zone": "Moon/Tranquility" }), 422),
        (json!({ "name": " " }), 422),
        (json!({ "often": true }), 422),
        (json!({ "profile_id": stranger }), 404),
        (json!({ "device_ids": [stranger] }), 404),
    ] {
        let wish = with(good.clone(), change);
        let refused = world.api.problem(Method::POST, "/compliance-checks", &wish).await;
        assert_eq!(refused.0, status, "{wish}");
    }
    assert_eq!(world.api.get("/compliance-checks").await["total"], 0);
}
