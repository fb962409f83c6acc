//! What people do with commands.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::TimeDelta;
use futures_util::StreamExt;
use muster_agents::{AgentRepository, OsType};
use muster_kernel::{
    AgentId, Author, Clock, CommandId, Denied, Dialect, Entropy, Page, PageRequest, Permit,
    StorageError, TenantScope, Timestamp, act,
};

use crate::approvals::{Approval, Ask, Clearance, Desk, DeskError};
use crate::ports::{
    CommandArchive, CommandFeed, CommandFilter, CommandLedger, Courier, Entry, Heard, Notice, Once,
    OutputChunk, Submitted, Subscription,
};
use crate::reach::reachable;
use crate::runs::{Strategy, Target, Template, Work};
use crate::spec::{InvalidSpec, Limits, ShellType, Spec, SpecRequest};
use crate::through::through;
use crate::{AgentChannel, Command, OutputStream, Requester, State, Status};

/// How long an agent that is out of reach may come back for a command when nobody says.
pub const DEFAULT_EXPIRES_IN: Duration = Duration::from_hours(7 * 24);
/// The longest that anybody may say.
pub(crate) const MAX_EXPIRES_IN: Duration = Duration::from_hours(366 * 24);
/// How much longer than its timeout a command may take to come back with its result: its process
/// tree gets two seconds to end by itself.
const GRACE: Duration = Duration::from_secs(3);

/// Why something could not be done with a command.
#[derive(Debug, thiserror::Error)]
pub enum CommandsError {
    /// There is no such agent, or it is not the asker's.
    #[error("there is no such agent, or it is not yours")]
    AgentNotFound,
    /// There is no such command, or it is not the asker's.
    #[error("there is no such command, or it is not yours")]
    NotFound,
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// What is to run breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    /// The idempotency key came before with another request.
    #[error("this idempotency key was used for another request; take a new one")]
    KeyReused,
    /// It is dangerous, and nobody said that they know.
    #[error("this is dangerous: it {}; send confirm: true if you mean it", .0.join(", and "))]
    Dangerous(Vec<&'static str>),
    /// It is too late to cancel.
    #[error("the command has ended; there is nothing left to cancel")]
    Ended,
    /// Its agent can't be told.
    #[error(
        "agents of {} can't be told to end what they run; it ends by itself or by its timeout",
        .0.product()
    )]
    CanNotCancel(Dialect),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A wish to run something.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// What.
    pub spec: SpecRequest,
    /// How long an agent that is out of reach may come back for it.
    pub expires_in: Option<Duration>,
    /// Whether whoever asks knows that it may be dangerous.
    pub confirm: bool,
    /// Names the request.
    pub once: Option<Once>,
}

/// A command that was accepted: it is durable.
#[derive(Debug, Clone)]
pub struct Given {
    /// The command.
    pub command: Arc<Command>,
    /// Whether its agent is connected.
    pub agent_connected: bool,
}

/// What came of giving a command.
#[derive(Debug, Clone)]
pub enum Accepted {
    /// It is on its way.
    Given(Given),
    /// It waits for a second person; nothing runs.
    Waits(Box<Approval>),
}

/// What came of waiting for a command.
#[derive(Debug, Clone)]
pub enum Waited {
    /// It has ended.
    Ended(Arc<Command>),
    /// It goes on; its id leads to its result.
    GoesOn(Given),
    /// It waits for a second person; nothing runs.
    Waits(Box<Approval>),
}

/// What became of a request before anything was given.
enum Composed {
    Command(Box<Command>),
    Waits(Box<Approval>),
}

/// What people do with commands.
#[derive(Debug, Clone)]
pub struct Commands {
    ledger: Arc<dyn CommandLedger>,
    archive: Arc<dyn CommandArchive>,
    agents: Arc<dyn AgentRepository>,
    courier: Arc<dyn Courier>,
    feed: Arc<dyn CommandFeed>,
    desk: Desk,
    channel: AgentChannel,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    limits: Limits,
}

