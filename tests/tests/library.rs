//! Scripts and saved commands: versions, restore, owners, limits.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use muster_tests::{Api, Server};
use reqwest::Method;
use reqwest::header::{ETAG, IF_MATCH};
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;

fn script(name: &str, content: &str) -> Value {
    json!({ "name": name, "content": content, "script_type": "sh" })
}

fn path(script: &Value) -> String {
    format!("/scripts/{}", script["id"].as_str().unwrap())
}

/// Sends with `If-Match`; answers with the status, the code of the problem and the `ETag`.
async fn matching(
    api: &Api,
    method: Method,
    path: &str,
    tag: &str,
    body: &Value,
) -> (u16, String, String) {
    let answer = api.request(method, path).header(IF_MATCH, tag).json(body).send().await.unwrap();
    let status = answer.status().as_u16();
    let tag = answer.headers().get(ETAG).map(|tag| tag.to_str().unwrap().to_owned());
    let problem: Value = answer.json().await.unwrap_or_default();
    (status, problem["code"].as_str().unwrap_or_default().to_owned(), tag.unwrap_or_default())
}

#[tokio::test]
async fn a_script_is_kept_in_versions_of_which_each_can_be_restored() {
    let server = Server::start().await;
    let api = server.admin().await;
    let mut wish = script("Greet", "echo \"hello $who\"\n");
    wish["parameters"] = json!([
        { "name": "who", "type": "string", "required": true, "max_length": 20 },
        { "name": "times", "type": "number", "integer": true, "min": 1, "default": 1 },
        { "name": "password", "type": "secret" },
    ]);
    let made = api.post("/scripts", &wish).await;
    assert_eq!((&made["version"], &made["safety_level"]), (&json!(1), &json!("safe")));
    assert_eq!(made["updated_by"]["name"], "admin");
    assert_eq!(made["parameters"][1]["default"], 1.0);
    assert_eq!(api.get(&path(&made)).await, made);

    let change = json!({
        "content": "echo \"good day $who\"\n", "description": "politer", "note": "as asked",
    });
    let changed = api.put(&path(&made), &change).await;
    assert_eq!((&changed["version"], &changed["name"]), (&json!(2), &json!("Greet")));
    assert_eq!(changed["parameters"], made["parameters"]);
    let versions = api.get(&format!("{}/versions", path(&made))).await;
    assert_eq!(versions["total"], 2);
    assert_eq!(versions["items"][0]["changes"], json!(["description", "content"]));
    assert_eq!(versions["items"][0]["note"], "as asked");
    assert_eq!(versions["items"][0]["created_by"]["kind"], "user");
    let second = api.get(&format!("{}/versions/2", path(&made))).await;
    let diff = second["diff"].as_str().unwrap();
    assert!(diff.contains("-echo \"hello $who\"\n+echo \"good day $who\"\n"), "{diff}");
    assert_eq!(second["content"], "echo \"good day $who\"\n");

    let restored = api.post(&format!("{}/versions/1/restore", path(&made)), &json!({})).await;
    assert_eq!((&restored["version"], &restored["content"]), (&json!(3), &made["content"]));
    assert_eq!(restored["description"], Value::Null);
    let unknown = format!("{}/versions/9/restore", path(&made));
    let unknown = api.problem(Method::POST, &unknown, &json!({})).await;
    assert_eq!(unknown, (404, "NOT_FOUND".into()));

    let audit = api.get("/audit?resource_kind=script").await;
    let actions: Vec<_> =
        audit["items"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["script.update", "script.update", "script.create"]);
    assert_eq!(api.problem(Method::DELETE, &path(&made), &json!({})).await.0, 204);
    assert_eq!(api.problem(Method::GET, &path(&made), &json!({})).await.0, 404);
    api.post("/scripts", &wish).await;
}

