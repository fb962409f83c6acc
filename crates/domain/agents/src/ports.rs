//! What the registry needs from outside.

use std::collections::BTreeSet;

use async_trait::async_trait;
use muster_kernel::{
    AgentId, Author, ConnectionId, CustomerId, NodeId, Page, PageRequest, StorageError, Tags,
    TenantScope, Timestamp, TokenHash,
};

use crate::enrolment::EnrolError;
use crate::{
    Agent, AgentStatus, Connection, ConnectionRecord, CopyDecision, CopyVerdict, Incarnation,
    MachineCopy, Metrics, NewIdentity, OsType, Registration, SystemInfo,
};

/// Which agents a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentFilter {
    /// Only those that can or can't be reached, at the given instant.
    pub status: Option<(AgentStatus, Timestamp)>,
    /// Only one family of operating systems.
    pub os_type: Option<OsType>,
    /// Only this customer's.
    pub customer_id: Option<CustomerId>,
    /// Only those with this tag.
    pub tag: Option<String>,
    /// Only those with this version of the agent program.
    pub version: Option<String>,
    /// Only those whose host name, address, operating system or notes contain this text, upper
    /// and lower case alike.
    pub q: Option<String>,
}

/// Machines that are picked, wherever they are: those that everything which is given applies to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentSelection {
    /// Only these.
    pub ids: Option<BTreeSet<AgentId>>,
    /// Only those with all of these tags.
    pub tags: BTreeSet<String>,
    /// Only this customer's.
    pub customer_id: Option<CustomerId>,
    /// Only one family of operating systems.
    pub os_type: Option<OsType>,
    /// Only those whose clocks show one of these zones; those that told none show `UTC`.
    pub time_zones: Option<BTreeSet<String>>,
}

/// A machine that was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SelectedAgent {
    /// Which.
    pub id: AgentId,
    /// Whose.
    pub customer_id: CustomerId,
    /// Its family of operating systems.
    pub os_type: OsType,
}

/// A change to an agent; what is `None` stays, and empty notes remove those there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of Agent")]
pub struct AgentChange {
    pub hostname: Option<String>,
    pub tags: Option<Tags>,
    pub customer_id: Option<CustomerId>,
    pub notes: Option<String>,
}

/// What an agent's program says of itself when it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of Agent")]
pub struct AgentProgram {
    pub version: String,
    pub capabilities: Vec<String>,
}

/// How many agents can and can't be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct StatusCounts {
    pub online: u64,
    pub offline: u64,
}

/// The registry of machines. A deleted agent is found by none of these methods. What people change
/// is entered in the audit log in the same transaction.
#[async_trait]
pub trait AgentRepository: Send + Sync + std::fmt::Debug {
    /// The agent `id`, if it lies in `scope`.
    async fn find(&self, scope: &TenantScope, id: AgentId) -> Result<Option<Agent>, StorageError>;

    /// The agents in `scope` that pass `filter`, in the order in which they enrolled.
    async fn list(
        &self,
        scope: &TenantScope,
        filter: &AgentFilter,
        page: &PageRequest,
    ) -> Result<Page<Agent>, StorageError>;

    /// All agents in `scope` that are picked, in the order in which they enrolled.
    async fn select(
        &self,
        scope: &TenantScope,
        selection: &AgentSelection,
    ) -> Result<Vec<SelectedAgent>, StorageError>;

    /// The zones that the clocks of the agents show which are picked; `None` of those that told none.
    async fn time_zones(
        &self,
        scope: &TenantScope,
        selection: &AgentSelection,
    ) -> Result<BTreeSet<Option<String>>, StorageError>;

    /// How many agents in `scope` pass `filter` (its status aside), by status at `now`.
    async fn count(
        &self,
        scope: &TenantScope,
        filter: &AgentFilter,
        now: Timestamp,
    ) -> Result<StatusCounts, StorageError>;

