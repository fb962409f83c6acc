//! What ends before its time, what fails, and how people hear of it.

use std::collections::BTreeMap;

use muster_tests::EventSource;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, command, counted, each, outcomes, text, to, unless, with};

#[tokio::test]
async fn a_rollout_that_is_cancelled_ends_what_runs_and_begins_nothing_else() {
    let world = World::start().await;
    let devices = world.devices::<2>().await;
    let tasks = [
        command("Hold", "echo $$ > \"$DEVICE/new\"; mv \"$DEVICE/new\" \"$DEVICE/id\"; sleep 600"),
        counted("after", "true"),
    ];
    let profile = world.profile("Cancelled", &tasks).await;
    let one_by_one = json!({ "strategy": { "max_concurrency": 1 } });
    let id = world.apply(&profile, &with(to(&devices.each_ref()), one_by_one)).await;
    let first = muster_tests::eventually("a device begins", async || {
        devices.iter().position(|device| device.has("id"))
    })
    .await;
    let path = format!("/rollouts/{id}/cancel");
    let cancelled = world.api.post(&path, &json!({})).await;
    assert_eq!(cancelled["stop_reason"], "CANCELLED", "{cancelled}");
    devices[first].process_ends("id").await;
    let rollout = world.ended(&id).await;
    assert_eq!(rollout["status"], "cancelled", "{rollout}");
    assert_eq!(world.progress(&id, &devices[first]).await["status"], "cancelled");
    let other = world.progress(&id, &devices[1 - first]).await;
    let status = text(&other["status"]);
    assert!(["cancelled", "skipped"].contains(&status.as_str()), "{other}");
    assert_eq!(other["tasks"], json!([]), "{other}");
    for device in &devices {
        world.echo(device).await;
        assert!(!device.has("after"));
    }
    assert!(!devices[1 - first].has("id"));
    let again = world.api.problem(Method::POST, &path, &json!({})).await;
    assert_eq!(again, (409, "WRONG_STATE".into()));
}

#[tokio::test]
async fn when_the_first_device_fails_no_other_one_begins() {
    let world = World::start().await;
    let devices = world.devices::<3>().await;
    let profile = world.profile("Canary", &[counted("ran", "test -e \"$DEVICE/good\"")]).await;
    let careful = json!({ "strategy": { "canary": 1 } });
    let id = world.apply(&profile, &with(to(&devices.each_ref()), careful)).await;
    let rollout = world.ended(&id).await;
    assert_eq!(rollout["status"], "failed", "{rollout}");
    assert_eq!(rollout["stop_reason"], "CANARY_FAILED");
    assert_eq!((&rollout["failed"], &rollout["skipped"]), (&json!(1), &json!(2)), "{rollout}");
    let skipped = world.api.get(&format!("/rollouts/{id}/devices?status=skipped")).await;
    assert_eq!(each(&skipped["items"], "skip_reason"), ["STOPPED", "STOPPED"]);
    for device in &devices {
        world.echo(device).await;
    }
    assert_eq!(devices.iter().map(|device| device.lines("ran")).sum::<usize>(), 1);

    for device in &devices {
        device.touch("good");
    }
    world.api.post(&format!("/rollouts/{id}/retry"), &json!({})).await;
    let rollout = world.ended(&id).await;
    assert_eq!((&rollout["status"], &rollout["done"]), (&json!("completed"), &json!(3)));
    assert_eq!(devices.iter().map(|device| device.lines("ran")).sum::<usize>(), 4);
}

#[tokio::test]
async fn more_failures_than_may_be_stop_a_rollout() {
    let world = World::start().await;
    let devices = world.devices::<3>().await;
    let profile = world.profile("Failing", &[counted("ran", "exit 1")]).await;
    let careful = json!({
        "target": { "all": true }, "strategy": { "max_concurrency": 1, "max_failures": 1 },
    });
    let id = world.apply(&profile, &careful).await;
    let rollout = world.ended(&id).await;
    assert_eq!((&rollout["status"], &rollout["failed"]), (&json!("failed"), &json!(2)));
    assert_eq!(rollout["stop_reason"], "TOO_MANY_FAILURES", "{rollout}");
    assert_eq!(devices.iter().map(|device| device.lines("ran")).sum::<usize>(), 2);
}

#[tokio::test]
async fn a_task_that_may_fail_does_not_stop_its_device_and_is_told_of() {
    let world = World::start().await;
    let [device] = world.devices().await;
    let failing = with(command("Fail", "exit 3"), json!({ "continue_on_error": true }));
    let profile = world.profile("Forgiving", &[failing, counted("after", "true")]).await;
    let rollout = world.applied(&profile, &[&device]).await;
    assert_eq!(rollout["status"], "completed_with_errors", "{rollout}");
    assert_eq!((&rollout["done"], &rollout["failed"]), (&json!(1), &json!(0)));
    let progress = world.progress(&text(&rollout["id"]), &device).await;
    assert_eq!((&progress["status"], &progress["errors"]), (&json!("done"), &json!(1)));
    assert_eq!(outcomes(&progress), ["failed", "changed"]);
    assert_eq!(device.lines("after"), 1);
}

