//! Against a stub that speaks the providers' API over HTTP.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

mod stub;

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use muster_assistant::{
    Access, Delta, Exchange, LanguageModel, Message, ModelError, Prompt, Provider, Schema, Speaker,
    Tool, ToolCall, Usage,
};
use muster_kernel::Secret;
use muster_openai::{OpenAi, Patience};
use serde_json::{Value, json};
use stub::{Reply, Stub, completion, json_answer};

const KEY: &str = "sk-proj-0123456789abcdefSECRET";

fn model() -> OpenAi {
    OpenAi::new(Patience {
        connect: Duration::from_secs(2),
        answer: Duration::from_secs(3),
        idle: Duration::from_millis(300),
        retries: 2,
        first_wait: Duration::from_millis(10),
        longest_wait: Duration::from_secs(2),
    })
    .unwrap()
}

fn access(stub: &Stub) -> Access {
    Access {
        provider: Provider::Custom,
        base_url: format!("http://{}/v1", stub.address),
        model: "tiny".to_owned(),
        key: Some(Secret::from_text(KEY)),
        max_tokens: 50,
        temperature: Some(0.1),
    }
}

fn prompt() -> Prompt {
    let say = |speaker, text: &str| Message { speaker, text: text.to_owned() };
    let messages = vec![say(Speaker::System, "be brief"), say(Speaker::Person, "hello")];
    Prompt { messages, ..Prompt::default() }
}

async fn ask(replies: Vec<Reply>) -> (Result<muster_assistant::Answer, ModelError>, Stub) {
    let stub = Stub::start(replies).await;
    (model().ask(&access(&stub), &prompt()).await, stub)
}

/// All that comes, as text, and how it ended.
async fn stream(replies: Vec<Reply>) -> (String, Result<Option<Usage>, ModelError>) {
    let stub = Stub::start(replies).await;
    let mut deltas = match model().stream(&access(&stub), &prompt()).await {
        Ok(deltas) => deltas,
        Err(error) => return (String::new(), Err(error)),
    };
    let mut text = String::new();
    while let Some(delta) = deltas.next().await {
        match delta {
            Ok(Delta::Text(more)) => text.push_str(&more),
            Ok(Delta::Calls(calls)) => {
                for call in calls {
                    text.extend([call.name, call.arguments.to_string()]);
                }
            }
            Ok(Delta::End(usage)) => {
                assert!(deltas.next().await.is_none());
                return (text, Ok(usage));
            }
            Err(error) => {
                assert!(deltas.next().await.is_none());
                return (text, Err(error));
            }
        }
    }
    (text, Err(ModelError::CutOff))
}

