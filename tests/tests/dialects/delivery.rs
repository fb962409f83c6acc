//! Commands for agents that keep no journal: each is handed over once, and a late result counts.

use reqwest::Method;
use serde_json::json;

use crate::speaker::Speaker;
use crate::world::{World, text};

#[tokio::test]
async fn a_command_whose_connection_broke_does_not_come_again_and_its_late_result_counts() {
    let world = World::start().await;
    let mut agent = Speaker::ram(&world, "lab-1").await;
    let id = world.id("lab-1").await;
    let first = world.bash(&id, "echo first").await;
    assert_eq!(agent.task().await, first);
    assert_eq!(world.command(&first).await["status"], "running", "it was before it left");
    drop(agent);

    let mut agent = Speaker::ram(&world, "lab-1").await;
    let second = world.bash(&id, "echo second").await;
    assert_eq!(agent.task().await, second);
    assert_eq!(world.command(&first).await["status"], "running");
    agent.completes(&first, "first\n").await;
    let ended = world.api.ended(&first).await;
    assert_eq!((&ended["status"], &ended["output"]), (&json!("completed"), &json!("first\n")));
    agent.completes(&first, "again\n").await;
    agent.completes(&second, "second\n").await;
    assert_eq!(world.api.ended(&second).await["output"], "second\n");
    assert_eq!(world.command(&first).await, ended, "a repeated result changes nothing");
}

#[tokio::test]
async fn a_killed_server_does_not_send_a_command_again_and_its_late_result_counts() {
    let mut world = World::start().await;
    let mut ram = Speaker::ram(&world, "lab-1").await;
    let mut dex = Speaker::dex(&world, "win-1").await;
    let (lab, win) = (world.id("lab-1").await, world.id("win-1").await);
    let task = world.bash(&lab, "echo task").await;
    let order = world.powershell(&win, "Get-Date").await;
    assert_eq!((ram.task().await, dex.order().await), (task.clone(), order.clone()));
    world.server.kill();
    world.server.restart().await;

    let mut ram = Speaker::ram(&world, "lab-1").await;
    let mut dex = Speaker::dex(&world, "win-1").await;
    let next_task = world.bash(&lab, "echo next").await;
    let next_order = world.powershell(&win, "Get-Host").await;
    assert_eq!((ram.task().await, dex.order().await), (next_task, next_order));
    ram.completes(&task, "late task\n").await;
    dex.succeeds(&order, "late order\n").await;
    for (command, output) in [(task, "late task\n"), (order, "late order\n")] {
        let ended = world.api.ended(&command).await;
        assert_eq!((&ended["status"], &ended["output"]), (&json!("completed"), &json!(output)));
    }
}

#[tokio::test]
async fn an_agent_that_asks_for_its_commands_is_told_each_once_whatever_is_killed() {
    let mut world = World::start().await;
    let agent = world.shows(&world.key);
    let machine = json!({ "hostname": "poll-1", "ip_address": "192.0.2.7", "port": 3002,
        "capabilities": ["command_execution"], "version": "1.0.0" });
    let id = text(&agent.post("/../agents/register", &machine).await["agent_id"]);
    let command = world.bash(&id, "echo").await;
    let path = format!("/../agents/{id}/commands");
    let waiting = agent.get(&path).await;
    assert_eq!(
        (&waiting["count"], &waiting["commands"][0]["task_id"]),
        (&json!(1), &json!(command))
    );
    assert_eq!(agent.get(&path).await["count"], 0);
    world.server.kill();
    world.server.restart().await;
    assert_eq!(agent.get(&path).await["count"], 0);
    let result = json!({ "status": "completed", "output": "late\n", "exit_code": 0 });
    let path = format!("/../agents/{id}/tasks/{command}/result");
    for _ in 0..2 {
        let answer = agent.post(&path, &result).await;
        assert_eq!(answer, json!({ "message": "Task result submitted successfully" }));
    }
    assert_eq!(world.api.ended(&command).await["output"], "late\n");
    let history = world.api.get(&format!("/agents/{id}/commands")).await;
    assert_eq!(history["items"][0]["id"], json!(command), "operators still see the history");
}

