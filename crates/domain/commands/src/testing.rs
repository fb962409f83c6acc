//! A ledger in memory, a courier that remembers, and the contract that every ledger keeps.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use futures_util::FutureExt;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, Author, Clock, CommandId, Cursor, CustomerId, Page, PageRequest, RunId, StorageError,
    TenantScope, Timestamp, UserId, VersionId,
};
use parking_lot::Mutex;

use crate::runs::Run;
use crate::{
    Append, Command, CommandArchive, CommandFilter, CommandLedger, CommandRetention, Due, Effect,
    Entry, Event, Once, Outcome, OutputBytes, OutputChunk, OutputCompression, OutputStream,
    Recorded, Recording, Report, Requester, SafetyLevel, ScriptTexts, ShellType, Spec, State,
    Submitted, Waiting,
};

pub mod approvals;
mod carriers;
mod contract;
pub mod library;
pub mod local;
mod runs;
pub mod schedules;

pub use carriers::{FakeCourier, FakeFeed};
pub use contract::{Subject, contract};
pub use runs::{RunsSubject, run, runs_contract};

/// The instant at which examples happen.
pub fn noon() -> Timestamp {
    DateTime::from_timestamp_nanos(1_767_268_800_000_000_000)
}

/// A pending command; the same `seed` makes the same one. Its agent and customer follow from
/// nothing but the seed as well: see [`command_for`].
pub fn command(seed: u64) -> Command {
    let (clock, entropy) = (FakeClock::at(noon()), SeededEntropy::new(seed));
    let agent = AgentId::new(&clock, &entropy);
    let customer = CustomerId::new(&clock, &entropy);
    command_for(seed, agent, customer)
}

/// A pending command for `agent_id` of `customer_id`.
///
/// # Panics
/// When `seed` is no number of milliseconds.
pub fn command_for(seed: u64, agent_id: AgentId, customer_id: CustomerId) -> Command {
    let clock = FakeClock::at(noon() + TimeDelta::milliseconds(i64::try_from(seed).unwrap()));
    let entropy = SeededEntropy::new(seed.wrapping_add(1_000_000));
    Command {
        id: CommandId::new(&clock, &entropy),
        agent_id,
        customer_id,
        spec: Spec {
            command: format!("echo {seed}"),
            args: vec!["a b".into()],
            shell_type: ShellType::Sh,
            timeout: Duration::from_millis(1500),
            working_directory: Some("/tmp".into()),
            environment: [("A".to_owned(), "1".to_owned())].into(),
            script: None,
            secrets: None,
        },
        run_id: None,
        rollout_id: None,
        held: false,
        requested_by: Requester::User(UserId::new(&clock, &entropy)),
        safety_level: SafetyLevel::Safe,
        created_at: clock.now(),
        expires_at: clock.now() + TimeDelta::hours(1),
        dispatched_at: None,
        cancel_requested_at: None,
        state: State::Pending { accepted_at: None },
        output: OutputBytes::default(),
    }
}

/// A report of a good end.
pub fn completed(at: Timestamp) -> Report {
    Report {
        outcome: Outcome::Completed,
        at,
        exit_code: Some(0),
        execution_time: Some(Duration::from_millis(3)),
        written: OutputBytes::default(),
    }
}

#[derive(Debug, Default)]
struct Rows {
    commands: BTreeMap<CommandId, Command>,
    output: HashMap<(CommandId, OutputStream), Vec<u8>>,
    keys: HashMap<(String, String), ([u8; 32], CommandId)>,
    removed_agents: HashSet<AgentId>,
    compressed: HashSet<(CommandId, OutputStream)>,
    runs: BTreeMap<RunId, (Run, BTreeSet<CustomerId>)>,
    run_keys: HashMap<(String, String), ([u8; 32], RunId)>,
}

/// A ledger in memory. It commits at once.
#[derive(Debug, Default)]
pub struct FakeLedger(Mutex<Rows>);

impl FakeLedger {}

fn apply(rows: &mut Rows, agent_id: AgentId, id: CommandId, entry: Entry) -> Option<Recorded> {
    let command = rows.commands.get_mut(&id).filter(|command| command.agent_id == agent_id)?;
    let effect = match entry {
        Entry::Event(event) if command.apply(&event) => Effect::Changed,
        Entry::Cancel { at, .. } if command.apply(&Event::CancelRequested { at }) => {
            Effect::Changed
        }
        Entry::Event(_) | Entry::Cancel { .. } => Effect::Unchanged,
        Entry::Output { stream, offset, bytes } => {
            match command.place(stream, offset, bytes.len()) {
                Append::Gap => Effect::Gap,
                Append::Known => Effect::Unchanged,
                Append::From { skip } => {
                    let new = bytes.slice(skip..);
                    let offset = command.output.of(stream);
                    rows.output.entry((id, stream)).or_default().extend_from_slice(&new);
                    command.keep(stream, new.len());
                    Effect::Kept { offset, bytes: new }
                }
            }
        }
    };
    Some(Recorded { command: Arc::new(command.clone()), effect })
}

