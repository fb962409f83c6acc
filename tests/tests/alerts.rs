//! Alerts: from a machine that dies to the message that says so, and that it is back.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use aws_lc_rs::hmac;
use muster_tests::{Agent, Api, Server};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(90);

/// A request that came: its delivery, its signature, its body.
type Came = (String, String, String);

/// A receiver of webhooks, which answers 500 as often as it is told to.
struct Receiver {
    url: String,
    came: Arc<Mutex<Vec<Came>>>,
    failures: Arc<Mutex<u32>>,
}

impl Receiver {
    fn start() -> Self {
        let (came, failures) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0_u32)));
        let (keep, fail) = (came.clone(), failures.clone());
        let server = HttpServer::new(move || {
            let (keep, fail) = (keep.clone(), fail.clone());
            let hook = move |request: HttpRequest, body: String| {
                let header =
                    |name: &str| request.headers().get(name).unwrap().to_str().unwrap().to_owned();
                keep.lock().push((header("Muster-Delivery"), header("Muster-Signature"), body));
                let mut fail = fail.lock();
                let fails = *fail > 0;
                *fail = fail.saturating_sub(1);
                std::future::ready(if fails {
                    HttpResponse::InternalServerError().finish()
                } else {
                    HttpResponse::NoContent().finish()
                })
            };
            App::new().route("/hook", web::post().to(hook))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", server.addrs()[0]);
        tokio::spawn(server.run());
        Self { url, came, failures }
    }

    /// The requests about alerts once there are so many.
    async fn come(&self, number: usize) -> Vec<Came> {
        let came = async {
            while self.came.lock().len() < number {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(WAIT, came).await.unwrap();
        self.came.lock().clone()
    }
}

/// Whether a signature is the one that the secret makes of the body.
fn is_signed(secret: &str, signature: &str, body: &str) -> bool {
    let (seconds, hex) =
        signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let expected = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    let expected =
        expected.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    expected == hex
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A webhook that leads to the receiver; answers with its id and its secret.
async fn channel(admin: &Api, receiver: &Receiver) -> (String, String) {
    admin.put("/settings", &json!({ "alerts_private_addresses": true })).await;
    let leads_to = json!({ "kind": "webhook", "url": receiver.url });
    let asked = json!({ "name": "ops", "leads_to": leads_to });
    let made = admin.post("/alerts/channels", &asked).await;
    (text(&made["id"]), text(&made["signing_secret"]))
}

#[tokio::test]
async fn a_machine_that_dies_is_told_of_once_signed_and_until_it_arrives_and_so_is_its_return() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let receiver = Receiver::start();
    let (channel, secret) = channel(&admin, &receiver).await;
    let shown = admin.get(&format!("/alerts/channels/{channel}")).await;
    assert_eq!(shown.get("signing_secret"), None, "it is shown once");
    let rule = json!({
        "name": "Servers are there", "severity": "critical", "kind": "offline",
        "for_seconds": 2, "resolve_for_seconds": 1, "cool_down_seconds": 0,
        "channel_ids": [channel],
    });
    admin.post("/alerts/rules", &rule).await;
    let customer = admin.customer("Acme").await;
    let token = admin.enrollment_token(&customer).await;
    let mut agent = Agent::start(&server, "web", &token);
    let id = admin.connected("web").await;

    *receiver.failures.lock() = 1;
    agent.kill();
    let came = receiver.come(2).await;
    assert_eq!((&came[0].0, &came[0].2), (&came[1].0, &came[1].2), "the same message once more");
    for (_, signature, body) in &came {
        assert!(is_signed(&secret, signature, body));
    }
    let said: Value = serde_json::from_str(&came[0].2).unwrap();
    assert_eq!((&said["event"], &said["severity"]), (&json!("alert.firing"), &json!("critical")));
    assert_eq!(said["alert"]["subject"]["id"], id);
    let alerts = admin.get(&format!("/alerts?state=firing&agent_id={id}")).await;
    assert_eq!(alerts["total"], 1);
    let alert = text(&alerts["items"][0]["id"]);
    admin.post(&format!("/alerts/{alert}/acknowledge"), &json!({})).await;
    let (status, code) =
        admin.problem(Method::POST, &format!("/alerts/{alert}/acknowledge"), &json!({})).await;
    assert_eq!((status, code.as_str()), (409, "WRONG_STATE"));

    agent.restart();
    let came = receiver.come(4).await;
    let events: Vec<_> = came
        .iter()
        .map(|(.., body)| text(&serde_json::from_str::<Value>(body).unwrap()["event"]))
        .collect();
    assert_eq!(events[2..], ["alert.acknowledged", "alert.resolved"]);
    let alert = admin.get(&format!("/alerts/{alert}")).await;
    let history: Vec<_> =
        alert["history"].as_array().unwrap().iter().map(|change| &change["state"]).collect();
    assert_eq!(history, ["firing", "acknowledged", "resolved"]);
    assert_eq!(alert["history"][1]["actor_name"], "admin");
    let sent = admin.get(&format!("/alerts/channels/{channel}/deliveries")).await;
    assert_eq!(sent["total"], 3);
    let first = &sent["items"][2];
    let statuses: Vec<_> =
        first["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["status"]).collect();
    assert_eq!((&first["state"], statuses), (&json!("delivered"), vec![&json!(500), &json!(204)]));
}

#[tokio::test]
async fn failures_and_enrolments_survive_the_death_of_the_server_before_anybody_looked() {
    let mut server = Server::start().await;
    let admin = server.admin().await;
    let receiver = Receiver::start();
    let (channel, _) = channel(&admin, &receiver).await;
    for kind in ["failed_command", "enrolment"] {
        let rule =
            json!({ "name": kind, "severity": "info", "kind": kind, "channel_ids": [channel] });
        admin.post("/alerts/rules", &rule).await;
    }
    let customer = admin.customer("Acme").await;
    let token = admin.enrollment_token(&customer).await;
    let _agent = Agent::start(&server, "web", &token);
    let id = admin.connected("web").await;
    let command = json!({ "command": "exit 3" });
    let ended = admin.post(&format!("/agents/{id}/command"), &command).await;
    assert_eq!(ended["exit_code"], 3);
    server.kill();
    server.restart().await;
    let came = receiver.come(2).await;
    let mut titles: Vec<_> = came
        .iter()
        .map(|(.., body)| text(&serde_json::from_str::<Value>(body).unwrap()["title"]))
        .collect();
    titles.sort();
    assert_eq!(
        titles,
        ["enrolment: web enrolled", "failed_command: a command failed on web: EXIT_CODE"]
    );
}

#[tokio::test]
async fn a_test_of_a_channel_says_what_came_of_it_and_leads_nowhere_inside_unless_allowed() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let receiver = Receiver::start();
    let (channel, secret) = channel(&admin, &receiver).await;
    admin.put("/settings", &json!({ "alerts_private_addresses": false })).await;
    admin.post(&format!("/alerts/channels/{channel}/test"), &json!({})).await;
    let deliveries = format!("/alerts/channels/{channel}/deliveries");
    let refused = async {
        loop {
            let sent = admin.get(&deliveries).await;
            if let Some(attempt) = sent["items"][0]["attempts"].get(0) {
                return text(&attempt["error"]);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let refused = tokio::time::timeout(WAIT, refused).await.unwrap();
    assert!(refused.contains("alerts_private_addresses"), "{refused}");
    assert!(receiver.came.lock().is_empty());
    let rotated =
        admin.post(&format!("/alerts/channels/{channel}/rotate-secret"), &json!({})).await;
    let new = text(&rotated["signing_secret"]);
    assert_ne!(new, secret);
    admin.put("/settings", &json!({ "alerts_private_addresses": true })).await;
    let came = receiver.come(1).await;
    assert!(is_signed(&new, &came[0].1, &came[0].2), "the new secret is the one that counts");
}

#[tokio::test]
async fn a_rule_is_changed_only_as_it_was_read() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let rule =
        json!({ "name": "r", "severity": "info", "kind": "metric", "metric": "disk", "above": 90 });
    let made = admin.post("/alerts/rules", &rule).await;
    let path = format!("/alerts/rules/{}", text(&made["id"]));
    let change = async |version: &str| {
        let request = admin.request(Method::PUT, &path).header("If-Match", version).json(&rule);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(change("\"1\"").await, 200);
    assert_eq!(change("\"1\"").await, 412);
    assert_eq!(change("\"2\"").await, 200);
    let bad = json!({ "name": "r", "severity": "info", "kind": "metric", "metric": "disk", "above": 900 });
    assert_eq!(admin.problem(Method::PUT, &path, &bad).await.0, 422);
}
