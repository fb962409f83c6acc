//! Thousands of simulated agents in one process: the real protocol without the programs.
//!
//! - [`Endpoint`] is the way to the server, from one or several addresses of this machine
//! - [`Identity`] is who a machine is; [`enrol()`] gets it, [`State`] keeps it for a later run
//! - [`Swarm`] is the machines, each with the journal that an agent keeps, doing what a
//!   [`Behaviour`] says
//! - [`Record`] is what they did: what was started, how often, and whether its result arrived
//! - [`Figures`] is how long it took
//!
//! A machine costs one task, one timer of the runtime's wheel and some KiB of buffers. Frames that
//! it has to send at the same time go out in one write. The text of a script is taken in and not
//! looked at; nothing is ever run.
//!
//! To have machines do something new: a field of [`Behaviour`], an option in `options.rs`, and what
//! it means in `machine.rs`.
#![deny(missing_docs)]

mod behaviour;
mod endpoint;
mod enrol;
mod failure;
mod figures;
mod journal;
mod link;
mod machine;
mod record;
mod state;
mod swarm;
mod times;

pub use behaviour::{Behaviour, Pace, Reconnect};
pub use endpoint::Endpoint;
pub use enrol::{Identity, Names, enrol};
pub use failure::Failure;
pub use figures::{Figures, Latency, Summary};
pub use record::Record;
pub use state::State;
pub use swarm::Swarm;
