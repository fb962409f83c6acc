//! The assistant: from plain words to a proposal, against a provider that speaks the real API.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use muster_tests::model::Model;
use muster_tests::{Api, Server};
use reqwest::Method;
use serde_json::{Value, json};

/// A server whose assistant asks a model that the test tells what to say.
async fn house() -> (Server, Api, Model) {
    let (server, model) = (Server::start().await, Model::start());
    let admin = server.admin().await;
    admin.post("/settings/chatgpt/config", &model.config()).await;
    (server, admin, model)
}

fn proposed(shell: &str, command: &str) -> String {
    proposing(shell, command).to_string()
}

fn proposing(shell: &str, command: &str) -> Value {
    json!({
        "command": command,
        "explanation": "It lists files.",
        "parameters": [],
        "safety_level": "safe",
        "safety_reasons": [],
        "estimated_execution_time": "1-3 seconds",
        "shell_type": shell,
    })
}

#[tokio::test]
async fn plain_words_become_a_proposal_that_tells_what_left_the_house() {
    let (_server, admin, model) = house().await;
    model.say(proposed("bash", "ls -la"));
    let turn = json!({ "role": "user", "content": "The password=hunter2 is for later." });
    let wish = json!({ "message": "List files.", "conversation_history": [turn] });
    let told = admin.post("/commands/ai/generate", &wish).await;
    assert_eq!(told["success"], true);
    assert_eq!((&told["command"], &told["safety_level"]), (&json!("ls -la"), &json!("safe")));
    assert_eq!(told["consulted"]["model"], "tiny");
    assert_eq!(told["consulted"]["read_tokens"], 100);
    let (key, body) = model.asked().remove(0);
    assert_eq!(key, "Bearer the-key-of-the-house");
    assert_eq!((&body["max_tokens"], &body["temperature"]), (&json!(500), &json!(0.2)));
    assert_eq!(body["messages"], told["consulted"]["sent"]);
    assert!(!body.to_string().contains("hunter2"));
    assert_eq!(told["consulted"]["redacted"]["password"], 1);
    // The same again costs nothing.
    let again = admin.post("/commands/ai/generate", &wish).await;
    assert_eq!(
        (&again["command"], &again["consulted"]["cached"]),
        (&json!("ls -la"), &json!(true))
    );
    assert_eq!(model.asked().len(), 1);
}

#[tokio::test]
async fn commands_and_errors_are_explained_and_commands_said_better() {
    let (_server, admin, model) = house().await;
    let part = json!({ "text": "-rf", "meaning": "all of it" });
    model.say(json!({ "explanation": "It removes.", "parts": [part], "risks": ["all is gone"], "safety_level": "safe" }).to_string());
    let wish = json!({ "command": "rm -rf /", "shell_type": "bash" });
    let told = admin.post("/ai/explain-command", &wish).await;
    assert_eq!(told["safety_level"], "dangerous");
    assert_eq!(told["parts"][0]["meaning"], "all of it");

    let fixes =
        [proposing("bash", "ls"), proposing("bash", "echo 'a"), proposing("bash", "rm -rf /")];
    model.say(
        json!({ "explanation": "It is not there.", "causes": ["a typo"], "fixes": fixes })
            .to_string(),
    );
    let wish = json!({ "command": "sl", "error": "sl: not found", "exit_code": 127 });
    let told = admin.post("/ai/explain-error", &wish).await;
    let levels: Vec<_> =
        told["fixes"].as_array().unwrap().iter().map(|it| &it["safety_level"]).collect();
    // What can't be a command is left out.
    assert_eq!(levels, ["safe", "dangerous"]);

    let mut better = proposing("bash", "ls -A");
    better["improvements"] = json!(["shorter"]);
    model.say(better.to_string());
    let told = admin.post("/ai/optimize-command", &json!({ "command": "ls -a | cat" })).await;
    assert_eq!((&told["command"], &told["improvements"]), (&json!("ls -A"), &json!(["shorter"])));

    model.say(proposed("bash", "uptime"));
    let told = admin.post("/ai/suggest-command", &json!({ "message": "How long is it up?" })).await;
    assert_eq!(told["command"], "uptime");
}

