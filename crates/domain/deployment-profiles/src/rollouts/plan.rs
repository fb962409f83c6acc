//! A profile as it was when it was applied: what machines run for each of its tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_agents::OsType;
use muster_commands::Spec;
use muster_kernel::TaskId;
use serde::{Deserialize, Serialize};

/// How a task goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A command or script: done once, and whether it was done is not known when its agent died.
    Plain,
    /// It finds out itself whether there is anything to do, so it may begin again at any time.
    Steady {
        /// Whether it is looked at once more after it was done.
        verified: bool,
    },
    /// It is done when the machine has booted again.
    Reboot {
        /// Only when a task before it changed something.
        only_if_changed: bool,
        /// How long the machine may take to come back.
        within: Duration,
    },
    /// It is done when its command succeeds.
    Wait {
        /// How long after one try the next one begins.
        interval: Duration,
        /// How long it is tried.
        within: Duration,
    },
}

/// What machines of one family run for a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parts {
    /// What finds out whether there is anything to do.
    pub check: Option<Spec>,
    /// Whether the check succeeds when there *is* something to do.
    pub inverted: bool,
    /// Whether the check is a text of Muster's own, which says no by the exit code 1 alone: any other
    /// one means that it could not tell.
    pub exact: bool,
    /// What does it.
    pub work: Spec,
}

/// A task as it was when its profile was applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrozenTask {
    /// The task.
    pub id: TaskId,
    /// What it was called.
    pub name: String,
    /// What kind of task it was, as the API says it.
    pub action_type: String,
    /// How it goes.
    pub shape: Shape,
    /// Whether the next task is done although this one failed.
    pub continue_on_error: bool,
    /// What machines run for it.
    pub parts: BTreeMap<OsType, Parts>,
}

impl FrozenTask {
    /// What machines of a family run for it; every family that was meant has its own.
    pub fn of(&self, family: OsType) -> Option<&Parts> {
        self.parts.get(&family)
    }

    /// Whether it can be told of a machine of this family, without changing it, if there is anything
    /// to do.
    pub fn can_be_looked_at(&self, family: OsType) -> bool {
        self.of(family).is_some_and(|parts| parts.check.is_some())
    }
}
