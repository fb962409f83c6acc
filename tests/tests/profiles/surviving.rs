//! Rollouts go on, whatever is killed meanwhile, and do nothing twice.

use std::time::Duration;

use muster_tests::eventually_within;
use reqwest::Method;
use serde_json::json;

use crate::world::{World, command, counted, each, outcomes, to, unless, with};

/// A text that goes on when the file `go` is there.
const UNTIL_TOLD: &str = "while [ ! -e \"$DEVICE/go\" ]; do sleep 0.05; done";

#[tokio::test]
async fn a_rollout_goes_on_after_the_server_was_killed_and_no_task_runs_twice() {
    const TASKS: usize = 5;
    let mut world = World::start().await;
    let devices = world.devices::<3>().await;
    let names: Vec<_> = (0..TASKS).map(|number| format!("ran-{number}")).collect();
    let tasks: Vec<_> = names.iter().map(|name| counted(name, "sleep 0.4")).collect();
    let profile = world.profile("Slow", &tasks).await;
    let rollout = world.apply(&profile, &to(&devices.each_ref())).await;
    let ran = || -> usize {
        devices
            .iter()
            .map(|device| names.iter().map(|name| device.lines(name)).sum::<usize>())
            .sum()
    };
    for kill_at in [2, 6, 11] {
        eventually_within(Duration::from_mins(1), "tasks run", async || {
            (ran() >= kill_at).then_some(())
        })
        .await;
        world.server.kill();
        world.server.restart().await;
    }
    let shown = world.ended(&rollout).await;
    assert_eq!((&shown["status"], &shown["done"]), (&json!("completed"), &json!(3)), "{shown}");
    for device in &devices {
        let progress = world.progress(&rollout, device).await;
        assert_eq!(outcomes(&progress), ["changed"; TASKS], "{progress}");
        let counts: Vec<_> = names.iter().map(|name| device.lines(name)).collect();
        assert_eq!(counts, [1; TASKS]);
    }
    assert!(!world.server.log().contains("panicked"));
}

#[tokio::test]
async fn a_command_whose_agent_was_killed_failed_and_runs_again_when_somebody_says_so() {
    let world = World::start().await;
    let [mut device] = world.devices().await;
    let tasks = [
        counted("before", "true"),
        counted("middle", &format!("touch \"$DEVICE/begun\"; {UNTIL_TOLD}")),
        counted("after", "true"),
    ];
    let profile = world.profile("Killed", &tasks).await;
    let rollout = world.apply(&profile, &to(&[&device])).await;
    device.gets("begun").await;
    device.agent.kill();
    device.agent.restart();
    let shown = world.ended(&rollout).await;
    assert_eq!((&shown["status"], &shown["failed"]), (&json!("failed"), &json!(1)), "{shown}");
    let progress = world.progress(&rollout, &device).await;
    assert_eq!((&progress["status"], &progress["position"]), (&json!("failed"), &json!(2)));
    assert_eq!(outcomes(&progress), ["changed", "failed"], "{progress}");
    assert_eq!(progress["tasks"][1]["failure_code"], "INTERRUPTED", "{progress}");
    assert_eq!((device.lines("middle"), device.lines("after")), (1, 0));

    device.touch("go");
    world.api.post(&format!("/rollouts/{rollout}/retry"), &to(&[&device])).await;
    assert_eq!(world.ended(&rollout).await["status"], "completed");
    let counts = ["before", "middle", "after"].map(|name| device.lines(name));
    assert_eq!(counts, [1, 2, 1]);
}

#[tokio::test]
async fn what_can_be_begun_again_begins_again_by_itself_after_its_agent_was_killed() {
    let world = World::start().await;
    let [mut device] = world.devices().await;
    let install =
        format!("echo ran >> \"$DEVICE/installs\"; {UNTIL_TOLD}; touch \"$DEVICE/there\"");
    let software = world.software("Slow", "test -e \"$DEVICE/there\"", &install).await;
    let install = json!({ "name": "Install", "action_type": "software", "software_id": software });
    let tasks = [counted("before", "true"), install, counted("after", "true")];
    let profile = world.profile("Killed", &tasks).await;
    let rollout = world.apply(&profile, &to(&[&device])).await;
    device.gets("installs").await;
    device.agent.kill();
    device.touch("go");
    device.agent.restart();
    let shown = world.ended(&rollout).await;
    assert_eq!((&shown["status"], &shown["done"]), (&json!("completed"), &json!(1)), "{shown}");
    let progress = world.progress(&rollout, &device).await;
    assert_eq!(outcomes(&progress).last().unwrap(), "changed", "{progress}");
    let counts = ["before", "installs", "after"].map(|name| device.lines(name));
    assert_eq!(counts, [1, 2, 1]);
}

#[tokio::test]
async fn an_agent_that_was_started_again_is_no_machine_that_was_booted_again() {
    let mut world = World::start().await;
    let [mut device] = world.devices().await;
    let reboot = json!({
        "name": "Reboot", "action_type": "reboot",
        "reboot": { "command": "echo ran >> \"$DEVICE/reboots\"" },
    });
    let profile = world.profile("Reboot", &[reboot, counted("after", "true")]).await;
    let rollout = world.apply(&profile, &to(&[&device])).await;
    let progress = world.reaches(&rollout, &device, "waiting_for_reboot").await;
    assert_eq!(progress["position"], 1, "{progress}");
    assert_eq!(world.rollout(&rollout).await["waiting_for_reboot"], 1);

    device.agent.kill();
    device.agent.restart();
    world.echo(&device).await;
    assert_eq!(world.progress(&rollout, &device).await["status"], "waiting_for_reboot");
    assert_eq!(device.lines("after"), 0);
    world.server.kill();
    device.reboot("boot-2");
    world.server.restart().await;
    let shown = world.ended(&rollout).await;
    assert_eq!(shown["status"], "completed", "{shown}");
    assert_eq!((device.lines("reboots"), device.lines("after")), (1, 1));
}

