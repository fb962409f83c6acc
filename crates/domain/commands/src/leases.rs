//! Commands for agents that ask for them in plain requests. They keep no journal that could be
//! compared, so what is handed out is leased: it comes again when nothing is heard of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::future::try_join_all;
use muster_kernel::{AgentId, Clock, CommandId, Denied, Permit, StorageError, Timestamp, act};
use parking_lot::Mutex;

use crate::ports::{CommandArchive, Entry};
use crate::{
    AgentChannel, Command, Event, Failure, Outcome, OutputBytes, OutputStream, Payload,
    PayloadError, Payloads, Report, State,
};

/// How long a command that was handed out is not handed out again: two heartbeats.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// How many commands such an agent has at a time.
const AT_ONCE: usize = 16;
/// How much longer than its timeout a command may take until its result is here.
const PATIENCE: TimeDelta = TimeDelta::minutes(2);

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
        let agent_id = permit.agent()?;
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
        let since = match command.state {
            State::Pending { accepted_at } => accepted_at,
            State::Running { started_at, .. } => Some(started_at),
            State::Ended { .. } => return Standing::Wait,
        };
        if let Some(since) = since {
            let timeout = TimeDelta::from_std(command.spec.timeout).unwrap_or(TimeDelta::MAX);
            let over = since.checked_add_signed(timeout).is_some_and(|end| now > end + PATIENCE);
            return if over { Standing::Over(Event::Lost { at: now }) } else { Standing::Wait };
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

impl Said {
    /// An end that is no good one, with its code for machines.
    pub fn failure(code: &str, detail: Option<String>) -> Outcome {
        Outcome::Failed(Failure { code: code.to_owned(), detail })
    }
}

#[cfg(test)]
mod tests;