#[tokio::test]
async fn why_a_task_failed_is_told_by_a_code_and_in_words() {
    let world = World::start().await;
    let [device] = world.devices().await;
    let software = world.software("Nothing", "test -e \"$DEVICE/nothing\"", "true").await;
    let tasks = [
        command("Exit", "exit 37"),
        with(command("Long", "sleep 600"), json!({ "timeout": 1 })),
        unless(command("Useless", "true"), "false"),
        json!({ "name": "Never", "action_type": "wait", "payload": "false", "interval": 1,
            "timeout": 2 }),
        json!({ "name": "Nothing", "action_type": "software", "software_id": software }),
        json!({ "name": "Folder", "action_type": "file",
            "file": { "path": "/proc/nobody/can/write/here", "content": "x" } }),
    ];
    let forgiving = tasks.map(|task| with(task, json!({ "continue_on_error": true })));
    let profile = world.profile("Failing", &forgiving).await;
    let rollout = world.applied(&profile, &[&device]).await;
    assert_eq!(rollout["status"], "completed_with_errors", "{rollout}");
    let progress = world.progress(&text(&rollout["id"]), &device).await;
    let codes = each(&progress["tasks"], "failure_code");
    assert_eq!(codes[..2], ["EXIT_CODE", "TIMED_OUT"], "{progress}");
    assert_eq!(codes[3..5], ["TIMED_OUT", "NOT_IN_EFFECT"], "{progress}");
    assert!(codes[5].is_string(), "{progress}");
    assert!(text(&progress["tasks"][0]["failure_detail"]).contains("37"), "{progress}");
    // A command's check says whether to run it; whether that was of use is not asked.
    assert_eq!(progress["tasks"][2]["outcome"], "changed", "{progress}");
}

#[tokio::test]
async fn the_same_request_again_is_the_same_rollout() {
    let world = World::start().await;
    let [device] = world.devices().await;
    let profile = world.profile("Once", &[counted("ran", "true")]).await;
    let path = format!("/profiles/{profile}/apply");
    let send = async |wish: &Value| {
        let request = world.api.request(Method::POST, &path).header("Idempotency-Key", "k");
        let answer = request.json(wish).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let wish = to(&[&device]);
    let first = send(&wish).await;
    let ended = world.ended(&text(&first.1["id"])).await;
    let again = send(&wish).await;
    assert_eq!((first.0, again.0, &again.1["id"]), (202, 202, &ended["id"]));
    let other = send(&with(wish, json!({ "dry_run": true }))).await;
    assert_eq!((other.0, &other.1["code"]), (409, &json!("IDEMPOTENCY_KEY_REUSED")));
    assert_eq!(world.api.get("/rollouts").await["total"], 1);
    world.echo(&device).await;
    assert_eq!(device.lines("ran"), 1);
}

#[tokio::test]
async fn a_listener_hears_how_far_each_device_is_until_the_rollout_has_ended() {
    let world = World::start().await;
    let devices = world.devices::<2>().await;
    let hold = command("Hold", "while [ ! -e \"$DEVICE/go\" ]; do sleep 0.05; done");
    let profile = world.profile("Heard", &[hold, counted("after", "true")]).await;
    let id = world.apply(&profile, &to(&devices.each_ref())).await;
    let path = format!("/rollouts/{id}/events");
    let mut stream = EventSource::open(&world.api, &path, None).await;
    for device in &devices {
        device.touch("go");
    }
    let events = stream.until("finished").await;
    assert_eq!(stream.next().await, None, "nothing comes after the end");
    let known = ["progress", "device", "finished"];
    assert!(events.iter().all(|event| known.contains(&event.name.as_str())), "{events:?}");
    assert!(events.iter().any(|event| event.name == "progress"), "{events:?}");
    let mut last = BTreeMap::new();
    for event in events.iter().filter(|event| event.name == "device") {
        last.insert(text(&event.data["agent_id"]), text(&event.data["status"]));
    }
    let expected = devices.each_ref().map(|device| (device.id.clone(), "done".to_owned()));
    assert_eq!(last, BTreeMap::from(expected), "{events:?}");
    let finished = &events.last().unwrap().data;
    assert_eq!((&finished["status"], &finished["done"]), (&json!("completed"), &json!(2)));

    let mut late = EventSource::open(&world.api, &path, None).await;
    assert_eq!(late.until("finished").await.last().unwrap().data, *finished);
}

#[tokio::test]
async fn there_is_nothing_to_try_again_where_nothing_failed() {
    let world = World::start().await;
    let devices = world.devices::<2>().await;
    let profile = world.profile("Good", &[counted("ran", "test -e \"$DEVICE/good\"")]).await;
    devices[0].touch("good");
    let rollout = world.applied(&profile, &devices.each_ref()).await;
    assert_eq!(rollout["status"], "completed_with_errors", "{rollout}");
    let path = format!("/rollouts/{}/retry", text(&rollout["id"]));
    let wrong = (409, "WRONG_STATE".to_owned());
    let done = to(&[&devices[0]]);
    assert_eq!(world.api.problem(Method::POST, &path, &done).await, wrong);
    devices[1].touch("good");
    world.api.post(&path, &to(&[&devices[1]])).await;
    assert_eq!(world.ended(&text(&rollout["id"])).await["status"], "completed");
    assert_eq!(world.api.problem(Method::POST, &path, &json!({})).await, wrong);
    assert_eq!(devices.each_ref().map(|device| device.lines("ran")), [1, 2]);
}
