//! A provider that says what it is told to, byte by byte, one request a connection.
#![allow(clippy::allow_attributes, reason = "not every test uses all of it")]
#![allow(dead_code, reason = "not every test uses all of it")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it says.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
    /// How long it thinks.
    pub(crate) wait: Duration,
    /// Whether it says nothing more and stays on the line.
    pub(crate) hang: bool,
}

impl Default for Reply {
    fn default() -> Self {
        let headers = String::new();
        Self { status: 200, headers, body: String::new(), wait: Duration::ZERO, hang: false }
    }
}

pub(crate) fn json_answer(status: u16, body: &Value) -> Reply {
    let headers = "Content-Type: application/json\r\n".to_owned();
    Reply { status, headers, body: body.to_string(), ..Reply::default() }
}

pub(crate) fn completion(text: &str) -> Reply {
    let message = json!({ "role": "assistant", "content": text, "refusal": null });
    let answer = json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14 },
    });
    json_answer(200, &answer)
}

pub(crate) fn chunk(text: &str) -> Value {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }],
    })
}

/// A stream of these, with its proper end or without.
pub(crate) fn events(chunks: &[Value], whole: bool) -> Reply {
    let mut all = chunks.to_vec();
    if whole {
        all.push(json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] }));
        all.push(
            json!({ "choices": [], "usage": { "prompt_tokens": 11, "completion_tokens": 3 } }),
        );
    }
    let mut body = String::new();
    for chunk in &all {
        body.extend(["data: ", &chunk.to_string(), "\n\n"]);
    }
    if whole {
        body.push_str("data: [DONE]\n\n");
    }
    let headers = "Content-Type: text/event-stream\r\n".to_owned();
    Reply { headers, body, ..Reply::default() }
}

/// The provider.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<(String, String)>>>,
}

impl Stub {
    pub(crate) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            for reply in replies {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, reply, Arc::clone(&seen)));
            }
        });
        Self { address, requests }
    }

    /// The heads and bodies of what was asked.
    pub(crate) fn requests(&self) -> Vec<(String, String)> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, reply: Reply, seen: Arc<Mutex<Vec<(String, String)>>>) {
    let mut read = Vec::new();
    let (head, body) = loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.unwrap();
        read.extend_from_slice(part.get(..count).unwrap());
        let text = String::from_utf8_lossy(&read).into_owned();
        if count == 0 {
            break (text, String::new());
        }
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lower = head.to_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            break (head.to_owned(), body.to_owned());
        }
    };
    seen.lock().unwrap().push((head, body));
    tokio::time::sleep(reply.wait).await;
    let head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n{}\r\n", reply.status, reply.headers);
    let _ = stream.write_all(format!("{head}{}", reply.body).as_bytes()).await;
    if reply.hang {
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    let _ = stream.shutdown().await;
}
