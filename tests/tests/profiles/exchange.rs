//! Profiles as files: out of one server and into another.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, command, each, text, unless, with};

const SECRET: &str = "s3cr3t-$(id)-value";

/// A profile of every kind of task, with a script, software and a secret.
async fn profile(world: &World) -> String {
    let parameters = json!([
        { "name": "who", "type": "string", "required": true },
        { "name": "token", "type": "secret" },
    ]);
    let greeting = "# Greets.\nprintf '%s %s' \"$who\" \"$token\" > \"$DEVICE/greeting\"\n";
    let script = world.script("Greet", greeting, parameters).await;
    let detect = "test -e \"$DEVICE/tool\"";
    let software = world.software("Tool", detect, "touch \"$DEVICE/tool\"").await;
    let tasks = [
        json!({
            "name": "Greet", "description": "Says: \"hello\"", "action_type": "script",
            "script_id": script, "parameters": { "who": "yes", "token": SECRET },
        }),
        json!({ "name": "Tool", "action_type": "software", "software_id": software }),
        json!({
            "name": "File", "action_type": "file",
            "file": { "path": "/etc/motd", "content": "- one\n\ttwo: #\n\n", "mode": "0600" },
        }),
        with(
            unless(command("Text", "echo one\n# two\necho 'three'"), "test -e /nothing"),
            json!({ "continue_on_error": true, "timeout": 30, "args": ["on", "~", ""] }),
        ),
        json!({ "name": "Boot", "action_type": "reboot", "reboot": { "only_if_changed": true } }),
        json!({ "name": "Wait", "action_type": "wait", "payload": "true", "interval": 2 }),
    ];
    world.profile("Linux Baseline", &tasks).await
}

async fn export(world: &World, profile: &str) -> String {
    let path = format!("/profiles/{profile}/export");
    let answer = world.api.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/yaml"), "{kind}");
    answer.text().await.unwrap()
}

