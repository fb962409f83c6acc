//! What is in the library, run on real machines.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use chrono::TimeDelta;
use muster_tests::{Agent, Api, Server, eventually, now};
use reqwest::Method;
use serde_json::{Value, json};

const SECRET: &str = "s3cr3t-$(id)-'\"-value";

async fn world() -> (Server, Api, Agent, String) {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let agent = Agent::start(&server, "web-01", &token);
    let id = api.connected("web-01").await;
    (server, api, agent, id)
}

async fn script(api: &Api, content: &str, parameters: Value) -> String {
    let wish = json!({
        "name": "s", "content": content, "script_type": "sh", "parameters": parameters,
    });
    api.post("/scripts", &wish).await["id"].as_str().unwrap().to_owned()
}

/// Runs it on one machine, and waits for its end.
async fn executed(api: &Api, path: &str, body: &Value) -> Value {
    let accepted = api.post(path, body).await;
    api.ended(accepted["task_id"].as_str().unwrap()).await
}

#[tokio::test]
async fn a_script_gets_its_parameters_byte_for_byte_and_reads_none_of_them_as_code() {
    let (_server, api, _agent, agent) = world().await;
    let parameters = json!([
        { "name": "who", "type": "string", "required": true },
        { "name": "times", "type": "number", "default": 2 },
    ]);
    let content = "printf '%s|%s|%s|%s' \"$who\" \"$1\" \"$times\" \"$2\"";
    let id = script(&api, content, parameters).await;
    for value in ["$(touch /tmp/x)`id`; rm -rf \"'\n é", "-n", "*", "", " "] {
        let body = json!({ "agent_id": agent, "parameters": { "who": value } });
        let path = format!("/scripts/{id}/execute");
        if value.is_empty() {
            assert_eq!(api.problem(Method::POST, &path, &body).await.0, 422);
            continue;
        }
        let command = executed(&api, &path, &body).await;
        assert_eq!(command["output"], format!("{value}|{value}|2|2"), "{command}");
        assert_eq!((&command["kind"], &command["command"]), (&json!("script"), &json!("s")));
    }
}

#[tokio::test]
async fn values_that_a_script_does_not_take_are_all_pointed_at_and_run_nothing() {
    let (_server, api, _agent, agent) = world().await;
    let parameters = json!([
        { "name": "who", "type": "string", "required": true },
        { "name": "times", "type": "number", "max": 3 },
    ]);
    let id = script(&api, "true", parameters).await;
    let body = json!({ "agent_id": agent, "parameters": { "times": 4, "other": "x" } });
    let request = api.request(Method::POST, &format!("/scripts/{id}/execute")).json(&body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 422);
    let problem: Value = answer.json().await.unwrap();
    let pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|it| it["pointer"].clone()).collect();
    for name in ["who", "times", "other"] {
        assert!(pointers.contains(&json!(format!("/parameters/{name}"))), "{problem}");
    }
    let other = json!({ "target_os_type": "windows" });
    api.put(&format!("/scripts/{id}"), &other).await;
    let body = json!({ "agent_id": agent, "parameters": { "who": "x" } });
    let refused = api.problem(Method::POST, &format!("/scripts/{id}/execute"), &body).await;
    assert_eq!(refused, (422, "VALIDATION_FAILED".into()), "made for another system");
    assert_eq!(api.get("/commands").await["total"], 0);
}

