//! One connection of a machine, from its hello on.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{SinkExt, StreamExt};
use muster_protocol::{
    AgentMessage, Hello, Instruction, ServerMessage, Settings, Signed, StreamFrame, StreamKind,
    Verifier, Welcome,
};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::endpoint::Socket;
use crate::{Failure, Figures};

/// A connection whose welcome came.
pub(crate) struct Link {
    socket: Socket,
    verifier: Verifier,
    /// How far the server's clock is ahead of this machine's.
    skew: TimeDelta,
    pub(crate) settings: Settings,
}

/// What came from the server.
pub(crate) enum Incoming {
    Message(ServerMessage),
    /// Bytes of a script or a sign of life: nothing to do.
    Alive,
}

impl Link {
    /// Says hello and waits for the welcome.
    pub(crate) async fn open(
        mut socket: Socket,
        mut verifier: Verifier,
        hello: Hello,
        figures: &Figures,
    ) -> Result<(Self, Welcome), Failure> {
        say(&mut socket, &AgentMessage::Hello(Box::new(hello)), figures).await?;
        socket.flush().await?;
        loop {
            let Incoming::Message(ServerMessage::Signed(signed)) =
                read(socket.next().await, figures)?
            else {
                continue;
            };
            let Instruction::Welcome(welcome) = verifier.verify(&signed, None)? else {
                return Err(Failure::Unreadable);
            };
            let skew = welcome.server_time - machine_time();
            let settings = welcome.settings;
            return Ok((Self { socket, verifier, skew, settings }, welcome));
        }
    }

    /// What comes next; nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self, figures: &Figures) -> Result<Incoming, Failure> {
        let message = self.socket.next().await;
        read(message, figures)
    }

    /// The instruction in a signed message.
    pub(crate) fn verified(&mut self, signed: &Signed) -> Result<Instruction, Failure> {
        let now = self.now();
        Ok(self.verifier.verify(signed, Some(now))?)
    }

    /// The server's time.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        machine_time() + self.skew
    }

    /// Has a message ready for the next flush.
    pub(crate) async fn say(
        &mut self,
        message: &AgentMessage,
        figures: &Figures,
    ) -> Result<(), Failure> {
        say(&mut self.socket, message, figures).await
    }

    /// Has output ready for the next flush.
    pub(crate) async fn write(
        &mut self,
        frame: &StreamFrame,
        figures: &Figures,
    ) -> Result<(), Failure> {
        let bytes = frame.encode();
        figures.sent(bytes.len());
        Ok(self.socket.feed(Message::Binary(bytes)).await?)
    }

    /// Has a ping ready for the next flush.
    pub(crate) async fn ping(&mut self) -> Result<(), Failure> {
        Ok(self.socket.feed(Message::Ping(Bytes::new())).await?)
    }

    /// Sends what is ready.
    pub(crate) async fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.socket.flush().await?)
    }

    /// Tells the server that the machine goes.
    pub(crate) async fn close(&mut self) {
        let _ = self.socket.close(None).await;
    }
}

async fn say(
    socket: &mut Socket,
    message: &AgentMessage,
    figures: &Figures,
) -> Result<(), Failure> {
    let text = serde_json::to_string(message).map_err(|_| Failure::Unreadable)?;
    figures.sent(text.len());
    Ok(socket.feed(Message::text(text)).await?)
}

fn read(
    message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    figures: &Figures,
) -> Result<Incoming, Failure> {
    let Some(message) = message else { return Err(Failure::Broken("closed".into())) };
    match message? {
        Message::Text(text) => {
            figures.received(text.len());
            let message = serde_json::from_str(&text).map_err(|_| Failure::Unreadable)?;
            Ok(Incoming::Message(message))
        }
        Message::Binary(bytes) => {
            figures.received(bytes.len());
            match StreamFrame::decode(bytes) {
                Ok(frame) if frame.kind == StreamKind::File => Ok(Incoming::Alive),
                _ => Err(Failure::Unreadable),
            }
        }
        Message::Close(reason) => Err(reason.map_or(
            Failure::Closed { code: CloseCode::Status.into(), reason: String::new() },
            |frame| Failure::Closed { code: frame.code.into(), reason: frame.reason.to_string() },
        )),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(Incoming::Alive),
    }
}

#[expect(clippy::disallowed_methods, reason = "a simulated machine has the clock of this one")]
pub(crate) fn machine_time() -> DateTime<Utc> {
    Utc::now()
}
