//! What agents of older products say, well and badly.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::speaker::Speaker;
use crate::world::{World, text};

/// How long a status that says the end waits for the result to follow.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn malformed_json_closes_its_connection_and_no_other() {
    let world = World::start().await;
    let mut good = Speaker::ram(&world, "good").await;
    let id = world.id("good").await;
    for broken in ["{", "no JSON", "{\"type\":\"heartbeat\""] {
        let mut bad = Speaker::ram(&world, "bad-1").await;
        bad.send(Message::text(broken)).await;
        bad.ended().await;
        let mut bad = Speaker::dex(&world, "bad-2").await;
        bad.send(Message::text(broken)).await;
        bad.ended().await;
    }
    good.beat().await;
    let command = world.bash(&id, "echo").await;
    assert_eq!(good.task().await, command);
    good.completes(&command, "unharmed").await;
    assert_eq!(world.api.ended(&command).await["output"], "unharmed");
    // Whoever was malformed may come again.
    Speaker::ram(&world, "bad-1").await;
    assert!(!world.server.log().contains("panicked"));
}

#[tokio::test]
async fn a_nul_in_an_output_is_survived() {
    let world = World::start().await;
    let mut ram = Speaker::ram(&world, "lab-1").await;
    let mut dex = Speaker::dex(&world, "win-1").await;
    let task = world.bash(&world.id("lab-1").await, "printf 'a\\0b'").await;
    let order = world.powershell(&world.id("win-1").await, "x").await;
    assert_eq!((ram.task().await, dex.order().await), (task.clone(), order.clone()));
    let data = json!({ "task_id": task, "status": "failed", "output": "a\0b", "error": "c\0d",
        "exit_code": 1 });
    ram.say(&json!({ "type": "task_result", "data": data })).await;
    dex.succeeds(&order, "a\0b").await;
    for (command, status) in [(task, "failed"), (order, "completed")] {
        let ended = world.api.ended(&command).await;
        assert_eq!(ended["status"], status, "{ended}");
        assert_eq!(text(&ended["output"]).replace('\0', ""), "ab");
    }
    ram.beat().await;
}

#[tokio::test]
async fn a_crash_on_windows_and_a_nul_are_told_in_plain_requests_as_well() {
    let world = World::start().await;
    let id = Speaker::visits(&world, "lab-1").await;
    let waits = world.bash(&id, "echo").await;
    let agent = world.shows(&world.key);
    agent.get("/../agents/lab-1/commands").await;
    let result = json!({ "status": "completed", "output": "a\0b", "exit_code": 3_221_225_477_u32 });
    let path = format!("/../agents/lab-1/tasks/{waits}/result");
    agent.post(&path, &result).await;
    let ended = world.api.ended(&waits).await;
    assert_eq!((&ended["status"], &ended["output"]), (&json!("failed"), &json!("ab")), "{ended}");
    assert_eq!(ended["exit_code"], -1_073_741_819);
}

#[tokio::test]
async fn an_end_that_was_told_counts_when_the_agent_goes_before_its_result() {
    let world = World::start().await;
    let mut agent = Speaker::ram(&world, "lab-1").await;
    let command = world.bash(&world.id("lab-1").await, "reboot").await;
    assert_eq!(agent.task().await, command);
    agent.stands(&command, "completed", "going down").await;
    agent.beat().await;
    drop(agent);
    let told = Instant::now();
    let ended = world.api.ended(&command).await;
    assert_eq!((&ended["status"], &ended["output"]), (&json!("completed"), &json!("going down")));
    assert!(told.elapsed() < GRACE, "it waited for the result of an agent that is gone");
}

#[tokio::test]
async fn a_mebibyte_of_output_in_one_result_arrives_whole() {
    let world = World::start().await;
    let lines: Vec<_> = (0..128 * 1024).map(|n| format!("{n:07}\n")).collect();
    let lines = lines.concat();
    assert_eq!(lines.len(), 1024 * 1024);
    let mut ram = Speaker::ram(&world, "lab-1").await;
    let mut dex = Speaker::dex(&world, "win-1").await;
    let http = world.shows(&world.key);
    let polls = http.post("/../agents/register", &json!({ "hostname": "poll-1" })).await;
    let polls = text(&polls["agent_id"]);

    let task = world.bash(&world.id("lab-1").await, "seq").await;
    let order = world.powershell(&world.id("win-1").await, "1..131072").await;
    let asked = world.bash(&polls, "seq").await;
    assert_eq!((ram.task().await, dex.order().await), (task.clone(), order.clone()));
    assert_eq!(http.get(&format!("/../agents/{polls}/commands")).await["count"], 1);
    ram.completes(&task, &lines).await;
    dex.succeeds(&order, &lines).await;
    let result = json!({ "status": "completed", "output": lines, "exit_code": 0 });
    http.post(&format!("/../agents/{polls}/tasks/{asked}/result"), &result).await;
    for command in [task, order, asked] {
        let ended = world.api.ended(&command).await;
        assert!(ended["output"] == lines.as_str(), "{} bytes", ended["stdout_bytes"]);
        assert_eq!(ended["output_truncated"], false);
    }
}

#[tokio::test]
async fn every_form_of_a_dexagents_result_counts() {
    let world = World::start().await;
    let mut agent = Speaker::dex(&world, "win-1").await;
    let id = world.id("win-1").await;
    for kind in ["command_result", "powershell_result"] {
        for wrapped in [false, true] {
            for success in [true, false] {
                let command = world.powershell(&id, "Get-Thing").await;
                assert_eq!(agent.order().await, command);
                let mut result = json!({ "command_id": command, "success": success,
                    "output": "some\n", "execution_time": 0.5 });
                if !success {
                    result["error"] = json!("no such thing");
                    result["exit_code"] = json!(1);
                }
                let message = if wrapped {
                    json!({ "type": kind, "data": result })
                } else {
                    result["type"] = json!(kind);
                    result
                };
                agent.say(&message).await;
                let ended = world.api.ended(&command).await;
                let (status, error) =
                    if success { ("completed", "") } else { ("failed", "no such thing") };
                assert_eq!((&ended["status"], &ended["error"]), (&json!(status), &json!(error)));
                assert_eq!(ended["output"], "some\n", "{message}");
                assert_eq!(ended["execution_time"], 0.5, "{message}");
            }
        }
    }
}

#[tokio::test]
async fn a_status_counts_as_the_result_unless_one_follows_within_ten_seconds() {
    let world = World::start().await;
    let mut agent = Speaker::ram(&world, "lab-1").await;
    let id = world.id("lab-1").await;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let task = world.bash(&id, "x").await;
        assert_eq!(agent.task().await, task);
        agent.stands(&task, "running", "").await;
        tasks.push(task);
    }
    let begun = Instant::now();
    agent.stands(&tasks[0], "completed", "all there is").await;
    agent.stands(&tasks[1], "failed", "bad").await;
    agent.stands(&tasks[2], "completed", "a part").await;
    agent.completes(&tasks[2], "a part and the rest").await;
    let followed = world.api.ended(&tasks[2]).await;
    assert_eq!(followed["output"], "a part and the rest", "{followed}");
    assert!(begun.elapsed() < GRACE, "a result counts at once");
    for (task, status, output) in
        [(&tasks[0], "completed", "all there is"), (&tasks[1], "failed", "bad")]
    {
        let ended = world.api.ended(task).await;
        assert!(begun.elapsed() >= GRACE * 4 / 5, "{:?}: {ended}", begun.elapsed());
        assert_eq!((&ended["status"], &ended["output"]), (&json!(status), &json!(output)));
    }
}
