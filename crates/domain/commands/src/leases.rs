//! Commands for agents that keep no journal that could be compared. To those that ask in plain
//! requests and say what they have got, a command is leased: it comes again when nothing is heard of
//! it. Those of older products only tell results: they are [entrusted](Leases::entrust) with it, once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::future::try_join_all;
use muster_kernel::{
    AgentId, Clock, CommandId, Denied, Dialect, Permit, StorageError, TenantScope, Timestamp, act,
};
use parking_lot::Mutex;

use crate::ports::{CommandArchive, Effect, Entry};
use crate::{
    AgentChannel, Command, Event, Failure, Outcome, OutputBytes, OutputStream, Payload,
    PayloadError, Payloads, PlainCommand, Report, State, UNSUPPORTED,
};

/// How long a command that was handed out is not handed out again: two heartbeats.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// How many commands such an agent has at a time.
const AT_ONCE: usize = 16;
/// How much longer than its timeout a command may take until its result is here.
pub const RESULT_PATIENCE: TimeDelta = TimeDelta::minutes(2);
/// How many commands an agent of an older product has at a time. It may do one after the other, and
/// the time of each runs from when it got it.
const FEW: usize = 4;

/// Why something of this could not be done.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The agent has no such command.
    #[error("there is no such command, or it is not yours")]
    NotFound,
    /// The asker is no agent.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A command with all that it needs.
#[derive(Debug, Clone)]
pub struct Leased {
    /// The command.
    pub command: Arc<Command>,
    /// What it needs beside itself.
    pub payload: Payload,
    /// Until when it does not come again.
    pub until: Timestamp,
}

/// What an agent of an older product is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handout {
    /// As it takes them, the oldest first.
    pub commands: Vec<PlainCommand>,
    /// Whether there is more when it has done some of what it has.
    pub more: bool,
    /// When something that it has is given up unless it says how that ended.
    pub look_again_at: Option<Timestamp>,
}

/// What an agent says of a command in a plain request.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// It has it: it does not come again.
    Accepted,
    /// It runs.
    Started,
    /// It has ended.
    Finished {
        /// How.
        outcome: Outcome,
        /// The process's exit code, when it had one.
        exit_code: Option<i32>,
        /// From the start of the process to its end.
        execution_time: Option<Duration>,
        /// All that it wrote to its standard output.
        stdout: Bytes,
        /// All that it wrote to its standard error.
        stderr: Bytes,
    },
}

/// Commands for agents that ask for them in plain requests.
#[derive(Debug, Clone)]
pub struct Leases {
    channel: AgentChannel,
    archive: Arc<dyn CommandArchive>,
    payloads: Payloads,
    clock: Arc<dyn Clock>,
    output_limit: usize,
    /// When this process last handed a command out again.
    renewed: Arc<Mutex<HashMap<CommandId, Timestamp>>>,
}

/// What is to be done about a command that was handed out.
#[derive(Debug, PartialEq)]
enum Standing {
    /// Nothing yet.
    Wait,
    /// It is handed out again.
    Again,
    /// Nobody will end it.
    Over(Event),
}

impl Leases {
    /// Made of its ports; of each stream of a command at most `output_limit` bytes are kept.
    pub fn new(
        channel: AgentChannel,
        archive: Arc<dyn CommandArchive>,
        payloads: Payloads,
        clock: Arc<dyn Clock>,
        output_limit: usize,
    ) -> Self {
        Self { channel, archive, payloads, clock, output_limit, renewed: Arc::default() }
    }

    /// What the agent that asks is to run now: what nobody had yet, and what it got a minute ago
    /// and said nothing of.
    ///
    /// # Errors
    /// [`LeaseError::Storage`]; what was recorded as handed out by then comes when its lease ends.
    pub async fn take(
        &self,
        permit: &Permit<act::ReportAsAgent>,
    ) -> Result<Vec<Leased>, LeaseError> {
        let agent_id = permit.agent()?;
        let now = self.clock.now();
        let held = self.archive.in_flight(agent_id, &[]).await?;
        let room = AT_ONCE.saturating_sub(held.len());
        let mut commands = Vec::new();
        for command in held.into_values() {
            match self.standing(&command, now) {
                Standing::Wait => {}
                Standing::Again => commands.push(Arc::new(command)),
                Standing::Over(event) => {
                    self.channel.record(agent_id, command.id, Entry::Event(event)).await?;
                }
            }
        }
        self.renew(&commands, now);
        if room > 0 {
            commands.extend(self.channel.next(agent_id, room).await?.0);
        }
        self.equip(agent_id, commands, now).await
    }

