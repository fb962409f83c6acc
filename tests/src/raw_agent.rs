//! An agent by hand: the protocol without the program.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use ed25519_dalek::VerifyingKey;
use futures_util::{SinkExt, StreamExt};
use muster_protocol::{
    AgentMessage, Hello, Instruction, JournalEntry, SUBPROTOCOL, ServerMessage, StreamFrame,
    Verifier, Welcome,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};
use uuid::Uuid;

/// What enrolment gave.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the answer")]
pub struct Enrolled {
    pub agent_id: Uuid,
    pub agent_token: String,
    pub server_key: VerifyingKey,
}

impl Enrolled {
    /// Enrols a machine of that name.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn register(url: &str, enrollment_token: &str, hostname: &str) -> Self {
        let answer = reqwest::Client::new()
            .post(format!("{url}/api/v1/agents/register"))
            .bearer_auth(enrollment_token)
            .json(&json!({ "hostname": hostname, "os_type": "linux", "machine_id": hostname }))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201);
        let answer: Value = answer.json().await.unwrap();
        let key = STANDARD.decode(answer["server_key"].as_str().unwrap()).unwrap();
        Self {
            agent_id: answer["agent_id"].as_str().unwrap().parse().unwrap(),
            agent_token: answer["agent_token"].as_str().unwrap().to_owned(),
            server_key: VerifyingKey::from_bytes(&key.try_into().unwrap()).unwrap(),
        }
    }
}

/// A connection of an agent.
#[derive(Debug)]
pub struct RawAgent {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    verifier: Verifier,
    nonce: String,
    boot_id: String,
}

impl RawAgent {
    /// Connects without a word.
    ///
    /// # Errors
    /// When the server does not let it in.
    ///
    /// # Panics
    /// When the URL makes no sense.
    pub async fn connect(url: &str, enrolled: &Enrolled) -> Result<Self, Error> {
        let url = format!("{}/api/v1/ws/agent", url.replacen("http", "ws", 1));
        let mut request = url.into_client_request().unwrap();
        let bearer = format!("Bearer {}", enrolled.agent_token);
        let headers = request.headers_mut();
        headers.insert("Authorization", HeaderValue::from_str(&bearer).unwrap());
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
        let (socket, _) = connect_async_tls_with_config(request, None, true, None).await?;
        let nonce = Uuid::from_u128(rand::random()).to_string();
        let verifier = Verifier::new(enrolled.server_key, enrolled.agent_id, nonce.clone());
        Ok(Self { socket, verifier, nonce, boot_id: "b".into() })
    }

    /// Says that it is on another machine, or was booted again.
    #[must_use]
    pub fn booted(self, boot_id: &str) -> Self {
        Self { boot_id: boot_id.into(), ..self }
    }

    /// Connects, says hello with `journal` and takes the welcome.
    ///
    /// # Panics
    /// When there is none.
    pub async fn welcomed(
        url: &str,
        enrolled: &Enrolled,
        journal: Vec<JournalEntry>,
    ) -> (Self, Welcome) {
        let mut agent = Self::connect(url, enrolled).await.unwrap();
        agent.hello(journal, now()).await;
        let Some(Instruction::Welcome(welcome)) = agent.order().await else {
            panic!("no welcome");
        };
        (agent, welcome)
    }

    /// Says hello, with a clock that shows `agent_time`.
    ///
    /// # Panics
    /// When the connection is broken.
    pub async fn hello(&mut self, journal: Vec<JournalEntry>, agent_time: DateTime<Utc>) {
        let hello = AgentMessage::Hello(Box::new(Hello {
            version: "test".into(),
            os_type: "linux".into(),
            os: "Linux".into(),
            hostname: "raw".into(),
            capabilities: Vec::new(),
            boot_id: self.boot_id.clone(),
            instance_id: None,
            reconnect_attempts: None,
            last_end: None,
            nonce: self.nonce.clone(),
            agent_time,
            journal,
        }));
        self.say(&hello).await.unwrap();
    }

    /// Says something.
    ///
    /// # Errors
    /// When the connection is broken.
    ///
    /// # Panics
    /// When the message can't be written.
    pub async fn say(&mut self, message: &AgentMessage) -> Result<(), Error> {
        self.send(Message::text(serde_json::to_string(message).unwrap())).await
    }

    /// Sends output.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn write(&mut self, frame: &StreamFrame) -> Result<(), Error> {
        self.send(Message::Binary(frame.encode())).await
    }

    /// Sends whatever.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message).await
    }

    /// Sends several frames at once.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn send_all(
        &mut self,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<(), Error> {
        for message in messages {
            self.socket.feed(message).await?;
        }
        self.socket.flush().await
    }

    /// The next message of the protocol; `None` when the connection has ended.
    ///
    /// # Panics
    /// When the server sends what can't be read.
    pub async fn hear(&mut self) -> Option<ServerMessage> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next order, verified; other messages are left out.
    ///
    /// # Panics
    /// When the order is not to be trusted.
    pub async fn order(&mut self) -> Option<Instruction> {
        loop {
            if let ServerMessage::Signed(signed) = self.hear().await? {
                return Some(self.verifier.verify(&signed, None).unwrap());
            }
        }
    }

    /// The instruction in a signed message.
    ///
    /// # Panics
    /// When it is not to be trusted.
    pub fn verified(&mut self, signed: &muster_protocol::Signed) -> Instruction {
        self.verifier.verify(signed, None).unwrap()
    }

    /// The code with which the server closes the connection; `None` when it just ends.
    pub async fn close_code(&mut self) -> Option<u16> {
        while let Some(message) = self.socket.next().await {
            match message {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        None
    }
}

/// The time.
#[expect(clippy::disallowed_methods, reason = "these tests play whole machines")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
