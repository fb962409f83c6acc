//! Limits: how much anybody may ask for, and what browsers are told.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::time::Instant;

use muster_tests::{Api, PASSWORD, Server};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

fn number(answer: &Response, name: &str) -> u32 {
    answer.headers()[name].to_str().unwrap().parse().unwrap()
}

async fn agents(api: &Api) -> Response {
    api.request(Method::GET, "/agents").send().await.unwrap()
}

#[tokio::test]
async fn a_key_may_ask_as_often_as_its_customers_plan_says() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let free = admin.post("/customers", &json!({ "name": "Small", "plan": "free" })).await;
    let (small, _) = admin.key(free["id"].as_str().unwrap(), &["agents:read"]).await;
    for asked in 1..=60 {
        let answer = agents(&small).await;
        assert_eq!((answer.status().as_u16(), number(&answer, "ratelimit-limit")), (200, 60));
        let left = number(&answer, "ratelimit-remaining");
        // They come back one a second.
        assert!((60 - asked..=60 - asked + 10).contains(&left), "{left} after {asked}");
    }
    let refused = loop {
        let answer = agents(&small).await;
        if answer.status() == 429 {
            break answer;
        }
    };
    assert_eq!((number(&refused, "ratelimit-remaining"), number(&refused, "retry-after")), (0, 1));
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "TOO_MANY_REQUESTS");
    let big = admin.customer("Big").await;
    let (big, _) = admin.key(&big, &["agents:read"]).await;
    assert_eq!(number(&agents(&big).await, "ratelimit-limit"), 5000);
    assert_eq!(agents(&admin).await.status(), 200, "nobody pays for another");
    admin.put("/settings", &json!({ "rate_limits": false })).await;
    let answer = agents(&small).await;
    assert!(answer.status() == 200 && !answer.headers().contains_key("ratelimit-limit"));
}

#[tokio::test]
async fn an_address_may_try_only_so_many_passwords_a_minute_whatever_the_accounts() {
    let server = Server::start().await;
    let admin = server.admin().await;
    admin.put("/settings", &json!({ "default_plan": "free" })).await;
    let (begun, mut tried) = (Instant::now(), 0);
    loop {
        let body = json!({ "username": format!("user-{tried}"), "password": "wrong password" });
        match admin.problem(Method::POST, "/auth/login", &body).await.0 {
            401 => tried += 1,
            status => break assert_eq!(status, 429),
        }
        // Ten at once, and one more for every six seconds that it takes.
        let allowed = 10 + begun.elapsed().as_secs() / 6;
        assert!(tried <= allowed, "{tried} of {allowed}");
    }
    assert_eq!(agents(&admin).await.status(), 200, "who is signed in goes on");
}

#[tokio::test]
async fn pages_from_elsewhere_may_use_the_api_only_when_they_are_named() {
    let named = "https://panel.example.org";
    let server = Server::start_with(&[("MUSTER_CORS_ORIGINS", named)]).await;
    let client = Client::new();
    let preflight = async |origin: &str| {
        let request = client
            .request(Method::OPTIONS, format!("{}/api/v1/agents", server.url()))
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "GET")
            .header("Access-Control-Request-Headers", "authorization");
        let answer = request.send().await.unwrap();
        let allowed = answer.headers().get("access-control-allow-origin").cloned();
        (answer.status().is_success(), allowed.map(|origin| origin.to_str().unwrap().to_owned()))
    };
    assert_eq!(preflight(named).await, (true, Some(named.to_owned())));
    for other in ["https://panel.example.org.evil.example", "http://panel.example.org", "null"] {
        assert_eq!(preflight(other).await, (false, None), "{other}");
    }
}

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful_and_under_tls_to_stay_with_it() {
    let (plain, tls) =
        (Server::start().await, Server::start_with(&[("MUSTER_TLS", "self-signed")]).await);
    for server in [&plain, &tls] {
        for path in ["/api/v1/system/health", "/api/v1/agents", "/nothing", "/docs/"] {
            let client = server.client().unwrap();
            let answer = client.get(format!("{}{path}", server.url())).send().await.unwrap();
            let header = |name: &str| {
                answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
            };
            assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"));
            assert!(header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
            let strict = header("strict-transport-security");
            assert_eq!(strict.is_some(), server.url().starts_with("https"), "{path}");
        }
    }
}

#[tokio::test]
async fn an_account_is_locked_longer_after_each_failure_and_others_are_not() {
    let server = Server::start().await;
    let admin = server.admin().await;
    admin.colleague("ann").await;
    admin.colleague("bob").await;
    let attempt = async |name: &str, password: &str| {
        let body = json!({ "username": name, "password": password });
        let answer = admin.request(Method::POST, "/auth/login").json(&body).send().await.unwrap();
        let wait = answer
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().parse::<u32>().unwrap());
        (answer.status().as_u16(), wait)
    };
    for _ in 0..5 {
        assert_eq!(attempt("ann", "wrong password").await, (401, None));
    }
    let (status, wait) = attempt("ann", PASSWORD).await;
    assert!(status == 429 && wait.unwrap() >= 60, "{wait:?}");
    assert_eq!(attempt("bob", PASSWORD).await, (200, None));
}
