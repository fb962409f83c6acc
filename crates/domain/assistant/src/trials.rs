//! Trying a proposed command on a machine: by a person who may run it, and knows what it is.

use std::sync::Arc;

use muster_agents::AgentRepository;
use muster_commands::{
    Commands, CommandsError, Request, SafetyLevel, ShellType, Waited, assess, shell_of,
};
use muster_kernel::{AgentId, Permit, StorageError, act};

/// Why a command was not tried.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// It does more than look, and nobody said that they know. What a model said counts for nothing.
    #[error("this is not known to only look ({}): send confirm: true if you mean it", .0.as_str())]
    NotConfirmed(SafetyLevel, Vec<&'static str>),
    /// It can't be given.
    #[error(transparent)]
    Commands(#[from] CommandsError),
}

impl From<StorageError> for TrialError {
    fn from(error: StorageError) -> Self {
        Self::Commands(error.into())
    }
}

/// Tries proposed commands on machines.
#[derive(Debug, Clone)]
pub struct Trials {
    commands: Commands,
    agents: Arc<dyn AgentRepository>,
}

impl Trials {
    /// Made of what gives commands.
    pub fn new(commands: Commands, agents: Arc<dyn AgentRepository>) -> Self {
        Self { commands, agents }
    }

    /// Runs a command on a machine if it only looks, or if whoever asks says that they mean it. What
    /// the customer asks of dangerous commands, such as a second person, comes on top.
    ///
    /// # Errors
    /// [`TrialError`]; nothing ran then.
    pub async fn run(
        &self,
        permit: &Permit<act::RunCommands>,
        agent_id: AgentId,
        request: Request,
    ) -> Result<Waited, TrialError> {
        if !request.confirm {
            let agent = self.agents.find(permit.scope(), agent_id).await?;
            let agent = agent.ok_or(CommandsError::AgentNotFound)?;
            let shell: ShellType = request.spec.shell_type.unwrap_or(shell_of(agent.os_type));
            let found = assess(shell, &request.spec.command, &request.spec.args);
            let plain = request.spec.environment.is_empty();
            if found.level > SafetyLevel::Safe || !plain {
                let level = found.level.max(SafetyLevel::Caution);
                return Err(TrialError::NotConfirmed(level, found.reasons));
            }
        }
        Ok(self.commands.run(permit, agent_id, request).await?)
    }
}
