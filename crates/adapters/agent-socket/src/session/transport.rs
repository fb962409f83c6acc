//! How frames come and go: over a WebSocket, or in requests.

use std::time::Duration;

use actix_ws::{AggregatedMessage, AggregatedMessageStream, ProtocolError};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::LocalBoxStream;
use muster_protocol::{AgentMessage, DEAD_AFTER_SECONDS, Polled, ServerMessage, StreamFrame};
use tokio::sync::mpsc;

use super::End;
use crate::scrub;

/// How long a peer may take to make room for a frame.
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// The same where it has to come for it.
const FETCH_PATIENCE: Duration = Duration::from_secs(DEAD_AFTER_SECONDS);

/// What came from the agent.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A message.
    Message(AgentMessage),
    /// Bytes of a stream.
    Frame(StreamFrame),
    /// Asks for a sign of life.
    Ping(Bytes),
    /// A sign of life.
    Alive,
}

/// What comes from the agent, until it breaks off.
pub(crate) type Arrivals = LocalBoxStream<'static, Result<Incoming, End>>;

impl From<Polled<AgentMessage>> for Incoming {
    fn from(polled: Polled<AgentMessage>) -> Self {
        match polled {
            Polled::Message(message) => Self::Message(message),
            Polled::Frame(frame) => Self::Frame(frame),
        }
    }
}

/// What comes over a WebSocket.
pub(crate) fn arrivals(socket: AggregatedMessageStream) -> Arrivals {
    socket.map(|message| read(message.map_err(|error| End::of(&error))?)).boxed_local()
}

/// What comes in requests.
pub(crate) fn letters(mut requests: mpsc::Receiver<Result<Incoming, End>>) -> Arrivals {
    futures_util::stream::poll_fn(move |context| requests.poll_recv(context)).boxed_local()
}

fn read(message: AggregatedMessage) -> Result<Incoming, End> {
    match message {
        AggregatedMessage::Text(text) => match scrub::read(&text) {
            Ok(message) => Ok(Incoming::Message(message)),
            Err(error) => Err(End::Malformed(error.to_string())),
        },
        AggregatedMessage::Binary(bytes) => match StreamFrame::decode(bytes) {
            Ok(frame) => Ok(Incoming::Frame(frame)),
            Err(error) => Err(End::Malformed(error.to_string())),
        },
        AggregatedMessage::Ping(payload) => Ok(Incoming::Ping(payload)),
        AggregatedMessage::Pong(_) => Ok(Incoming::Alive),
        AggregatedMessage::Close(_) => Err(End::Closed),
    }
}

impl End {
    pub(crate) fn of(error: &ProtocolError) -> Self {
        match error {
            ProtocolError::Overflow => Self::TooLarge,
            ProtocolError::Io(_) => Self::Gone,
            other => Self::Malformed(other.to_string()),
        }
    }
}

/// The way to the agent.
#[derive(Clone)]
pub(crate) enum Outgoing {
    /// A WebSocket.
    Socket(actix_ws::Session),
    /// What its requests collect.
    Polled(mpsc::Sender<Polled<ServerMessage>>),
}

impl Outgoing {
    pub(crate) async fn say(&mut self, message: &ServerMessage) -> Result<(), End> {
        match self {
            Self::Socket(socket) => {
                let Ok(text) = serde_json::to_string(message) else {
                    return Err(End::Violation("a message could not be written"));
                };
                within(SEND_PATIENCE, socket.text(text)).await
            }
            Self::Polled(letters) => {
                within(FETCH_PATIENCE, letters.send(Polled::Message(message.clone()))).await
            }
        }
    }

    pub(crate) async fn write(&mut self, frame: StreamFrame) -> Result<(), End> {
        match self {
            Self::Socket(socket) => within(SEND_PATIENCE, socket.binary(frame.encode())).await,
            Self::Polled(letters) => {
                within(FETCH_PATIENCE, letters.send(Polled::Frame(frame))).await
            }
        }
    }

    /// Asks for a sign of life; whoever polls gives one with every request.
    pub(crate) async fn ping(&mut self) -> Result<(), End> {
        match self {
            Self::Socket(socket) => within(SEND_PATIENCE, socket.ping(b"")).await,
            Self::Polled(_) => Ok(()),
        }
    }

    pub(crate) async fn pong(&mut self, payload: &Bytes) -> Result<(), End> {
        match self {
            Self::Socket(socket) => within(SEND_PATIENCE, socket.pong(payload)).await,
            Self::Polled(_) => Ok(()),
        }
    }

    /// Ends it, and says why if the peer can still be told anything.
    pub(crate) async fn close(self, end: &End) {
        if let (Self::Socket(socket), Some(reason)) = (self, end.close_reason()) {
            let _ = tokio::time::timeout(SEND_PATIENCE, socket.close(Some(reason))).await;
        }
    }
}

/// A peer that takes nothing for too long is as good as gone.
async fn within<E>(
    patience: Duration,
    sending: impl Future<Output = Result<(), E>>,
) -> Result<(), End> {
    match tokio::time::timeout(patience, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}
