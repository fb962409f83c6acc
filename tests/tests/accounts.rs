//! Accounts and sessions: what ends what, and what has to be proved anew.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use muster_tests::{Api, Enrolled, PASSWORD, Server};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

/// The longest that anybody whose session has ended may go on.
const CUT_OFF_WITHIN: Duration = Duration::from_secs(5);

/// A command that waits for an agent which never comes, and so has a stream that goes on.
async fn endless(server: &Server, admin: &Api) -> String {
    let token = admin.enrollment_token("Acme").await;
    let agent = Enrolled::register(&server.url(), &token, "away").await.agent_id.to_string();
    admin.queue(&agent, &json!({ "command": "echo" })).await
}

async fn listen(api: &Api, command: &str) -> Response {
    let request = api.request(Method::GET, &format!("/commands/{command}/output"));
    let answer = request.header("Accept", "text/event-stream").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer
}

/// How long a stream goes on.
async fn ends(stream: Response) -> Duration {
    let begun = Instant::now();
    let mut events = stream.bytes_stream();
    let all = async { while events.next().await.is_some_and(|event| event.is_ok()) {} };
    tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    begun.elapsed()
}

async fn status(api: &Api) -> u16 {
    api.problem(Method::GET, "/auth/me", &json!({})).await.0
}

#[tokio::test]
async fn signing_out_cuts_off_tokens_and_streams_within_five_seconds() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let command = endless(&server, &admin).await;
    admin.colleague("ann").await;
    let ann = admin.login("ann").await;
    let stream = listen(&ann, &command).await;
    assert_eq!(ann.problem(Method::POST, "/auth/logout", &json!({})).await.0, 204);
    assert!(ends(stream).await < CUT_OFF_WITHIN);
    assert_eq!(status(&ann).await, 401);
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions_and_the_old_password() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let command = endless(&server, &admin).await;
    admin.colleague("ann").await;
    let (here, elsewhere) = (admin.login("ann").await, admin.login("ann").await);
    let sessions = here.get("/auth/sessions").await;
    assert_eq!(sessions["items"].as_array().unwrap().len(), 2);
    assert!(sessions["items"][0]["address"].as_str().unwrap().starts_with("127."));
    let stream = listen(&elsewhere, &command).await;
    let change =
        |current: &str| json!({ "current_password": current, "new_password": "a new one" });
    let path = "/users/change-password";
    let wrong = here.problem(Method::POST, path, &change("not it")).await;
    assert_eq!(wrong, (401, "INVALID_CREDENTIALS".into()));
    assert_eq!(here.problem(Method::POST, path, &change(PASSWORD)).await.0, 204);
    assert!(ends(stream).await < CUT_OFF_WITHIN);
    assert_eq!((status(&here).await, status(&elsewhere).await), (200, 401));
    let login = json!({ "username": "ann", "password": PASSWORD });
    assert_eq!(admin.problem(Method::POST, "/auth/login", &login).await.0, 401);
}

#[tokio::test]
async fn a_session_that_another_process_ends_is_cut_off_within_five_seconds() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let command = endless(&server, &admin).await;
    admin.colleague("ann").await;
    let ann = admin.login("ann").await;
    let stream = listen(&ann, &command).await;
    // As another node would: this process is told nothing.
    server.sql("UPDATE sessions SET ended_at = 1 WHERE user_id = (SELECT id FROM users WHERE username = 'ann')").await;
    assert!(ends(stream).await < CUT_OFF_WITHIN);
    assert_eq!(status(&ann).await, 401);
}

#[tokio::test]
async fn who_is_given_other_customers_hears_no_more_of_the_old_ones() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let command = endless(&server, &admin).await;
    let other = admin.customer("Other").await;
    let ann = admin.colleague("ann").await;
    let stream = listen(&admin.login("ann").await, &command).await;
    admin.put(&format!("/users/{ann}/customers"), &json!({ "customer_ids": [other] })).await;
    assert!(ends(stream).await < CUT_OFF_WITHIN);
}