async fn import(world: &World, query: &str, yaml: &str) -> (u16, Value) {
    let request = world.api.request(Method::POST, &format!("/profiles/import{query}"));
    let request = request.header("Content-Type", "application/yaml").body(yaml.to_owned());
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// What came of each thing in a file, by its kind and name.
fn results(answer: &(u16, Value)) -> BTreeMap<(String, String), String> {
    assert_eq!(answer.0, 200, "{}", answer.1);
    let results = answer.1["results"].as_array().unwrap();
    let result = |it: &Value| ((text(&it["kind"]), text(&it["name"])), text(&it["result"]));
    results.iter().map(result).collect()
}

/// The same with what came of the profile, the script and the software.
fn came(profile: &str, script: &str, software: &str) -> BTreeMap<(String, String), String> {
    let of = |kind: &str, name: &str, result: &str| {
        ((kind.to_owned(), name.to_owned()), result.to_owned())
    };
    let parts = [
        of("profile", "Linux Baseline", profile),
        of("script", "Greet", script),
        of("software", "Tool", software),
    ];
    BTreeMap::from(parts)
}

#[tokio::test]
async fn a_profile_comes_to_another_server_as_it_is_with_all_that_it_names() {
    let (first, second) = (World::start().await, World::start().await);
    let original = profile(&first).await;
    let yaml = export(&first, &original).await;
    for named in ["Linux Baseline", "Greet", "Tool", "# Greets."] {
        assert!(yaml.contains(named), "{named}: {yaml}");
    }
    let imported = import(&second, "", &yaml).await;
    assert_eq!(results(&imported), came("created", "created", "created"));
    let copy = text(&imported.1["profile_id"]);
    assert_eq!(export(&second, &copy).await, yaml);
    let (before, after) = (
        first.api.get(&format!("/profiles/{original}")).await,
        second.api.get(&format!("/profiles/{copy}")).await,
    );
    for field in ["name", "order_index", "action_type", "payload", "file", "check", "args"] {
        assert_eq!(each(&after["tasks"], field), each(&before["tasks"], field), "{field}");
    }

    let unchanged = came("unchanged", "unchanged", "unchanged");
    assert_eq!(results(&import(&second, "", &yaml).await), unchanged);
    assert_eq!(second.api.get(&format!("/profiles/{copy}")).await, after);
    assert_eq!(second.api.get("/profiles").await["total"], 1);
    assert_eq!(results(&import(&first, "", &yaml).await), unchanged, "nor where it comes from");

    let edited = yaml.replace("# Greets.", "# Greets politely.");
    assert_eq!(
        results(&import(&second, "", &edited).await),
        came("unchanged", "updated", "unchanged")
    );
    let edited = edited.replace("/etc/motd", "/etc/issue");
    assert_eq!(
        results(&import(&second, "", &edited).await),
        came("updated", "unchanged", "unchanged")
    );
    assert_eq!(export(&second, &copy).await, edited);
}

#[tokio::test]
async fn a_customer_gets_its_own_of_what_is_in_a_file() {
    let (first, second) = (World::start().await, World::start().await);
    let yaml = export(&first, &profile(&first).await).await;
    let shared = import(&second, "", &yaml).await;
    let query = format!("?customer_id={}", second.customer);
    let own = import(&second, &query, &yaml).await;
    assert_eq!(results(&own), came("created", "created", "created"));
    assert_ne!(own.1["profile_id"], shared.1["profile_id"]);
    for path in ["profiles", "scripts", "software"] {
        let found = second.api.get(&format!("/{path}?customer_id={}", second.customer)).await;
        assert_eq!(each(&found["items"], "customer_id"), [json!(second.customer)], "{path}");
    }
    assert_eq!(export(&second, &text(&own.1["profile_id"])).await, yaml);
}

#[tokio::test]
async fn a_secret_reaches_the_device_and_neither_the_file_nor_any_answer() {
    let world = World::start().await;
    let [device] = world.devices().await;
    let baseline = profile(&world).await;
    let path = format!("/profiles/{baseline}");
    let yaml = export(&world, &baseline).await;
    assert!(!yaml.contains("s3cr3t"), "{yaml}");
    let tasks = each(&world.api.get(&path).await["tasks"], "id");
    for task in &tasks[1..] {
        crate::world::delete(&world.api, &format!("{path}/tasks/{}", text(task))).await;
    }
    let rollout = world.applied(&baseline, &[&device]).await;
    assert_eq!(rollout["status"], "completed", "{rollout}");
    assert_eq!(device.read("greeting"), format!("yes {SECRET}"));

    // What is said again without the secret keeps it.
    let task = world.api.get(&format!("{path}/tasks")).await["items"][0].clone();
    let again = json!({
        "name": "Greet", "action_type": "script", "script_id": task["script_id"],
        "parameters": { "who": "no" },
    });
    world.api.put(&format!("{path}/tasks/{}", text(&tasks[0])), &again).await;
    world.applied(&baseline, &[&device]).await;
    assert_eq!(device.read("greeting"), format!("no {SECRET}"));
    for path in [&*path, "/profiles", "/rollouts", "/commands", "/audit"] {
        assert!(!world.api.get(path).await.to_string().contains("s3cr3t"), "{path}");
    }
    assert!(!world.server.log().contains("s3cr3t"));
    for (place, bytes) in world.server.kept().await {
        assert!(!bytes.windows(6).any(|six| six == b"s3cr3t"), "{place}");
    }
}

#[tokio::test]
async fn a_file_with_a_mistake_is_refused_whole_and_the_place_named() {
    let (first, second) = (World::start().await, World::start().await);
    let yaml = export(&first, &profile(&first).await).await;
    let broken = format!("{yaml}\n  - [\n");
    let unknown = format!("{yaml}\ncolour: red\n");
    let mode = yaml.replace("0600", "rwx");
    assert!(mode != yaml, "{yaml}");
    for (text, named) in [(broken, "line"), (unknown, "colour"), (mode, "mode")] {
        let (status, problem) = import(&second, "", &text).await;
        assert!([400, 422].contains(&status), "{status}: {problem}");
        assert!(problem["code"].is_string() && problem.to_string().contains(named), "{problem}");
    }
    for path in ["/profiles", "/software", "/scripts"] {
        assert_eq!(second.api.get(path).await["total"], 0, "{path}: all of it or nothing");
    }
}
