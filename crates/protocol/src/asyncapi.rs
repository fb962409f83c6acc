//! The AsyncAPI 3 document of the protocol, made from the message types themselves.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::{AgentMessage, Order, PollAnswer, PollRequest, SUBPROTOCOL, ServerMessage};

/// The document that `openapi/asyncapi.json` holds.
pub fn asyncapi() -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    let from_agent = generator.subschema_for::<AgentMessage>();
    let from_server = generator.subschema_for::<ServerMessage>();
    let order = generator.subschema_for::<Order>();
    let (poll, answer) =
        (generator.subschema_for::<PollRequest>(), generator.subschema_for::<PollAnswer>());
    let schemas = generator.take_definitions(true);
    let text = "application/json";
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Muster agent protocol",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "One WebSocket per agent, opened by the agent, with the subprotocol \
                `muster.v1`. Text frames are the messages below. Binary frames are stream data: \
                `u8 kind, u32 stream_id, u64 offset` in big endian, then at most 64 KiB; kind 1 is \
                standard output, kind 2 standard error, both from the agent; kind 5 is a file for the \
                agent: the text of a script, from offset 0 on and in order, before the `execute` \
                on the same stream that names its length and SHA-256. A frame of more than 256 KiB closes the \
                connection with 1009, a malformed one with 1007.",
        },
        "channels": {
            "agent": {
                "address": "/api/v1/ws/agent",
                "bindings": { "ws": { "method": "GET", "headers": {
                    "type": "object",
                    "properties": { "Sec-WebSocket-Protocol": { "const": SUBPROTOCOL } },
                }}},
                "messages": {
                    "fromAgent": { "contentType": text, "payload": from_agent },
                    "fromServer": { "contentType": text, "payload": from_server },
                    "order": {
                        "contentType": text,
                        "description": "The JSON text in the `payload` of a `signed` message.",
                        "payload": order,
                    },
                },
            },
            "polling": {
                "address": "/api/v1/agent/heartbeat",
                "description": "Where WebSockets are blocked: the same frames in the bodies of \
                    POST requests and their answers, binary ones as `output` and `file` with \
                    their bytes in base64.",
                "bindings": { "http": {} },
                "messages": {
                    "request": { "contentType": text, "payload": poll },
                    "answer": { "contentType": text, "payload": answer },
                },
            },
        },
        "operations": {
            "poll": {
                "action": "receive",
                "channel": { "$ref": "#/channels/polling" },
                "messages": [{ "$ref": "#/channels/polling/messages/request" }],
                "reply": {
                    "channel": { "$ref": "#/channels/polling" },
                    "messages": [{ "$ref": "#/channels/polling/messages/answer" }],
                },
            },
            "receiveFromAgent": {
                "action": "receive",
                "channel": { "$ref": "#/channels/agent" },
                "messages": [{ "$ref": "#/channels/agent/messages/fromAgent" }],
            },
            "sendToAgent": {
                "action": "send",
                "channel": { "$ref": "#/channels/agent" },
                "messages": [
                    { "$ref": "#/channels/agent/messages/fromServer" },
                    { "$ref": "#/channels/agent/messages/order" },
                ],
            },
        },
        "components": { "schemas": schemas },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_that_the_document_refers_to_is_in_it() {
        let document = asyncapi();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer} is missing");
        }
        assert!(text.contains("finished_ack") && text.contains("working_directory"));
    }
}