#[tokio::test]
async fn a_machine_that_does_not_come_back_in_time_has_failed() {
    let world = World::start().await;
    let [mut device] = world.devices().await;
    let reboot = json!({
        "name": "Reboot", "action_type": "reboot", "timeout": 3,
        "reboot": { "command": "true" },
    });
    let profile = world.profile("Reboot", &[reboot, counted("after", "true")]).await;
    let rollout = world.apply(&profile, &to(&[&device])).await;
    world.reaches(&rollout, &device, "waiting_for_reboot").await;
    device.agent.kill();
    let shown = world.ended(&rollout).await;
    assert_eq!((&shown["status"], &shown["failed"]), (&json!("failed"), &json!(1)), "{shown}");
    let progress = world.progress(&rollout, &device).await;
    assert_eq!(progress["tasks"][0]["failure_code"], "TIMED_OUT", "{progress}");
    device.boots("boot-2");
    world.echo(&device).await;
    assert_eq!(device.lines("after"), 0, "it is too late");
}

#[tokio::test]
async fn a_machine_that_is_away_gets_its_tasks_when_it_is_back_or_not_at_all() {
    let world = World::start().await;
    let [mut device] = world.devices().await;
    let profile = world.profile("Later", &[counted("ran", "true")]).await;
    assert!(device.agent.stop());
    let wish = with(to(&[&device]), json!({ "expires_in": 1.0 }));
    let late = world.apply(&profile, &wish).await;
    let shown = world.ended(&late).await;
    assert_eq!((&shown["status"], &shown["failed"]), (&json!("failed"), &json!(1)), "{shown}");
    let progress = world.progress(&late, &device).await;
    assert_eq!(progress["tasks"][0]["failure_code"], "EXPIRED", "{progress}");
    let patient = world.apply(&profile, &to(&[&device])).await;
    device.agent.restart();
    assert_eq!(world.ended(&patient).await["status"], "completed");
    assert_eq!(device.lines("ran"), 1);
}

#[tokio::test]
async fn a_rollout_is_of_the_profile_as_it_was_when_it_began() {
    let world = World::start().await;
    let [device] = world.devices().await;
    let script = world.script("Note", "echo first > \"$DEVICE/script\"", json!([])).await;
    let note = json!({ "name": "Note", "action_type": "script", "script_id": script });
    let tasks = [
        command("Hold", &format!("touch \"$DEVICE/begun\"; {UNTIL_TOLD}")),
        command("Say", "echo first > \"$DEVICE/said\""),
        note,
        counted("last", "true"),
    ];
    let profile = world.profile("Edited", &tasks).await;
    let path = format!("/profiles/{profile}");
    let rollout = world.apply(&profile, &to(&[&device])).await;
    device.gets("begun").await;
    let shown = world.api.get(&path).await;
    let ids = each(&shown["tasks"], "id");
    let task = |number: usize| format!("{path}/tasks/{}", ids[number].as_str().unwrap());
    world.api.put(&task(1), &command("Say", "echo second > \"$DEVICE/said\"")).await;
    world.api.put(&format!("/scripts/{script}"), &json!({ "content": "exit 1" })).await;
    crate::world::delete(&world.api, &task(3)).await;
    world.api.post(&format!("{path}/tasks"), &counted("more", "true")).await;
    let edited = world.api.put(&path, &json!({ "name": "Edited again" })).await;
    device.touch("go");

    let first = world.ended(&rollout).await;
    assert_eq!(first["status"], "completed", "{first}");
    assert_eq!(each(&first["tasks"], "name"), ["Hold", "Say", "Note", "last"]);
    assert_eq!((&first["name"], &first["profile_version"]), (&json!("Edited"), &shown["version"]));
    assert!(edited["version"].as_u64() > shown["version"].as_u64(), "{edited}");
    assert_eq!((device.read("said"), device.read("script")), ("first\n".into(), "first\n".into()));
    assert_eq!((device.lines("last"), device.lines("more")), (1, 0));
    assert_eq!(world.api.problem(Method::DELETE, &path, &json!({})).await.0, 204);
    assert_eq!(world.rollout(&rollout).await["status"], "completed", "it is still known");
}

#[tokio::test]
async fn a_task_that_has_nothing_to_do_does_not_run() {
    let world = World::start().await;
    let [device] = world.devices().await;
    device.touch("done");
    let script = world.script("Note", "echo ran >> \"$DEVICE/script\"", json!([])).await;
    let script = json!({ "name": "Script", "action_type": "script", "script_id": script });
    let reboot = json!({
        "name": "Reboot", "action_type": "reboot",
        "reboot": { "command": "echo ran >> \"$DEVICE/reboot\"" },
    });
    let done = "test -e \"$DEVICE/done\"";
    let tasks = [counted("command", "true"), script, reboot].map(|task| unless(task, done));
    let profile = world.profile("Done already", &tasks).await;
    let dry = world.dry_run(&profile, &[&device]).await;
    let rollout = world.applied(&profile, &[&device]).await;
    for rollout in [dry, rollout] {
        assert_eq!(rollout["status"], "completed", "{rollout}");
        let path = format!("/rollouts/{}/devices", rollout["id"].as_str().unwrap());
        let progress = world.api.get(&path).await["items"][0].clone();
        assert_eq!((&progress["unchanged"], &progress["changed"]), (&json!(3), &json!(0)));
    }
    let marks = ["command", "script", "reboot"].map(|name| device.has(name));
    assert_eq!(marks, [false; 3]);
    assert_eq!(world.api.get("/rollouts?status=running").await["total"], 0);
}
