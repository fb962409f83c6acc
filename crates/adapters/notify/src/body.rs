//! What messages look like.

use std::fmt::Write;

use muster_alerts::{ChatFlavour, Delivery, Severity};
use serde_json::{Value, json};

/// What a webhook gets.
pub(crate) fn webhook(delivery: &Delivery) -> Value {
    let message = &delivery.message;
    json!({
        "id": delivery.id,
        "event": message.event,
        "at": message.at,
        "severity": message.severity,
        "title": message.title,
        "alert": message.alert,
    })
}

/// What a chat gets.
pub(crate) fn chat(flavour: ChatFlavour, delivery: &Delivery) -> Value {
    let text = line(delivery);
    match flavour {
        // Names of machines may hold what these read as markup.
        ChatFlavour::Slack => json!({ "text": slack(&text) }),
        ChatFlavour::Mattermost => json!({ "text": plain_markdown(&text) }),
        ChatFlavour::Discord => json!({
            "content": plain_markdown(&text),
            "allowed_mentions": { "parse": [] },
        }),
        ChatFlavour::Teams => json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [{
                        "type": "TextBlock",
                        "text": plain_markdown(&text),
                        "wrap": true,
                    }],
                },
            }],
        }),
    }
}

/// The subject of an e-mail.
pub(crate) fn subject(delivery: &Delivery) -> String {
    line(delivery).chars().filter(|c| !c.is_control()).take(200).collect()
}

/// The text of an e-mail.
pub(crate) fn text(delivery: &Delivery) -> String {
    let message = &delivery.message;
    let mut text = format!("{}\n\n{}\n", line(delivery), message.at.to_rfc3339());
    if let Some(alert) = &message.alert {
        let alert = serde_json::to_string_pretty(alert).unwrap_or_default();
        let _ = write!(text, "\n{alert}\n");
    }
    text
}

/// How bad it is and what happened, in a line.
fn line(delivery: &Delivery) -> String {
    let message = &delivery.message;
    let state = match message.event.as_str() {
        "alert.resolved" => "resolved",
        "alert.acknowledged" => "acknowledged",
        "test" => "test",
        _ => match message.severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        },
    };
    format!("[{state}] {}", message.title)
}

fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn plain_markdown(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\`*_~|#<>@[]()!".contains(c) {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}

#[cfg(test)]
mod tests {
    use muster_alerts::testing::delivery;

    use super::*;

    #[test]
    fn the_name_of_a_machine_writes_no_markup_into_a_chat() {
        let mut delivery = delivery(1);
        delivery.message.title = "<!channel> [x](http://evil) @everyone".into();
        let slack = chat(ChatFlavour::Slack, &delivery).to_string();
        assert!(slack.contains("&lt;!channel&gt;"), "{slack}");
        for flavour in [ChatFlavour::Mattermost, ChatFlavour::Discord, ChatFlavour::Teams] {
            let body = chat(flavour, &delivery).to_string();
            assert!(!body.contains("[x](http") && !body.contains(" @everyone"), "{body}");
        }
        delivery.message.title = "a\r\nBcc: z@example.org".into();
        assert!(!subject(&delivery).contains('\n'));
    }
}
