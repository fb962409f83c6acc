//! Conversations live: what is said reaches every window that is open on the project.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use muster_tests::model::Model;
use muster_tests::{Api, Server};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A window, opened with a ticket as a page does.
struct Window(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Window {
    async fn open(server: &Server, api: &Api, query: &str) -> Result<Self, Error> {
        let ticket = api.post("/auth/tickets", &json!({})).await;
        let ticket = ticket["ticket"].as_str().unwrap().to_owned();
        let url = server.url().replace("http", "ws");
        let url = format!("{url}/api/v1/ws?{query}&ticket={ticket}");
        Ok(Self(connect_async(url.into_client_request()?).await?.0))
    }

    /// What comes next, if it comes in time.
    async fn next(&mut self) -> Option<Value> {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(10), self.0.next()).await;
            match next.ok()?? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                _ => return None,
            }
        }
    }

    /// Everything up to the end of a turn.
    async fn turn(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            let ended = event["type"] == "turn" && event["data"]["status"] != "running";
            all.push(event);
            if ended {
                break;
            }
        }
        all
    }

    async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }
}

fn text(events: &[Value]) -> String {
    let deltas = events.iter().filter(|event| event["type"] == "delta");
    deltas.map(|event| event["data"]["text"].as_str().unwrap()).collect()
}

async fn house() -> (Server, Api, Model, String) {
    let (server, model) = (Server::start().await, Model::start());
    let admin = server.admin().await;
    admin.post("/settings/chatgpt/config", &model.config()).await;
    let customer = admin.customer("Acme").await;
    let wish = json!({ "name": "Disks", "customer_id": customer });
    let project = admin.post("/projects", &wish).await["id"].as_str().unwrap().to_owned();
    (server, admin, model, project)
}

#[tokio::test]
async fn an_answer_reaches_every_window_of_the_project_word_by_word() {
    let (server, admin, model, project) = house().await;
    admin.colleague("bob").await;
    let bob = admin.login("bob").await;
    let query = format!("project_id={project}");
    let mut mine = Window::open(&server, &admin, &query).await.unwrap();
    let mut his = Window::open(&server, &bob, &query).await.unwrap();
    model.call("search_agents", &json!({}));
    model.say("There are no machines yet.");
    mine.say(&json!({ "type": "chat", "message": "Which machines are there?" })).await;
    let (here, there) = (mine.turn().await, his.turn().await);
    assert_eq!(here, there);
    let kinds: Vec<_> = here.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], kinds[1], kinds.last()), ("turn", "step", Some(&"turn")));
    assert!(kinds.iter().filter(|kind| **kind == "delta").count() > 2, "{kinds:?}");
    assert_eq!(text(&here), "There are no machines yet.");
    let last = &here.last().unwrap()["data"];
    assert_eq!(
        (&last["status"], &last["response"]),
        (&json!("completed"), &json!("There are no machines yet."))
    );
    // A window that was closed goes on where it was.
    let known = here[1]["id"].as_str().unwrap();
    let mut again = Window::open(&server, &bob, &format!("{query}&after={known}")).await.unwrap();
    assert_eq!(again.turn().await, here[2..]);
    // What is said by a request is told, too, and a stream that is cut is told as failed.
    model.break_after("Half of");
    let wish = json!({ "project_id": project, "message": "And now?" });
    let (status, _) = admin.problem(reqwest::Method::POST, "/chat", &wish).await;
    assert_eq!(status, 503);
    let told = his.turn().await;
    assert_eq!(text(&told), "Half of");
    assert_eq!(told.last().unwrap()["data"]["status"], "failed");
}

#[tokio::test]
async fn a_window_shows_what_one_may_see_and_closes_when_one_may_not_any_more() {
    let (server, admin, model, project) = house().await;
    let query = format!("project_id={project}");
    let other = admin.customer("Other").await;
    let id = admin.colleague("eve").await;
    admin.put(&format!("/users/{id}/customers"), &json!({ "customer_ids": [other] })).await;
    let eve = admin.login("eve").await;
    let refused = Window::open(&server, &eve, &query).await;
    assert!(matches!(refused, Err(Error::Http(answer)) if answer.status() == 404));
    let id = admin.colleague("bob").await;
    let bob = admin.login("bob").await;
    let mut window = Window::open(&server, &bob, &query).await.unwrap();
    window.say(&json!({ "type": "ping" })).await;
    assert_eq!(window.next().await.unwrap()["type"], "pong");
    window.say(&json!({ "type": "run", "command": "rm -rf /" })).await;
    assert_eq!(window.next().await.unwrap()["data"]["code"], "MALFORMED_REQUEST");
    model.fail(429, json!({ "error": { "code": "rate_limit_exceeded" } }), Some(300));
    window.say(&json!({ "type": "chat", "message": "Hello?" })).await;
    let mut told = Vec::new();
    while let Some(event) = window.next().await {
        told.push(event["type"].as_str().unwrap().to_owned());
        if told.contains(&"error".to_owned()) && told.len() >= 3 {
            break;
        }
    }
    assert!(told.contains(&"error".to_owned()), "{told:?}");
    admin.put(&format!("/users/{id}/customers"), &json!({ "customer_ids": [other] })).await;
    assert_eq!(window.next().await, None, "it is closed within seconds");
}
