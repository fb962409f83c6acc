//! Agents of older products over `WebSocket`s: one small codec each, in front of one session.
//!
//! To add a product: write its [`Codec`], give its [`Dialect`] a name, and mount its path in
//! `upgrade`.

mod dexagents;
mod heard;
mod live;
mod remote_agent_manager;
mod session;
mod upgrade;

use std::fmt::Debug;

use muster_commands::PlainCommand;
use muster_kernel::{ConnectionId, Dialect, Timestamp};
use serde_json::Value;

pub use dexagents::DexAgents;
pub use heard::{Heard, Introduction, Unreadable};
pub use remote_agent_manager::RemoteAgentManager;
pub use upgrade::{OlderSocket, OlderSocketPorts, Refusal, Showing, Shown};

/// The words of an older product's agents.
pub trait Codec: Debug + Sync {
    /// What it is the codec of.
    fn dialect(&self) -> Dialect;

    /// What a message of an agent says.
    ///
    /// # Errors
    /// [`Unreadable`] when it makes no sense; one of a type that is not known is
    /// [`Heard::Nothing`].
    fn read(&self, message: &Value) -> Result<Heard, Unreadable>;

    /// The answer to an agent that has introduced itself under this name.
    fn welcome(&self, name: &str, connection: ConnectionId) -> Option<Value>;

    /// Tells it to run something.
    fn command(&self, command: &PlainCommand) -> Value;

    /// The answer to a heartbeat.
    fn heartbeat_ack(&self, now: Timestamp) -> Option<Value>;

    /// Asks what kind of machine it is.
    fn system_info_request(&self, now: Timestamp) -> Option<Value>;

    /// Asks for a sign of life, where the agent does not go by the protocol's own.
    fn ping(&self, now: Timestamp) -> Option<Value>;
}

#[cfg(test)]
mod tests;
