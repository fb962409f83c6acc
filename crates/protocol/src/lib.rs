//! The agent protocol `muster.v1`: one WebSocket per agent, opened by the agent.
//!
//! Text frames are JSON objects with a `type` ([`AgentMessage`] one way, [`ServerMessage`] the
//! other); binary frames are stream data ([`StreamFrame`]). What makes an agent do something
//! travels as an [`Order`], signed by the server's key that the agent pinned when it enrolled.
//!
//! Where no WebSocket gets through the same frames travel in HTTP requests ([`PollRequest`]).
//!
//! To add a message: add its variant and its struct, give it a test that reads an example, and
//! run `make openapi`, which writes its schema into `openapi/asyncapi.json`. A peer that does not
//! know the new type ignores it; a new field needs a default.
#![deny(missing_docs)]

mod asyncapi;
mod frame;
mod messages;
mod order;
mod polling;
mod separate;

pub use asyncapi::asyncapi;
pub use frame::{FrameError, StreamFrame, StreamKind};
pub use messages::{
    Accepted, AgentMessage, CommandProgress, Credit, ErrorMessage, Finished, FinishedAck,
    Heartbeat, HeartbeatAck, Hello, JournalEntry, Metrics, NetworkInterface, Outcome,
    ServerMessage, Started, SystemInfo,
};
pub use order::{
    Cancel, Execute, Instruction, Order, OrderError, ResumePoint, ScriptText, Settings, ShellType,
    Signed, Verifier, Welcome, key_id,
};
pub use polling::{MAX_POLL_BYTES, MAX_WAIT_SECONDS, PollAnswer, PollRequest, Polled};
pub use separate::Separate;

/// The WebSocket subprotocol that both sides must name.
pub const SUBPROTOCOL: &str = "muster.v1";
/// The largest frame either side may send, in bytes.
pub const MAX_FRAME_BYTES: usize = 256 * 1024;
/// The most stream bytes that one binary frame carries.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024;
/// The longest text of a script, in bytes.
pub const MAX_SCRIPT_BYTES: usize = 1024 * 1024;
/// A peer that sent no frame for this many seconds is dead.
pub const DEAD_AFTER_SECONDS: u64 = 60;
/// Either side pings when it has not sent a frame for this many seconds.
pub const PING_EVERY_SECONDS: u64 = 30;
/// How many commands the server lets one agent have unfinished at a time, which bounds the
/// agent's journal and with it the `hello`.
pub const MAX_UNFINISHED_COMMANDS: usize = 64;