#[tokio::test]
async fn a_device_is_told_each_action_once_and_its_late_result_counts() {
    let mut world = World::start().await;
    let (token, _) = world.token(Some(1)).await;
    let device = world.shows(&token);
    let machine = json!({ "hostname": "kiosk-1", "os_type": "windows" });
    let registered = device.post("/agent/register", &machine).await;
    let id = text(&registered["device_id"]);
    let action = json!({ "type": "powershell_inline", "payload": "Get-Date" });
    let action = world.api.post(&format!("/devices/{id}/actions"), &action).await;
    let action = text(&action["command_id"]);
    let beat = json!({ "device_id": id });
    let waiting = device.post("/agent/heartbeat", &beat).await;
    assert_eq!(waiting["actions"][0]["id"], json!(action), "{waiting}");
    world.server.kill();
    world.server.restart().await;
    assert_eq!(device.post("/agent/heartbeat", &beat).await["actions"], json!([]));
    let result = json!({ "status": "failed", "exit_code": 2, "output": "some", "error": "oops" });
    device.post(&format!("/agent/actions/{action}/result"), &result).await;
    let ended = world.api.ended(&action).await;
    assert_eq!((&ended["status"], &ended["exit_code"]), (&json!("failed"), &json!(2)), "{ended}");
    assert_eq!((&ended["output"], &ended["error"]), (&json!("some"), &json!("oops")));
}

#[tokio::test]
async fn what_waits_can_be_cancelled_and_what_was_handed_over_can_not() {
    let world = World::start().await;
    let id = Speaker::visits(&world, "lab-1").await;
    let waits = world.bash(&id, "echo never").await;
    world.api.post(&format!("/commands/{waits}/cancel"), &json!({})).await;
    assert_eq!(world.api.ended(&waits).await["status"], "cancelled");

    let mut agent = Speaker::ram(&world, "lab-1").await;
    let runs = world.bash(&id, "echo").await;
    assert_eq!(agent.task().await, runs);
    let path = format!("/commands/{runs}/cancel");
    let refused = world.api.problem(Method::POST, &path, &json!({})).await;
    assert_eq!(refused, (409, "WRONG_STATE".into()));
    agent.completes(&runs, "done").await;
    assert_eq!(world.api.ended(&runs).await["status"], "completed");
}

#[tokio::test]
async fn what_an_older_product_can_not_be_told_fails_says_why_and_reaches_nobody() {
    let world = World::start().await;
    let mut dex = Speaker::dex(&world, "win-1").await;
    let mut ram = Speaker::ram(&world, "lab-1").await;
    let (win, lab) = (world.id("win-1").await, world.id("lab-1").await);
    let shell = world.bash(&win, "echo").await;
    let arguments = json!({ "command": "dir", "args": ["a b"], "shell_type": "cmd" });
    let arguments = world.api.queue(&lab, &arguments).await;
    let script = json!({ "name": "s", "content": "echo \"$token\"", "script_type": "bash",
        "parameters": [{ "name": "token", "type": "secret", "required": true }] });
    let script = text(&world.api.post("/scripts", &script).await["id"]);
    let wish = json!({ "agent_id": lab, "parameters": { "token": "hunter2" } });
    let secret = world.api.post(&format!("/scripts/{script}/execute"), &wish).await;
    let secret = text(&secret["task_id"]);
    for (command, why) in [(shell, "PowerShell"), (arguments, "cmd"), (secret, "secret")] {
        let ended = world.api.ended(&command).await;
        assert_eq!(
            (&ended["status"], &ended["failure"]["code"]),
            (&json!("failed"), &json!("UNSUPPORTED")),
            "{ended}"
        );
        assert!(text(&ended["failure"]["detail"]).contains(why), "{ended}");
    }
    let (order, task) = (world.powershell(&win, "x").await, world.bash(&lab, "x").await);
    assert_eq!((dex.order().await, ram.task().await), (order, task), "the first that they hear of");
}