/// The ports of [`Commands`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct CommandsPorts {
    pub ledger: Arc<dyn CommandLedger>,
    pub archive: Arc<dyn CommandArchive>,
    pub agents: Arc<dyn AgentRepository>,
    pub courier: Arc<dyn Courier>,
    pub feed: Arc<dyn CommandFeed>,
    pub desk: Desk,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

impl Commands {
    /// Made of its ports and what the installation allows.
    pub fn new(ports: CommandsPorts, limits: Limits) -> Self {
        let CommandsPorts { ledger, archive, agents, courier, feed, desk, clock, entropy } = ports;
        let channel = AgentChannel::new(
            Arc::clone(&ledger),
            Arc::clone(&archive),
            Arc::clone(&feed),
            Arc::clone(&clock),
        );
        Self { ledger, archive, agents, courier, feed, desk, channel, clock, entropy, limits }
    }

    /// Accepts a command: once this answers it is durable, and it will be run or end otherwise.
    /// What is dangerous where a second person has to approve is kept for that instead.
    ///
    /// # Errors
    /// [`CommandsError::AgentNotFound`], [`CommandsError::Invalid`], [`CommandsError::KeyReused`].
    pub async fn give(
        &self,
        permit: &Permit<act::RunCommands>,
        agent_id: AgentId,
        request: Request,
    ) -> Result<Accepted, CommandsError> {
        let once = request.once.clone();
        match self.compose(permit, agent_id, request).await? {
            Composed::Command(command) => {
                Ok(Accepted::Given(self.submit(*command, once, permit.author()).await?))
            }
            Composed::Waits(approval) => Ok(Accepted::Waits(approval)),
        }
    }

    /// Accepts a command and waits for its end, at most as long as it may run. For an agent that
    /// is not connected nobody waits.
    ///
    /// # Errors
    /// Those of [`Commands::give`].
    pub async fn run(
        &self,
        permit: &Permit<act::RunCommands>,
        agent_id: AgentId,
        request: Request,
    ) -> Result<Waited, CommandsError> {
        let (scope, once) = (permit.scope(), request.once.clone());
        let command = match self.compose(permit, agent_id, request).await? {
            Composed::Command(command) => *command,
            Composed::Waits(approval) => return Ok(Waited::Waits(approval)),
        };
        let mut id = command.id;
        // Listening begins before the command is given: nothing can end unheard.
        let mut news = self.feed.subscribe(id);
        let mut given = self.submit(command, once, permit.author()).await?;
        if given.command.id != id {
            id = given.command.id;
            news = self.feed.subscribe(id);
            given.command = Arc::new(self.find(scope, id).await?);
        }
        if given.command.status().is_end() {
            return Ok(Waited::Ended(given.command));
        }
        if !given.agent_connected {
            return Ok(Waited::GoesOn(given));
        }
        let patience = given.command.spec.timeout.saturating_add(GRACE);
        if let Ok(ended) = tokio::time::timeout(patience, self.end_of(scope, id, news)).await {
            return Ok(Waited::Ended(ended?));
        }
        given.command = Arc::new(self.find(scope, id).await?);
        Ok(Waited::GoesOn(given))
    }

