//! What is said to a provider, and what it says.

use std::collections::BTreeMap;

use muster_assistant::{
    Access, Answer, Delta, Exchange, Message, ModelError, Prompt, Schema, Tool, ToolCall, Usage,
};
use serde_json::{Value, json};

use crate::config::host;

/// The request for an answer.
pub(crate) fn request(access: &Access, prompt: &Prompt, streams: bool) -> Value {
    let mut messages: Vec<_> = prompt.messages.iter().map(message).collect();
    messages.extend(prompt.exchanges.iter().flat_map(exchange));
    let mut request = json!({ "model": access.model, "messages": messages, "stream": streams });
    // Newer models know only the one name, and most others only the other.
    let host = host(&access.base_url);
    let newer = host.ends_with("openai.com") || host.ends_with(".azure.com");
    let most = if newer { "max_completion_tokens" } else { "max_tokens" };
    let mut put = |name: &str, value: Value| {
        if let Some(request) = request.as_object_mut() {
            request.insert(name.to_owned(), value);
        }
    };
    put(most, json!(access.max_tokens));
    if let Some(temperature) = access.temperature {
        // Of a number like 0.1 nobody wants to see how it is kept.
        put("temperature", json!((f64::from(temperature) * 1000.0).round() / 1000.0));
    }
    if streams {
        put("stream_options", json!({ "include_usage": true }));
    }
    if let Some(schema) = &prompt.schema {
        put("response_format", format(schema));
    }
    if !prompt.tools.is_empty() {
        put("tools", prompt.tools.iter().map(tool).collect());
    }
    request
}

fn message(message: &Message) -> Value {
    json!({ "role": message.speaker.as_str(), "content": message.text })
}

/// What the model asked for, and what it got.
fn exchange(exchange: &Exchange) -> Vec<Value> {
    let calls: Vec<_> = exchange.calls.iter().map(asked).collect();
    let text = Some(exchange.text.as_str()).filter(|text| !text.is_empty());
    let asked = json!({ "role": "assistant", "content": text, "tool_calls": calls });
    let got = exchange.calls.iter().zip(&exchange.results).map(
        |(call, result)| json!({ "role": "tool", "tool_call_id": call.id, "content": result }),
    );
    std::iter::once(asked).chain(got).collect()
}

fn asked(call: &ToolCall) -> Value {
    let arguments = match &call.arguments {
        // As the model wrote it, which is no JSON.
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let function = json!({ "name": call.name, "arguments": arguments });
    json!({ "id": call.id, "type": "function", "function": function })
}

fn format(schema: &Schema) -> Value {
    let form = json!({ "name": schema.name, "schema": schema.schema, "strict": true });
    json!({ "type": "json_schema", "json_schema": form })
}

fn tool(tool: &Tool) -> Value {
    let function = json!({
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    });
    json!({ "type": "function", "function": function })
}

/// The whole answer.
pub(crate) fn answer(answer: &Value) -> Result<Answer, ModelError> {
    failure(answer)?;
    let choice = answer.pointer("/choices/0").ok_or(ModelError::Malformed)?;
    let message = choice.get("message").ok_or(ModelError::Malformed)?;
    if message.get("refusal").and_then(Value::as_str).is_some_and(|it| !it.is_empty()) {
        return Err(ModelError::Refused);
    }
    ended(choice.get("finish_reason").and_then(Value::as_str))?;
    let calls = message.get("tool_calls").and_then(Value::as_array);
    let tool_calls = calls.into_iter().flatten().map(call).collect::<Result<Vec<_>, _>>()?;
    let text = message.get("content").and_then(Value::as_str).unwrap_or_default().to_owned();
    if text.is_empty() && tool_calls.is_empty() {
        return Err(ModelError::Malformed);
    }
    Ok(Answer { text, tool_calls, usage: usage(answer) })
}

/// Some providers tell of failures by answers that look good.
fn failure(answer: &Value) -> Result<(), ModelError> {
    let Some(error) = answer.get("error").filter(|error| !error.is_null()) else { return Ok(()) };
    Err(match error.get("code").and_then(Value::as_u64) {
        Some(429) => ModelError::RateLimited { retry_after: None },
        Some(401 | 403) => ModelError::Unauthorised,
        Some(408) => ModelError::Timeout,
        _ => ModelError::Unreachable,
    })
}

/// How an answer ended.
fn ended(reason: Option<&str>) -> Result<(), ModelError> {
    match reason {
        Some("length") => Err(ModelError::CutOff),
        Some("content_filter") => Err(ModelError::Refused),
        _ => Ok(()),
    }
}

fn call(call: &Value) -> Result<ToolCall, ModelError> {
    let text = |path: &str| call.pointer(path).and_then(Value::as_str);
    let name = text("/function/name").ok_or(ModelError::Malformed)?;
    let arguments = text("/function/arguments").unwrap_or_default();
    Ok(tool_call(text("/id").unwrap_or_default(), name, arguments))
}

/// A call whose arguments can't be read goes back to the model, which may write it better.
fn tool_call(id: &str, name: &str, arguments: &str) -> ToolCall {
    let text = if arguments.trim().is_empty() { "{}" } else { arguments };
    let arguments = serde_json::from_str(text).unwrap_or_else(|_| text.into());
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments }
}