#[tokio::test]
async fn whatever_the_provider_does_has_an_answer_that_says_so() {
    let (_server, admin, model) = house().await;
    let ask = async |wish: &str| {
        let wish = json!({ "message": wish });
        admin.problem(Method::POST, "/commands/ai/generate", &wish).await
    };
    let error = |code: &str| json!({ "error": { "code": code } });
    model.fail(401, error("invalid_api_key"), None);
    assert_eq!(ask("a").await, (503, "UNAVAILABLE".to_owned()));
    model.fail(429, error("rate_limit_exceeded"), Some(300));
    let answer = admin.request(Method::POST, "/commands/ai/generate");
    let answer = answer.json(&json!({ "message": "b" })).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (503, &"300".parse().unwrap())
    );
    // A short while is waited, and what stumbles is asked again.
    model.fail(429, error("rate_limit_exceeded"), Some(1));
    model.fail(500, json!({}), None);
    model.say(proposed("bash", "ls"));
    assert_eq!(ask("c").await.0, 200);
    model.fail(400, error("content_policy_violation"), None);
    assert_eq!(ask("d").await, (422, "VALIDATION_FAILED".to_owned()));
    // Twice what is none.
    model.say("no JSON");
    model.say(proposed("bash", "echo 'a"));
    assert_eq!(ask("e").await, (503, "UNAVAILABLE".to_owned()));
    // Once, and then better.
    model.say("no JSON");
    model.say(proposed("bash", "echo a"));
    assert_eq!(ask("f").await.0, 200);
}

#[tokio::test]
async fn the_model_is_set_up_while_everything_runs_and_its_key_is_never_shown() {
    let (server, model) = (Server::start().await, Model::start());
    let admin = server.admin().await;
    let status = admin.get("/commands/ai/status").await;
    assert_eq!((&status["configured"], &status["reachable"]), (&json!(false), &json!(null)));
    let wish = json!({ "message": "List files." });
    let refused = admin.problem(Method::POST, "/commands/ai/generate", &wish).await;
    assert_eq!(refused, (409, "WRONG_STATE".to_owned()));
    let config = admin.post("/settings/chatgpt/config", &model.config()).await;
    assert_eq!((&config["api_key"], &config["temperature"]), (&json!("********"), &json!(0.2)));
    assert_eq!(admin.get("/settings/chatgpt/config").await, config);
    model.say("yes");
    assert_eq!(admin.post("/settings/chatgpt/test", &json!({})).await["success"], true);
    let status = admin.get("/commands/ai/status").await;
    assert_eq!((&status["model"], &status["reachable"]), (&json!("tiny"), &json!(true)));
    model.fail(401, json!({}), None);
    let tested = admin.post("/settings/chatgpt/test", &json!({})).await;
    assert_eq!(tested["message"], "the provider does not accept the key");
    // From the next request on it is another.
    admin.post("/settings/chatgpt/config", &json!({ "model": "huge" })).await;
    admin.post("/settings/reload-ai-service", &json!({})).await;
    model.say(proposed("bash", "ls"));
    admin.post("/commands/ai/generate", &wish).await;
    assert_eq!(model.asked().pop().unwrap().1["model"], "huge");
    let settings = admin.get("/settings").await.to_string();
    assert!(!settings.contains("the-key-of-the-house"));
}

#[tokio::test]
async fn a_plan_holds_what_a_day_may_cost() {
    let (_server, admin, model) = house().await;
    let customer = admin.customer("Acme").await;
    admin.put(&format!("/customers/{customer}"), &json!({ "plan": "free" })).await;
    let (key, _) = admin.key(&customer, &["agents:read"]).await;
    for number in 0..11 {
        model.say(proposed("bash", "ls"));
        let wish = json!({ "message": format!("List files, number {number}.") });
        let (status, code) = key.problem(Method::POST, "/commands/ai/generate", &wish).await;
        let expected = if number < 10 { 200 } else { 429 };
        assert_eq!(status, expected, "{number}: {code}");
    }
    assert_eq!(model.asked().len(), 10);
}

