//! Commands on the server itself: off by default, for admins, entered in the audit log.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::time::Duration;

use muster_tests::{Api, Server, eventually};
use reqwest::Method;
use serde_json::{Value, json};

const EXECUTE: &str = "/commands/execute";
const BATCH: &str = "/commands/execute/batch";

async fn server() -> (Server, Api) {
    let server = Server::start_with(&[("MUSTER_LOCAL_EXECUTION", "true")]).await;
    let admin = server.admin().await;
    (server, admin)
}

async fn execute(admin: &Api, command: &str) -> Value {
    admin.post(EXECUTE, &json!({ "command": command })).await
}

async fn entries(admin: &Api, action: &str) -> Vec<Value> {
    let page = admin.get(&format!("/audit?action={action}")).await;
    page["items"].as_array().unwrap().clone()
}

/// Whether the process runs.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[tokio::test]
async fn it_is_off_until_whoever_starts_the_server_switches_it_on() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let batch = json!({ "commands": [{ "command": "id" }] });
    for (path, body) in [(EXECUTE, json!({ "command": "id" })), (BATCH, batch)] {
        let answer = admin.request(Method::POST, path).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 403);
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "FORBIDDEN");
        assert!(problem["detail"].as_str().unwrap().contains("local_execution = true"));
    }
    assert!(entries(&admin, "local_command.").await.is_empty());
    let switch = json!({ "local_execution": true });
    assert_eq!(admin.problem(Method::PUT, "/settings", &switch).await.0, 404, "no setting");
}

#[tokio::test]
async fn a_command_answers_with_what_it_wrote_and_how_it_ended() {
    let (_server, admin) = server().await;
    let wish = json!({
        "command": "printf '%s|' \"$GREETING\" \"$PWD\"; echo err >&2; exit 3 #",
        "environment": { "GREETING": "hello" },
        "working_directory": "/",
    });
    let run = admin.post(EXECUTE, &wish).await;
    assert_eq!((&run["success"], &run["exit_code"]), (&json!(false), &json!(3)));
    assert_eq!((&run["output"], &run["error"]), (&json!("hello|/|"), &json!("err\n")));
    assert_eq!(run["failure"]["code"], "EXIT_CODE");
    let words = json!({ "command": "printf '%s,'", "args": ["a b", "$(id)"], "shell": "sh" });
    let run = admin.post(EXECUTE, &words).await;
    assert_eq!((&run["success"], &run["output"]), (&json!(true), &json!("a b,$(id),")));
    assert!(run["execution_time"].as_f64().unwrap() >= 0.0);
    let late = json!({ "command": "id", "timeout": 4000 });
    assert_eq!(admin.problem(Method::POST, EXECUTE, &late).await.0, 422);
}

#[tokio::test]
async fn what_is_not_done_in_time_ends_with_everything_that_it_started() {
    let (_server, admin) = server().await;
    let wish = json!({ "command": "sleep 60 & echo $!; wait", "timeout": 0.5 });
    let run = admin.post(EXECUTE, &wish).await;
    assert_eq!((&run["timed_out"], &run["success"]), (&json!(true), &json!(false)));
    assert_eq!(run["failure"]["code"], "TIMED_OUT");
    let pid = run["output"].as_str().unwrap().trim().to_owned();
    eventually("the child is gone", async || (!runs(&pid)).then_some(())).await;
}

#[tokio::test]
async fn nobody_but_an_admin_runs_anything() {
    let (_server, admin) = server().await;
    let customer = admin.customer("Acme").await;
    let (key, _) = admin.key(&customer, &["commands:run", "agents:write"]).await;
    let mut others = vec![key];
    for role in ["viewer", "runner", "operator"] {
        let id = admin.colleague(role).await;
        let role_path = format!("/admin/users/{id}/set-role");
        admin.post(&role_path, &json!({ "role": role })).await;
        others.push(admin.login(role).await);
    }
    for other in &others {
        for path in [EXECUTE, BATCH] {
            let (status, code) = other.problem(Method::POST, path, &json!({})).await;
            assert_eq!((status, code.as_str()), (403, "FORBIDDEN"), "{path}");
        }
    }
    assert!(entries(&admin, "local_command.").await.is_empty());
}

