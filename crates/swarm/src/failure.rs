//! What goes wrong, in few enough words to be counted.

use std::io;

use muster_protocol::OrderError;
use tokio_tungstenite::tungstenite::Error;

/// Why a machine could not enrol, could not connect or lost its connection.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server can't be reached.
    #[error("can't reach the server: {0}")]
    Unreachable(io::ErrorKind),
    /// The server answered with another status than was asked for.
    #[error("the server answered {0}")]
    Answered(u16),
    /// The server took too long.
    #[error("no answer in time")]
    TimedOut,
    /// What came is not what the protocol says.
    #[error("what the server sent can't be read")]
    Unreadable,
    /// An order that is not to be trusted.
    #[error("the server's order is not to be trusted: {0}")]
    Untrusted(OrderError),
    /// The server closed the connection.
    #[error("the server closed the connection: {code} {reason}")]
    Closed {
        /// The code of the close frame, 1005 when there was none.
        code: u16,
        /// What it says.
        reason: String,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// No frame came for a minute.
    #[error("no frame from the server for a minute")]
    Silent,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Unreachable(error.kind())
    }
}

impl From<OrderError> for Failure {
    fn from(error: OrderError) -> Self {
        Self::Untrusted(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Http(answer) => Self::Answered(answer.status().as_u16()),
            Error::Io(error) => Self::Broken(error.kind().to_string()),
            Error::ConnectionClosed | Error::AlreadyClosed => Self::Broken("closed".into()),
            Error::Protocol(error) => Self::Broken(error.to_string()),
            _ => Self::Unreadable,
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::TimedOut;
        }
        if error.is_decode() {
            return Self::Unreadable;
        }
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            if let Some(cause) = cause.downcast_ref::<io::Error>() {
                return Self::Unreachable(cause.kind());
            }
            source = cause.source();
        }
        Self::Unreachable(io::ErrorKind::Other)
    }
}