#[tokio::test]
async fn a_revoked_key_and_a_deleted_user_open_nothing_any_more() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let command = endless(&server, &admin).await;
    let customers = admin.get("/customers").await;
    let customer = customers["items"][0]["id"].as_str().unwrap();
    let (key, id) = admin.key(customer, &["agents:read"]).await;
    let stream = listen(&key, &command).await;
    let path = format!("/customers/{customer}/api-keys/{id}");
    assert_eq!(admin.problem(Method::DELETE, &path, &json!({})).await.0, 204);
    assert!(ends(stream).await < CUT_OFF_WITHIN);
    let ann = admin.colleague("ann").await;
    let token = admin.login("ann").await;
    let deleted = admin.problem(Method::DELETE, &format!("/users/{ann}"), &json!({})).await;
    assert_eq!((deleted.0, status(&token).await), (204, 401));
}

#[tokio::test]
async fn the_last_admin_can_not_be_lost() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let me = admin.get("/auth/me").await["id"].as_str().unwrap().to_owned();
    for (method, path) in [
        (Method::DELETE, format!("/users/{me}")),
        (Method::POST, format!("/admin/users/{me}/reject")),
        (Method::POST, format!("/admin/users/{me}/remove-admin")),
    ] {
        assert_eq!(admin.problem(method, &path, &json!({})).await, (409, "LAST_ADMIN".into()));
    }
    let other = admin.colleague("ann").await;
    admin.post(&format!("/admin/users/{other}/make-admin"), &json!({})).await;
    admin.post(&format!("/admin/users/{me}/remove-admin"), &json!({})).await;
    assert_eq!(admin.get("/auth/me").await["role"], "operator");
}

#[tokio::test]
async fn registration_waits_for_approval_and_can_be_closed() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let wish = json!({ "username": "Ann", "email": "ann@example.org", "password": PASSWORD });
    let answer = admin.post("/auth/register", &wish).await;
    assert_eq!(answer["status"], "pending");
    let login = |name: &str| json!({ "username": name, "password": PASSWORD });
    let sign_in = async |name: &str| admin.problem(Method::POST, "/auth/login", &login(name)).await;
    assert_eq!(sign_in("ann").await, (403, "ACCOUNT_PENDING".into()));
    let taken = admin.problem(Method::POST, "/auth/register", &wish).await;
    assert_eq!(taken, (409, "ALREADY_EXISTS".into()));
    let id = answer["user_id"].as_str().unwrap();
    admin.post(&format!("/admin/users/{id}/approve"), &json!({})).await;
    assert_eq!(sign_in("ann@example.org").await.0, 200);
    admin.post(&format!("/admin/users/{id}/reject"), &json!({})).await;
    assert_eq!(sign_in("ann").await, (403, "ACCOUNT_DISABLED".into()));
    admin.put("/settings", &json!({ "registration_open": false })).await;
    let closed = admin.problem(Method::POST, "/auth/register", &login("bob")).await;
    assert_eq!(closed, (403, "REGISTRATION_CLOSED".into()));
}

/// The code that a device shows in `steps` half minutes.
fn code(secret: &str, steps: i64) -> String {
    let secret = Secret::try_from_base32(secret).unwrap();
    let device = Builder::new().with_secret(secret).build().unwrap();
    let at = muster_tests::now().timestamp() + 30 * steps;
    device.generate(at.try_into().unwrap()).to_string()
}

#[tokio::test]
async fn a_second_factor_is_asked_for_once_it_was_confirmed_and_its_codes_work_once() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let begun = admin.post("/auth/totp", &json!({ "password": PASSWORD })).await;
    let secret = begun["secret"].as_str().unwrap();
    assert!(begun["uri"].as_str().unwrap().starts_with("otpauth://totp/Muster:admin?"));
    let login = async |code: Option<&str>| {
        let body = json!({ "username": "admin", "password": PASSWORD, "totp_code": code });
        admin.problem(Method::POST, "/auth/login", &body).await
    };
    assert_eq!(login(None).await.0, 200, "it was not confirmed yet");
    let now = code(secret, 0);
    let confirmed = admin.post("/auth/totp/confirm", &json!({ "code": now })).await;
    let recovery = confirmed["recovery_codes"].as_array().unwrap();
    assert_eq!(recovery.len(), 10);
    assert_eq!(login(None).await, (401, "SECOND_FACTOR_REQUIRED".into()));
    assert_eq!(login(Some(&now)).await, (401, "INVALID_CREDENTIALS".into()), "it was used");
    let next = code(secret, 1);
    assert_eq!((login(Some(&next)).await.0, login(Some(&next)).await.0), (200, 401));
    let spare = recovery[0].as_str().unwrap();
    assert_eq!((login(Some(spare)).await.0, login(Some(spare)).await.0), (200, 401));
    let remove = json!({ "code": recovery[1] });
    assert_eq!(admin.problem(Method::DELETE, "/auth/totp", &remove).await.0, 204);
    assert_eq!(login(None).await.0, 200);
}

