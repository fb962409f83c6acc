//! What is dangerous is asked about before it runs, whoever runs it by which way.

use reqwest::Method;
use serde_json::json;

use crate::walkthrough::windows;
use crate::world::{World, command, text, to};

/// A text that every rule takes for dangerous, and that harms nobody here.
const DANGEROUS: &str = "false && rm -rf /etc";

#[tokio::test]
async fn a_look_that_is_dangerous_asks_first_also_where_it_is_only_looked() {
    let world = World::start().await;
    let [device] = world.devices().await;
    let mut task = command("Look", "true");
    task["check"] = json!({ "command": DANGEROUS });
    let profile = world.profile("Careless", &[task]).await;
    let policy = json!({ "dangerous_commands": "confirm" });
    world.api.put(&format!("/customers/{}", world.customer), &policy).await;
    let path = format!("/profiles/{profile}/apply");
    for dry_run in [false, true] {
        let mut wish = to(&[&device]);
        wish["dry_run"] = json!(dry_run);
        let asked = world.api.problem(Method::POST, &path, &wish).await;
        assert_eq!(asked, (409, "DANGEROUS_COMMAND".into()), "dry_run: {dry_run}");
        wish["confirm"] = json!(true);
        let rollout = world.api.post(&path, &wish).await;
        let ended = world.ended(&text(&rollout["id"])).await;
        assert_eq!(
            (&ended["status"], &ended["safety_level"]),
            (&json!("completed"), &json!("dangerous"))
        );
    }
    let policy = json!({ "dangerous_commands": "approve" });
    world.api.put(&format!("/customers/{}", world.customer), &policy).await;
    let mut wish = to(&[&device]);
    (wish["dry_run"], wish["confirm"]) = (json!(true), json!(true));
    let refused = world.api.problem(Method::POST, &path, &wish).await;
    assert_eq!(refused, (409, "DANGEROUS_COMMAND".into()), "a second person has to approve it");
}

#[tokio::test]
async fn commands_of_windows_software_are_read_as_powershell_reads_them() {
    let world = World::start().await;
    let variant = json!({
        "os_type": "windows", "installer": "script", "detect": "exit 1",
        "install": "Remove-Item -Recurse -Force C:\\Windows\\System32",
    });
    let software = json!({ "name": "Wiper", "variants": [variant] });
    let software = text(&world.api.post("/software", &software).await["id"]);
    let task = json!({ "name": "Wipe", "action_type": "software", "software_id": software });
    let profile = world.api.post("/profiles", &json!({ "name": "Wiping" })).await;
    let profile = text(&profile["id"]);
    world.api.post(&format!("/profiles/{profile}/tasks"), &task).await;
    let (device, _) = windows(&world, "kiosk-1").await;
    let policy = json!({ "dangerous_commands": "confirm" });
    world.api.put(&format!("/customers/{}", world.customer), &policy).await;
    let wish = json!({ "device_ids": [device] });
    let asked = world.api.problem(Method::POST, &format!("/profiles/{profile}/apply"), &wish).await;
    assert_eq!(asked, (409, "DANGEROUS_COMMAND".into()));
}
