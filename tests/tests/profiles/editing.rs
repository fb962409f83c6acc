//! Writing profiles: names, versions, the order of tasks, and what is refused.

use reqwest::Method;
use reqwest::header::{ETAG, IF_MATCH};
use serde_json::{Value, json};

use crate::world::{World, command, delete, each, refused, text, with};

/// A task of that kind with these fields.
fn task(kind: &str, fields: Value) -> Value {
    with(json!({ "name": "x", "action_type": kind }), fields)
}

fn file(fields: Value) -> Value {
    task("file", json!({ "file": with(json!({ "path": "/etc/motd" }), fields) }))
}

#[tokio::test]
async fn a_name_is_taken_once_by_each_owner_however_it_is_written() {
    let world = World::start().await;
    let api = &world.api;
    let named = |name: &str| json!({ "name": name });
    let shared = api.post("/profiles", &named("Baseline")).await;
    assert_eq!((&shared["customer_id"], &shared["target_os_type"]), (&Value::Null, &Value::Null));
    let taken = (409, "ALREADY_EXISTS".to_owned());
    assert_eq!(api.problem(Method::POST, "/profiles", &named("BASELINE")).await, taken);
    let own = with(named("Baseline"), json!({ "customer_id": world.customer }));
    let own = text(&api.post("/profiles", &own).await["id"]);
    let other = text(&api.post("/profiles", &named("Other")).await["id"]);
    let path = format!("/profiles/{other}");
    assert_eq!(api.problem(Method::PUT, &path, &named("baseline")).await, taken);
    let found = api.get(&format!("/profiles?customer_id={}", world.customer)).await;
    assert_eq!(each(&found["items"], "id"), [json!(own)]);
    assert_eq!(api.get("/profiles?q=BASE").await["total"], 2);

    delete(api, &format!("/profiles/{}", text(&shared["id"]))).await;
    api.put(&path, &named("baseline")).await;
    for broken in ["", "  ", &"x".repeat(201), "a\nb"] {
        let (status, code, pointer) = refused(api, Method::POST, "/profiles", &named(broken)).await;
        assert_eq!((status, code.as_str(), pointer.as_str()), (422, "VALIDATION_FAILED", "/name"));
    }
    let odd = with(named("Odd"), json!({ "os": "linux" }));
    assert_eq!(api.problem(Method::POST, "/profiles", &odd).await.0, 422, "an unknown field");
}

