//! What no database keeps in a text is taken out of what agents say, before anybody looks at it: one
//! that says it would spoil the writes that it shares with others.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// How JSON spells the character that PostgreSQL keeps in no text.
const NUL: &str = "\\u0000";

/// Reads a message, without NULs in its texts.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    if !text.contains(NUL) {
        return serde_json::from_str(text);
    }
    let mut value = serde_json::from_str(text)?;
    scrub(&mut value);
    serde_json::from_value(value)
}

/// Takes NULs out of all texts.
pub(crate) fn scrub(value: &mut Value) {
    match value {
        Value::String(text) => text.retain(|c| c != '\0'),
        Value::Array(values) => values.iter_mut().for_each(scrub),
        Value::Object(fields) => {
            if fields.keys().any(|name| name.contains('\0')) {
                let named = std::mem::take(fields).into_iter();
                *fields = named.map(|(name, value)| (name.replace('\0', ""), value)).collect();
            }
            fields.values_mut().for_each(scrub);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use muster_protocol::AgentMessage;

    use super::*;

    #[test]
    fn no_text_of_an_agent_has_a_nul_and_what_surrounds_it_stays() {
        let message = r#"{"type":"finished","command_id":"0198c5a0-0000-7000-8000-000000000001",
            "outcome":"failed","execution_time":1.0,"stdout_bytes":0,"stderr_bytes":0,
            "failure_code":"A\u0000B","detail":"a\u0000b \\u0000 c"}"#;
        let AgentMessage::Finished(finished) = read(message).unwrap() else { panic!("another") };
        assert_eq!(finished.failure_code.as_deref(), Some("AB"));
        assert_eq!(finished.detail.as_deref(), Some("ab \\u0000 c"));
    }

    #[test]
    fn what_is_wrong_with_a_message_is_told_without_one_too() {
        let error = read::<AgentMessage>(r#"{"type":"finished","outcome":"\u0000"}"#).unwrap_err();
        assert!(!error.to_string().contains('\0'), "{error:?}");
        let mut names: Value = serde_json::from_str(r#"{"a\u0000":1}"#).unwrap();
        scrub(&mut names);
        assert_eq!(names, serde_json::json!({ "a": 1 }));
    }
}
