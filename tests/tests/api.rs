//! The HTTP API against a running server: what bad input is told, and what outlives what.

use std::time::Duration;

use muster_tests::{Agent, Enrolled, PASSWORD, Server, eventually};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_session_is_renewed_once_per_token_and_ends_at_once() {
    let server = Server::start().await;
    let base = format!("{}/api/v1", server.url());
    let client = Client::new();
    let post = async |path: &str, body: Value, token: &str| {
        let request = client.post(format!("{base}{path}")).json(&body).bearer_auth(token);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap_or_default())
    };
    let login = json!({ "email": " ADMIN ", "password": PASSWORD });
    let (status, first) = post("/auth/login", login, "").await;
    assert_eq!((status, &first["token_type"]), (StatusCode::OK, &json!("bearer")));
    let token = |pair: &Value, name: &str| pair[name].as_str().unwrap().to_owned();
    let renew = json!({ "refresh_token": first["refresh_token"] });
    let (status, second) = post("/auth/refresh", renew.clone(), "").await;
    assert_eq!(status, StatusCode::OK);
    let access = token(&second, "access_token");
    let me = async || {
        client.get(format!("{base}/auth/me")).bearer_auth(&access).send().await.unwrap().status()
    };
    assert_eq!(me().await, StatusCode::OK);
    let (status, problem) = post("/auth/refresh", renew, "").await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("UNAUTHENTICATED")));
    assert_eq!(me().await, StatusCode::UNAUTHORIZED, "a used token was shown: the session ends");
    let again = json!({ "username": "admin", "password": PASSWORD });
    let (_, third) = post("/auth/login", again, "").await;
    let access = token(&third, "access_token");
    assert_eq!(post("/auth/logout", json!({}), &access).await.0, StatusCode::NO_CONTENT);
    assert_eq!(post("/auth/logout", json!({}), &access).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn too_many_wrong_passwords_lock_a_name_however_it_is_spelt() {
    let server = Server::start().await;
    let api = server.admin().await;
    let attempt = async |name: &str, password: &str| {
        let body = json!({ "username": name, "password": password });
        api.problem(Method::POST, "/auth/login", &body).await
    };
    for name in ["admin", "ADMIN", " admin", "Admin", "admin "] {
        assert_eq!(attempt(name, "wrong password").await.1, "INVALID_CREDENTIALS");
    }
    assert_eq!(attempt("aDmin", PASSWORD).await, (429, "TOO_MANY_REQUESTS".into()));
    assert_eq!(attempt("nobody", "wrong password").await.1, "INVALID_CREDENTIALS");
}

#[tokio::test]
async fn bad_input_gets_a_problem_that_says_what_to_do() {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let enrolled = Enrolled::register(&server.url(), &token, "raw").await;
    let path = format!("/agents/{}/commands", enrolled.agent_id);
    let send = async |content_type: &str, body: String| {
        let request = api.request(Method::POST, &path).header("Content-Type", content_type);
        let answer = request.body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(
            (kind.as_str(), problem["request_id"].as_str()),
            ("application/problem+json", Some(&*id))
        );
        assert!(problem["detail"].as_str().unwrap().len() > 5);
        (status, problem)
    };
    let json = "application/json";
    let cases = [
        (json, "{".to_owned(), 400, "MALFORMED_REQUEST", ""),
        (json, "{\"command\":\"a\"} x".to_owned(), 400, "MALFORMED_REQUEST", ""),
        ("text/plain", "{\"command\":\"a\"}".to_owned(), 415, "UNSUPPORTED_MEDIA_TYPE", ""),
        (json, format!("\"{}\"", "x".repeat(300_000)), 413, "CONTENT_TOO_LARGE", ""),
        (json, "{\"command\":7}".to_owned(), 422, "VALIDATION_FAILED", "/command"),
        (json, "{}".to_owned(), 422, "VALIDATION_FAILED", ""),
        (
            json,
            "{\"command\":\"a\",\"shell_type\":\"tcl\"}".to_owned(),
            422,
            "VALIDATION_FAILED",
            "/shell_type",
        ),
        (json, "{\"command\":\"a\",\"colour\":1}".to_owned(), 422, "VALIDATION_FAILED", "/colour"),
        (
            json,
            "{\"command\":\"a\",\"timeout\":1e9}".to_owned(),
            422,
            "VALIDATION_FAILED",
            "/timeout",
        ),
        (
            json,
            "{\"command\":\"a\",\"timeout\":-1}".to_owned(),
            422,
            "VALIDATION_FAILED",
            "/timeout",
        ),
        (
            json,
            "{\"command\":\"a\",\"expires_in\":-1}".to_owned(),
            422,
            "VALIDATION_FAILED",
            "/expires_in",
        ),
        (json, "{\"command\":\"  \"}".to_owned(), 422, "VALIDATION_FAILED", "/command"),
        (json, "{\"command\":\"a\\u0000\"}".to_owned(), 422, "VALIDATION_FAILED", "/command"),
    ];
    for (content_type, body, status, code, pointer) in cases {
        let shown: String = body.chars().take(60).collect();
        let (answered, problem) = send(content_type, body).await;
        assert_eq!((answered, problem["code"].as_str().unwrap()), (status, code), "{shown}");
        if !pointer.is_empty() {
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{shown}: {problem}");
        }
    }
    let command = json!({ "command": "echo" });
    let unknown = api.problem(Method::POST, &format!("/agents/{NOBODY}/commands"), &command).await;
    assert_eq!(unknown, (404, "NOT_FOUND".into()));
    let no_id = api.problem(Method::GET, "/agents/42", &json!({})).await;
    assert_eq!(no_id, (404, "NOT_FOUND".into()));
    for query in ["limit=0", "limit=501", "limit=x", "cursor=x", "status=asleep"] {
        let (status, code) =
            api.problem(Method::GET, &format!("/agents?{query}"), &json!({})).await;
        assert_eq!((status, code.as_str()), (400, "MALFORMED_REQUEST"), "{query}");
        let answer = api.request(Method::GET, &format!("/agents?{query}")).send().await.unwrap();
        let (name, _) = query.split_once('=').unwrap();
        let detail = answer.json::<Value>().await.unwrap()["detail"].to_string();
        assert!(detail.contains(name), "{query}: {detail}");
    }
    assert_eq!(api.get(&path).await["total"], 0, "nothing of all that became a command");
    assert!(!server.log().contains("panicked"));
}

#[tokio::test]
async fn odd_paths_lead_nowhere() {
    let server = Server::start().await;
    let client = Client::new();
    for path in [
        "/api/v1/../../etc/passwd",
        "/api/v1/agents/%2e%2e",
        "/api/v1/agents/x/y/z",
        "/nothing",
        "/api/v1/auth/login/x",
    ] {
        let answer = client.get(format!("{}{path}", server.url())).send().await.unwrap();
        assert!([401, 404].contains(&answer.status().as_u16()), "{path}: {}", answer.status());
    }
}

#[tokio::test]
async fn an_enrollment_token_lets_in_as_many_as_it_says_until_it_ends() {
    let server = Server::start().await;
    let api = server.admin().await;
    let customer = api.post("/customers", &json!({ "name": "Acme" })).await;
    let mint = async |extra: Value| {
        let mut wish = json!({ "customer_id": customer["id"], "name": "t" });
        wish.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        api.post("/enrollment-tokens", &wish).await
    };
    let register = async |token: &Value, name: &str| {
        let api = api.with_token(token["token"].as_str().unwrap());
        api.problem(Method::POST, "/agents/register", &json!({ "hostname": name })).await
    };
    let once = mint(json!({})).await;
    assert_eq!(register(&once, "a").await.0, 201);
    assert_eq!(register(&once, "b").await, (401, "ENROLLMENT_TOKEN_USED_UP".into()));
    let short = muster_tests::now() + chrono::TimeDelta::milliseconds(300);
    let short = mint(json!({ "expires_at": short })).await;
    eventually("it expires", async || {
        (register(&short, "a").await.1 == "ENROLLMENT_TOKEN_EXPIRED").then_some(())
    })
    .await;
    let revoked = mint(json!({ "max_uses": null })).await;
    let path = format!("/enrollment-tokens/{}", revoked["id"].as_str().unwrap());
    api.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(register(&revoked, "a").await, (401, "ENROLLMENT_TOKEN_INVALID".into()));
    let shown = api.get(&path).await;
    assert_eq!((&shown["status"], shown.get("token")), (&json!("revoked"), None));
    let page = api.get("/agents").await;
    assert_eq!(page["total"], 1, "the same name of the same customer is the same agent");
}

#[tokio::test]
async fn an_agent_that_is_refused_says_why_and_ends() {
    let server = Server::start().await;
    let mut agent = Agent::start(&server, "refused", "et_nothing");
    assert_eq!(agent.wait(), Some(2));
    assert!(agent.log().contains("unknown or revoked"), "{}", agent.log());
}

#[tokio::test]
async fn what_was_there_before_a_restart_is_there_after_it() {
    let mut server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let _agent = Agent::start(&server, "web", &token);
    let id = api.connected("web").await;
    let body = json!({ "command": "echo kept" });
    let command = api.post(&format!("/agents/{id}/command"), &body).await;
    assert!(server.stop(), "{}", server.log());
    server.restart().await;
    let path = format!("/commands/{}", command["id"].as_str().unwrap());
    assert_eq!(api.get(&path).await, command, "tokens and results outlive the process");
    assert_eq!(api.connected("web").await, id);
}

#[tokio::test]
async fn the_api_has_an_alias_and_its_documentation_comes_from_here() {
    let server = Server::start().await;
    let text = async |path: &str| {
        let answer = reqwest::get(format!("{}{path}", server.url())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    };
    assert!(text("/api/health").await.contains("healthy"));
    for path in ["/", "/docs", "/docs/"] {
        assert!(text(path).await.contains("swagger-ui"), "{path}");
    }
    assert!(text("/openapi.json").await.contains("\"openapi\":\"3.1.0\""));
    let redoc = text("/redoc").await;
    assert!(redoc.contains("redoc.standalone.js") && !redoc.contains("https://"), "{redoc}");
    assert!(text("/redoc/redoc.standalone.js").await.len() > 500_000);
}

#[tokio::test]
async fn a_gibibyte_of_output_costs_the_server_little_memory_and_other_agents_no_time() {
    let server = Server::start_with(&[("MUSTER_OUTPUT_LIMIT", "1100000000")]).await;
    let api = server.admin().await;
    let token = api.enrollment_token("Acme").await;
    let (_loud, _quiet) =
        (Agent::start(&server, "loud", &token), Agent::start(&server, "quiet", &token));
    let (loud, quiet) = (api.connected("loud").await, api.connected("quiet").await);
    let body = json!({ "command": "echo warm" });
    api.post(&format!("/agents/{quiet}/command"), &body).await;
    let before = server.resident_kib();
    let flood =
        "yes 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde | head -c 1073741824";
    let id = api.queue(&loud, &json!({ "command": flood, "timeout": 600 })).await;
    let (mut most, mut rounds) = (before, 0);
    loop {
        let begun = std::time::Instant::now();
        let result = api.post(&format!("/agents/{quiet}/command"), &body).await;
        assert_eq!(result["output"], "warm\n");
        assert!(begun.elapsed() < Duration::from_secs(5), "another agent had to wait");
        most = most.max(server.resident_kib());
        rounds += 1;
        let page = api.get(&format!("/agents/{loud}/commands")).await;
        let command = &page["items"][0];
        if !["pending", "running"].contains(&command["status"].as_str().unwrap()) {
            assert_eq!((&command["id"], &command["status"]), (&json!(id), &json!("completed")));
            assert_eq!(command["stdout_bytes"], 1_u64 << 30);
            assert_eq!(command["output_truncated"], false);
            break;
        }
    }
    assert!(most - before < 64 * 1024, "it grew by {} KiB", most - before);
    assert!(rounds > 3, "the other agent worked meanwhile");
}

#[tokio::test]
async fn clients_that_write_paths_lists_and_masks_their_own_way_are_understood() {
    let server = Server::start().await;
    let api = server.admin().await;
    let status = async |path: &str| api.request(Method::GET, path).send().await.unwrap().status();
    for path in
        ["/agents/", "/settings/", "/agents?customer_uuid=00000000-0000-7000-8000-000000000000"]
    {
        assert_eq!(status(path).await, StatusCode::OK, "{path}");
    }
    for path in ["/agents?statu=online", "/customers?sort=name"] {
        assert_eq!(status(path).await, StatusCode::BAD_REQUEST, "it would show everything: {path}");
    }
    let token = api.enrollment_token("Acme").await;
    let body = json!({ "hostname": "web", "tags": null, "capabilities": null });
    let id = api.with_token(&token).post("/agents/register", &body).await["agent_id"].clone();
    let id = id.as_str().unwrap();
    let task =
        api.queue(id, &json!({ "command": "echo", "args": null, "environment": null })).await;
    assert_eq!(api.get(&format!("/agents/{id}/tasks/{task}")).await["status"], "pending");
    let health = reqwest::get(format!("{}/health", server.url())).await.unwrap();
    let health: Value = health.json().await.unwrap();
    assert_eq!(health["agents"], json!({ "total": 1, "online": 0, "offline": 1 }));
    let secret = async || api.get("/settings/oidc_client_secret").await["set_at"].clone();
    api.put("/settings", &json!({ "oidc_client_secret": "a secret" })).await;
    let set_at = secret().await;
    api.put("/settings", &json!({ "oidc_client_secret": "********" })).await;
    assert_eq!((set_at.is_string(), secret().await), (true, set_at), "a mask is no secret");
    api.put("/settings", &json!({ "oidc_client_secret": "" })).await;
    assert_eq!(secret().await, json!(null));
}
