//! Agents on `WebSocket`s, and on requests where those are blocked.
//!
//! - [`Connections`] knows who is connected: the ports `Presence` and `Courier`
//! - [`AgentSocket`] takes connections: the route, the handshake, one task a connection
//! - [`older`]: agents of older products
//! - `polled`: connections that are a row of requests
//! - [`Traces`] follows commands for whoever wants to see where time goes
//! - `session`: one connection of the protocol `muster.v1`, from its hello to its end
//!
//! A connection costs a task and two small buffers; what a peer may have in flight is bounded by
//! credit for output, by a window for commands and by the size of a frame for everything else.

mod apart;
mod connections;
mod history;
mod link;
pub mod older;
mod polled;
mod scrub;
mod session;
mod streams;
mod traces;
mod translate;
mod upgrade;

pub use connections::{Connections, ConnectionsPorts};
pub use older::{OlderSocket, OlderSocketPorts, Showing, Shown};
pub use polled::PollRefusal;
pub use traces::Traces;
pub use upgrade::{AgentSocket, AgentSocketPorts, PeerAddress, Sign};