    /// One command.
    ///
    /// # Errors
    /// [`CommandsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadCommands>,
        id: CommandId,
    ) -> Result<Command, CommandsError> {
        self.find(permit.scope(), id).await
    }

    /// A page of commands, the newest first.
    ///
    /// # Errors
    /// [`CommandsError::AgentNotFound`] when the filter names an agent that is not in the asker's scope.
    pub async fn list(
        &self,
        permit: &Permit<act::ReadCommands>,
        filter: &CommandFilter,
        page: &PageRequest,
    ) -> Result<Page<Command>, CommandsError> {
        let scope = permit.scope();
        if let Some(agent_id) = filter.agent_id {
            let agent = self.agents.find(scope, agent_id).await?;
            agent.ok_or(CommandsError::AgentNotFound)?;
        }
        Ok(self.archive.list(scope, filter, page).await?)
    }

    /// Ends a command: at once when no agent can have it, else through its agent, which ends the
    /// whole process tree.
    ///
    /// # Errors
    /// [`CommandsError::Ended`] when there is nothing left to cancel, [`CommandsError::CanNotCancel`]
    /// when it runs on an agent of an older product.
    pub async fn cancel(
        &self,
        permit: &Permit<act::CancelCommands>,
        id: CommandId,
    ) -> Result<Arc<Command>, CommandsError> {
        let command = self.find(permit.scope(), id).await?;
        if command.status().is_end() {
            return Err(CommandsError::Ended);
        }
        if command.status() == Status::Running {
            self.can_be_told(command.agent_id).await?;
        }
        let entry = Entry::Cancel { author: permit.author().clone(), at: self.clock.now() };
        let recorded = self.channel.record(command.agent_id, id, entry).await?;
        let command = recorded.ok_or(CommandsError::NotFound)?.command;
        if !command.status().is_end() {
            if command.status() == Status::Running {
                // It may have been handed over meanwhile.
                self.can_be_told(command.agent_id).await?;
            }
            self.courier.cancel(command.agent_id, id);
        }
        Ok(command)
    }

    /// That the agent can be told to end what it runs.
    async fn can_be_told(&self, id: AgentId) -> Result<(), CommandsError> {
        let agent = self.agents.find(&TenantScope::All, id).await?;
        match agent.and_then(|agent| agent.dialect) {
            Some(dialect) => Err(CommandsError::CanNotCancel(dialect)),
            None => Ok(()),
        }
    }

    /// What is kept of a stream of a command from the byte `from` on, at least `enough` bytes if
    /// there are that many. The caller has looked the command up within its scope.
    ///
    /// # Errors
    /// [`CommandsError::Storage`].
    pub async fn output(
        &self,
        command: &Command,
        stream: OutputStream,
        from: u64,
        enough: u64,
    ) -> Result<Vec<OutputChunk>, CommandsError> {
        // A look into the archive for what is known to be empty would cost every quick command.
        if command.status().is_end() && command.output.of(stream) <= from {
            return Ok(Vec::new());
        }
        Ok(self.archive.output(command.id, stream, from, enough).await?)
    }

    /// The first `limit` bytes of a stream of a command.
    ///
    /// # Errors
    /// [`CommandsError::Storage`].
    pub async fn output_head(
        &self,
        command: &Command,
        stream: OutputStream,
        limit: usize,
    ) -> Result<Bytes, CommandsError> {
        let enough = u64::try_from(limit).unwrap_or(u64::MAX);
        let mut chunks = self.output(command, stream, 0, enough).await?;
        if chunks.len() == 1 {
            let mut only = chunks.remove(0).bytes;
            only.truncate(limit);
            return Ok(only);
        }
        let mut head = BytesMut::new();
        for chunk in chunks {
            head.extend_from_slice(&chunk.bytes);
        }
        head.truncate(limit);
        Ok(head.freeze())
    }

    /// News of a command from now on.
    pub fn follow(&self, id: CommandId) -> Subscription {
        self.feed.subscribe(id)
    }

    async fn compose(
        &self,
        permit: &Permit<act::RunCommands>,
        agent_id: AgentId,
        request: Request,
    ) -> Result<Composed, CommandsError> {
        let requested_by = Requester::of(permit.actor()).ok_or(Denied::Forbidden)?;
        let agent = self
            .agents
            .find(permit.scope(), agent_id)
            .await?
            .ok_or(CommandsError::AgentNotFound)?;
        let shell = shell_of(agent.os_type);
        let spec = Spec::parse(request.spec.clone(), shell, self.limits)?;
        let assessment = spec.assess();
        let (safety_level, customer) = (assessment.level, agent.customer_id);
        match self.desk.clearance(safety_level, [customer], request.confirm).await? {
            Clearance::Given => {}
            Clearance::Confirm => return Err(CommandsError::Dangerous(assessment.reasons)),
            Clearance::Approve => {
                let ask = Ask {
                    template: template(request.spec, request.expires_in),
                    specs: [(agent.os_type, spec)].into(),
                    machines: [agent_id].into(),
                    customers: [customer].into(),
                    assessment: &assessment,
                    retry_of: None,
                };
                let approval = self.desk.compose(ask, permit.author())?;
                let kept = self.desk.keep(approval, request.once, permit.author(), permit.scope());
                return Ok(Composed::Waits(Box::new(kept.await?)));
            }
        }
        let now = self.clock.now();
        let expires_at = expiry(request.expires_in, now)?;
        Ok(Composed::Command(Box::new(Command {
            id: CommandId::new(&*self.clock, &*self.entropy),
            agent_id,
            customer_id: agent.customer_id,
            spec,
            run_id: None,
            rollout_id: None,
            held: false,
            requested_by,
            safety_level,
            created_at: now,
            expires_at,
            // What is about to leave is recorded as dispatched in the same commit.
            dispatched_at: self.courier.has_room(agent_id).then_some(now),
            cancel_requested_at: None,
            state: State::Pending { accepted_at: None },
            output: crate::OutputBytes::default(),
        })))
    }

    async fn find(&self, scope: &TenantScope, id: CommandId) -> Result<Command, CommandsError> {
        self.archive.find(scope, id).await?.ok_or(CommandsError::NotFound)
    }

    async fn submit(
        &self,
        command: Command,
        once: Option<Once>,
        author: &Author,
    ) -> Result<Given, CommandsError> {
        let (ledger, courier) = (Arc::clone(&self.ledger), Arc::clone(&self.courier));
        let author = author.clone();
        let submitted = through(async move {
            let submitted = ledger.submit(command, once, author).await;
            if let Ok(Submitted::New(command)) = &submitted {
                courier.deliver(Arc::clone(command));
            }
            submitted
        });
        let command = match submitted.await?? {
            Submitted::New(command) | Submitted::Known(command) => command,
            Submitted::Conflict => return Err(CommandsError::KeyReused),
        };
        let now = self.clock.now();
        let reached = reachable(&*self.courier, &*self.agents, [command.agent_id], now).await;
        // It is durable: whether it leaves at once may stay unknown.
        let agent_connected = reached.is_ok_and(|reached| !reached.is_empty());
        Ok(Given { command, agent_connected })
    }

    async fn end_of(
        &self,
        scope: &TenantScope,
        id: CommandId,
        mut news: Subscription,
    ) -> Result<Arc<Command>, CommandsError> {
        while let Some(heard) = news.next().await {
            match heard {
                Heard::Notice(notice) => {
                    if let Notice::Changed(command) = &*notice
                        && command.status().is_end()
                    {
                        return Ok(Arc::clone(command));
                    }
                }
                Heard::Missed => {
                    let command = self.find(scope, id).await?;
                    if command.status().is_end() {
                        return Ok(Arc::new(command));
                    }
                }
            }
        }
        Ok(Arc::new(self.find(scope, id).await?))
    }
}