#[tokio::test]
async fn an_answer_comes_with_what_it_took() {
    let (answer, stub) = ask(vec![completion("hi there")]).await;
    let answer = answer.unwrap();
    assert_eq!(answer.text, "hi there");
    assert_eq!(answer.usage, Some(Usage { read: 11, written: 3 }));
    let (head, body) = stub.requests().remove(0);
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains(&format!("authorization: bearer {}", KEY.to_lowercase())));
    let body: Value = serde_json::from_str(&body).unwrap();
    let expected = json!({
        "model": "tiny",
        "messages": [
            { "role": "system", "content": "be brief" },
            { "role": "user", "content": "hello" },
        ],
        "stream": false,
        "max_tokens": 50,
        "temperature": 0.1,
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn the_form_and_the_tools_are_said_as_the_api_has_them() {
    let call = json!({
        "choices": [{
            "index": 0,
            "finish_reason": "tool_calls",
            "message": { "role": "assistant", "content": null, "tool_calls": [{
                "id": "call_1", "type": "function",
                "function": { "name": "search", "arguments": "{\"q\":\"web\"}" },
            }]},
        }],
    });
    let stub = Stub::start(vec![json_answer(200, &call)]).await;
    let schema = json!({ "type": "object" });
    let tool = Tool { name: "search".into(), description: "x".into(), parameters: schema.clone() };
    let prompt = Prompt {
        schema: Some(Schema { name: "command", schema: schema.clone() }),
        tools: vec![tool],
        ..prompt()
    };
    let answer = model().ask(&access(&stub), &prompt).await.unwrap();
    let call = answer.tool_calls.first().unwrap();
    assert_eq!((call.name.as_str(), &call.arguments), ("search", &json!({ "q": "web" })));
    let body: Value = serde_json::from_str(&stub.requests().remove(0).1).unwrap();
    let form = json!({ "name": "command", "schema": schema, "strict": true });
    assert_eq!(body["response_format"], json!({ "type": "json_schema", "json_schema": form }));
    assert_eq!(body["tools"][0]["function"]["name"], "search");
}

#[tokio::test]
async fn a_model_of_ones_own_needs_no_key() {
    let stub = Stub::start(vec![completion("hi")]).await;
    let access = Access { key: None, ..access(&stub) };
    model().ask(&access, &prompt()).await.unwrap();
    assert!(!stub.requests().remove(0).0.to_lowercase().contains("authorization"));
}

#[tokio::test]
async fn a_stream_gives_its_text_bit_by_bit_and_its_end() {
    let chunks = ["he", "llo", " there"].map(stub::chunk);
    let events = stub::events(&chunks, true);
    let (text, end) = stream(vec![events]).await;
    assert_eq!(text, "hello there");
    assert_eq!(end, Ok(Some(Usage { read: 11, written: 3 })));
}

#[tokio::test]
async fn tools_are_asked_for_piece_by_piece_and_what_they_gave_is_said_again() {
    let piece = |index: u64, id: &str, name: &str, arguments: &str| {
        let call = json!({ "index": index, "id": id, "function": { "name": name, "arguments": arguments } });
        json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [call] }, "finish_reason": null }] })
    };
    let pieces = [
        piece(0, "call_1", "search", "{\"q\":"),
        piece(1, "call_2", "read", "{\"broken"),
        piece(0, "", "", "\"web\"}"),
    ];
    let (text, end) = stream(vec![stub::events(&pieces, true)]).await;
    // What can't be read stays a text, for the model to write better.
    assert_eq!(text, r#"search{"q":"web"}read"{\"broken""#);
    assert!(end.is_ok());

    let stub = Stub::start(vec![stub::events(&[stub::chunk("done")], true)]).await;
    let call = |id: &str, arguments| ToolCall { id: id.into(), name: "search".into(), arguments };
    let exchange = Exchange {
        text: String::new(),
        calls: vec![call("call_1", json!({ "q": "web" })), call("call_2", json!("{\"broken"))],
        results: vec!["found".to_owned(), "it can't be read".to_owned()],
    };
    let prompt = Prompt { exchanges: vec![exchange], ..prompt() };
    drop(model().stream(&access(&stub), &prompt).await.unwrap());
    let body: Value = serde_json::from_str(&stub.requests().remove(0).1).unwrap();
    let said = &body["messages"][2];
    assert_eq!((&said["role"], &said["content"]), (&json!("assistant"), &json!(null)));
    let function = |index: usize| said["tool_calls"][index]["function"]["arguments"].clone();
    assert_eq!((function(0), function(1)), (json!("{\"q\":\"web\"}"), json!("{\"broken")));
    let got = json!({ "role": "tool", "tool_call_id": "call_2", "content": "it can't be read" });
    assert_eq!(body["messages"][4], got);
}

#[tokio::test]
async fn a_stream_that_is_cut_is_told_as_cut_with_what_came_before() {
    let whole = stub::events(&[stub::chunk("hello"), stub::chunk(" there")], true);
    let at = whole.body.find(" there").unwrap();
    // In the midst of a line, at the end of one, and without the provider's word that it is whole.
    let ends = [at, whole.body.find("\n\n").unwrap() + 2];
    for end in ends {
        let body = whole.body.get(..end).unwrap().to_owned();
        let (text, ended) = stream(vec![Reply { body, ..whole.clone() }]).await;
        assert_eq!((text.as_str(), ended), ("hello", Err(ModelError::CutOff)));
    }
    let unfinished = stub::events(&[stub::chunk("hello")], false);
    let (text, ended) = stream(vec![unfinished]).await;
    assert_eq!((text.as_str(), ended), ("hello", Err(ModelError::CutOff)));
}

#[tokio::test]
async fn a_stream_that_falls_silent_or_says_nonsense_ends() {
    let mut silent = stub::events(&[stub::chunk("hello")], false);
    silent.hang = true;
    let began = Instant::now();
    assert_eq!(stream(vec![silent]).await, ("hello".to_owned(), Err(ModelError::Timeout)));
    assert!(began.elapsed() < Duration::from_secs(2));
    let mut odd = stub::events(&[stub::chunk("hello")], false);
    odd.body.push_str("data: {\"choices\": [\n\n");
    let (_, ended) = stream(vec![odd]).await;
    assert_eq!(ended, Err(ModelError::Malformed));
    let error = json!({ "error": { "code": 429, "message": KEY } });
    let (_, ended) = stream(vec![stub::events(&[error], false)]).await;
    assert_eq!(ended, Err(ModelError::RateLimited { retry_after: None }));
}

