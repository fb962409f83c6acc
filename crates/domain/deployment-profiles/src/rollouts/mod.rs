//! A profile on its way to machines.
//!
//! [`Rollouts::apply`] freezes a profile ([`Freezer`]): what machines of each family run for each
//! task stands in the [`Rollout`], and no later change touches it. Each machine is a [`Device`], a
//! state machine that decides by itself what follows from what happened ([`Device::take`]). What it
//! decides is written together with the command that follows from it, so a task is neither lost nor
//! done twice. [`Driver`] brings it all on, with no memory but the database's: any process goes on
//! where another one was killed. Who begins when is decided as in runs, by their strategy.

mod device;
mod driver;
mod error;
mod freeze;
mod plan;
mod ports;
mod rollout;
mod scribe;
mod step;
mod telling;
mod usecase;
mod verdict;
mod walk;

pub use device::{
    Course, Device, DeviceStatus, Follows, Happening, Order, Part, SkipReason, Stage, TaskOutcome,
    TaskResult,
};
pub use driver::Driver;
pub use error::RolloutsError;
pub use freeze::{FreezeError, Freezer, Frozen};
pub use plan::{FrozenTask, Parts, Shape};
pub use ports::{
    Advance, Advanced, DeviceFilter, RolloutBegun, RolloutChange, RolloutFilter, RolloutRepository,
};
pub use rollout::{Rollout, RolloutStatus, RolloutTally, Submission};
pub use usecase::{Application, Rollouts, RolloutsPorts};
pub use verdict::{DeviceFailure, Verdict};