#[tokio::test]
async fn who_lacks_a_required_second_factor_can_set_one_up_and_nothing_else() {
    let server = Server::start().await;
    let admin = server.admin().await;
    admin.put("/settings", &json!({ "second_factor_required": "admins" })).await;
    // Known answers are looked up again after three seconds.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let refused = admin.problem(Method::GET, "/agents", &json!({})).await;
    assert_eq!(refused, (403, "SECOND_FACTOR_MISSING".into()));
    let begun = admin.post("/auth/totp", &json!({ "password": PASSWORD })).await;
    let now = code(begun["secret"].as_str().unwrap(), 0);
    admin.post("/auth/totp/confirm", &json!({ "code": now })).await;
    assert_eq!(admin.get("/agents").await["total"], 0);
}

#[tokio::test]
async fn what_would_outlive_a_stolen_session_takes_the_password_again() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let customer = admin.customer("Acme").await;
    server.sql("UPDATE sessions SET confirmed_at = 1").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let path = format!("/customers/{customer}/generate-api-key");
    let generate = async || admin.problem(Method::POST, &path, &json!({})).await;
    assert_eq!(generate().await, (403, "CONFIRMATION_REQUIRED".into()));
    assert_eq!(admin.get("/customers").await["total"], 1, "the rest goes on");
    let wrong = admin.problem(Method::POST, "/auth/confirm", &json!({ "password": "no" })).await;
    assert_eq!(wrong, (401, "INVALID_CREDENTIALS".into()));
    admin.post("/auth/confirm", &json!({ "password": PASSWORD })).await;
    assert_eq!(generate().await.0, 200);
}

#[tokio::test]
async fn a_ticket_opens_one_stream_once_and_nothing_else() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let command = endless(&server, &admin).await;
    let client = Client::new();
    let ticket = async || admin.post("/auth/tickets", &json!({})).await["ticket"].clone();
    let open = async |path: &str, ticket: &Value, accept: &str, origin: &str| {
        let url = format!("{}/api/v1{path}?ticket={}", server.url(), ticket.as_str().unwrap());
        let request = client.get(url).header("Accept", accept).header("Origin", origin);
        request.send().await.unwrap().status().as_u16()
    };
    let path = format!("/commands/{command}/output");
    let (events, own) = ("text/event-stream", server.url());
    let first = ticket().await;
    assert_eq!(open(&path, &first, events, "https://evil.example").await, 403);
    assert_eq!(open(&path, &first, events, &own).await, 200, "nothing was used up");
    assert_eq!(open(&path, &first, events, &own).await, 401, "it was used");
    let second = ticket().await;
    assert_eq!(open("/agents", &second, "application/json", &own).await, 401);
    assert_eq!(open("/agents", &second, events, &own).await, 401);
    assert_eq!(open(&path, &second, events, &own).await, 200);
}

#[tokio::test]
async fn who_lost_password_and_device_is_let_in_again_from_the_servers_own_machine() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let begun = admin.post("/auth/totp", &json!({ "password": PASSWORD })).await;
    let now = code(begun["secret"].as_str().unwrap(), 0);
    admin.post("/auth/totp/confirm", &json!({ "code": now })).await;
    let recover = |name: &str| server.command(&["users", "recover", name]).output().unwrap();
    let shown = String::from_utf8(recover("admin").stdout).unwrap();
    let password = shown.lines().next().unwrap().rsplit(' ').next().unwrap();
    let login = json!({ "username": "admin", "password": password });
    assert_eq!(admin.problem(Method::POST, "/auth/login", &login).await.0, 200, "{shown}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(status(&admin).await, 401, "the sessions before it are ended");
    let nobody = recover("nobody");
    let why = String::from_utf8(nobody.stderr).unwrap();
    assert!(!nobody.status.success() && why.contains("no such user"), "{why}");
}
