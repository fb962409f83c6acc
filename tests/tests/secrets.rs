//! Secrets: none is anywhere in clear, and the key they are sealed with can be replaced.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_tests::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use muster_tests::{Agent, Api, PASSWORD, Server};
use reqwest::Method;
use serde_json::{Value, json};

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// What the messages to a webhook are signed with, one of which was sent, or would have been.
async fn webhook_secret(admin: &Api) -> String {
    let leads_to = json!({ "kind": "webhook", "url": "https://hooks.invalid/" });
    let made =
        admin.post("/alerts/channels", &json!({ "name": "ops", "leads_to": leads_to })).await;
    let channel = text(&made["id"]);
    admin.post(&format!("/alerts/channels/{channel}/test"), &json!({})).await;
    text(&made["signing_secret"])
}

/// Uses every kind of secret there is; answers with all of them.
async fn use_every_secret(server: &Server, admin: &Api) -> Vec<(&'static str, String)> {
    let customer = admin.customer("Acme").await;
    let wish = json!({ "customer_id": customer, "name": "t" });
    let enrollment = text(&admin.post("/enrollment-tokens", &wish).await["token"]);
    let (key, _) = admin.key(&customer, &["agents:read"]).await;
    key.get("/agents").await;
    let default = admin.post(&format!("/customers/{customer}/generate-api-key"), &json!({})).await;
    let refresh = admin.refresh_token().await;
    let renewed = admin.post("/auth/refresh", &json!({ "refresh_token": refresh })).await;
    let ticket = text(&admin.post("/auth/tickets", &json!({})).await["ticket"]);
    let used = admin.request(Method::GET, &format!("/audit?ticket={ticket}")).send().await;
    assert_eq!(used.unwrap().status(), 200);
    let factor = admin.post("/auth/totp", &json!({ "password": PASSWORD })).await;
    let signing = webhook_secret(admin).await;
    let chat = "https://hooks.invalid/T0/very-secret-chat";
    let leads_to = json!({ "kind": "chat", "flavour": "slack", "url": chat });
    admin.post("/alerts/channels", &json!({ "name": "chat", "leads_to": leads_to })).await;
    let provider = Provider::start();
    let settings = json!({
        "oidc_issuer": provider.issuer(),
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
    });
    admin.put("/settings", &settings).await;
    let mut agent = Agent::start(server, "web", &enrollment);
    let id = admin.connected("web").await;
    admin.post(&format!("/agents/{id}/command"), &json!({ "command": "echo" })).await;
    let identity = std::fs::read_to_string(agent.data_dir().join("identity.json")).unwrap();
    let identity: Value = serde_json::from_str(&identity).unwrap();
    agent.kill();
    let master = std::fs::read_to_string(server.data_dir().join("secret.key")).unwrap();
    vec![
        ("password", PASSWORD.to_owned()),
        ("access token", admin.token().to_owned()),
        ("refresh token", refresh),
        ("renewed refresh token", text(&renewed["refresh_token"])),
        ("ticket", ticket),
        ("enrollment token", enrollment),
        ("agent token", text(&identity["agent_token"])),
        ("key", key.token().to_owned()),
        ("default key", text(&default["api_key"])),
        ("secret of a second factor", text(&factor["secret"])),
        ("signing secret of a webhook", signing),
        ("address of a chat", chat.to_owned()),
        ("client secret", CLIENT_SECRET.to_owned()),
        ("master key", master.trim().to_owned()),
    ]
}

