//! What an agent's connection does with commands.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::try_join_all;
use muster_kernel::{AgentId, Clock, CommandId, StorageError};

use crate::ports::{
    CommandArchive, CommandFeed, CommandLedger, Effect, Entry, Notice, Recorded, Recording,
};
use crate::reconcile::{Progress, Step, reconcile};
use crate::through::through;
use crate::{Command, Event, OutputStream};

/// What an agent's connection does with commands.
#[derive(Debug, Clone)]
pub struct AgentChannel {
    ledger: Arc<dyn CommandLedger>,
    archive: Arc<dyn CommandArchive>,
    feed: Arc<dyn CommandFeed>,
    clock: Arc<dyn Clock>,
}

/// What a new connection begins with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Opening {
    /// The agent has these; their output and results are taken up where they were left.
    pub resume: Vec<Arc<Command>>,
    /// Of these, the ones that are to end.
    pub cancel: Vec<CommandId>,
    /// The agent does not have these and is to get them.
    pub deliver: Vec<Arc<Command>>,
    /// The agent may forget these.
    pub acknowledge: Vec<CommandId>,
}

impl AgentChannel {
    /// Made of its ports.
    pub fn new(
        ledger: Arc<dyn CommandLedger>,
        archive: Arc<dyn CommandArchive>,
        feed: Arc<dyn CommandFeed>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { ledger, archive, feed, clock }
    }

    /// Settles what server and agent owe each other, given the agent's journal.
    ///
    /// # Errors
    /// When the storage fails; nothing is settled then and the connection must not go on.
    pub async fn open(
        &self,
        agent_id: AgentId,
        journal: &BTreeMap<CommandId, Progress>,
    ) -> Result<Opening, StorageError> {
        let ids: Vec<_> = journal.keys().copied().collect();
        let commands = self.archive.in_flight(agent_id, &ids).await?;
        let now = self.clock.now();
        let mut opening = Opening::default();
        let mut recordings = Vec::new();
        for (id, step) in reconcile(&commands, journal, now) {
            let command = || commands.get(&id).cloned().map(Arc::new);
            match step {
                Step::Resume => opening.resume.extend(command()),
                Step::ResumeAndCancel => {
                    opening.resume.extend(command());
                    opening.cancel.push(id);
                }
                Step::Deliver => opening.deliver.extend(command()),
                Step::Acknowledge => opening.acknowledge.push(id),
                Step::Record(closing) => {
                    recordings.push(self.record(agent_id, id, Entry::Event(closing.event(now))));
                }
            }
        }
        try_join_all(recordings).await?;
        Ok(opening)
    }

    /// Records what the agent says, in the order of the calls, and tells listeners after the
    /// commit, whether or not anybody waits for the future.
    pub fn record(&self, agent_id: AgentId, id: CommandId, entry: Entry) -> Recording {
        let stream = match &entry {
            Entry::Output { stream, .. } => Some(*stream),
            Entry::Event(_) | Entry::Cancel { .. } => None,
        };
        let recording = self.ledger.record(agent_id, id, entry);
        let feed = Arc::clone(&self.feed);
        // Seen through, whoever waits: a change that listeners did not hear of is never told again.
        let told = through(async move {
            let recorded = recording.await?;
            if let Some(recorded) = &recorded
                && let Some(notice) = notice(recorded, stream)
            {
                feed.publish(&recorded.command, notice);
            }
            Ok(recorded)
        });
        async move { told.await? }.boxed()
    }

    /// The agent's oldest commands that nobody had yet, at most `room`, recorded as dispatched:
    /// they are to be sent now. The second value says whether there may be more.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn next(
        &self,
        agent_id: AgentId,
        room: usize,
    ) -> Result<(Vec<Arc<Command>>, bool), StorageError> {
        let waiting = self.archive.backlog(agent_id, room).await?;
        let at = self.clock.now();
        let dispatches = waiting.iter().map(|command| {
            self.record(agent_id, command.id, Entry::Event(Event::Dispatched { at }))
        });
        let recorded = try_join_all(dispatches.collect::<Vec<_>>()).await?;
        // One that was cancelled or expired in between has ended and stays.
        let live = |command: &Arc<Command>| !command.status().is_end();
        let more = waiting.len() == room;
        let commands = recorded.into_iter().flatten().map(|recorded| recorded.command);
        Ok((commands.filter(live).collect(), more))
    }
}

fn notice(recorded: &Recorded, stream: Option<OutputStream>) -> Option<Notice> {
    match (&recorded.effect, stream) {
        (Effect::Changed, _) => Some(Notice::Changed(Arc::clone(&recorded.command))),
        (Effect::Kept { offset, bytes }, Some(stream)) => {
            Some(Notice::Output { stream, offset: *offset, bytes: bytes.clone() })
        }
        (Effect::Kept { .. }, None) | (Effect::Unchanged | Effect::Gap, _) => None,
    }
}
