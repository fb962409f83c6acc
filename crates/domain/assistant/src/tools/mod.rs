//! What models may ask for: reading, by the rights of the person who asks, and proposing.
//!
//! There is no tool that runs anything. What a tool answers reaches the model quoted and without its
//! secrets, for all of it may have been written by machines.

mod fleet;
mod schema;
mod toolbox;

use async_trait::async_trait;
use muster_kernel::{AgentId, CommandId, CustomerId, Denied, Permit, RunId, StorageError, act};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use fleet::{KnownFleet, KnownFleetPorts};
pub use toolbox::{Given, Offer, Toolbox};
pub(crate) use toolbox::{Review, Reviewed, given_text};

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolName {
    /// Find machines.
    SearchAgents,
    /// What is known of one machine.
    ReadAgent,
    /// How a machine fared.
    ReadMetrics,
    /// Which commands there were.
    ListCommands,
    /// One command and what it wrote.
    ReadCommand,
    /// Which scripts there are.
    ListScripts,
    /// Propose a command on one machine.
    ProposeCommand,
    /// Propose a script of the library on one machine.
    ProposeScript,
    /// Propose a command or a script on many machines.
    ProposeRun,
}

impl ToolName {
    /// Every tool.
    pub const ALL: &[Self] = &[
        Self::SearchAgents,
        Self::ReadAgent,
        Self::ReadMetrics,
        Self::ListCommands,
        Self::ReadCommand,
        Self::ListScripts,
        Self::ProposeCommand,
        Self::ProposeScript,
        Self::ProposeRun,
    ];

    /// The name that models and the API know.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SearchAgents => "search_agents",
            Self::ReadAgent => "read_agent",
            Self::ReadMetrics => "read_metrics",
            Self::ListCommands => "list_commands",
            Self::ReadCommand => "read_command",
            Self::ListScripts => "list_scripts",
            Self::ProposeCommand => "propose_command",
            Self::ProposeScript => "propose_script",
            Self::ProposeRun => "propose_run",
        }
    }

    /// Reads what [`ToolName::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|tool| tool.as_str() == text)
    }

    /// Whether it leaves something behind: a proposal, which runs nothing.
    pub const fn proposes(self) -> bool {
        matches!(self, Self::ProposeCommand | Self::ProposeScript | Self::ProposeRun)
    }
}

/// What somebody who asks may read. A tool gives nothing that they may not see themselves.
#[derive(Debug, Clone)]
pub struct Rights {
    asks: Permit<act::UseAssistant>,
    agents: Option<Permit<act::ReadAgents>>,
    commands: Option<Permit<act::ReadCommands>>,
    scripts: Option<Permit<act::ReadScripts>>,
}

impl Rights {
    /// Those of whoever asks.
    pub fn of(asks: &Permit<act::UseAssistant>) -> Self {
        let (principal, author) = (asks.principal(), asks.author());
        Self {
            agents: Permit::ask(principal.clone(), author).ok(),
            commands: Permit::ask(principal.clone(), author).ok(),
            scripts: Permit::ask(principal.clone(), author).ok(),
            asks: asks.clone(),
        }
    }

    /// The same for what is one customer's alone: what is said about it may be seen by its people.
    ///
    /// # Errors
    /// [`Denied::NotFound`] when the customer is another tenant.
    pub fn within(self, customer: CustomerId) -> Result<Self, Denied> {
        Ok(Self {
            asks: self.asks.within(customer)?,
            agents: self.agents.map(|it| it.within(customer)).transpose()?,
            commands: self.commands.map(|it| it.within(customer)).transpose()?,
            scripts: self.scripts.map(|it| it.within(customer)).transpose()?,
        })
    }

    /// That they may ask at all.
    pub const fn asks(&self) -> &Permit<act::UseAssistant> {
        &self.asks
    }

    /// That they may see machines.
    ///
    /// # Errors
    /// [`Denied::Forbidden`].
    pub fn agents(&self) -> Result<&Permit<act::ReadAgents>, Denied> {
        self.agents.as_ref().ok_or(Denied::Forbidden)
    }

    /// That they may see commands.
    ///
    /// # Errors
    /// [`Denied::Forbidden`].
    pub fn commands(&self) -> Result<&Permit<act::ReadCommands>, Denied> {
        self.commands.as_ref().ok_or(Denied::Forbidden)
    }

    /// That they may see scripts.
    ///
    /// # Errors
    /// [`Denied::Forbidden`].
    pub fn scripts(&self) -> Result<&Permit<act::ReadScripts>, Denied> {
        self.scripts.as_ref().ok_or(Denied::Forbidden)
    }

    /// Whether a tool is of any use to them.
    pub const fn opens(&self, tool: ToolName) -> bool {
        match tool {
            ToolName::SearchAgents | ToolName::ReadAgent | ToolName::ReadMetrics => {
                self.agents.is_some()
            }
            ToolName::ListCommands | ToolName::ReadCommand => self.commands.is_some(),
            ToolName::ListScripts | ToolName::ProposeScript => self.scripts.is_some(),
            ToolName::ProposeCommand | ToolName::ProposeRun => true,
        }
    }
}

/// Which machines are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSearch {
    /// Part of a host name, an address, a system or a note.
    pub q: Option<String>,
    /// `online` or `offline`.
    pub status: Option<String>,
    /// `linux`, `windows`, `macos` or `other`.
    pub os_type: Option<String>,
    /// All of these.
    pub tags: Vec<String>,
}

/// Which commands are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CommandSearch {
    /// Those on this machine.
    pub agent_id: Option<AgentId>,
    /// `pending`, `running`, `completed`, `failed`, `cancelled` or `expired`.
    pub status: Option<String>,
    /// Part of the text.
    pub q: Option<String>,
}

/// Why a tool gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// What it was asked makes no sense, or is not there; in words for the model.
    #[error("{0}")]
    Useless(String),
    /// Whoever asks may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Reads what models may know. An implementation MUST ask for the rights of whoever asks, and for
/// nothing more.
#[async_trait]
pub trait Fleet: Send + Sync + std::fmt::Debug {
    /// Machines, the first 25.
    async fn search(&self, rights: &Rights, wish: &AgentSearch) -> Result<Value, ToolError>;

    /// What is known of a machine.
    async fn agent(&self, rights: &Rights, id: AgentId) -> Result<Value, ToolError>;

    /// How a machine fared in the last hours.
    async fn metrics(&self, rights: &Rights, id: AgentId, hours: u32) -> Result<Value, ToolError>;

    /// Commands, the latest 25.
    async fn commands(&self, rights: &Rights, wish: &CommandSearch) -> Result<Value, ToolError>;

    /// A command, and what it wrote.
    async fn command(&self, rights: &Rights, id: CommandId) -> Result<Value, ToolError>;

    /// The commands of a run and what they wrote, those that failed first.
    async fn results(&self, rights: &Rights, id: RunId) -> Result<Value, ToolError>;

    /// Scripts, the first 25.
    async fn scripts(&self, rights: &Rights, q: Option<&str>) -> Result<Value, ToolError>;
}