    /// Changes the agent `id` and answers with what it then is; `None` if it is not in `scope`, or
    /// its new customer is not there.
    async fn update(
        &self,
        scope: &TenantScope,
        id: AgentId,
        change: AgentChange,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<Agent>, StorageError>;

    /// Removes the agent `id` and its token for ever; says whether it was in `scope`.
    async fn delete(
        &self,
        scope: &TenantScope,
        id: AgentId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Keeps what the agent told about itself.
    async fn record_system_info(
        &self,
        id: AgentId,
        info: SystemInfo,
        now: Timestamp,
    ) -> Result<(), StorageError>;

    /// Keeps a connection that begins, and what the agent's program says of itself; answers with
    /// whose machine it is, `None` when there is no such agent any more. What other processes left
    /// open of the agent ends as killed with them, unless they say otherwise.
    async fn record_connected(
        &self,
        program: AgentProgram,
        connection: ConnectionRecord,
    ) -> Result<Option<CustomerId>, StorageError>;

    /// Keeps that these agents were seen at `now`, in one write, and answers with those of them
    /// that no longer exist.
    async fn record_seen(
        &self,
        ids: Vec<AgentId>,
        now: Timestamp,
    ) -> Result<Vec<AgentId>, StorageError>;
}

/// How connections of agents came and went.
#[async_trait]
pub trait ConnectionLog: Send + Sync + std::fmt::Debug {
    /// Keeps connections that have ended, in their order, whether they were entered when they began
    /// or not; of each agent the latest [`CONNECTIONS_KEPT`](crate::CONNECTIONS_KEPT) stay. An agent
    /// that has no open connection any more was last seen when the last frame of these came.
    async fn record_ended(&self, ended: Vec<ConnectionRecord>) -> Result<(), StorageError>;

    /// Ends the open connections of server processes other than `node` that can't be there any
    /// more, as killed with their process; says how many. Where processes share a database, those
    /// are left alone whose agents were seen in the minute before `now`.
    async fn end_left_open(&self, node: NodeId, now: Timestamp) -> Result<u64, StorageError>;

    /// The latest connections of the agent, the newest first.
    async fn latest(&self, id: AgentId) -> Result<Vec<ConnectionRecord>, StorageError>;
}

/// What people decided about copies of machines.
#[async_trait]
pub trait CopyVerdicts: Send + Sync + std::fmt::Debug {
    /// Keeps a decision and enters it in the audit log; an earlier one about the same copy is
    /// replaced. A copy that becomes an agent of its own is written as one, which knows nothing
    /// but what its machine says, and which nobody's token opens yet.
    async fn decide(&self, verdict: CopyVerdict) -> Result<(), StorageError>;

    /// What was decided about this copy, and the id of the agent that it becomes, if it does and
    /// that was not removed.
    async fn decided(
        &self,
        id: AgentId,
        incarnation: &Incarnation,
    ) -> Result<Option<(CopyDecision, Option<AgentId>)>, StorageError>;

    /// The copies of the agent that are not let in.
    async fn rejected(&self, id: AgentId) -> Result<Vec<MachineCopy>, StorageError>;

    /// Gives the agent `id` a new token instead of the one it has; says whether it is there.
    async fn renew_token(&self, id: AgentId, token: TokenHash) -> Result<bool, StorageError>;
}

/// Recognises agents by their tokens.
#[async_trait]
pub trait AgentTokens: Send + Sync + std::fmt::Debug {
    /// Whose token has this hash.
    async fn find(&self, token: TokenHash) -> Result<Option<(AgentId, CustomerId)>, StorageError>;
}

/// A machine that wants to become an agent.
#[derive(Debug, Clone)]
pub struct EnrolCandidate {
    /// The id it gets unless it is known already.
    pub id: AgentId,
    /// What it says of itself.
    pub registration: Registration,
    /// The hash of its new token.
    pub agent_token: TokenHash,
    /// When it asks.
    pub now: Timestamp,
    /// From where, by which request.
    pub author: Author,
}

/// What lets a machine in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The enrollment token with this hash, which is redeemed.
    Token(TokenHash),
    /// A key of this customer, which was found to allow it.
    Customer(CustomerId),
}

impl From<TokenHash> for Admission {
    fn from(token: TokenHash) -> Self {
        Self::Token(token)
    }
}

/// Lets machines in.
#[async_trait]
pub trait Enrol: Send + Sync + std::fmt::Debug {
    /// Redeems the enrollment token and writes the agent, both or neither: the same machine of
    /// the same customer is the same agent and gets the new token instead of its old one.
    /// A candidate whose token an agent has already is that agent asking again: nothing is
    /// redeemed, and the answer is the same. The tags of the enrollment token are the agent's, too.
    async fn enrol(
        &self,
        admission: Admission,
        candidate: EnrolCandidate,
    ) -> Result<AgentId, EnrolError>;
}

/// Why no fresh information came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// Not connected.
    #[error("the agent is not connected")]
    Offline,
    /// Connected, and silent for too long.
    #[error("the agent did not answer in time")]
    TimedOut,
}

/// Which agents are connected, known without a look into any database.
#[async_trait]
pub trait Presence: Send + Sync + std::fmt::Debug {
    /// The agent's live connection.
    fn connection(&self, id: AgentId) -> Option<Connection>;

    /// How many agents are connected.
    fn connected(&self) -> usize;

    /// Ends the agent's connection, if it has one.
    fn disconnect(&self, id: AgentId);

    /// Ends the agent's connection if it is older than the connection `by`, which the agent has
    /// elsewhere.
    fn replaced(&self, id: AgentId, by: ConnectionId);

    /// Notes that the agent said something in a request of its own, with its load and from which
    /// address. One that has no live connection counts as connected until it has said nothing for
    /// a minute; answers whether it has one.
    fn heard(
        &self,
        id: AgentId,
        customer: CustomerId,
        metrics: Option<Metrics>,
        peer_address: Option<String>,
    ) -> bool;

    /// The machines that are kept apart because they show the identity of the agent as well.
    fn copies(&self, id: AgentId) -> Vec<MachineCopy>;

    /// The token that the machine shows which is the agent now.
    fn token(&self, id: AgentId) -> Option<TokenHash>;

    /// Does to the copy on this connection what was decided, if it is still there. One that is to
    /// be separate is told who it is.
    fn settle(
        &self,
        id: AgentId,
        copy: ConnectionId,
        decision: CopyDecision,
        identity: Option<NewIdentity>,
    );

    /// Asks the agent for fresh information and returns when it has come and is kept.
    async fn refresh(&self, id: AgentId) -> Result<(), RefreshError>;
}

/// Wants to know who is connected. It is told at once and has to take it at once: connections wait
/// for it.
pub trait PresenceWatch: Send + Sync + std::fmt::Debug {
    /// The agent has this connection, or there is something new to be said of it.
    fn is_there(&self, id: AgentId, connection: Connection);

    /// That connection of the agent is no more.
    fn left(&self, id: AgentId, connection_id: ConnectionId);
}
