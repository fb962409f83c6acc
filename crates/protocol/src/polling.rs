//! The same protocol where no WebSocket gets through: a connection is a row of requests.
//!
//! The first request of a connection brings the `hello` and is answered with the `welcome`. Each
//! side counts the messages of the other; whoever finds a number that is not its own knows that
//! something was lost or came twice, and the connection is over, as a broken WebSocket is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::{AgentMessage, MAX_CHUNK_BYTES, ServerMessage, StreamFrame, StreamKind};

/// The largest body of a request or an answer, in bytes.
pub const MAX_POLL_BYTES: usize = 1024 * 1024;
/// The longest that an answer is held back until there is something to say, in seconds.
pub const MAX_WAIT_SECONDS: u64 = 25;

/// What an agent sends to `POST /agent/heartbeat`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PollRequest {
    /// Which connection; absent in the request that brings the `hello`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<Uuid>,
    /// How many messages this connection brought before these.
    #[serde(default)]
    pub sent: u64,
    /// What the agent says.
    #[schemars(with = "Vec<PolledSchema<AgentMessage>>")]
    pub messages: Vec<Polled<AgentMessage>>,
    /// How many messages of the server came on this connection so far.
    #[serde(default)]
    pub received: u64,
    /// Seconds that the answer may be held back until there is something to say, at most 25. When
    /// it is absent the answer comes at once and brings nothing: another request collects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u64>,
    /// Ends the connection when what it brings was taken in.
    #[serde(default)]
    pub close: bool,
}

/// What the server answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PollAnswer {
    /// Which connection.
    pub connection_id: Uuid,
    /// What the server says.
    #[schemars(with = "Vec<PolledSchema<ServerMessage>>")]
    pub messages: Vec<Polled<ServerMessage>>,
}

/// A text frame or a binary frame of the WebSocket, within JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum Polled<M> {
    /// A message.
    Message(M),
    /// Bytes of a stream.
    Frame(StreamFrame),
}

/// Bytes of a stream as JSON has them.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Text {
    /// What a command wrote.
    Output {
        /// To which of its streams.
        kind: OutputKind,
        /// Which stream of the connection.
        stream_id: u32,
        /// Where the first byte stands.
        offset: u64,
        /// At most 64 KiB, base64.
        data: String,
    },
    /// The text of a script, before its `execute`.
    File {
        /// Which stream of the connection.
        stream_id: u32,
        /// Where the first byte stands.
        offset: u64,
        /// At most 64 KiB, base64.
        data: String,
    },
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OutputKind {
    Stdout,
    Stderr,
}

/// A message, or bytes of a stream.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is there for its schema")]
enum PolledSchema<M> {
    Message(M),
    Frame(Text),
}

impl Text {
    fn of(frame: &StreamFrame) -> Self {
        let StreamFrame { stream_id, offset, .. } = *frame;
        let data = STANDARD.encode(&frame.bytes);
        let output = |kind, data| Self::Output { kind, stream_id, offset, data };
        match frame.kind {
            StreamKind::Stdout => output(OutputKind::Stdout, data),
            StreamKind::Stderr => output(OutputKind::Stderr, data),
            StreamKind::File => Self::File { stream_id, offset, data },
        }
    }

    fn frame(self) -> Result<StreamFrame, &'static str> {
        let (kind, stream_id, offset, data) = match self {
            Self::Output { kind: OutputKind::Stdout, stream_id, offset, data } => {
                (StreamKind::Stdout, stream_id, offset, data)
            }
            Self::Output { kind: OutputKind::Stderr, stream_id, offset, data } => {
                (StreamKind::Stderr, stream_id, offset, data)
            }
            Self::File { stream_id, offset, data } => (StreamKind::File, stream_id, offset, data),
        };
        let bytes = STANDARD.decode(data).map_err(|_| "the data is not base64")?;
        if bytes.len() > MAX_CHUNK_BYTES {
            return Err("a piece of a stream has at most 65536 bytes");
        }
        Ok(StreamFrame { kind, stream_id, offset, bytes: Bytes::from(bytes) })
    }
}

impl<M: Serialize> Serialize for Polled<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Message(message) => message.serialize(serializer),
            Self::Frame(frame) => Text::of(frame).serialize(serializer),
        }
    }
}

impl<'de, M: DeserializeOwned> Deserialize<'de> for Polled<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let kind = value.get("type").and_then(Value::as_str);
        if matches!(kind, Some("output" | "file")) {
            let text: Text = serde_json::from_value(value).map_err(D::Error::custom)?;
            return text.frame().map(Self::Frame).map_err(D::Error::custom);
        }
        serde_json::from_value(value).map(Self::Message).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const KINDS: [StreamKind; 3] = [StreamKind::Stdout, StreamKind::Stderr, StreamKind::File];

    proptest! {
        #[test]
        fn bytes_of_a_stream_read_back_from_json_as_they_were_written(
            kind in prop::sample::select(KINDS.as_slice()), stream_id: u32, offset: u64,
            bytes in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let frame = StreamFrame { kind, stream_id, offset, bytes: bytes.into() };
            let polled = Polled::<AgentMessage>::Frame(frame);
            let text = serde_json::to_string(&polled).unwrap();
            prop_assert_eq!(serde_json::from_str::<Polled<AgentMessage>>(&text).unwrap(), polled);
        }
    }

    #[test]
    fn messages_are_those_of_the_websocket() {
        let text = r#"{"messages":[{"type":"system_info_request"},{"type":"dance"}],
            "connection_id":"0190163d-8694-739b-aea5-966c26f8ad91"}"#;
        let answer: PollAnswer = serde_json::from_str(text).unwrap();
        let expected = [ServerMessage::SystemInfoRequest, ServerMessage::Unknown];
        assert_eq!(answer.messages, expected.map(Polled::Message));
    }

    #[test]
    fn a_broken_piece_of_a_stream_is_an_error_and_no_unknown_message() {
        let piece = |data: String| json!({ "type": "output", "kind": "stdout", "stream_id": 1, "offset": 0, "data": data });
        let read = serde_json::from_value::<Polled<AgentMessage>>;
        assert!(read(piece("aGk=".into())).is_ok());
        assert!(read(piece("not base64".into())).is_err());
        assert!(read(piece(STANDARD.encode(vec![0; MAX_CHUNK_BYTES + 1]))).is_err());
        assert!(read(json!({ "type": "output" })).is_err());
    }
}
