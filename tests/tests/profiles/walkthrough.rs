//! What DeployFlow Fleet's document prints, from top to bottom.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{Device, World, command, each, outcomes, text, to};

/// A program that takes what PowerShell is started with, and has `sh` read the text.
const STAND_IN: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
    case "$1" in
        -EncodedCommand) printf %s "$2" | base64 -d | iconv -f UTF-16LE -t UTF-8 | sh; exit ;;
        # Behind the three bytes that say that it is UTF-8.
        -File) file=$2; shift 2; tail -c +4 "$file" | sh -s -- "$@"; exit ;;
    esac
    shift
done
exit 64
"#;

/// A Linux machine with a stand-in for PowerShell 7.
async fn with_powershell(world: &World) -> Device {
    let folder = TempDir::new().unwrap();
    let programs = folder.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    let program = programs.join("pwsh");
    std::fs::write(&program, STAND_IN).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    Device::start_in(world, "web-01", folder, vec![("PATH".into(), path)]).await
}

/// A Windows machine whose agent fetches what is to run, as the document has it, and plays its
/// PowerShell; answers with its id and the texts that it was given, in their order.
pub(crate) async fn windows(world: &World, name: &str) -> (String, Arc<Mutex<Vec<String>>>) {
    let token = crate::world::enrollment_token(&world.api, &world.customer).await;
    let machine = json!({ "hostname": name, "os_type": "windows", "machine_id": name });
    let machine = world.api.with_token(&token).post("/agent/register", &machine).await;
    let agent = world.api.with_token(machine["agent_token"].as_str().unwrap());
    let ran = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&ran);
    tokio::spawn(async move {
        loop {
            let told = agent.post("/agent/heartbeat", &json!({})).await;
            for action in told["actions"].as_array().unwrap() {
                notes.lock().push(text(&action["payload"]));
                let result = json!({ "status": "completed", "exit_code": 0, "output": "done\n" });
                let path = format!("/agent/actions/{}/result", text(&action["id"]));
                agent.post(&path, &result).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    (text(&machine["device_id"]), ran)
}

/// The commands of a rollout's tasks on a device, as the list of its actions has them.
async fn actions(world: &World, device: &str, progress: &Value) -> Vec<Value> {
    let listed = world.api.get(&format!("/devices/{device}/actions")).await;
    let listed = listed["items"].as_array().unwrap();
    let of_task = |id: &Value| listed.iter().find(|action| action["id"] == *id).cloned();
    each(&progress["tasks"], "command_id").iter().filter_map(of_task).collect()
}

fn top_processes(language: &str, content: &str) -> Value {
    json!({
        "name": "Get Top Processes", "description": "List the top 3 processes by memory usage",
        "language": language, "content": content,
    })
}

#[tokio::test]
async fn the_documents_own_bodies_bring_a_windows_baseline_to_a_device() {
    let world = World::start().await;
    let api = &world.api;
    let (device, ran) = windows(&world, "kiosk-1").await;
    let content = "Get-Process | Sort-Object WorkingSet -Descending | Select-Object -First 3 | \
                   Format-Table -AutoSize";
    let script = api.post("/scripts", &top_processes("powershell", content)).await;
    let profile = json!({
        "name": "Windows Baseline", "description": "Bootstrap and harden a Windows endpoint",
        "target_os_type": "windows",
    });
    let profile = api.post("/profiles", &profile).await;
    assert_eq!((&profile["is_template"], &profile["tasks"]), (&json!(false), &json!([])));
    let path = format!("/profiles/{}", text(&profile["id"]));
    let install = json!({
        "name": "Install agent", "order_index": 10, "action_type": "powershell_inline",
        "script_id": script["id"], "continue_on_error": true,
    });
    let install = api.post(&format!("{path}/tasks"), &install).await;
    assert_eq!(install["script_id"], script["id"], "{install}");
    assert_eq!(install["continue_on_error"], true, "{install}");
    let inline = json!({
        "name": "List processes", "order_index": 5, "action_type": "powershell_inline",
        "payload": "Get-Process | Select-Object -First 5",
    });
    let inline = api.post(&format!("{path}/tasks"), &inline).await;
    assert_eq!(inline["action_type"], "powershell_inline", "{inline}");
    let listed = api.get("/profiles").await;
    assert_eq!(each(&listed["items"], "task_count"), [json!(2)], "{listed}");
    assert!(listed["items"][0]["tasks"].is_null(), "{listed}");
    let names = [json!("List processes"), json!("Install agent")];
    assert_eq!(each(&api.get(&path).await["tasks"], "name"), names);
    assert_eq!(each(&api.get(&format!("{path}/tasks")).await["items"], "name"), names);

    let rollout = api.post(&format!("{path}/apply"), &json!({ "device_ids": [device] })).await;
    let rollout = world.ended(&text(&rollout["id"])).await;
    assert_eq!((&rollout["status"], &rollout["done"]), (&json!("completed"), &json!(1)));
    let texts = ran.lock().clone();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("Get-Process | Select-Object -First 5"), "{texts:?}");
    assert!(texts[1].contains(content), "{texts:?}");
    let progress = format!("/rollouts/{}/devices/{device}", text(&rollout["id"]));
    let progress = api.get(&progress).await;
    assert_eq!(outcomes(&progress), ["changed", "changed"], "{progress}");
    let actions = actions(&world, &device, &progress).await;
    assert_eq!(each(&Value::from(actions), "status"), ["completed", "completed"]);
}

#[tokio::test]
async fn a_device_does_the_tasks_in_their_order_and_shows_what_came_of_each() {
    let world = World::start().await;
    let device = with_powershell(&world).await;
    let note = |word: &str| format!("echo {word} | tee -a \"$DEVICE/order\"");
    let script = world.api.post("/scripts", &top_processes("pwsh", &note("first"))).await;
    let numbered = |mut task: Value, order: u32| {
        task["order_index"] = json!(order);
        task
    };
    let first = json!({
        "name": "First", "action_type": "powershell_inline", "script_id": script["id"],
    });
    let mut second = command("Second", &note("second"));
    second["shell_type"] = json!("pwsh");
    let tasks = [
        numbered(command("Third", &note("third")), 30),
        numbered(first, 10),
        numbered(second, 20),
        command("Fourth", &note("fourth")),
    ];
    let profile = world.profile("Linux Baseline", &tasks).await;
    let shown = world.api.get(&format!("/profiles/{profile}")).await;
    assert_eq!(each(&shown["tasks"], "name"), ["First", "Second", "Third", "Fourth"]);

    let wish = to(&[&device]);
    let path = format!("/profiles/{profile}/apply");
    let answer = world.api.request(Method::POST, &path).json(&wish).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let accepted: Value = answer.json().await.unwrap();
    assert_eq!(location, format!("/api/v1/rollouts/{}", text(&accepted["id"])));
    let rollout = world.ended(&text(&accepted["id"])).await;
    assert_eq!(device.read("order"), "first\nsecond\nthird\nfourth\n");
    assert_eq!((&rollout["status"], &rollout["profile_id"]), (&json!("completed"), &shown["id"]));
    assert_eq!(rollout["profile_version"], shown["version"]);
    assert_eq!(each(&rollout["tasks"], "name"), ["First", "Second", "Third", "Fourth"]);
    let listed = world.api.get(&format!("/rollouts?profile_id={profile}")).await;
    assert_eq!(each(&listed["items"], "id"), [rollout["id"].clone()]);

    let progress = world.progress(&text(&rollout["id"]), &device).await;
    let actions = actions(&world, &device.id, &progress).await;
    let mut outputs = Vec::new();
    for action in &actions {
        assert_eq!(action["exit_code"], 0, "{action}");
        let whole = world.api.get(&format!("/commands/{}", text(&action["id"]))).await;
        outputs.push(text(&whole["output"]));
    }
    assert_eq!(outputs, ["first\n", "second\n", "third\n", "fourth\n"]);
}

#[tokio::test]
async fn inline_powershell_runs_on_linux_where_powershell_is_installed() {
    let world = World::start().await;
    let device = with_powershell(&world).await;
    let task = json!({
        "name": "Inline", "action_type": "powershell_inline",
        "payload": "echo inline > \"$DEVICE/inline\"",
    });
    let profile = world.profile("Inline", &[task]).await;
    let rollout = world.applied(&profile, &[&device]).await;
    let progress = world.progress(&text(&rollout["id"]), &device).await;
    assert_eq!(rollout["status"], "completed", "{progress}");
    assert_eq!(device.read("inline"), "inline\n");
}

#[tokio::test]
async fn a_profile_for_another_system_than_one_of_the_devices_has_is_refused_and_nothing_runs() {
    let world = World::start().await;
    let [linux] = world.devices().await;
    let (kiosk, ran) = windows(&world, "kiosk-1").await;
    let profile = world.profile("Linux", &[command("Mark", "touch \"$DEVICE/mark\"")]).await;
    let path = format!("/profiles/{profile}/apply");
    let wish = json!({ "device_ids": [kiosk, linux.id] });
    let invalid = (422, "VALIDATION_FAILED".to_owned());
    assert_eq!(world.api.problem(Method::POST, &path, &wish).await, invalid);
    let stranger = json!({ "device_ids": [linux.id, "0190163d-8694-739b-aea5-966c26f8ad91"] });
    let unknown = world.api.problem(Method::POST, &path, &stranger).await;
    assert_eq!(unknown, (404, "NOT_FOUND".into()));
    let empty = world.profile("Empty", &[]).await;
    let path = format!("/profiles/{empty}/apply");
    assert_eq!(world.api.problem(Method::POST, &path, &to(&[&linux])).await, invalid);
    assert_eq!(world.api.get("/rollouts").await["total"], 0);
    world.echo(&linux).await;
    assert!(!linux.has("mark") && ran.lock().is_empty());
}

#[tokio::test]
async fn a_template_becomes_a_profile_of_its_own_and_stays_as_it_is() {
    let world = World::start().await;
    let api = &world.api;
    let [device] = world.devices().await;
    let template = json!({
        "name": "Kiosk", "description": "as sold", "target_os_type": "linux", "is_template": true,
    });
    let template = text(&api.post("/profiles", &template).await["id"]);
    for (name, order) in [("Second", 20), ("First", 10)] {
        let mut task = command(name, "true");
        task["order_index"] = json!(order);
        api.post(&format!("/profiles/{template}/tasks"), &task).await;
    }
    let before = api.get(&format!("/templates/{template}")).await;
    assert_eq!(each(&before["tasks"], "name"), ["First", "Second"]);
    assert_eq!(each(&api.get("/templates").await["items"], "id"), [json!(template)]);
    assert_eq!(api.get("/profiles").await["total"], 0, "a template is none of the profiles");
    let path = format!("/profiles/{template}/apply");
    let applied = api.problem(Method::POST, &path, &to(&[&device])).await;
    assert_eq!(applied, (422, "VALIDATION_FAILED".into()), "a template is not for devices");

    let path = format!("/templates/{template}/instantiate");
    let own = api.post(&path, &json!({ "name": "Kiosk in Hall 4" })).await;
    assert_eq!((&own["name"], &own["is_template"]), (&json!("Kiosk in Hall 4"), &json!(false)));
    assert_eq!((&own["description"], &own["target_os_type"]), (&json!("as sold"), &json!("linux")));
    assert_eq!(each(&own["tasks"], "name"), ["First", "Second"]);
    let (ids, theirs) = (each(&own["tasks"], "id"), each(&before["tasks"], "id"));
    assert!(ids.iter().all(|id| !theirs.contains(id)), "{ids:?} {theirs:?}");
    let own = text(&own["id"]);
    let missing = api.problem(Method::GET, &format!("/templates/{own}"), &json!({})).await;
    assert_eq!(missing, (404, "NOT_FOUND".into()), "it is a profile now");

    let task = format!("/profiles/{own}/tasks/{}", text(&ids[0]));
    api.put(&task, &command("Changed", "echo changed > \"$DEVICE/changed\"")).await;
    crate::world::delete(api, &format!("/profiles/{own}/tasks/{}", text(&ids[1]))).await;
    assert_eq!(api.get(&format!("/templates/{template}")).await, before);
    assert_eq!(world.applied(&own, &[&device]).await["status"], "completed");
    assert_eq!(device.read("changed"), "changed\n");
    let theirs = api.post(&path, &json!({ "customer_id": world.customer })).await;
    assert_eq!(
        (&theirs["name"], &theirs["customer_id"]),
        (&json!("Kiosk"), &json!(world.customer))
    );
}
