//! A project: the machines, scripts and conversations of one piece of work.

use std::collections::{BTreeMap, BTreeSet};

use muster_kernel::{AgentId, AssistantId, ProjectId, ScriptId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Body, InvalidEntry, Role, prose};

/// How many machines or scripts a project may name.
const MAX_NAMED: usize = 100;

/// What a project is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProjectBody {
    /// What it is for.
    pub description: Option<String>,
    /// The machines that it is about.
    pub agent_ids: BTreeSet<AgentId>,
    /// The scripts that it is about.
    pub script_ids: BTreeSet<ScriptId>,
    /// Who does what in it. Without an author the usual one answers.
    pub roles: BTreeMap<Role, AssistantId>,
}

impl Body for ProjectBody {
    const KIND: &'static str = "project";
    const DEEDS: [&'static str; 3] = ["project.create", "project.update", "project.delete"];
    // What is said in it must not be seen by other customers.
    const SHARED: bool = false;
    type Id = ProjectId;

    fn check(self) -> Result<Self, InvalidEntry> {
        if self.agent_ids.len() > MAX_NAMED {
            return Err(InvalidEntry { field: "agent_ids", rule: "at most 100 machines" });
        }
        if self.script_ids.len() > MAX_NAMED {
            return Err(InvalidEntry { field: "script_ids", rule: "at most 100 scripts" });
        }
        Ok(Self { description: prose("description", self.description)?, ..self })
    }

    fn facts(&self) -> Value {
        json!({
            "description": self.description,
            "agent_ids": self.agent_ids,
            "script_ids": self.script_ids,
            "roles": self.roles,
        })
    }
}
