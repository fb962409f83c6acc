//! Which machines are meant.

use std::collections::BTreeSet;

use muster_kernel::{AgentId, CustomerId};
use serde::{Deserialize, Serialize};

use crate::{InvalidAlert, Machine};

/// How many machines may be named one by one.
const MAX_IDS: usize = 1000;
/// How many tags may be named.
const MAX_TAGS: usize = 64;
/// The families of operating systems.
const OS_TYPES: [&str; 4] = ["linux", "windows", "macos", "other"];

/// Which machines are meant: those that everything which is given applies to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selector {
    /// These; all when there is none.
    pub agent_ids: BTreeSet<AgentId>,
    /// Those with all of these tags.
    pub tags: BTreeSet<String>,
    /// Those with this family of operating systems: `linux`, `windows`, `macos` or `other`.
    pub os_type: Option<String>,
}

impl Selector {
    /// Checks what came in.
    ///
    /// # Errors
    /// [`InvalidAlert`] names the field and what is expected there.
    pub fn check(&self) -> Result<(), InvalidAlert> {
        if self.agent_ids.len() > MAX_IDS {
            return Err(InvalidAlert::new("agent_ids", "at most 1000 machines; use tags for more"));
        }
        if self.tags.len() > MAX_TAGS {
            return Err(InvalidAlert::new("tags", "at most 64 tags"));
        }
        if self.os_type.as_ref().is_some_and(|os_type| !OS_TYPES.contains(&os_type.as_str())) {
            let rule = "linux, windows, macos or other is expected";
            return Err(InvalidAlert::new("os_type", rule));
        }
        Ok(())
    }

    /// Whether it narrows nothing.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a machine is meant, of `customer` alone where one is given.
    pub fn means(&self, customer: Option<CustomerId>, machine: &Machine) -> bool {
        customer.is_none_or(|customer| customer == machine.customer_id)
            && (self.agent_ids.is_empty() || self.agent_ids.contains(&machine.id))
            && self.tags.is_subset(&machine.tags)
            && self.os_type.as_ref().is_none_or(|os_type| *os_type == machine.os_type)
    }
}
