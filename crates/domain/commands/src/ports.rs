//! What commands need from outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use muster_kernel::{
    AgentId, Author, CommandId, CustomerId, DangerPolicy, Page, PageRequest, RolloutId, RunId,
    StorageError, TenantScope, Timestamp,
};
use uuid::Uuid;

use crate::{Command, Event, OutputStream, SafetyLevel, Status};

/// Names a request, so that the same one again has the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Whose key it is and for what, so that keys of others never meet it.
    pub scope: String,
    /// The `Idempotency-Key`.
    pub key: String,
    /// The SHA-256 of what was asked.
    pub fingerprint: [u8; 32],
}

/// What came of handing in a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// It is durable.
    New(Arc<Command>),
    /// The same request came before; this is its command as it is now.
    Known(Arc<Command>),
    /// The key came before with another request.
    Conflict,
}

/// Something to be written about a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// It happened.
    Event(Event),
    /// Somebody wants it cancelled, which is entered in the audit log.
    Cancel {
        /// Who.
        author: Author,
        /// When.
        at: Timestamp,
    },
    /// These bytes were written to `stream`.
    Output {
        /// Which stream.
        stream: OutputStream,
        /// Where the first byte stands.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
    },
}

impl Entry {
    /// Whether the entry may wait a moment for a commit that others pay for: nobody acts on it
    /// being durable, and if it is lost the agent says it again.
    pub const fn can_wait(&self) -> bool {
        matches!(self, Self::Event(Event::Accepted { .. } | Event::Started { .. }))
    }
}

/// What an entry did.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// The command is another than before.
    Changed,
    /// It was known already.
    Unchanged,
    /// These bytes, from this offset on, are kept now.
    Kept {
        /// Where the first of them stands.
        offset: u64,
        /// The bytes that were new.
        bytes: Bytes,
    },
    /// Bytes before these are missing; nothing was kept.
    Gap,
}

/// An entry that is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The command after it.
    pub command: Arc<Command>,
    /// What it did.
    pub effect: Effect,
}

/// Answers after the commit: `None` when the agent has no such command.
pub type Recording = BoxFuture<'static, Result<Option<Recorded>, StorageError>>;

/// Writes commands and what happens to them.
#[async_trait]
pub trait CommandLedger: Send + Sync + std::fmt::Debug {
    /// Keeps a new command, enters in the audit log who gave it, and answers after the commit.
    async fn submit(
        &self,
        command: Command,
        once: Option<Once>,
        author: Author,
    ) -> Result<Submitted, StorageError>;

    /// Takes an entry about a command of this agent. Entries are applied in the order of the
    /// calls, by [`Command::apply`] and [`Command::place`]; they are queued by the call itself,
    /// and the future answers after the commit. Dropping the future does not take the entry back.
    fn record(&self, agent_id: AgentId, id: CommandId, entry: Entry) -> Recording;
}

/// Which commands a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandFilter {
    /// Only this agent's.
    pub agent_id: Option<AgentId>,
    /// Only this customer's.
    pub customer_id: Option<CustomerId>,
    /// Only this run's.
    pub run_id: Option<RunId>,
    /// Only this rollout's.
    pub rollout_id: Option<RolloutId>,
    /// Only those that are this far.
    pub status: Option<Status>,
    /// Only those whose command text contains this, upper and lower case alike.
    pub q: Option<String>,
    /// Only those that this user or key asked for.
    pub requested_by: Option<Uuid>,
    /// Only those that were thought to be this dangerous.
    pub safety_level: Option<SafetyLevel>,
    /// Only those that were given at this instant or later.
    pub from: Option<Timestamp>,
    /// Only those that were given before this instant.
    pub to: Option<Timestamp>,
}

/// A piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// Where its first byte stands.
    pub offset: u64,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Why the server itself has to end a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Its time to begin is over.
    Expired,
    /// Its agent was removed.
    AgentRemoved,
    /// Its agent is an older product's, and has said nothing of it for too long.
    Unheard,
}

/// What an agent is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waiting {
    /// That there are commands which nobody had yet.
    Backlog(AgentId),
    /// To end a command that it may have.
    Cancel(AgentId, CommandId),
}

/// Answers questions about commands.
#[async_trait]
pub trait CommandArchive: Send + Sync + std::fmt::Debug {
    /// The command `id`, if it lies in `scope`.
    async fn find(
        &self,
        scope: &TenantScope,
        id: CommandId,
    ) -> Result<Option<Command>, StorageError>;

    /// The commands in `scope` that pass `filter`, the newest first.
    async fn list(
        &self,
        scope: &TenantScope,
        filter: &CommandFilter,
        page: &PageRequest,
    ) -> Result<Page<Command>, StorageError>;