#[tokio::test]
async fn what_was_changed_meanwhile_is_not_overwritten() {
    let server = Server::start().await;
    let api = server.admin().await;
    let made = api.post("/scripts", &script("One", "id")).await;
    let path = path(&made);
    let put = async |tag: &str, text: &str| {
        matching(&api, Method::PUT, &path, tag, &json!({ "content": text })).await
    };
    let stale =
        |it: (u16, String, String)| assert_eq!((it.0, &*it.1), (412, "PRECONDITION_FAILED"));
    assert_eq!(put("\"1\"", "who").await, (200, String::new(), "\"2\"".into()));
    stale(put("\"1\"", "w").await);
    stale(matching(&api, Method::DELETE, &path, "\"1\"", &json!({})).await);
    let restore = format!("{path}/versions/1/restore");
    stale(matching(&api, Method::POST, &restore, "\"1\"", &json!({})).await);
    assert_eq!(put("nonsense", "w").await.0, 400);
    assert_eq!(api.get(&path).await["content"], "who");
    let same = put("\"2\"", "who").await;
    assert_eq!((same.0, &*same.2), (200, "\"2\""), "nothing changed");
    assert_eq!(put("*", "w").await.0, 200);
    assert_eq!(matching(&api, Method::DELETE, &path, "\"3\"", &json!({})).await.0, 204);
}

#[tokio::test]
async fn a_customer_has_its_own_scripts_and_those_that_are_shared() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (acme, other) = (admin.customer("Acme").await, admin.customer("Other").await);
    let acme_key = admin.key(&acme, &["scripts:write"]).await.0;
    let other_key = admin.key(&other, &["scripts:read"]).await.0;
    let shared = admin.post("/scripts", &script("Clean up", "ls")).await;
    let own = acme_key.post("/scripts", &script("Clean up", "ls -l")).await;
    assert_eq!((&shared["customer_id"], &own["customer_id"]), (&Value::Null, &json!(acme)));
    let taken = (409, "ALREADY_EXISTS".to_owned());
    let shout = script("CLEAN UP", "ls");
    assert_eq!(acme_key.problem(Method::POST, "/scripts", &shout).await, taken);
    assert_eq!(admin.problem(Method::POST, "/scripts", &shout).await, taken);

    let total = async |api: &Api| api.get("/customer/scripts").await["total"].clone();
    assert_eq!((total(&acme_key).await, total(&other_key).await), (json!(2), json!(1)));
    assert_eq!(other_key.get(&path(&shared)).await["content"], "ls");
    for below in ["", "/versions", "/versions/1"] {
        let path = format!("{}{below}", path(&own));
        assert_eq!(other_key.problem(Method::GET, &path, &json!({})).await.0, 404, "{path}");
    }
    let change = json!({ "content": "rm -rf /" });
    assert_eq!(acme_key.problem(Method::PUT, &path(&shared), &change).await.0, 403);
    assert_eq!(acme_key.problem(Method::DELETE, &path(&shared), &json!({})).await.0, 403);
    let foreign = json!({ "customer_uuid": other });
    let moved = admin.problem(Method::PUT, &path(&own), &foreign).await;
    assert_eq!(moved, (422, "VALIDATION_FAILED".into()), "commands refer to it");
    assert_eq!(
        admin.get(&format!("/scripts?customer_id={acme}")).await["items"][0]["id"],
        own["id"]
    );
    let body = json!({ "name": "x", "content": "x", "script_type": "sh", "customer_id": other });
    assert_eq!(acme_key.problem(Method::POST, "/scripts", &body).await.0, 404);
}

#[tokio::test]
async fn a_script_may_have_a_mebibyte_and_not_a_byte_more() {
    let server = Server::start().await;
    let api = server.admin().await;
    for (name, letter) in [("plain", "x"), ("accents", "é"), ("lines", "\n#")] {
        let content = letter.repeat(MIB / letter.len());
        let made = api.post("/scripts", &script(name, &content)).await;
        assert_eq!(made["bytes"], MIB, "{name}");
        assert_eq!(api.get(&path(&made)).await["content"], content.as_str(), "{name}");
    }
    // As clients send it that write nothing but ASCII.
    let escaped = "\\u00e9".repeat(MIB / 2);
    let body = format!(r#"{{"name": "escaped", "content": "{escaped}", "script_type": "sh"}}"#);
    let request = api.request(Method::POST, "/scripts").header("Content-Type", "application/json");
    assert_eq!(request.body(body).send().await.unwrap().status().as_u16(), 201);

    let longer = script("longer", &"x".repeat(MIB + 1));
    let refused = api.request(Method::POST, "/scripts").json(&longer).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 422);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["errors"][0]["pointer"], "/content");
    let huge = script("huge", &"x".repeat(4 * MIB));
    let too_large = (413, "CONTENT_TOO_LARGE".to_owned());
    assert_eq!(api.problem(Method::POST, "/scripts", &huge).await, too_large);
    let elsewhere = json!({ "name": "x".repeat(300 * 1024) });
    assert_eq!(api.problem(Method::POST, "/customers", &elsewhere).await, too_large);
}

