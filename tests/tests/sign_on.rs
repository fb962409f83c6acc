//! Single sign-on against a provider on loopback that speaks the real protocol.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use muster_tests::provider::{CLIENT_ID, CLIENT_SECRET, Lie, Provider};
use muster_tests::{Api, Server};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

/// A browser, as far as sign-on needs one: it keeps a cookie and follows redirects when told to.
struct Browser {
    client: Client,
    cookie: String,
}

impl Browser {
    fn new() -> Self {
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Self { client, cookie: String::new() }
    }

    async fn open(&mut self, url: &str) -> Response {
        let answer = self.client.get(url).header("Cookie", &self.cookie).send().await.unwrap();
        if let Some(cookie) = answer.headers().get("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
            cookie.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer
    }

    async fn follow(&mut self, url: &str) -> String {
        let answer = self.open(url).await;
        assert_eq!(answer.status(), 302, "{:?}", answer.text().await);
        answer.headers()["location"].to_str().unwrap().to_owned()
    }

    /// Away to the provider; answers with where it sends back to.
    async fn away(&mut self, server: &Server) -> String {
        let provider = self.follow(&format!("{}/api/v1/auth/oidc/login", server.url())).await;
        self.follow(&provider).await
    }

    async fn sign_on(&mut self, server: &Server) -> (u16, Value) {
        let back = self.away(server).await;
        self.come_back(&back).await
    }

    async fn come_back(&mut self, back: &str) -> (u16, Value) {
        let answer = self.open(back).await;
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

#[tokio::test]
async fn who_comes_back_to_the_dashboard_has_a_session_that_the_browser_keeps() {
    let provider = Provider::start();
    let (server, admin) = with(&provider).await;
    let mut browser = Browser::new();
    assert_eq!(browser.sign_on(&server).await.0, 403, "it waits for approval");
    approve(&admin).await;
    let away = format!("{}/api/v1/auth/oidc/login?browser=true", server.url());
    let provider_url = browser.follow(&away).await;
    let back = browser.follow(&provider_url).await;
    let request = browser.client.get(&back).header("Cookie", &browser.cookie);
    let home = request.send().await.unwrap();
    assert_eq!((home.status().as_u16(), &home.headers()["location"]), (302, &"/".parse().unwrap()));
    let cookies = home.headers().get_all("set-cookie").iter();
    let kept = cookies.map(|it| it.to_str().unwrap()).find(|it| it.contains("Strict")).unwrap();
    let kept = kept.split(';').next().unwrap();
    let renew = browser.client.post(format!("{}/api/v1/auth/refresh", server.url()));
    let renew = renew.header("Cookie", kept).header("Muster-Session", "cookie");
    assert_eq!(renew.send().await.unwrap().status(), 200);
}

async fn with(provider: &Provider) -> (Server, Api) {
    let server = Server::start().await;
    let admin = server.admin().await;
    let settings = json!({
        "oidc_issuer": provider.issuer(),
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
    });
    admin.put("/settings", &settings).await;
    (server, admin)
}

async fn approve(admin: &Api) {
    let pending = admin.get("/admin/pending-users").await;
    let id = pending["items"][0]["id"].as_str().unwrap();
    admin.post(&format!("/admin/users/{id}/approve"), &json!({})).await;
}

#[tokio::test]
async fn somebody_whom_the_provider_knows_signs_in_once_an_admin_has_approved() {
    let provider = Provider::start();
    let (server, admin) = with(&provider).await;
    let mut browser = Browser::new();
    let (status, problem) = browser.sign_on(&server).await;
    assert_eq!((status, &problem["code"]), (403, &json!("ACCOUNT_PENDING")), "{problem}");
    approve(&admin).await;
    let (status, tokens) = browser.sign_on(&server).await;
    assert_eq!((status, &tokens["user"]["username"]), (200, &json!("ann")), "{tokens}");
    let ann = admin.with_token(tokens["access_token"].as_str().unwrap());
    assert_eq!(ann.get("/auth/me").await["email"], "ann@example.org");
    // The same subject is the same person under any name; another subject is not.
    provider.is_used_by("subject-1", "renamed");
    assert_eq!(browser.sign_on(&server).await.1["user"]["id"], tokens["user"]["id"]);
    provider.is_used_by("subject-2", "ann");
    assert_eq!(browser.sign_on(&server).await.1["code"], "ACCOUNT_PENDING");
    assert_eq!(admin.get("/users").await["total"], 3);
    admin.put("/settings", &json!({ "oidc_registers_users": false })).await;
    provider.is_used_by("subject-3", "eve");
    assert_eq!(browser.sign_on(&server).await.1["code"], "SIGN_ON_FAILED");
}

#[tokio::test]
async fn a_token_that_is_not_the_providers_for_this_very_question_signs_nobody_in() {
    let provider = Provider::start();
    let (server, admin) = with(&provider).await;
    let mut browser = Browser::new();
    browser.sign_on(&server).await;
    approve(&admin).await;
    for lie in Lie::ALL {
        provider.lie(lie);
        let (status, problem) = browser.sign_on(&server).await;
        assert_eq!((status, &problem["code"]), (401, &json!("SIGN_ON_FAILED")), "{lie:?}");
    }
    provider.lie(Lie::None);
    assert_eq!(browser.sign_on(&server).await.0, 200, "it was nothing but the lies");
}

#[tokio::test]
async fn a_code_works_once_and_only_in_the_browser_that_was_sent_away() {
    let provider = Provider::start();
    let (server, admin) = with(&provider).await;
    let mut victim = Browser::new();
    victim.sign_on(&server).await;
    approve(&admin).await;
    let back = victim.away(&server).await;
    let mut thief = Browser::new();
    assert_eq!(thief.come_back(&back).await.0, 401, "without what was sent away");
    thief.away(&server).await;
    assert_eq!(thief.come_back(&back).await.0, 401, "with what another was sent away with");
    assert_eq!(victim.come_back(&back).await.0, 200);
    assert_eq!(victim.come_back(&back).await.0, 401, "it was used");
    let denied = format!("{}/api/v1/auth/oidc/callback?error=access_denied", server.url());
    let (status, problem) = victim.come_back(&denied).await;
    assert!(status == 401 && problem["detail"].as_str().unwrap().contains("access_denied"));
}

#[tokio::test]
async fn a_provider_that_is_gone_stops_nobody_but_those_who_sign_on_with_it() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let begin = async || admin.problem(Method::GET, "/auth/oidc/login", &json!({})).await;
    assert_eq!(begin().await, (409, "WRONG_STATE".into()));
    let gone = json!({ "oidc_issuer": "http://127.0.0.1:9", "oidc_client_id": CLIENT_ID });
    admin.put("/settings", &gone).await;
    assert_eq!(begin().await, (503, "UNAVAILABLE".into()));
    let plain = json!({ "oidc_issuer": "http://id.example.org" });
    let refused = admin.problem(Method::PUT, "/settings", &plain).await;
    assert_eq!(refused, (422, "VALIDATION_FAILED".into()), "it is for this machine only");
    server.admin().await;
}