#[tokio::test]
async fn who_asks_too_much_waits_as_long_as_the_provider_says() {
    let mut busy = json_answer(429, &json!({ "error": { "code": "rate_limit_exceeded" } }));
    busy.headers.push_str("Retry-After: 1\r\n");
    let began = Instant::now();
    let (answer, stub) = ask(vec![busy.clone(), completion("hi")]).await;
    assert_eq!(answer.unwrap().text, "hi");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(stub.requests().len(), 2);
    // Longer than anybody wants to wait: who asks is told when to come back.
    busy.headers = busy.headers.replace("After: 1", "After: 60");
    let (answer, stub) = ask(vec![busy, completion("hi")]).await;
    let retry_after = Some(Duration::from_mins(1));
    assert_eq!(answer, Err(ModelError::RateLimited { retry_after }));
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn what_is_used_up_is_not_asked_for_again() {
    let empty = json_answer(429, &json!({ "error": { "code": "insufficient_quota" } }));
    let (answer, stub) = ask(vec![empty, completion("hi")]).await;
    assert_eq!(answer, Err(ModelError::RateLimited { retry_after: None }));
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn a_provider_that_stumbles_is_asked_again_and_not_for_ever() {
    let broken = || Reply { status: 503, body: "<html>oops</html>".into(), ..Reply::default() };
    let (answer, stub) = ask(vec![broken(), broken(), completion("hi")]).await;
    assert_eq!((answer.unwrap().text.as_str(), stub.requests().len()), ("hi", 3));
    let (answer, stub) = ask(vec![broken(), broken(), broken(), completion("hi")]).await;
    assert_eq!((answer, stub.requests().len()), (Err(ModelError::Unreachable), 3));
}

#[tokio::test]
async fn a_slow_answer_is_not_waited_for_for_ever() {
    let slow = Reply { wait: Duration::from_secs(20), ..completion("hi") };
    let began = Instant::now();
    let (answer, stub) = ask(vec![slow]).await;
    assert_eq!((answer, stub.requests().len()), (Err(ModelError::Timeout), 1));
    assert!(began.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn each_way_to_have_no_answer_has_its_name() {
    let refusal =
        json!({ "choices": [{ "finish_reason": "stop", "message": { "refusal": "no" } }] });
    let ended = |reason: &str| json!({ "choices": [{ "finish_reason": reason, "message": { "content": "hal" } }] });
    let filtered = json!({ "error": { "code": "content_policy_violation" } });
    let unknown = json!({ "error": { "code": "model_not_found", "message": KEY } });
    let cases = [
        (json_answer(200, &refusal), ModelError::Refused),
        (json_answer(200, &ended("content_filter")), ModelError::Refused),
        (json_answer(400, &filtered), ModelError::Refused),
        (json_answer(200, &ended("length")), ModelError::CutOff),
        (json_answer(401, &json!({ "error": { "message": KEY } })), ModelError::Unauthorised),
        (json_answer(403, &json!({})), ModelError::Unauthorised),
        (json_answer(404, &unknown), ModelError::Rejected(Some("model_not_found".into()))),
        (json_answer(400, &json!({ "error": { "code": KEY } })), ModelError::Rejected(None)),
        (json_answer(302, &json!({})), ModelError::Unreachable),
        (json_answer(200, &json!({})), ModelError::Malformed),
        (json_answer(200, &json!({ "choices": [] })), ModelError::Malformed),
        (json_answer(200, &json!({ "error": { "code": 401 } })), ModelError::Unauthorised),
        (
            Reply { body: "{\"choices\":[".into(), ..json_answer(200, &json!({})) },
            ModelError::Malformed,
        ),
        (Reply { body: "<html>".into(), ..Reply::default() }, ModelError::Malformed),
        (
            Reply { body: format!("[\"{}\"]", "x".repeat(5_000_000)), ..Reply::default() },
            ModelError::CutOff,
        ),
    ];
    for (reply, expected) in cases {
        let shown = reply.body.chars().take(80).collect::<String>();
        let (answer, _) = ask(vec![reply]).await;
        assert_eq!(answer, Err(expected), "{shown}");
    }
}

#[tokio::test]
async fn nobody_there_is_told_as_such() {
    let stub = Stub::start(vec![]).await;
    let access = Access { base_url: "http://127.0.0.1:9/v1".into(), ..access(&stub) };
    assert_eq!(model().ask(&access, &prompt()).await, Err(ModelError::Unreachable));
    // The services of clouds are nobody.
    for address in ["http://169.254.169.254/v1", "http://[fe80::1]/v1", "http://0.0.0.0/v1"] {
        let access = Access { base_url: address.into(), ..access.clone() };
        let began = Instant::now();
        assert_eq!(model().ask(&access, &prompt()).await, Err(ModelError::Unreachable));
        assert!(began.elapsed() < Duration::from_secs(1), "{address}");
    }
}
