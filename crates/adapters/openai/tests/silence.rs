//! What is logged of keys and conversations: nothing. The only test of its program, for it listens to all
//! that the program logs.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

mod stub;

use std::io::Write;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use muster_assistant::{Access, LanguageModel, Message, Prompt, Provider, Speaker};
use muster_kernel::Secret;
use muster_openai::{OpenAi, Patience};
use serde_json::json;
use stub::{Reply, Stub, completion, json_answer};

const KEY: &str = "sk-proj-0123456789abcdefSECRET";
const SAID: &str = "the-words-of-the-conversation";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_keys_nor_conversations_are_logged_or_told_in_errors() {
    let log = Log::default();
    let written = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || written.clone())
        .init();
    tracing::info!("listening");
    let echo = format!("you said {SAID} with {KEY}");
    let error = json!({ "error": { "message": echo, "code": echo, "type": echo } });
    let mut odd = stub::events(&[stub::chunk(SAID)], false);
    odd.body.extend(["data: ", &echo, "\n\n"]);
    let replies = [
        completion("hi"),
        json_answer(400, &error),
        json_answer(401, &error),
        json_answer(429, &error),
        json_answer(500, &error),
        json_answer(200, &error),
        Reply { body: echo.clone(), ..Reply::default() },
        Reply { status: 400, body: echo.clone(), ..Reply::default() },
        Reply { status: 503, body: echo.clone(), ..Reply::default() },
        stub::events(std::slice::from_ref(&error), false),
        odd,
    ];
    let model = OpenAi::new(Patience { retries: 0, ..Patience::default() }).unwrap();
    let message = Message { speaker: Speaker::Person, text: SAID.to_owned() };
    let prompt = Prompt { messages: vec![message], ..Prompt::default() };
    for reply in replies {
        for streams in [false, true] {
            let stub = Stub::start(vec![reply.clone()]).await;
            let access = Access {
                provider: Provider::Custom,
                base_url: format!("http://{}/v1", stub.address),
                model: "tiny".to_owned(),
                key: Some(Secret::from_text(KEY)),
                max_tokens: 50,
                temperature: None,
            };
            let told = if streams {
                match model.stream(&access, &prompt).await {
                    Ok(deltas) => {
                        let all: Vec<_> =
                            deltas.filter(|it| std::future::ready(it.is_err())).collect().await;
                        format!("{all:?}")
                    }
                    Err(error) => format!("{error:?} {error}"),
                }
            } else {
                format!("{:?}", model.ask(&access, &prompt).await.map(|_| ()))
            };
            assert!(!told.contains(KEY) && !told.contains(SAID), "{told}");
            assert!(!format!("{model:?} {access:?}").contains(KEY));
        }
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("listening"));
    let leaks: Vec<_> =
        log.lines().filter(|line| line.contains("SECRET") || line.contains(SAID)).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
}