#[async_trait]
impl CommandLedger for FakeLedger {
    async fn submit(
        &self,
        command: Command,
        once: Option<Once>,
        _author: Author,
    ) -> Result<Submitted, StorageError> {
        let mut rows = self.0.lock();
        if let Some(once) = once {
            let key = (once.scope, once.key);
            match rows.keys.get(&key) {
                Some((fingerprint, id)) if *fingerprint == once.fingerprint => {
                    let known = rows.commands.get(id).cloned().expect("a key has its command");
                    return Ok(Submitted::Known(Arc::new(known)));
                }
                Some(_) => return Ok(Submitted::Conflict),
                None => rows.keys.insert(key, (once.fingerprint, command.id)),
            };
        }
        rows.commands.insert(command.id, command.clone());
        Ok(Submitted::New(Arc::new(command)))
    }

    fn record(&self, agent_id: AgentId, id: CommandId, entry: Entry) -> Recording {
        let recorded = apply(&mut self.0.lock(), agent_id, id, entry);
        async move { Ok(recorded) }.boxed()
    }
}

#[async_trait]
impl CommandRetention for FakeLedger {
    async fn forget(
        &self,
        before: Timestamp,
        limit: u64,
        _: &Author,
        _: Timestamp,
    ) -> Result<u64, StorageError> {
        let mut rows = self.0.lock();
        let old = |command: &&Command| command.end().is_some_and(|end| end.at < before);
        let ids: Vec<_> = rows.commands.values().filter(old).map(|command| command.id).collect();
        let ids: Vec<_> = ids.into_iter().take(usize::try_from(limit).unwrap()).collect();
        for id in &ids {
            rows.commands.remove(id);
            rows.output.retain(|(of, _), _| of != id);
        }
        Ok(u64::try_from(ids.len()).unwrap())
    }
}

#[async_trait]
impl OutputCompression for FakeLedger {
    async fn compress(&self, before: Timestamp, limit: u64) -> Result<u64, StorageError> {
        let mut rows = self.0.lock();
        let old = |id: &CommandId| rows.commands.get(id).is_some_and(|it| it.created_at < before);
        let new = rows.output.keys().filter(|it| old(&it.0) && !rows.compressed.contains(it));
        let new: Vec<_> = new.copied().take(usize::try_from(limit).unwrap()).collect();
        rows.compressed.extend(&new);
        Ok(u64::try_from(new.len()).unwrap())
    }
}

#[async_trait]
impl CommandArchive for FakeLedger {
    async fn find(
        &self,
        scope: &TenantScope,
        id: CommandId,
    ) -> Result<Option<Command>, StorageError> {
        let rows = self.0.lock();
        Ok(rows.commands.get(&id).filter(|c| scope.contains(c.customer_id)).cloned())
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &CommandFilter,
        page: &PageRequest,
    ) -> Result<Page<Command>, StorageError> {
        let rows = self.0.lock();
        let passes = |command: &&Command| {
            scope.contains(command.customer_id)
                && filter.agent_id.is_none_or(|id| command.agent_id == id)
                && filter.customer_id.is_none_or(|id| command.customer_id == id)
                && filter.run_id.is_none_or(|id| command.run_id == Some(id))
                && filter.rollout_id.is_none_or(|id| command.rollout_id == Some(id))
                && filter.status.is_none_or(|status| command.status() == status)
                && filter.requested_by.is_none_or(|id| command.requested_by.id() == id)
                && filter.safety_level.is_none_or(|level| command.safety_level == level)
                && filter.from.is_none_or(|from| command.created_at >= from)
                && filter.to.is_none_or(|to| command.created_at < to)
                && filter
                    .q
                    .as_ref()
                    .is_none_or(|q| command.spec.command.to_lowercase().contains(&q.to_lowercase()))
        };
        let all: Vec<_> = rows.commands.values().rev().filter(passes).collect();
        let total = u64::try_from(all.len()).unwrap();
        let before = page.cursor.as_ref().map(|cursor| CommandId::from_uuid(cursor.id));
        let items = all
            .into_iter()
            .filter(|command| before.is_none_or(|before| command.id < before))
            .take(usize::from(page.limit()) + 1)
            .cloned()
            .collect();
        Ok(Page::from_rows(items, page, total, |command| Cursor::after(command.id.as_uuid())))
    }

