//! One order to many machines.
//!
//! A [`Run`] is one request: which machines ([`Target`]), what ([`Work`]), how carefully
//! ([`Strategy`]). It is durable with all its commands before anybody is answered; commands that
//! may not begin yet are held back. What comes next is decided by [`next_step`] alone, from the
//! strategy and how far the machines are; [`Runs::drive`] does it. [`Boards`] know how far they
//! are, in memory, and tell listeners; of several nodes one holds them, and the others tell it what
//! happens by a [`RunRelay`].

mod approve;
mod begin;
mod board;
mod compose;
mod driver;
mod elsewhere;
mod keep;
mod launch;
mod ports;
mod progress;
mod run;
mod usecase;
mod wish;
mod workshop;

pub use board::Boards;
pub use compose::Plan;
pub use launch::{Absentees, Launcher, ToldZones};
pub use ports::{Begun, Member, RunChange, RunFilter, RunRelay, RunRepository};
pub use progress::{Step, next_step};
pub(crate) use run::summary;
pub use run::{Run, RunStatus, StopReason, Tally};
pub use usecase::{OwnWords, Runs, RunsError, RunsPorts, Started, Wish};
pub use wish::{ParameterValue, Parameters, Strategy, Template, Wording, Work};
pub use workshop::{Prepared, Secrets, Specs, Workshop};

pub use muster_agents::Target;
