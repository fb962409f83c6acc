//! Customers' keys, and machines that enrol with them.

use muster_tests::{Agent, Api, Enrolled, Server};
use reqwest::{Client, Method};
use serde_json::{Value, json};

#[tokio::test]
async fn a_key_sees_its_own_customer_and_signs_what_it_does() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let (acme, other) = (admin.customer("Acme").await, admin.customer("Other").await);
    let (key, id) = admin.key(&acme, &["agents:read", "agents:write", "commands:run"]).await;
    let enrolled = Enrolled::register(&server.url(), key.token(), "web").await;
    let theirs = admin.key(&other, &["agents:write"]).await.0;
    Enrolled::register(&server.url(), theirs.token(), "theirs").await;
    assert_eq!(admin.get("/agents").await["total"], 2);
    assert_eq!(key.get("/agents").await["total"], 1);
    assert_eq!(key.get("/customer/agents").await["items"][0]["hostname"], "web");
    assert_eq!(key.get("/customer/profile").await["name"], "Acme");
    let command = key.queue(&enrolled.agent_id.to_string(), &json!({ "command": "echo" })).await;
    let shown = admin.get(&format!("/commands/{command}")).await;
    assert_eq!(shown["requested_by"], json!({ "kind": "api_key", "id": id }));
    let header = Client::new().get(format!("{}/api/v1/agents", server.url()));
    let answer = header.header("X-API-Key", key.token()).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["total"], 1);
    let keys = admin.get(&format!("/customers/{acme}/api-keys")).await;
    assert!(keys["items"][0]["last_used_at"].is_string() && keys["items"][0]["api_key"].is_null());
}

#[tokio::test]
async fn the_same_request_makes_one_key_and_its_answer_comes_again() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let path = format!("/customers/{}/api-keys", admin.customer("Acme").await);
    let make = async |name: &str| {
        let body = json!({ "name": name, "scopes": ["agents:read"] });
        let request = admin.request(Method::POST, &path).header("Idempotency-Key", "once");
        let answer = request.json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (first, again, other) = (make("ci").await, make("ci").await, make("cd").await);
    assert_eq!((first.0, first.1["api_key"].as_str()), (201, again.1["api_key"].as_str()));
    assert_eq!((other.0, &other.1["code"]), (409, &json!("IDEMPOTENCY_KEY_REUSED")));
    assert_eq!(admin.get(&path).await["total"], 1);
}

#[tokio::test]
async fn a_key_is_good_from_its_networks_only() {
    let server = Server::start_with(&[("MUSTER_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let admin = server.admin().await;
    let path = format!("/customers/{}/api-keys", admin.customer("Acme").await);
    let wish = |networks: Value| json!({ "name": "ci", "scopes": ["agents:read"], "allowed_networks": networks });
    let key = admin.post(&path, &wish(json!(["203.0.113.0/24", "2001:db8::1"]))).await;
    let key = admin.with_token(key["api_key"].as_str().unwrap());
    let from = async |address: &str| {
        let request = key.request(Method::GET, "/agents").header("X-Forwarded-For", address);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((from("203.0.113.9").await, from("2001:db8::1").await), (200, 200));
    assert_eq!((from("198.51.100.1").await, from("nonsense").await), (401, 401));
    assert_eq!(from("203.0.113.9, 198.51.100.1").await, 401, "anybody could have said the first");
    let (status, code) = admin.problem(Method::POST, &path, &wish(json!(["10.0.0.0/33"]))).await;
    assert_eq!((status, code.as_str()), (422, "VALIDATION_FAILED"));
}

#[tokio::test]
async fn the_default_key_is_replaced_revoked_and_told_of_as_older_programs_expect() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let id = admin.customer("Acme").await;
    let path = |what: &str| format!("/customers/{id}/{what}");
    let info = async || admin.get(&path("api-key-info")).await;
    let nothing = json!({
        "customer_uuid": id, "has_api_key": false,
        "api_key_created_at": null, "api_key_last_used": null,
    });
    assert_eq!(info().await, nothing);
    let no_key = (409, "NO_API_KEY".into());
    assert_eq!(admin.problem(Method::GET, &path("download-config"), &json!({})).await, no_key);
    assert_eq!(admin.problem(Method::POST, &path("revoke-api-key"), &json!({})).await, no_key);
    let generate = async || {
        let made = admin.post(&path("generate-api-key"), &json!({})).await;
        assert_eq!(made["customer_uuid"], json!(id));
        admin.with_token(made["api_key"].as_str().unwrap())
    };
    let works = async |key: &Api| key.problem(Method::GET, "/agents", &json!({})).await.0;
    let (first, second) = (generate().await, generate().await);
    assert_eq!((works(&first).await, works(&second).await), (401, 200));
    let known = info().await;
    assert_eq!(
        (&known["has_api_key"], known["api_key_last_used"].is_string()),
        (&json!(true), true)
    );
    admin.post(&path("revoke-api-key"), &json!({})).await;
    assert_eq!((works(&second).await, info().await), (401, nothing));
}

#[tokio::test]
async fn id_ini_is_what_remote_agent_manager_printed_with_a_key_that_only_enrols() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let id = admin.customer("Acme").await;
    admin.post(&format!("/customers/{id}/generate-api-key"), &json!({})).await;
    let path = format!("/customers/{id}/download-config");
    let answer = admin.request(Method::GET, &path).send().await.unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    let (file, key_id) = (header("content-disposition"), header("x-api-key-id"));
    assert_eq!(file, "attachment; filename=\"id.ini\"");
    let text = answer.text().await.unwrap();
    let key = text.lines().find_map(|line| line.strip_prefix("api_key = ")).unwrap();
    let expected = include_str!("../id.ini").replace("<customer_uuid>", &id);
    assert_eq!(text, expected.replace("<api_key>", key));
    let downloaded = admin.with_token(key);
    for path in ["/commands", "/agents"] {
        assert_eq!(downloaded.problem(Method::GET, path, &json!({})).await.0, 403);
    }
    let _agent = Agent::start(&server, "from-file", key);
    admin.connected("from-file").await;
    let keys = admin.get(&format!("/customers/{id}/api-keys")).await;
    assert!(keys["items"].as_array().unwrap().iter().any(|known| known["id"] == key_id));
}