#[tokio::test]
async fn no_secret_is_in_the_database_the_log_or_any_answer_in_clear() {
    let settings = [("RUST_LOG", "debug"), ("MUSTER_LOG_FORMAT", "json")];
    let mut server = Server::start_with(&settings).await;
    let admin = server.admin().await;
    let secrets = use_every_secret(&server, &admin).await;
    let document: Value = admin
        .request(Method::GET, "/../../openapi.json")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let mut answers = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let leads_on = path.contains('{') || path.contains("oidc") || path.contains("export");
        if item.get("get").is_some() && !leads_on {
            let mut answer = admin.request(Method::GET, path).send().await.unwrap();
            if answer.headers()["content-type"] == "text/event-stream" {
                // It goes on for as long as somebody listens: its beginning is enough.
                let beginning = answer.chunk().await.unwrap().unwrap_or_default();
                answers.push((path.clone(), beginning.to_vec()));
                continue;
            }
            answers.push((path.clone(), answer.bytes().await.unwrap().to_vec()));
        }
    }
    for path in ["/settings/oidc_client_secret", "/audit/export", "/audit?limit=500"] {
        let answer = admin.request(Method::GET, path).send().await.unwrap();
        answers.push((path.to_owned(), answer.bytes().await.unwrap().to_vec()));
    }
    assert!(answers.len() > 15);
    let masked = admin.get("/settings/oidc_client_secret").await;
    assert_eq!(masked["value"], "********");
    assert!(server.stop());
    let kept = server.kept().await;
    let kept = kept.into_iter().filter(|(path, _)| !path.ends_with("secret.key"));
    let log = ("log".to_owned(), server.log().into_bytes());
    assert!(log.1.len() > 1000, "there is a log");
    let places: Vec<_> = kept.chain(answers).chain([log]).collect();
    for (name, secret) in &secrets {
        assert!(secret.len() >= 8, "{name}");
        for (place, bytes) in &places {
            assert!(!holds(bytes, secret), "the {name} is in {place}");
        }
    }
}

#[tokio::test]
async fn the_key_of_sealed_secrets_is_replaced_while_the_server_runs() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let provider = Provider::start();
    let settings = json!({
        "oidc_issuer": provider.issuer(),
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
    });
    admin.put("/settings", &settings).await;
    admin.post("/auth/totp", &json!({ "password": PASSWORD })).await;
    let rotate = || {
        let output = server.command(&["secrets", "rotate"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(rotate(), "2 secrets are sealed with a new key\n");
    assert_eq!(rotate(), "2 secrets are sealed with a new key\n");
    // The server opens what was sealed with a key that it has not seen: of what it knew, and of
    // what it is told.
    for _ in 0..7 {
        let begun = admin.problem(Method::GET, "/auth/oidc/login", &json!({})).await;
        assert_ne!(begun.0, 503, "{}", server.log());
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    let again = json!({ "oidc_client_secret": "another secret" });
    admin.put("/settings", &again).await;
    assert_eq!(admin.get("/audit?action=data_key.create").await["total"], 3);
    assert_eq!(admin.get("/audit/verify").await["intact"], true, "two processes, one chain");
}

#[tokio::test]
async fn a_program_with_another_key_than_the_servers_is_refused_and_harms_nothing() {
    let key = |byte: u8| STANDARD.encode((0..32).map(|n| n * 7 + byte).collect::<Vec<u8>>());
    let server = Server::start_with(&[("MUSTER_SECRET_KEY", &key(1))]).await;
    let admin = server.admin().await;
    admin.post("/auth/totp", &json!({ "password": PASSWORD })).await;
    for work in [["secrets", "rotate"], ["users", "recover"]] {
        for other in [None, Some(key(2))] {
            let mut command = server.command(&work);
            command
                .env_remove("MUSTER_SECRET_KEY")
                .envs(other.map(|key| ("MUSTER_SECRET_KEY", key)));
            let output = command.output().unwrap();
            let why = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && why.contains("MUSTER_SECRET_KEY"), "{why}");
        }
    }
    let mut serve = server.command(&["serve", "--listen", "127.0.0.1:0"]);
    let output = serve.env("MUSTER_SECRET_KEY", key(2)).output().unwrap();
    let why = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && why.contains("another key"), "{why}");
    assert!(!server.data_dir().join("secret.key").exists());
    assert_eq!(admin.get("/audit/verify").await["intact"], true);
    assert_eq!(admin.get("/audit?action=data_key.create").await["total"], 1);
    server.admin().await;
}