#[tokio::test]
async fn what_was_changed_meanwhile_is_not_overwritten() {
    let world = World::start().await;
    let api = &world.api;
    let profile = world.profile("Guarded", &[]).await;
    let path = format!("/profiles/{profile}");
    let tag = async || {
        let answer = api.request(Method::GET, &path).send().await.unwrap();
        answer.headers()[ETAG].to_str().unwrap().to_owned()
    };
    let send = async |method: Method, path: &str, tag: &str, body: &Value| {
        let request = api.request(method, path).header(IF_MATCH, tag).json(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let problem: Value = answer.json().await.unwrap_or_default();
        (status, problem["code"].as_str().unwrap_or_default().to_owned())
    };
    let stale = (412, "PRECONDITION_FAILED".to_owned());
    let first = tag().await;
    assert_eq!(first, "\"1\"");
    api.post(&format!("{path}/tasks"), &command("One", "true")).await;
    let second = tag().await;
    assert_ne!(first, second, "another task makes another profile");
    let change = json!({ "description": "mine" });
    assert_eq!(send(Method::PUT, &path, &first, &change).await, stale);
    assert_eq!(send(Method::DELETE, &path, &first, &json!({})).await, stale);
    let shown = api.get(&path).await;
    assert_eq!((&shown["description"], &shown["task_count"]), (&Value::Null, &json!(1)));
    assert_eq!(send(Method::PUT, &path, &second, &change).await.0, 200);
    assert_eq!(send(Method::DELETE, &path, &tag().await, &json!({})).await.0, 204);
    assert_eq!(api.problem(Method::GET, &path, &json!({})).await.0, 404);
}

#[tokio::test]
async fn tasks_are_put_into_another_order_all_at_once() {
    let world = World::start().await;
    let api = &world.api;
    let tasks = ["a", "b", "c"].map(|name| command(name, "true"));
    let profile = world.profile("Ordered", &tasks).await;
    let path = format!("/profiles/{profile}/tasks");
    let listed = api.get(&path).await;
    assert_eq!(each(&listed["items"], "name"), ["a", "b", "c"]);
    let ids = each(&listed["items"], "id");
    let order = json!({ "task_ids": [ids[2], ids[0], ids[1]] });
    let ordered = api.put(&format!("{path}/order"), &order).await;
    assert_eq!(each(&ordered["items"], "name"), ["c", "a", "b"]);
    assert_eq!(each(&ordered["items"], "order_index"), [10, 20, 30]);
    let stranger = json!("0190163d-8694-739b-aea5-966c26f8ad91");
    for order in [
        json!([ids[0], ids[1]]),
        json!([ids[0], ids[1], ids[1]]),
        json!([ids[0], ids[1], ids[2], stranger]),
    ] {
        let wish = json!({ "task_ids": order });
        let path = format!("{path}/order");
        assert_eq!(api.problem(Method::PUT, &path, &wish).await.0, 422, "{order}");
    }
    let changed = with(command("a", "echo changed"), json!({ "order_index": 5 }));
    let changed = api.put(&format!("{path}/{}", text(&ids[0])), &changed).await;
    assert_eq!((&changed["id"], &changed["payload"]), (&ids[0], &json!("echo changed")));
    delete(api, &format!("{path}/{}", text(&ids[2]))).await;
    assert_eq!(each(&api.get(&path).await["items"], "name"), ["a", "b"]);
    let gone = api.problem(Method::DELETE, &format!("{path}/{}", text(&ids[2])), &json!({})).await;
    assert_eq!(gone, (404, "NOT_FOUND".into()));
}

#[tokio::test]
async fn a_task_is_shown_as_it_was_said() {
    let world = World::start().await;
    let said = [
        task(
            "command",
            json!({
                "description": "why", "payload": "df \"$1\"", "shell_type": "bash", "args": ["/"],
                "environment": { "a": "b" }, "working_directory": "/tmp", "timeout": 30.0,
                "continue_on_error": true, "check": { "command": "false" },
            }),
        ),
        file(json!({ "content": "hello\n", "mode": "0644" })),
        file(json!({ "url": "https://example.org/motd", "sha256": "0a".repeat(32) })),
        task("reboot", json!({ "timeout": 60.0, "reboot": { "only_if_changed": true } })),
        task("wait", json!({ "payload": "true", "interval": 2.0, "timeout": 20.0 })),
    ];
    let profile = world.profile("Shown", &said).await;
    let shown = world.api.get(&format!("/profiles/{profile}/tasks")).await;
    for (said, shown) in said.iter().zip(shown["items"].as_array().unwrap()) {
        assert_holds(shown, said, "");
    }
}

/// That everything which was said is there.
fn assert_holds(shown: &Value, said: &Value, place: &str) {
    match said {
        Value::Object(fields) => {
            for (name, said) in fields {
                assert_holds(&shown[name], said, &format!("{place}/{name}"));
            }
        }
        other => assert_eq!(shown, other, "{place}"),
    }
}

#[tokio::test]
async fn a_task_that_can_not_be_done_is_refused_and_its_fault_pointed_at() {
    let world = World::start().await;
    let api = &world.api;
    let profile = world.profile("Refusing", &[]).await;
    let windows = json!({ "os_type": "windows", "installer": "winget", "package": "Git.Git" });
    let windows = json!({ "name": "Git", "variants": [windows] });
    let windows = api.post("/software", &windows).await["id"].clone();
    let parameters = json!([{ "name": "who", "type": "string", "required": true }]);
    let script = world.script("Greet", "echo \"$who\"", parameters).await;
    let script = |parameters: Value| {
        task("script", json!({ "script_id": script, "parameters": parameters }))
    };
    let (sum, check) = ("0".repeat(64), json!({ "command": "true" }));
    for (wish, expected) in [
        (task("command", json!({})), "/payload"),
        (task("command", json!({ "payload": " " })), "/payload"),
        (task("wait", json!({})), "/payload"),
        (task("wait", json!({ "payload": "true", "interval": 301 })), "/interval"),
        (task("wait", json!({ "payload": "true", "timeout": 0 })), "/timeout"),
        (task("reboot", json!({ "timeout": -1 })), "/timeout"),
        (task("script", json!({})), "/script_id"),
        (script(json!({})), "/parameters/who"),
        (script(json!({ "who": "me", "what": "x" })), "/parameters/what"),
        (task("software", json!({})), "/software_id"),
        (task("software", json!({ "software_id": windows })), "/software_id"),
        (task("file", json!({})), "/file"),
        (file(json!({ "content": "x".repeat(24 * 1024 + 1) })), "/file/content"),
        (file(json!({ "content": "", "mode": "rw" })), "/file/mode"),
        (file(json!({ "content": "", "path": "etc/motd" })), "/file/path"),
        (file(json!({ "url": "ftp://example.org/x", "sha256": sum })), "/file/url"),
        (file(json!({ "url": "https://example.org/x", "sha256": "0a" })), "/file/sha256"),
        (with(file(json!({ "content": "" })), json!({ "check": check })), "/check"),
    ] {
        let path = format!("/profiles/{profile}/tasks");
        let (status, code, pointer) = refused(api, Method::POST, &path, &wish).await;
        assert_eq!((status, code.as_str()), (422, "VALIDATION_FAILED"), "{wish}");
        assert_eq!(pointer, expected, "{wish}");
    }
    let stranger = "0190163d-8694-739b-aea5-966c26f8ad91";
    for wish in [
        task("nothing", json!({ "payload": "true" })),
        task("command", json!({ "payload": "true", "command": "true" })),
        task("command", json!({ "payload": "true", "file": { "path": "/x", "content": "" } })),
        file(json!({ "content": "", "url": "https://example.org/x", "sha256": sum })),
        file(json!({ "url": "https://example.org/x" })),
        task("script", json!({ "script_id": stranger })),
        task("software", json!({ "software_id": stranger })),
    ] {
        let path = format!("/profiles/{profile}/tasks");
        let (status, _) = api.problem(Method::POST, &path, &wish).await;
        assert!([404, 422].contains(&status), "{status}: {wish}");
    }
    assert_eq!(api.get(&format!("/profiles/{profile}")).await["task_count"], 0);
}
