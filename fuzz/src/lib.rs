//! What has to hold for whatever an agent of an older product says, and how messages are made up.

pub mod json;

use libfuzzer_sys::Corpus;
use muster_agent_socket::older::{Codec, Heard, Introduction};
use muster_agents::Metrics;
use muster_commands::{Outcome, Said};
use muster_kernel::CommandId;
use serde_json::Value;

/// The longest text that an agent is told from, in characters.
const MAX_TEXT: usize = 200;

/// Reads a message, if these bytes are one, and checks what is heard in it.
///
/// # Panics
/// When something does not hold.
pub fn listen(codec: &dyn Codec, names_of_ids: &[&str], message: &[u8]) -> Corpus {
    let text = str::from_utf8(message).ok();
    let message = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(message) = message else { return Corpus::Reject };
    let heard = codec.read(&message);
    assert_eq!(heard, codec.read(&message), "the same is heard twice");
    match heard {
        Ok(Heard::Register(introduction)) => introduced(&introduction),
        Ok(Heard::Heartbeat(load) | Heard::SystemInfo(load)) => load.iter().for_each(loaded),
        Ok(Heard::Result(id, said)) => {
            named(id, &message, names_of_ids);
            assert!(matches!(said, Said::Finished { .. }), "a result is an end: {said:?}");
            ended(&said, &message);
        }
        Ok(Heard::Status(id, said)) => {
            named(id, &message, names_of_ids);
            ended(&said, &message);
        }
        Ok(Heard::Nothing) => {}
        Err(unreadable) => assert!(!unreadable.to_string().is_empty()),
    }
    Corpus::Keep
}

fn introduced(Introduction { name, machine, metrics }: &Introduction) {
    short(name);
    short(&machine.hostname);
    let others = [&machine.ip_address, &machine.os_type, &machine.os, &machine.version];
    others.into_iter().chain([&machine.machine_id]).flatten().for_each(|text| short(text));
    machine.capabilities.iter().chain(&machine.tags).for_each(|text| short(text));
    metrics.iter().for_each(loaded);
}

fn short(text: &str) {
    assert!(!text.is_empty(), "a text says something");
    assert!(!text.contains(char::is_control), "no control characters: {text:?}");
    assert!(text.chars().count() <= MAX_TEXT, "at most {MAX_TEXT} characters: {text:?}");
}

fn loaded(metrics: &Metrics) {
    for share in [metrics.cpu_percent, metrics.memory_percent, metrics.disk_percent] {
        assert!(share.is_finite() && (0.0..=100.0).contains(&share), "a share: {metrics:?}");
    }
}

/// The id is one that the message says.
fn named(id: CommandId, message: &Value, names: &[&str]) {
    let places = [message.get("data"), Some(message)].into_iter().flatten();
    let said = places.flat_map(|place| names.iter().filter_map(|name| place.get(*name)?.as_str()));
    let ids: Vec<_> = said.filter_map(|text| text.parse::<CommandId>().ok()).collect();
    assert!(ids.contains(&id), "{id} is none of {ids:?}");
}

/// Nothing has completed that ended with another code than 0, whatever size that has.
fn ended(said: &Said, message: &Value) {
    if let Said::Finished { outcome: Outcome::Completed, exit_code, .. } = said {
        assert_eq!(exit_code.unwrap_or(0), 0, "{said:?}");
        let places = [message.get("data"), Some(message)].into_iter().flatten();
        let codes = places.flat_map(|place| [place.get("exit_code"), place.get("return_code")]);
        let told = codes.flatten().find(|code| !code.is_null()).and_then(Value::as_i64);
        assert_eq!(told.unwrap_or(0), 0, "{message}");
    }
}
