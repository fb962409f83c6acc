//! How frames come and go: over a WebSocket, or in requests where none gets through.

mod polled;
mod socket;

use std::time::Duration;

use muster_protocol::{AgentMessage, Hello, Polled, ServerMessage, StreamFrame};
use reqwest::Url;
use rustls::ClientConfig;

use crate::identity::Identity;
use polled::Requests;
use socket::Socket;

/// How long the server may take to hear that the agent goes.
const FAREWELL: Duration = Duration::from_secs(2);

/// The way that frames go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Way {
    /// A WebSocket: one connection, nothing is asked twice.
    #[default]
    Websocket,
    /// Requests, for networks that let no WebSocket through.
    Http,
}

/// What came from the server.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A message.
    Message(ServerMessage),
    /// Bytes of a stream.
    Frame(StreamFrame),
    /// A sign of life.
    Alive,
}

/// The way to the server and back.
pub(crate) enum Transport {
    Socket(Box<Socket>),
    Requests(Requests),
}

impl Transport {
    /// Reaches the server and says hello.
    ///
    /// # Errors
    /// When the server can't be reached or does not let the agent in.
    pub(crate) async fn open(
        way: Way,
        server: &Url,
        identity: &Identity,
        tls: &ClientConfig,
        hello: Hello,
    ) -> anyhow::Result<Self> {
        match way {
            Way::Websocket => {
                let mut socket = Socket::open(server, identity, tls).await?;
                socket.say(&AgentMessage::Hello(Box::new(hello))).await?;
                Ok(Self::Socket(Box::new(socket)))
            }
            Way::Http => Ok(Self::Requests(Requests::open(server, identity, tls, hello).await?)),
        }
    }

    /// What comes next; nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// When the connection is over; the error says why.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Incoming> {
        match self {
            Self::Socket(socket) => socket.next().await,
            Self::Requests(requests) => requests.next().await,
        }
    }

    /// Says something.
    ///
    /// # Errors
    /// When the connection is over.
    pub(crate) async fn say(&mut self, message: AgentMessage) -> anyhow::Result<()> {
        match self {
            Self::Socket(socket) => socket.say(&message).await,
            Self::Requests(requests) => requests.send(Polled::Message(message)).await,
        }
    }

    /// Sends bytes of a stream.
    ///
    /// # Errors
    /// When the connection is over.
    pub(crate) async fn write(&mut self, frame: StreamFrame) -> anyhow::Result<()> {
        match self {
            Self::Socket(socket) => socket.write(&frame).await,
            Self::Requests(requests) => requests.send(Polled::Frame(frame)).await,
        }
    }

    /// Asks for a sign of life; the answer to every request is one.
    ///
    /// # Errors
    /// When the connection is over.
    pub(crate) async fn ping(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Socket(socket) => socket.ping().await,
            Self::Requests(_) => Ok(()),
        }
    }

    /// Tells the server that the agent goes.
    pub(crate) async fn close(&mut self) {
        match self {
            Self::Socket(socket) => socket.close().await,
            Self::Requests(requests) => requests.close().await,
        }
    }
}

/// The address of `path` beneath the API of `server`.
fn address(server: &Url, path: &str) -> String {
    format!("{}/api/v1{path}", server.as_str().trim_end_matches('/'))
}