impl From<DeskError> for CommandsError {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Denied(error) => error.into(),
            DeskError::Invalid(error) => error.into(),
            DeskError::KeyReused => Self::KeyReused,
            DeskError::Storage(error) => error.into(),
        }
    }
}

/// A command as a run has it.
fn template(spec: SpecRequest, expires_in: Option<Duration>) -> Template {
    Template {
        target: Target::default(),
        work: Work::Command(spec.into()),
        secrets: None,
        strategy: Strategy::default(),
        expires_in,
    }
}

/// Until when what is given at `now` may begin.
pub fn expiry(expires_in: Option<Duration>, now: Timestamp) -> Result<Timestamp, InvalidSpec> {
    let expires_in = expires_in.unwrap_or(DEFAULT_EXPIRES_IN);
    TimeDelta::from_std(expires_in)
        .ok()
        .filter(|_| !expires_in.is_zero() && expires_in <= MAX_EXPIRES_IN)
        .and_then(|expires_in| now.checked_add_signed(expires_in))
        .map(muster_kernel::time::to_micros)
        .ok_or_else(|| InvalidSpec {
            field: "expires_in",
            rule: "more than 0 and at most 31622400 seconds (366 days)".into(),
        })
}

/// What a machine reads when nobody says: what its system comes with.
pub const fn shell_of(os_type: OsType) -> ShellType {
    match os_type {
        OsType::Windows => ShellType::Powershell,
        OsType::Linux | OsType::Macos | OsType::Other => ShellType::Sh,
    }
}