    /// Takes what the agent that asks says of a command. The same again changes nothing.
    ///
    /// # Errors
    /// [`LeaseError::NotFound`] when the agent has no such command.
    pub async fn report(
        &self,
        permit: &Permit<act::ReportAsAgent>,
        id: CommandId,
        said: Said,
    ) -> Result<Arc<Command>, LeaseError> {
        self.hear(permit.agent()?, id, said).await
    }

    /// Takes what the agent says of a command, which was proved to be the agent.
    ///
    /// # Errors
    /// [`LeaseError::NotFound`] when the agent has no such command.
    pub async fn hear(
        &self,
        agent_id: AgentId,
        id: CommandId,
        said: Said,
    ) -> Result<Arc<Command>, LeaseError> {
        let mut known = self.archive.in_flight(agent_id, &[id]).await?;
        let command = known.remove(&id).ok_or(LeaseError::NotFound)?;
        // What has ended stays as it ended, its output as well.
        if command.end().is_some() && !command.awaits_the_agents_word() {
            return Ok(Arc::new(command));
        }
        let entries = self.entries(said, self.clock.now());
        let recorded = entries.into_iter().map(|entry| self.channel.record(agent_id, id, entry));
        let recorded = try_join_all(recorded.collect::<Vec<_>>()).await?;
        let last = recorded.into_iter().flatten().next_back();
        last.map(|recorded| recorded.command).ok_or(LeaseError::NotFound)
    }

    /// What an agent of an older product is to run, as it takes it, the oldest first. It may only be
    /// given what it was [entrusted](Self::entrust) with then.
    ///
    /// # Errors
    /// [`LeaseError::Storage`]; nothing is lost by it.
    pub async fn waiting(
        &self,
        agent_id: AgentId,
        dialect: Dialect,
    ) -> Result<Handout, LeaseError> {
        let now = self.clock.now();
        let held = self.archive.in_flight(agent_id, &[]).await?;
        let (mut commands, mut running, mut look_again_at) = (Vec::new(), 0_usize, None);
        for command in held.into_values() {
            match once(&command, now) {
                Standing::Wait => {
                    running += usize::from(command.end().is_none());
                    look_again_at =
                        [look_again_at, command.given_up_at()].into_iter().flatten().min();
                }
                Standing::Again => commands.push(Arc::new(command)),
                Standing::Over(event) => {
                    self.channel.record(agent_id, command.id, Entry::Event(event)).await?;
                }
            }
        }
        let room = FEW.saturating_sub(running);
        if let Some(missing) = room.checked_sub(commands.len()).filter(|missing| *missing > 0) {
            commands.extend(self.channel.next(agent_id, missing).await?.0);
        }
        commands.sort_by_key(|command| command.id);
        // Whoever has as many as it may have asks again when one of them has ended.
        let more = commands.len() >= room;
        commands.truncate(room);
        let mut sayable = Vec::with_capacity(commands.len());
        for Leased { command, payload, .. } in self.equip(agent_id, commands, now).await? {
            match PlainCommand::of(dialect, &command, &payload) {
                Ok(plain) => sayable.push(plain),
                Err(reason) => {
                    let outcome = Said::failure(UNSUPPORTED, Some(reason.to_string()));
                    self.end(agent_id, command.id, outcome, now).await?;
                }
            }
        }
        Ok(Handout { commands: sayable, more, look_again_at })
    }

    /// Records that the agent runs the command from now on; it is to be given it if this says until
    /// when its result is waited for: only if nobody was before, and it has not ended. Whatever
    /// becomes of the message, it is not given it again.
    ///
    /// # Errors
    /// When the storage fails; the agent must not be given it then.
    pub async fn entrust(
        &self,
        agent_id: AgentId,
        id: CommandId,
    ) -> Result<Option<Timestamp>, StorageError> {
        let entrusted = Entry::Event(Event::Entrusted { at: self.clock.now() });
        let recorded = self.channel.record(agent_id, id, entrusted).await?;
        let begun = recorded.filter(|recorded| recorded.effect == Effect::Changed);
        Ok(begun.and_then(|recorded| recorded.command.given_up_at()))
    }

    /// The agent that has this command.
    ///
    /// # Errors
    /// [`LeaseError::NotFound`] when there is no such command.
    pub async fn holder(&self, id: CommandId) -> Result<AgentId, LeaseError> {
        let command = self.archive.find(&TenantScope::All, id).await?;
        command.map(|command| command.agent_id).ok_or(LeaseError::NotFound)
    }

    async fn end(
        &self,
        agent_id: AgentId,
        id: CommandId,
        outcome: Outcome,
        at: Timestamp,
    ) -> Result<(), StorageError> {
        let written = OutputBytes::default();
        let report = Report { outcome, at, exit_code: None, execution_time: None, written };
        self.channel.record(agent_id, id, Entry::Event(Event::Finished(report))).await?;
        Ok(())
    }