#[tokio::test]
async fn a_trial_runs_what_only_looks_and_the_rest_when_somebody_means_it() {
    let (server, admin, _model) = house().await;
    let customer = admin.customer("Acme").await;
    let token = admin.enrollment_token(&customer).await;
    let agent = muster_tests::Agent::start(&server, "web-01", &token);
    let id = admin.connected("web-01").await;
    let done =
        admin.post("/commands/ai/test", &json!({ "agent_id": id, "command": "echo hi" })).await;
    assert_eq!((&done["status"], &done["output"]), (&json!("completed"), &json!("hi\n")));
    let wish = json!({ "agent_id": id, "command": "touch /tmp/muster-trial" });
    let refused = admin.problem(Method::POST, "/commands/ai/test", &wish).await;
    assert_eq!(refused, (409, "DANGEROUS_COMMAND".to_owned()));
    let wish = json!({ "agent_id": id, "command": "exit 3", "confirm": true });
    assert_eq!(admin.post("/commands/ai/test", &wish).await["exit_code"], 3);
    drop(agent);
}

/// The table of the domain, through the API.
#[tokio::test]
async fn nothing_that_is_dressed_up_passes_for_safe_and_nothing_runs() {
    let (_server, admin, model) = house().await;
    let table = include_str!("../../crates/domain/assistant/tests/red_team.txt");
    let cases: Vec<_> = table.lines().filter_map(|line| line.strip_prefix("command ")).collect();
    assert!(cases.len() >= 60);
    for case in cases {
        let (shell, command) = case.split_once(' ').unwrap();
        model.forget();
        model.say(proposed(shell, command));
        model.say(proposed(shell, command));
        let wish = json!({ "message": format!("Do this: {case}") });
        let answer = admin.request(Method::POST, "/commands/ai/generate").json(&wish);
        let answer = answer.send().await.unwrap();
        let status = answer.status().as_u16();
        let told: Value = answer.json().await.unwrap();
        assert!(status == 200 || status == 503, "{case}: {told}");
        assert_ne!(told["safety_level"], "safe", "{case}");
    }
    assert_eq!(admin.get("/commands").await["total"], 0);
    assert_eq!(admin.get("/runs").await["total"], 0);
}

/// Every file beneath a folder that holds `needle`.
fn holding(folder: &Path, needle: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            holding(&path, needle, found);
        } else if let Ok(bytes) = fs::read(&path)
            && bytes.windows(needle.len()).any(|part| part == needle.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
}

#[tokio::test]
async fn a_key_of_ones_own_is_found_nowhere_afterwards() {
    const KEY: &str = "sk-own-4711-only-for-this-request";
    let server = Server::start_with(&[("RUST_LOG", "trace")]).await;
    let (admin, model) = (server.admin().await, Model::start());
    admin.post("/settings/chatgpt/config", &model.config()).await;
    let echo = json!({ "error": { "message": KEY, "code": KEY } });
    let mut seen = String::new();
    for in_header in [true, false] {
        for path in ["/commands/ai/generate", "/ai/validate-key"] {
            for status in [200, 400, 401, 404, 429, 500] {
                model.forget();
                for _ in 0..3 {
                    match status {
                        200 => model.say(proposed("bash", &format!("echo {KEY}"))),
                        _ => model.fail(status, echo.clone(), Some(60)),
                    }
                }
                let mut wish = json!({ "message": format!("List files with {KEY}.") });
                if path.ends_with("key") {
                    wish = json!({});
                }
                let mut request = admin.request(Method::POST, path);
                if in_header {
                    request = request.header("X-AI-Key", KEY);
                } else {
                    wish["api_key"] = json!(KEY);
                }
                let answer = request.json(&wish).send().await.unwrap();
                let _ = write!(seen, "{:?}", answer.headers());
                seen.push_str(&answer.text().await.unwrap());
                assert_eq!(model.asked()[0].0, format!("Bearer {KEY}"), "{path} {status}");
                assert!(!model.asked()[0].1.to_string().contains(KEY));
            }
        }
    }
    // What breaks a rule is not repeated either.
    for odd in [json!({ "api_key": format!("{KEY} {KEY}") }), json!({ "api_key": [KEY] })] {
        let answer =
            admin.request(Method::POST, "/ai/validate-key").json(&odd).send().await.unwrap();
        assert!(answer.status().is_client_error());
        seen.push_str(&answer.text().await.unwrap());
    }
    seen.push_str(&admin.get("/audit").await.to_string());
    let metrics = admin.request(Method::GET, "/metrics").send().await.unwrap();
    seen.push_str(&metrics.text().await.unwrap());
    assert!(!seen.contains(KEY), "{seen}");
    assert!(!server.log().contains(KEY));
    let mut found = Vec::new();
    holding(&server.data_dir(), KEY, &mut found);
    assert!(found.is_empty(), "{found:?}");
}
