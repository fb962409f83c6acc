//! The order to be another agent.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who the agent is from now on. It keeps this in place of what it was, durably, before it connects
/// again; the commands of the agent that it was are not its own any more.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Separate {
    /// Its new id.
    pub agent_id: Uuid,
    /// What it proves itself with from now on.
    pub agent_token: String,
}

/// The token is not shown.
impl fmt::Debug for Separate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Separate").field("agent_id", &self.agent_id).finish_non_exhaustive()
    }
}