    /// What is kept of a stream from the byte `from` on, in order and without a gap, until at
    /// least `enough` bytes are together or the stream ends.
    async fn output(
        &self,
        id: CommandId,
        stream: OutputStream,
        from: u64,
        enough: u64,
    ) -> Result<Vec<OutputChunk>, StorageError>;

    /// The agent's commands that were dispatched and have not ended, and those of `journal`.
    async fn in_flight(
        &self,
        agent_id: AgentId,
        journal: &[CommandId],
    ) -> Result<BTreeMap<CommandId, Command>, StorageError>;

    /// The agent's oldest commands that were never dispatched, at most `limit`.
    async fn backlog(&self, agent_id: AgentId, limit: usize) -> Result<Vec<Command>, StorageError>;

    /// What waits for these agents: commands that nobody had yet, and ends that were asked for.
    /// What it costs does not grow with what waits for others.
    async fn waiting(&self, agents: &[AgentId]) -> Result<Vec<Waiting>, StorageError>;

    /// The commands of these agents that were recorded as dispatched before `before` and were never
    /// accepted, oldest first; without those that are to end or have expired at `now`. What it
    /// costs does not grow with what others have.
    async fn unaccepted(
        &self,
        agents: &[AgentId],
        before: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Command>, StorageError>;

    /// Commands that no agent will end, at most `limit`.
    async fn due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(AgentId, CommandId, Due)>, StorageError>;
}

/// Carries commands to agents. What can't be carried now is carried when the agent connects:
/// losing it here loses nothing.
pub trait Courier: Send + Sync + std::fmt::Debug {
    /// Whether the agent is connected.
    fn is_connected(&self, agent_id: AgentId) -> bool;

    /// Whether it knows of connections to other nodes, where there are some. While it does not, the
    /// database has who was seen lately.
    fn sees_all(&self) -> bool {
        true
    }

    /// Whether a command given now would leave at once.
    fn has_room(&self, agent_id: AgentId) -> bool;

    /// Hands a durable command to its agent's connection, if there is one. A command whose
    /// dispatch is not recorded yet has that recorded first.
    fn deliver(&self, command: Arc<Command>);

    /// Tells the agent, if it is connected, to end a command.
    fn cancel(&self, agent_id: AgentId, id: CommandId);

    /// Has the agent's connection, if there is one, look for commands that nobody had yet.
    fn look(&self, agent_id: AgentId);
}

/// Something about a command that is durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// The command is another than before.
    Changed(Arc<Command>),
    /// It wrote something.
    Output {
        /// To which stream.
        stream: OutputStream,
        /// Where the first byte stands.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
    },
}

/// What a listener hears.
#[derive(Debug, Clone)]
pub enum Heard {
    /// News.
    Notice(Arc<Notice>),
    /// There were more news than the listener took: the archive has them.
    Missed,
}

/// News of one command from the moment of subscribing on.
pub type Subscription = BoxStream<'static, Heard>;

/// Tells listeners what was committed. News may be lost on the way, never the truth: that is in
/// the archive, and a listener that [missed](Heard::Missed) something looks there.
pub trait CommandFeed: Send + Sync + std::fmt::Debug {
    /// Tells everybody who listens to `command`.
    fn publish(&self, command: &Arc<Command>, notice: Notice);

    /// Listens to the command `id`.
    fn subscribe(&self, id: CommandId) -> Subscription;
}

/// Lets go of old commands.
#[async_trait]
pub trait CommandRetention: Send + Sync + std::fmt::Debug {
    /// Lets go of at most `limit` of the oldest commands that ended before `before`, with their
    /// output, and enters in the audit log how many that were; answers with it. What has not ended
    /// stays.
    async fn forget(
        &self,
        before: Timestamp,
        limit: u64,
        author: &Author,
        now: Timestamp,
    ) -> Result<u64, StorageError>;
}

/// Compresses old output.
#[async_trait]
pub trait OutputCompression: Send + Sync + std::fmt::Debug {
    /// Looks at no more than `limit` pieces of the output of commands that were given before
    /// `before`, none of them twice, and compresses those for which it is worth it; answers with
    /// how many it looked at. Whoever reads them gets the same bytes at the same offsets, at any
    /// time. That is why the audit log hears nothing of it.
    async fn compress(&self, before: Timestamp, limit: u64) -> Result<u64, StorageError>;
}

/// What customers ask of dangerous commands.
#[async_trait]
pub trait DangerPolicies: Send + Sync + std::fmt::Debug {
    /// What this customer asks; of one that is gone, the most.
    async fn danger_policy(&self, customer: CustomerId) -> Result<DangerPolicy, StorageError>;
}