    fn entries(&self, said: Said, at: Timestamp) -> Vec<Entry> {
        match said {
            Said::Accepted => vec![Entry::Event(Event::Accepted { at })],
            Said::Started => vec![Entry::Event(Event::Started { at, pid: None })],
            Said::Finished { outcome, exit_code, execution_time, stdout, stderr } => {
                let length = |bytes: &Bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let written = OutputBytes { stdout: length(&stdout), stderr: length(&stderr) };
                let output = |stream, mut bytes: Bytes| {
                    bytes.truncate(self.output_limit);
                    let kept = !bytes.is_empty();
                    kept.then_some(Entry::Output { stream, offset: 0, bytes })
                };
                let output =
                    [output(OutputStream::Stdout, stdout), output(OutputStream::Stderr, stderr)];
                let report = Report { outcome, at, exit_code, execution_time, written };
                let end = Entry::Event(Event::Finished(report));
                output.into_iter().flatten().chain([end]).collect()
            }
        }
    }

    fn standing(&self, command: &Command, now: Timestamp) -> Standing {
        if let Some(standing) = taken(command, now) {
            return standing;
        }
        let handed_out = command.dispatched_at.max(self.renewed.lock().get(&command.id).copied());
        if handed_out.is_some_and(|at| now < at + LEASE) {
            Standing::Wait
        } else if command.cancel_requested_at.is_some() || now >= command.expires_at {
            Standing::Over(Event::Expired { at: now })
        } else {
            Standing::Again
        }
    }

    fn renew(&self, commands: &[Arc<Command>], now: Timestamp) {
        let mut renewed = self.renewed.lock();
        renewed.retain(|_, at| now < *at + LEASE);
        renewed.extend(commands.iter().map(|command| (command.id, now)));
    }

    async fn equip(
        &self,
        agent_id: AgentId,
        commands: Vec<Arc<Command>>,
        now: Timestamp,
    ) -> Result<Vec<Leased>, LeaseError> {
        let mut leased = Vec::with_capacity(commands.len());
        for command in commands {
            match self.payloads.of(&command).await {
                Ok(payload) => leased.push(Leased { command, payload, until: now + LEASE }),
                Err(error) => self.give_up(agent_id, command.id, error, now).await?,
            }
        }
        Ok(leased)
    }

    async fn give_up(
        &self,
        agent_id: AgentId,
        id: CommandId,
        error: PayloadError,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let verdict = error.verdict(now)?;
        self.channel.record(agent_id, id, Entry::Event(verdict)).await?;
        Ok(())
    }
}

/// What is to be done about a command that the agent is known to have; `None` when it is not.
fn taken(command: &Command, now: Timestamp) -> Option<Standing> {
    if command.end().is_some() {
        return Some(Standing::Wait);
    }
    let over = now > command.given_up_at()?;
    Some(if over { Standing::Over(Event::Unheard { at: now }) } else { Standing::Wait })
}

impl Command {
    /// Until when the result of a command is waited for that an agent without a journal has.
    pub fn given_up_at(&self) -> Option<Timestamp> {
        let since = match self.state {
            State::Pending { accepted_at } => accepted_at?,
            State::Running { started_at, .. } => started_at,
            State::Ended { .. } => return None,
        };
        let timeout = TimeDelta::from_std(self.spec.timeout).unwrap_or(TimeDelta::MAX);
        let patience = timeout.checked_add(&RESULT_PATIENCE).unwrap_or(TimeDelta::MAX);
        Some(since.checked_add_signed(patience).unwrap_or(Timestamp::MAX_UTC))
    }
}

/// The same for an agent that is given nothing twice: what is not recorded as running has not left.
fn once(command: &Command, now: Timestamp) -> Standing {
    let left = taken(command, now);
    left.unwrap_or_else(|| {
        if command.cancel_requested_at.is_some() || now >= command.expires_at {
            Standing::Over(Event::Expired { at: now })
        } else {
            Standing::Again
        }
    })
}

/// The exit code that a system means which tells it without a sign, as Windows does: 3221225477 is
/// -1073741819.
pub fn exit_code(told: i64) -> i32 {
    let unsigned = |told| u32::try_from(told).map_or(i32::MAX, u32::cast_signed);
    i32::try_from(told).unwrap_or_else(|_| unsigned(told))
}

impl Said {
    /// An end that is no good one, with its code for machines.
    pub fn failure(code: &str, detail: Option<String>) -> Outcome {
        Outcome::Failed(Failure { code: code.to_owned(), detail })
    }
}

#[cfg(test)]
mod tests;