#[tokio::test]
async fn what_breaks_a_rule_is_pointed_at_in_the_words_of_its_kind() {
    let server = Server::start().await;
    let api = server.admin().await;
    let pointer = async |path: &str, body: &Value| {
        let answer = api.request(Method::POST, path).json(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 422, "{body}");
        answer.json::<Value>().await.unwrap()["errors"][0]["pointer"].clone()
    };
    let with = |parameters: Value| {
        let mut wish = script("x", "x");
        wish["parameters"] = parameters;
        wish
    };
    for (body, expected) in [
        (script(" ", "x"), "/name"),
        (script("x", "\u{0}"), "/content"),
        (json!({ "name": "x", "content": "x", "script_type": "perl" }), "/script_type"),
        (with(json!([{ "name": "PATH", "type": "string" }])), "/parameters/0/name"),
        (with(json!([{ "name": "a", "type": "secret", "default": "x" }])), "/parameters/0/default"),
        (with(json!([{ "name": "a", "type": "choice" }])), "/parameters/0/choices"),
    ] {
        assert_eq!(pointer("/scripts", &body).await, expected);
    }
    let empty = json!({ "name": "x", "command": "", "shell_type": "sh" });
    assert_eq!(pointer("/commands/saved", &empty).await, "/command");
    let linux = json!({
        "name": "x", "command": "x", "shell_type": "cmd", "target_os_type": "linux",
    });
    assert_eq!(pointer("/commands/saved", &linux).await, "/target_os_type");
}

#[tokio::test]
async fn clients_of_older_products_find_their_words() {
    let server = Server::start().await;
    let api = server.admin().await;
    let acme = api.customer("Acme").await;
    let fleet = json!({
        "name": "Get Top Processes", "description": "by memory", "language": "powershell",
        "content": "Get-Process | Select-Object -First 3",
    });
    assert_eq!(api.post("/scripts", &fleet).await["script_type"], "powershell");
    let remote = json!({
        "name": "Backup", "description": null, "content": "dir", "script_type": "cmd",
        "customer_uuid": acme,
    });
    let made = api.post("/scripts", &remote).await;
    assert_eq!(made["customer_id"], json!(acme));
    let again = api.put(&path(&made), &remote).await;
    assert_eq!(again["version"], 1, "the whole thing as it is changes nothing");
}

#[tokio::test]
async fn useful_saved_commands_are_there_from_the_beginning_and_may_be_changed() {
    let server = Server::start().await;
    let api = server.admin().await;
    for (os_type, shell) in [("linux", "sh"), ("macos", "sh"), ("windows", "powershell")] {
        let page = api.get(&format!("/commands/saved?target_os_type={os_type}")).await;
        assert_eq!(page["total"], 10, "{os_type}");
        for command in page["items"].as_array().unwrap() {
            assert_eq!(command["shell_type"], shell);
            assert_eq!(
                command["updated_by"],
                json!({ "kind": "system", "id": null, "name": "Muster" })
            );
            assert!(command["command"].as_str().is_some_and(|text| !text.is_empty()));
            assert_ne!(command["safety_level"], "dangerous");
        }
    }
    let found = api.get("/commands/saved?q=top%20processes&shell_type=sh&category=Processes").await;
    assert_eq!(found["total"], 2);
    let top = &found["items"][0];
    assert_eq!(
        (&top["parameters"][0]["name"], &top["parameters"][0]["default"]),
        (&json!("count"), &json!(10.0))
    );
    let path = format!("/commands/saved/{}", top["id"].as_str().unwrap());
    let changed = api.put(&path, &json!({ "tags": ["daily"], "category": null })).await;
    assert_eq!((&changed["version"], &changed["category"]), (&json!(2), &Value::Null));
    assert_eq!(changed["command"], top["command"]);
    assert_eq!(api.get("/commands/saved?tag=daily").await["total"], 1);
    let restored = api.post(&format!("{path}/versions/1/restore"), &json!({})).await;
    assert_eq!(restored["category"], "Processes");
}