#[tokio::test]
async fn the_audit_log_has_who_ran_what_and_how_it_ended() {
    let (_server, admin) = server().await;
    let secret = json!({ "command": "exit 7", "environment": { "TOKEN": "hidden" } });
    let run = admin.post(EXECUTE, &secret).await;
    let [begun] = &entries(&admin, "local_command.run").await[..] else { panic!("one entry") };
    assert_eq!(begun["actor"]["name"], "admin");
    assert_eq!((&begun["resource"]["id"], &begun["address"]), (&run["id"], &json!("127.0.0.1")));
    assert_eq!(begun["after"]["command"], "exit 7");
    assert!(begun["after"]["safety_level"].is_string() && !begun.to_string().contains("hidden"));
    let [ended] = &entries(&admin, "local_command.end").await[..] else { panic!("one entry") };
    assert_eq!((&ended["resource"]["id"], &ended["after"]["exit_code"]), (&run["id"], &json!(7)));
    assert_eq!(admin.get("/audit/verify").await["intact"], true);
}

#[tokio::test]
async fn who_hangs_up_does_not_escape_the_audit_log() {
    let (_server, admin) = server().await;
    let wish = json!({ "command": "sleep 1; exit 9" });
    let request = admin.request(Method::POST, EXECUTE).json(&wish);
    let hung_up = request.timeout(Duration::from_millis(300)).send().await;
    assert!(hung_up.unwrap_err().is_timeout());
    eventually("its end is entered", async || {
        let ended = entries(&admin, "local_command.end").await;
        (ended.first()?["after"]["exit_code"] == 9).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_servers_own_settings_are_not_in_a_commands_environment() {
    let settings = [
        ("MUSTER_LOCAL_EXECUTION", "true"),
        ("MUSTER_SECRET_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        ("OF_NO_CONCERN", "seen"),
    ];
    let server = Server::start_with(&settings).await;
    let admin = server.admin().await;
    let variables = execute(&admin, "env").await["output"].as_str().unwrap().to_owned();
    assert!(variables.contains("OF_NO_CONCERN=seen"));
    for ours in ["MUSTER_", "AAECAwQF", muster_tests::PASSWORD, "DATABASE_URL"] {
        assert!(!variables.contains(ours), "{ours}");
    }
}

#[tokio::test]
async fn what_is_dangerous_has_to_be_meant() {
    let (_server, admin) = server().await;
    // There is no such device: it would cost nothing if it ran.
    let mut wish = json!({ "command": "echo meant; mkfs.ext4 /dev/none" });
    let refused = admin.problem(Method::POST, EXECUTE, &wish).await;
    assert_eq!(refused, (409, "DANGEROUS_COMMAND".to_owned()));
    assert!(entries(&admin, "local_command.run").await.is_empty());
    wish["confirm"] = json!(true);
    let run = admin.post(EXECUTE, &wish).await;
    assert_eq!((&run["safety_level"], &run["output"]), (&json!("dangerous"), &json!("meant\n")));
}

#[tokio::test]
async fn a_batch_answers_in_its_order_and_stops_at_an_error_when_told_to() {
    let (_server, admin) = server().await;
    let commands = json!([{ "command": "sleep 0.3; echo 1" }, { "command": "exit 2" }, { "command": "echo 3" }]);
    let batch = admin.post(BATCH, &json!({ "commands": commands })).await;
    let outputs: Vec<_> =
        batch["results"].as_array().unwrap().iter().map(|it| &it["output"]).collect();
    assert_eq!(outputs, ["1\n", "", "3\n"]);
    assert_eq!((&batch["succeeded"], &batch["failed"]), (&json!(2), &json!(1)));
    let stopped = admin.post(BATCH, &json!({ "commands": commands, "stop_on_error": true })).await;
    assert_eq!(stopped["results"].as_array().unwrap().len(), 2);
    assert_eq!((&stopped["total"], &stopped["skipped"]), (&json!(3), &json!(1)));
    let begun = entries(&admin, "local_command.run").await.len();
    let broken = json!({ "commands": [{ "command": "id" }, { "command": " " }] });
    let answer = admin.request(Method::POST, BATCH).json(&broken).send().await.unwrap();
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["errors"][0]["pointer"], "/commands/1/command");
    assert_eq!(entries(&admin, "local_command.run").await.len(), begun, "nothing ran");
    let both = json!({ "commands": commands, "parallel": true, "stop_on_error": true });
    assert_eq!(admin.problem(Method::POST, BATCH, &both).await.0, 422);
}
