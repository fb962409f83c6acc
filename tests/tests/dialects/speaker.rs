//! Agents of older products by hand.

use std::collections::VecDeque;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use muster_tests::Server;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::world::{World, text};

/// How long a test waits for a message.
const PATIENCE: Duration = Duration::from_mins(1);

/// A connection of an agent.
pub(crate) struct Speaker {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What came while something else was waited for.
    unheard: VecDeque<Value>,
}

/// The header with which a credential is shown.
pub(crate) enum Shown<'a> {
    Nothing,
    Bearer(&'a str),
    ApiKey(&'a str),
    Password(&'a str),
}

impl Shown<'_> {
    fn header(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Nothing => None,
            Self::Bearer(secret) => Some(("authorization", format!("Bearer {secret}"))),
            Self::ApiKey(secret) => Some(("x-api-key", (*secret).to_owned())),
            Self::Password(secret) => {
                let basic = STANDARD.encode(format!("agent:{secret}"));
                Some(("authorization", format!("Basic {basic}")))
            }
        }
    }
}

/// Asks for a WebSocket; answers with the status, and with the code of the problem.
pub(crate) async fn knock(server: &Server, path: &str, shown: &Shown<'_>) -> (u16, String) {
    let mut request = Client::new()
        .get(format!("{}{path}", server.url()))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    if let Some((name, value)) = shown.header() {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return (status.as_u16(), String::new());
    }
    let problem: Value = answer.json().await.unwrap_or_default();
    (status.as_u16(), problem["code"].as_str().unwrap_or_default().to_owned())
}

impl Speaker {
    /// Connects without a word.
    pub(crate) async fn connect(server: &Server, path: &str, shown: &Shown<'_>) -> Self {
        let url = format!("{}{path}", server.url().replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        if let Some((name, value)) = shown.header() {
            let value = HeaderValue::from_str(&value).unwrap();
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        let (socket, _) = connect_async(request).await.expect("it is let in");
        Self { socket, unheard: VecDeque::new() }
    }

    /// Remote Agent Manager's agent of that name, which is heard.
    pub(crate) async fn ram(world: &World, name: &str) -> Self {
        let path = format!("/ws/agent/{name}");
        let mut agent = Self::connect(&world.server, &path, &Shown::Bearer(&world.key)).await;
        agent.beat().await;
        agent
    }

    /// Makes Remote Agent Manager's agent of that name known, and leaves; answers with its id here.
    pub(crate) async fn visits(world: &World, name: &str) -> String {
        let agent = Self::ram(world, name).await;
        let id = world.id(name).await;
        drop(agent);
        world.gone(&id).await;
        id
    }

    /// `DexAgents`' agent of that name, which was welcomed.
    pub(crate) async fn dex(world: &World, name: &str) -> Self {
        let shown = Shown::Bearer(&world.key);
        let mut agent = Self::connect(&world.server, "/api/v1/ws/agent", &shown).await;
        let (ip, os, version) = ("192.0.2.8", "Windows 11", "10.0.22631");
        let known = json!({ "id": name, "hostname": name, "ip": ip, "os": os, "version": version });
        agent.say(&json!({ "type": "register", "data": known })).await;
        let welcome = agent.heard("welcome").await;
        assert_eq!(welcome["data"]["agent_id"], name, "{welcome}");
        agent
    }

    /// Remote Agent Manager's heartbeat, and its answer.
    pub(crate) async fn beat(&mut self) {
        self.say(&json!({ "type": "heartbeat" })).await;
        let answer = self.heard("heartbeat_ack").await;
        assert!(answer["timestamp"].is_string(), "{answer}");
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.send(Message::text(message.to_string())).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.socket.send(message).await.expect("the connection lives");
    }

    /// The next message; `None` when the connection has ended.
    async fn hear(&mut self) -> Option<Value> {
        loop {
            let next = timeout(PATIENCE, self.socket.next()).await.expect("something comes");
            match next? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next message of that type; others that come before it can still be heard.
    pub(crate) async fn heard(&mut self, kind: &str) -> Value {
        let known = self.unheard.iter().position(|message| message["type"] == kind);
        if let Some(message) = known.and_then(|place| self.unheard.remove(place)) {
            return message;
        }
        loop {
            let message = self.hear().await.unwrap_or_else(|| panic!("it ended without {kind}"));
            if message["type"] == kind {
                return message;
            }
            self.unheard.push_back(message);
        }
    }

    /// The id of the next command that Remote Agent Manager's agent is given.
    pub(crate) async fn task(&mut self) -> String {
        text(&self.heard("command").await["task_id"])
    }

    /// The id of the next command that `DexAgents`' agent is given.
    pub(crate) async fn order(&mut self) -> String {
        text(&self.heard("execute_command").await["command_id"])
    }

    /// Remote Agent Manager's good end of a task.
    pub(crate) async fn completes(&mut self, task_id: &str, output: &str) {
        let data = json!({ "task_id": task_id, "status": "completed", "output": output,
            "exit_code": 0 });
        self.say(&json!({ "type": "task_result", "data": data })).await;
    }

    /// How far Remote Agent Manager's agent says that it is.
    pub(crate) async fn stands(&mut self, task_id: &str, status: &str, output: &str) {
        let data = json!({ "task_id": task_id, "status": status, "output": output });
        self.say(&json!({ "type": "task_status", "data": data })).await;
    }

    /// `DexAgents`' good end of a command.
    pub(crate) async fn succeeds(&mut self, command_id: &str, output: &str) {
        let result = json!({ "type": "command_result", "command_id": command_id, "success": true,
            "output": output, "execution_time": 0.5 });
        self.say(&result).await;
    }

    /// Waits until the server has ended the connection.
    pub(crate) async fn ended(mut self) {
        let all = async { while self.hear().await.is_some() {} };
        timeout(PATIENCE, all).await.expect("the connection ends");
    }
}
