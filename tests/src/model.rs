//! A language model on loopback that speaks the real API of `OpenAI`: it says what it is told to say.

use std::collections::VecDeque;
use std::sync::Arc;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// What it answers next: a status, and a text or a body.
#[derive(Debug, Clone)]
enum Next {
    Says(String),
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
                keep.lock().push((key, body.into_inner()));
                std::future::ready(answer(told.lock().pop_front()))
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

fn answer(next: Option<Next>) -> HttpResponse {
    let text = match next {
        Some(Next::Says(text)) => text,
        Some(Next::Fails(status, body, retry_after)) => {
            let mut answer = HttpResponse::build(status.try_into().unwrap());
            if let Some(seconds) = retry_after {
                answer.insert_header(("Retry-After", seconds.to_string()));
            }
            return answer.json(body);
        }
        None => return HttpResponse::InternalServerError().finish(),
    };
    let message = json!({ "role": "assistant", "content": text, "refusal": null });
    HttpResponse::Ok().json(json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "tiny",
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120 },
    }))
}