    async fn output(
        &self,
        id: CommandId,
        stream: OutputStream,
        from: u64,
        _enough: u64,
    ) -> Result<Vec<OutputChunk>, StorageError> {
        let rows = self.0.lock();
        let rest =
            rows.output.get(&(id, stream)).and_then(|all| all.get(usize::try_from(from).ok()?..));
        let rest = rest.filter(|rest| !rest.is_empty());
        Ok(rest
            .map(|rest| OutputChunk { offset: from, bytes: Bytes::copy_from_slice(rest) })
            .into_iter()
            .collect())
    }

    async fn in_flight(
        &self,
        agent_id: AgentId,
        journal: &[CommandId],
    ) -> Result<BTreeMap<CommandId, Command>, StorageError> {
        let rows = self.0.lock();
        let wanted = |(id, command): &(&CommandId, &Command)| {
            let open = command.dispatched_at.is_some() && !command.status().is_end();
            command.agent_id == agent_id && (open || journal.contains(id))
        };
        Ok(rows.commands.iter().filter(wanted).map(|(id, c)| (*id, c.clone())).collect())
    }

    async fn backlog(&self, agent_id: AgentId, limit: usize) -> Result<Vec<Command>, StorageError> {
        let rows = self.0.lock();
        let waiting = |command: &&Command| {
            command.agent_id == agent_id
                && command.dispatched_at.is_none()
                && !command.held
                && !command.status().is_end()
        };
        Ok(rows.commands.values().filter(waiting).take(limit).cloned().collect())
    }

    async fn waiting(&self, agents: &[AgentId]) -> Result<Vec<Waiting>, StorageError> {
        let rows = self.0.lock();
        let open = |command: &&Command| {
            agents.contains(&command.agent_id) && !command.status().is_end() && !command.held
        };
        let waiting = |command: &Command| match (command.dispatched_at, command.cancel_requested_at)
        {
            (None, _) => Some(Waiting::Backlog(command.agent_id)),
            (Some(_), Some(_)) => Some(Waiting::Cancel(command.agent_id, command.id)),
            (Some(_), None) => None,
        };
        let waiting: BTreeSet<_> =
            rows.commands.values().filter(open).filter_map(waiting).collect();
        Ok(waiting.into_iter().collect())
    }

    async fn unaccepted(
        &self,
        agents: &[AgentId],
        before: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Command>, StorageError> {
        let rows = self.0.lock();
        let wanted = |command: &&Command| {
            agents.contains(&command.agent_id)
                && command.state == State::Pending { accepted_at: None }
                && command.dispatched_at.is_some_and(|at| at < before)
                && command.cancel_requested_at.is_none()
                && command.expires_at > now
        };
        Ok(rows.commands.values().filter(wanted).cloned().collect())
    }

    async fn due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(AgentId, CommandId, Due)>, StorageError> {
        let rows = self.0.lock();
        let reason = |command: &Command| {
            if command.status().is_end() {
                None
            } else if rows.removed_agents.contains(&command.agent_id) {
                Some(Due::AgentRemoved)
            } else {
                (!command.is_accepted() && command.expires_at <= now).then_some(Due::Expired)
            }
        };
        let due = rows.commands.values().filter_map(|c| Some((c.agent_id, c.id, reason(c)?)));
        Ok(due.take(limit).collect())
    }
}

/// Texts of scripts in memory.
#[derive(Debug, Default)]
pub struct FakeTexts(Mutex<HashMap<VersionId, Arc<str>>>);

impl FakeTexts {
    /// Keeps a text.
    pub fn keep(&self, version: VersionId, text: &str) {
        self.0.lock().insert(version, text.into());
    }
}

#[async_trait]
impl ScriptTexts for FakeTexts {
    async fn text(&self, version: VersionId) -> Result<Option<Arc<str>>, StorageError> {
        Ok(self.0.lock().get(&version).cloned())
    }
}

/// Turns an event into an entry.
pub fn event(event: Event) -> Entry {
    Entry::Event(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fake_keeps_the_contract() {
        let ledger = FakeLedger::default();
        let example = command(1);
        contract(&Subject {
            ledger: &ledger,
            agent: (example.agent_id, example.customer_id),
            other_agent: (command(2).agent_id, command(2).customer_id),
        })
        .await;
    }
}