fn usage(answer: &Value) -> Option<Usage> {
    let usage = answer.get("usage").filter(|usage| usage.is_object())?;
    let count = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or_default();
    Some(Usage { read: count("prompt_tokens"), written: count("completion_tokens") })
}

/// What is known so far of an answer that comes bit by bit.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    finished: bool,
    usage: Option<Usage>,
    calls: BTreeMap<u64, Calling>,
}

/// What is known so far of a call: its id, its name and its arguments.
#[derive(Debug, Default)]
struct Calling {
    id: String,
    name: String,
    arguments: String,
}

/// How many calls an answer may have.
const MAX_CALLS: usize = 64;

impl Chunks {
    /// What a bit adds.
    pub(crate) fn take(&mut self, chunk: &Value) -> Result<Option<Delta>, ModelError> {
        failure(chunk)?;
        self.usage = usage(chunk).or(self.usage);
        let Some(choice) = chunk.pointer("/choices/0") else { return Ok(None) };
        let text = |path: &str| {
            choice.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty())
        };
        if text("/delta/refusal").is_some() {
            return Err(ModelError::Refused);
        }
        let calls = choice.pointer("/delta/tool_calls").and_then(Value::as_array);
        calls.into_iter().flatten().for_each(|call| self.call(call));
        let reason = text("/finish_reason");
        ended(reason)?;
        self.finished |= reason.is_some();
        if reason.is_some() && !self.calls.is_empty() {
            return Ok(Some(Delta::Calls(self.called())));
        }
        Ok(text("/delta/content").map(|text| Delta::Text(text.to_owned())))
    }

    /// Takes what a bit says of a call: its name comes first, its arguments come piece by piece.
    fn call(&mut self, bit: &Value) {
        let index = bit.get("index").and_then(Value::as_u64).unwrap_or_default();
        if self.calls.len() >= MAX_CALLS && !self.calls.contains_key(&index) {
            return;
        }
        let calling = self.calls.entry(index).or_default();
        let text = |path: &str| bit.pointer(path).and_then(Value::as_str).unwrap_or_default();
        calling.id.push_str(text("/id"));
        calling.name.push_str(text("/function/name"));
        calling.arguments.push_str(text("/function/arguments"));
    }

    fn called(&mut self) -> Vec<ToolCall> {
        let calls = std::mem::take(&mut self.calls).into_values();
        calls.map(|it| tool_call(&it.id, &it.name, &it.arguments)).collect()
    }

    /// The end, if it was said to be one.
    pub(crate) const fn end(&self) -> Result<Delta, ModelError> {
        if self.finished { Ok(Delta::End(self.usage)) } else { Err(ModelError::CutOff) }
    }
}
