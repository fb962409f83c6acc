//! A language model on loopback that speaks the real API of `OpenAI`: it says what it is told to say.

use std::collections::VecDeque;
use std::sync::Arc;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// What it answers next: a text, tools that it asks for, the first part of a text, or a failure.
#[derive(Debug, Clone)]
enum Next {
    Says(String),
    Asks(Vec<(String, String)>),
    Breaks(String),
    Refuses,
    Fails(u16, Value, Option<u32>),
}

/// A request that came: its `Authorization`, its body.
pub type Asked = (String, Value);

/// The provider of a language model.
#[derive(Debug, Clone)]
pub struct Model {
    /// Where its API is.
    pub base_url: String,
    next: Arc<Mutex<VecDeque<Next>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Model {
    /// Starts it.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start() -> Self {
        let next = Arc::new(Mutex::new(VecDeque::<Next>::new()));
        let asked = Arc::new(Mutex::new(Vec::<Asked>::new()));
        let (told, keep) = (next.clone(), asked.clone());
        let server = HttpServer::new(move || {
            let (told, keep) = (told.clone(), keep.clone());
            let complete = move |request: HttpRequest, body: web::Json<Value>| {
                let key = request.headers().get("authorization");
                let key = key.map_or("", |key| key.to_str().unwrap()).to_owned();
                let streams = body["stream"] == true;
                keep.lock().push((key, body.into_inner()));
                std::future::ready(answer(told.lock().pop_front(), streams))
            };
            App::new().route("/v1/chat/completions", web::post().to(complete))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}/v1", server.addrs()[0]);
        tokio::spawn(server.run());
        Self { base_url, next, asked }
    }

    /// What it says next.
    pub fn say(&self, text: impl Into<String>) {
        self.next.lock().push_back(Next::Says(text.into()));
    }

    /// The tool that it asks for next.
    pub fn call(&self, tool: &str, arguments: &Value) {
        self.call_badly(tool, &arguments.to_string());
    }

    /// The same with arguments that need not be JSON.
    pub fn call_badly(&self, tool: &str, arguments: &str) {
        let call = (tool.to_owned(), arguments.to_owned());
        self.next.lock().push_back(Next::Asks(vec![call]));
    }

    /// What it says next before the line is cut.
    pub fn break_after(&self, text: &str) {
        self.next.lock().push_back(Next::Breaks(text.to_owned()));
    }

    /// It does not want to answer next.
    pub fn refuse(&self) {
        self.next.lock().push_back(Next::Refuses);
    }

    /// How it fails next, and after how many seconds it may be asked again.
    pub fn fail(&self, status: u16, body: Value, retry_after: Option<u32>) {
        self.next.lock().push_back(Next::Fails(status, body, retry_after));
    }

    /// What it was asked, the oldest first.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// Forgets what it was told and asked.
    pub fn forget(&self) {
        self.next.lock().clear();
        self.asked.lock().clear();
    }

    /// What has it asked by a server.
    pub fn config(&self) -> Value {
        json!({
            "provider": "custom",
            "base_url": self.base_url,
            "model": "tiny",
            "api_key": "the-key-of-the-house",
            "max_tokens": 500,
            "temperature": 0.2,
        })
    }
}

fn answer(next: Option<Next>, streams: bool) -> HttpResponse {
    let (message, reason) = match next {
        Some(Next::Says(text)) => (json!({ "content": text, "refusal": null }), "stop"),
        Some(Next::Refuses) => (json!({ "content": null, "refusal": "I will not." }), "stop"),
        Some(Next::Asks(calls)) => {
            let calls: Vec<_> = calls.iter().enumerate().map(call).collect();
            (json!({ "content": null, "tool_calls": calls }), "tool_calls")
        }
        Some(Next::Breaks(text)) => return broken(&text),
        Some(Next::Fails(status, body, retry_after)) => {
            let mut answer = HttpResponse::build(status.try_into().unwrap());
            if let Some(seconds) = retry_after {
                answer.insert_header(("Retry-After", seconds.to_string()));
            }
            return answer.json(body);
        }
        None => return HttpResponse::InternalServerError().finish(),
    };
    if streams { bit_by_bit(&message, reason) } else { whole(message, reason) }
}

fn call((index, (name, arguments)): (usize, &(String, String))) -> Value {
    let function = json!({ "name": name, "arguments": arguments });
    json!({ "index": index, "id": format!("call_{index}"), "type": "function", "function": function })
}

fn usage() -> Value {
    json!({ "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120 })
}

fn whole(mut message: Value, reason: &str) -> HttpResponse {
    message["role"] = json!("assistant");
    HttpResponse::Ok().json(json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "tiny",
        "choices": [{ "index": 0, "message": message, "finish_reason": reason }],
        "usage": usage(),
    }))
}

fn chunk(delta: &Value, reason: Option<&str>) -> String {
    let chunk = json!({
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "tiny",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }],
    });
    format!("data: {chunk}\n\n")
}

/// The words of a text, each in a chunk.
fn words(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(|word| chunk(&json!({ "content": word }), None)).collect()
}

fn bit_by_bit(message: &Value, reason: &str) -> HttpResponse {
    let mut chunks = match message["content"].as_str() {
        Some(text) => words(text),
        None => vec![chunk(message, None)],
    };
    chunks.push(chunk(&json!({}), Some(reason)));
    chunks.push(format!("data: {}\n\n", json!({ "choices": [], "usage": usage() })));
    chunks.push("data: [DONE]\n\n".to_owned());
    stream_of(chunks, true)
}

/// A stream whose line is cut in the middle.
fn broken(text: &str) -> HttpResponse {
    stream_of(words(text), false)
}

fn stream_of(chunks: Vec<String>, whole: bool) -> HttpResponse {
    let chunks = stream::iter(chunks.into_iter().map(|chunk| Ok(Bytes::from(chunk))));
    // What came before has left by then.
    let cut = stream::once(async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    let mut answer = HttpResponse::Ok();
    let answer = answer.content_type("text/event-stream");
    if whole { answer.streaming(chunks) } else { answer.streaming(Box::pin(chunks.chain(cut))) }
}