#[tokio::test]
async fn a_secret_reaches_the_script_and_nobody_else() {
    let (server, api, _agent, agent) = world().await;
    let id = script(
        &api,
        "test \"$token\" = \"$(cat expected)\" && echo same; echo \"[$token]\" | tee /dev/stderr; exit 3",
        json!([{ "name": "token", "type": "secret", "required": true }]),
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("expected"), SECRET).unwrap();
    // Its own folder is where the agent runs it: the expected value comes from a file there.
    let content = format!(
        "cd {} && {}",
        folder.path().display(),
        "test \"$token\" = \"$(cat expected)\" && echo same; echo \"[$token]\" | tee /dev/stderr; exit 3"
    );
    api.put(&format!("/scripts/{id}"), &json!({ "content": content })).await;
    let body = json!({ "target": { "agent_ids": [agent] }, "parameters": { "token": SECRET } });
    let first = api.post(&format!("/scripts/{id}/execute"), &body).await;
    let run = api.run_ended(first["id"].as_str().unwrap()).await;
    let again = api.post(&format!("/runs/{}/retry", run["id"].as_str().unwrap()), &json!({})).await;
    let again = api.run_ended(again["id"].as_str().unwrap()).await;

    let at = now() + TimeDelta::seconds(1);
    let schedule = api
        .post(
            "/schedules",
            &json!({ "name": "n", "at": at, "target": { "agent_ids": [agent] },
            "script_id": id, "parameters": { "token": SECRET } }),
        )
        .await;
    let planned = eventually("the schedule runs", async || {
        let path = format!("/schedules/{}/runs", schedule["id"].as_str().unwrap());
        api.get(&path).await["items"][0]["run_id"].as_str().map(ToOwned::to_owned)
    })
    .await;
    let planned = api.run_ended(&planned).await;

    for run in [&run, &again, &planned] {
        let path = format!("/runs/{}/commands", run["id"].as_str().unwrap());
        let command = api.get(&path).await["items"][0]["id"].as_str().unwrap().to_owned();
        let command = api.get(&format!("/commands/{command}")).await;
        assert_eq!(command["output"], "same\n[********]\n", "{command}");
        assert_eq!((&command["error"], &command["exit_code"]), (&json!("[********]\n"), &json!(3)));
    }
    for shown in [&first, &run, &again, &schedule] {
        assert!(!shown.to_string().contains("s3cr3t"), "{shown}");
    }
    for path in ["/audit", "/commands", "/runs", "/schedules"] {
        assert!(!api.get(path).await.to_string().contains("s3cr3t"), "{path}");
    }
    assert!(!server.log().contains("s3cr3t"));
    for (place, bytes) in server.kept().await {
        assert!(!bytes.windows(6).any(|six| six == b"s3cr3t"), "{place}");
    }
}

#[tokio::test]
async fn the_saved_commands_that_are_there_from_the_beginning_run_on_a_real_machine() {
    let (_server, api, _agent, agent) = world().await;
    let saved = api.get("/commands/saved?target_os_type=linux&limit=100").await;
    let saved = saved["items"].as_array().unwrap();
    assert!(saved.len() >= 10, "{}", saved.len());
    for item in saved {
        let path = format!("/commands/saved/{}/execute", item["id"].as_str().unwrap());
        let command = executed(&api, &path, &json!({ "agent_id": agent })).await;
        assert_eq!(command["exit_code"], 0, "{}: {command}", item["name"]);
    }
}

#[tokio::test]
async fn who_may_only_run_what_is_in_the_library_runs_that() {
    let (_server, api, _agent, agent) = world().await;
    let id = script(&api, "echo hello", json!([])).await;
    let user = api.colleague("rob").await;
    api.post(&format!("/admin/users/{user}/set-role"), &json!({ "role": "runner" })).await;
    let rob = api.login("rob").await;
    let customer = api.get(&format!("/agents/{agent}")).await["customer_id"].clone();
    let (key, _) = api.key(customer.as_str().unwrap(), &["commands:run-saved"]).await;
    for who in [rob, key] {
        let body = json!({ "agent_id": agent });
        let path = format!("/scripts/{id}/execute");
        assert_eq!(executed(&who, &path, &body).await["output"], "hello\n");
        let action = json!({ "type": "script", "script_id": id });
        let path = format!("/devices/{agent}/actions");
        assert_eq!(executed(&who, &path, &action).await["output"], "hello\n");
        let text = json!({ "type": "command", "payload": "echo own" });
        assert_eq!(who.problem(Method::POST, &path, &text).await.0, 403);
        let change = json!({ "content": "echo changed" });
        assert_eq!(who.problem(Method::PUT, &format!("/scripts/{id}"), &change).await.0, 403);
    }
}

#[tokio::test]
async fn a_script_of_a_mebibyte_runs_as_it_was_when_it_was_asked_for() {
    let (_server, api, mut agent, id) = world().await;
    let filler = format!("# {}\n", "x".repeat(98)).repeat(10_000);
    let body = format!("{filler}echo first");
    let script = script(&api, &body, json!([])).await;
    assert!(agent.stop());
    let path = format!("/scripts/{script}/execute");
    let accepted = api.post(&path, &json!({ "agent_id": id })).await;
    api.put(&format!("/scripts/{script}"), &json!({ "content": "echo second" })).await;
    agent.restart();
    let command = api.ended(accepted["task_id"].as_str().unwrap()).await;
    assert_eq!(command["output"], "first\n");
    assert_eq!(executed(&api, &path, &json!({ "agent_id": id })).await["output"], "second\n");
}
