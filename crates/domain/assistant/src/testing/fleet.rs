//! Machines that say what they are told to.

use std::collections::HashMap;

use async_trait::async_trait;
use muster_kernel::{AgentId, CommandId, RunId};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::tools::{AgentSearch, CommandSearch, Fleet, Rights, ToolError};

/// Machines that say what they are told to, to whoever may see machines.
#[derive(Debug, Default)]
pub struct FakeFleet {
    /// What is known of machines.
    pub agents: Mutex<HashMap<AgentId, Value>>,
    /// What commands wrote.
    pub output: Mutex<String>,
}

#[async_trait]
impl Fleet for FakeFleet {
    async fn search(&self, rights: &Rights, _: &AgentSearch) -> Result<Value, ToolError> {
        rights.agents()?;
        let all: Vec<_> = self.agents.lock().values().cloned().collect();
        Ok(json!({ "total": all.len(), "agents": all }))
    }

    async fn agent(&self, rights: &Rights, id: AgentId) -> Result<Value, ToolError> {
        rights.agents()?;
        let known = self.agents.lock().get(&id).cloned();
        known.ok_or_else(|| ToolError::Useless("there is no such agent".to_owned()))
    }

    async fn metrics(&self, rights: &Rights, id: AgentId, _: u32) -> Result<Value, ToolError> {
        self.agent(rights, id).await
    }

    async fn commands(&self, rights: &Rights, _: &CommandSearch) -> Result<Value, ToolError> {
        rights.commands()?;
        Ok(json!({ "total": 0, "commands": [] }))
    }

    async fn command(&self, rights: &Rights, id: CommandId) -> Result<Value, ToolError> {
        rights.commands()?;
        Ok(json!({ "id": id, "output": *self.output.lock() }))
    }

    async fn results(&self, rights: &Rights, id: RunId) -> Result<Value, ToolError> {
        rights.commands()?;
        Ok(json!({ "run_id": id, "output": *self.output.lock() }))
    }

    async fn scripts(&self, rights: &Rights, _: Option<&str>) -> Result<Value, ToolError> {
        rights.scripts()?;
        Ok(json!({ "total": 0, "scripts": [] }))
    }
}
