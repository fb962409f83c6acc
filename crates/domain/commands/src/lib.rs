//! Commands on machines and what becomes of them.
//!
//! A [`Command`] is one execution on one agent. What happens to it is an [`Event`]; what follows
//! from that is decided by [`Command::apply`] and nowhere else. The [`CommandLedger`] makes events
//! durable, in order, many to a commit; the [`CommandArchive`] answers questions; the [`Courier`]
//! carries commands to connected agents; the [`CommandFeed`] tells listeners what was committed.
//!
//! [`Commands`] is what people do with commands, [`AgentChannel`] what an agent's connection does,
//! [`Payloads`] what it hands over beside the command, [`Leases`] what agents do that keep no
//! journal, and [`PlainCommand`] what they are told, [`Lookout`] what other nodes left to this one, [`Sweep`] what time does, [`Compression`] and [`Retention`] what age does. [`runs`] are
//! one order to many machines, [`schedules`] come due by themselves, what is kept to be run again is
//! in the [`library`], and dangerous requests that wait for a second person are [`approvals`].
//! [`local`] is about the server's own machine, which has no agent.
//!
//! To add something that can happen to a command: give it an [`Event`], decide about it in
//! `apply`, and let the property tests there tell whether that holds.
#![deny(missing_docs)]

pub mod approvals;
mod channel;
mod command;
mod compression;
mod event;
mod leases;
pub mod library;
pub mod local;
mod lookout;
mod payload;
mod plain;
mod ports;
mod reach;
mod reconcile;
mod retention;
pub mod runs;
mod safety;
pub mod schedules;
mod spec;
mod sweep;
#[cfg(feature = "testing")]
pub mod testing;
mod through;
mod usecase;

pub use channel::{AgentChannel, Opening};
pub use command::{
    Command, End, Failure, Outcome, OutputBytes, OutputStream, Requester, State, Status,
};
pub use compression::Compression;
pub use event::{Append, Event, INTERRUPTED, Report};
pub use leases::{Handout, LeaseError, Leased, Leases, RESULT_PATIENCE, Said, exit_code};
pub use library::ScriptTexts;
pub use lookout::Lookout;
pub use payload::{MAX_SCRIPT_BYTES, Payload, PayloadError, Payloads};
pub use plain::{PlainCommand, PlainShell, UNSUPPORTED, Unsayable};
pub use ports::{
    CommandArchive, CommandFeed, CommandFilter, CommandLedger, CommandRetention, Courier,
    DangerPolicies, Due, Effect, Entry, Heard, Notice, Once, OutputChunk, OutputCompression,
    Recorded, Recording, Submitted, Subscription, Waiting,
};
pub use reach::reachable;
pub use reconcile::{Closing, Progress, Step, reconcile};
pub use retention::Retention;
pub use safety::{Assessment, SafetyLevel, assess};
pub use spec::{
    InvalidSpec, Limits, MAX_COMMAND_BYTES, MAX_SPEC_BYTES, ScriptRef, ShellType, Spec, SpecRequest,
};
pub use sweep::Sweep;
pub use usecase::{
    Accepted, Commands, CommandsError, CommandsPorts, DEFAULT_EXPIRES_IN, Given, Request, Waited,
    expiry, shell_of,
};
