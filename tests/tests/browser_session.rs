//! Sessions that a browser keeps: what a page gets to see, and what other sites can't do with it.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use muster_tests::{PASSWORD, Server};
use reqwest::{Client, Response};
use serde_json::{Value, json};

struct Page {
    client: Client,
    base: String,
    cookie: String,
}

impl Page {
    fn open(server: &Server) -> Self {
        let base = format!("{}/api/v1/auth", server.url());
        Self { client: Client::new(), base, cookie: String::new() }
    }

    /// Sends a request, of a page that wants the session kept or of another site's.
    async fn send(&mut self, path: &str, body: Option<Value>, own: bool, token: &str) -> Response {
        let mut request = self.client.post(format!("{}{path}", self.base));
        request = request.header("Cookie", &self.cookie);
        if own {
            request = request.header("Muster-Session", "cookie");
        }
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        if let Some(cookie) = answer.headers().get("set-cookie") {
            cookie.to_str().unwrap().split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer
    }

    async fn sign_in(&mut self) -> Response {
        let login = json!({ "username": "admin", "password": PASSWORD });
        self.send("/login", Some(login), true, "").await
    }
}

#[tokio::test]
async fn a_browser_keeps_the_refresh_token_where_no_script_reads_it() {
    let server = Server::start().await;
    let mut page = Page::open(&server);
    let answer = page.sign_in().await;
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let body: Value = answer.json().await.unwrap();
    assert!(body["access_token"].is_string() && body.get("refresh_token").is_none(), "{body}");
    let renewed = page.send("/refresh", None, true, "").await;
    assert_eq!(renewed.status(), 200);
    let renewed: Value = renewed.json().await.unwrap();
    assert_ne!(renewed["access_token"], body["access_token"]);
    assert!(renewed.get("refresh_token").is_none(), "{renewed}");
}

#[tokio::test]
async fn a_request_that_another_site_may_have_made_gets_nothing_by_the_cookie() {
    let server = Server::start().await;
    let mut page = Page::open(&server);
    page.sign_in().await;
    let kept = page.cookie.clone();
    let forged = page.send("/refresh", Some(json!({})), false, "").await;
    assert_eq!(forged.status(), 422);
    assert_eq!(page.cookie, kept);
    let nothing = page.send("/refresh", None, false, "").await;
    assert_eq!(nothing.status(), 422);
    page.cookie.clear();
    assert_eq!(page.send("/refresh", None, true, "").await.status(), 401);
}

#[tokio::test]
async fn signing_out_has_the_browser_forget_and_ends_the_session() {
    let server = Server::start().await;
    let mut page = Page::open(&server);
    let body: Value = page.sign_in().await.json().await.unwrap();
    let kept = page.cookie.clone();
    let token = body["access_token"].as_str().unwrap();
    let out = page.send("/logout", None, true, token).await;
    assert_eq!(out.status(), 204);
    let cookie = out.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("Max-Age=0"), "{cookie}");
    page.cookie = kept;
    assert_eq!(page.send("/refresh", None, true, "").await.status(), 401);
}

#[tokio::test]
async fn a_kept_token_that_was_used_before_ends_the_session() {
    let server = Server::start().await;
    let mut page = Page::open(&server);
    page.sign_in().await;
    let first = page.cookie.clone();
    assert_eq!(page.send("/refresh", None, true, "").await.status(), 200);
    let second = std::mem::replace(&mut page.cookie, first);
    assert_eq!(page.send("/refresh", None, true, "").await.status(), 401);
    page.cookie = second;
    assert_eq!(page.send("/refresh", None, true, "").await.status(), 401, "it was stolen");
}
