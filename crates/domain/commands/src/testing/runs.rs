//! Runs in memory, beside their commands, and the contract that every repository of runs keeps.
#![expect(clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, Author, CommandId, Cursor, CustomerId, Page, PageRequest, RunId, StorageError,
    TenantScope, Timestamp, UserId,
};

use super::{FakeLedger, Rows, command_for, completed, noon};
use crate::runs::{
    Begun, Member, Run, RunChange, RunFilter, RunRepository, RunStatus, StopReason, Strategy,
    Tally, Target, Template, Wording, Work,
};
use crate::{
    Command, CommandArchive, CommandLedger, Entry, Event, Failure, Once, Outcome, Report,
    Requester, SafetyLevel, Status,
};

/// A run of `total` machines that nothing has happened to.
pub fn run(seed: u64, total: u32) -> Run {
    let at = noon() + TimeDelta::milliseconds(i64::try_from(seed).unwrap_or(0));
    let (clock, entropy) = (FakeClock::at(at), SeededEntropy::new(seed.wrapping_add(5_000_000)));
    let wording = Wording { command: format!("echo {seed}"), ..Wording::default() };
    Run {
        id: RunId::new(&clock, &entropy),
        template: Template {
            target: Target { tags: ["web".to_owned()].into(), ..Target::default() },
            work: Work::Command(wording),
            secrets: None,
            strategy: Strategy { canary: Some(1), ..Strategy::default() },
            expires_in: Some(std::time::Duration::from_mins(5)),
        },
        summary: format!("echo {seed}"),
        requested_by: Requester::User(UserId::new(&clock, &entropy)),
        safety_level: SafetyLevel::Safe,
        retry_of: None,
        schedule_id: None,
        created_at: at,
        expires_at: at + TimeDelta::minutes(5),
        status: RunStatus::Running,
        stop: None,
        finished_at: None,
        tally: Tally { held: total, ..Tally::default() },
        customer_id: None,
    }
}

fn customers(rows: &Rows, id: RunId) -> impl Iterator<Item = &CustomerId> {
    rows.runs.get(&id).into_iter().flat_map(|(_, customers)| customers)
}

fn visible(rows: &Rows, scope: &TenantScope, id: RunId) -> bool {
    customers(rows, id).all(|customer| scope.contains(*customer))
}

#[async_trait]
impl RunRepository for FakeLedger {
    async fn begin(
        &self,
        run: Run,
        commands: Vec<Command>,
        once: Option<Once>,
        _author: Author,
    ) -> Result<Begun, StorageError> {
        let mut rows = self.0.lock();
        if let Some(once) = once {
            let key = (once.scope, once.key);
            match rows.run_keys.get(&key) {
                Some((fingerprint, id)) if *fingerprint == once.fingerprint => {
                    return Ok(Begun::Known(*id));
                }
                Some(_) => return Ok(Begun::Conflict),
                None => rows.run_keys.insert(key, (once.fingerprint, run.id)),
            };
        }
        let customers = commands.iter().map(|command| command.customer_id).collect();
        rows.runs.insert(run.id, (run, customers));
        rows.commands.extend(commands.into_iter().map(|command| (command.id, command)));
        Ok(Begun::New)
    }

    async fn find(&self, scope: &TenantScope, id: RunId) -> Result<Option<Run>, StorageError> {
        let rows = self.0.lock();
        let run = rows.runs.get(&id).filter(|_| visible(&rows, scope, id));
        Ok(run.map(|(run, _)| run.clone()))
    }

    async fn known(&self, scope: &str, key: &str) -> Result<Option<RunId>, StorageError> {
        let rows = self.0.lock();
        let known = rows.run_keys.get(&(scope.to_owned(), key.to_owned()));
        Ok(known.map(|(_, id)| *id))
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &RunFilter,
        page: &PageRequest,
    ) -> Result<Page<Run>, StorageError> {
        let rows = self.0.lock();
        let passes = |run: &&Run| {
            let q = filter.q.as_ref().map(|q| q.to_lowercase());
            visible(&rows, scope, run.id)
                && filter.status.is_none_or(|status| run.status == status)
                && filter.customer_id.is_none_or(|id| customers(&rows, run.id).any(|it| *it == id))
                && filter.requested_by.is_none_or(|id| run.requested_by.id() == id)
                && filter.schedule_id.is_none_or(|id| run.schedule_id == Some(id))
                && filter.retry_of.is_none_or(|id| run.retry_of == Some(id))
                && q.is_none_or(|q| run.summary.to_lowercase().contains(&q))
        };
        let all: Vec<_> = rows.runs.values().rev().map(|(run, _)| run).filter(passes).collect();
        let total = u64::try_from(all.len()).unwrap();
        let before = page.cursor.as_ref().map(|cursor| RunId::from_uuid(cursor.id));
        let items = all
            .into_iter()
            .filter(|run| before.is_none_or(|before| run.id < before))
            .take(usize::from(page.limit()) + 1)
            .cloned()
            .collect();
        Ok(Page::from_rows(items, page, total, |run| Cursor::after(run.id.as_uuid())))
    }

    async fn active(&self) -> Result<Vec<Run>, StorageError> {
        let rows = self.0.lock();
        let open = rows.runs.values().filter(|(run, _)| !run.status.is_end());
        Ok(open.map(|(run, _)| run.clone()).collect())
    }

    async fn members(&self, id: RunId) -> Result<Vec<Member>, StorageError> {
        let rows = self.0.lock();
        let of_run = rows.commands.values().filter(|command| command.run_id == Some(id));
        let member = |command: &Command| Member {
            command_id: command.id,
            agent_id: command.agent_id,
            customer_id: command.customer_id,
            status: command.status(),
            held: command.held,
        };
        Ok(of_run.map(member).collect())
    }

    async fn tallies(&self, ids: &[RunId]) -> Result<BTreeMap<RunId, Tally>, StorageError> {
        let rows = self.0.lock();
        let mut tallies = BTreeMap::<_, Tally>::new();
        for command in rows.commands.values() {
            if let Some(run) = command.run_id.filter(|run| ids.contains(run)) {
                *tallies.entry(run).or_default().of_mut(command.status(), command.held) += 1;
            }
        }
        Ok(tallies)
    }

    async fn commands(&self, ids: &[CommandId]) -> Result<Vec<Command>, StorageError> {
        let rows = self.0.lock();
        let of_runs = ids.iter().filter_map(|id| rows.commands.get(id));
        Ok(of_runs.filter(|command| command.run_id.is_some()).cloned().collect())
    }

    async fn ended(&self, id: RunId, statuses: &[Status]) -> Result<Vec<Command>, StorageError> {
        let rows = self.0.lock();
        let of_run = rows.commands.values().filter(|command| command.run_id == Some(id));
        Ok(of_run.filter(|command| statuses.contains(&command.status())).cloned().collect())
    }

    async fn change(
        &self,
        id: RunId,
        change: RunChange,
        _author: &Author,
        _now: Timestamp,
    ) -> Result<Option<(Arc<Run>, bool)>, StorageError> {
        let mut rows = self.0.lock();
        let Some((run, _)) = rows.runs.get_mut(&id) else { return Ok(None) };
        let changed = change.apply(run);
        Ok(Some((Arc::new(run.clone()), changed)))
    }
}

/// What the suite needs: no runs, and two agents of two customers.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct RunsSubject<'a, R, L> {
    pub runs: &'a R,
    pub ledger: &'a L,
    pub agent: (AgentId, CustomerId),
    pub other_agent: (AgentId, CustomerId),
}

/// The contract of [`RunRepository`].
///
/// # Panics
/// When the repository breaks it.
pub async fn runs_contract<R: RunRepository, L: CommandLedger + CommandArchive>(
    subject: &RunsSubject<'_, R, L>,
) {
    a_run_is_kept_with_all_its_commands_or_not_at_all(subject).await;
    a_run_is_seen_by_those_who_see_all_its_machines(subject).await;
    what_is_held_back_is_nobodys_until_it_is_let_go(subject).await;
    a_run_is_stopped_once_and_ends_once(subject).await;
}

impl<R: RunRepository, L: CommandLedger> RunsSubject<'_, R, L> {
    async fn begun(&self, seed: u64, agents: &[(AgentId, CustomerId)]) -> (Run, Vec<Command>) {
        let run = run(seed, u32::try_from(agents.len()).unwrap());
        let commands: Vec<_> = (0..)
            .zip(agents)
            .map(|(number, (agent, customer))| Command {
                run_id: Some(run.id),
                held: true,
                ..command_for(seed * 100 + number, *agent, *customer)
            })
            .collect();
        let begun = self.runs.begin(run.clone(), commands.clone(), None, Author::system()).await;
        assert_eq!(begun.unwrap(), Begun::New);
        (run, commands)
    }

    async fn happens(&self, command: &Command, event: Event) {
        let entry = Entry::Event(event);
        self.ledger.record(command.agent_id, command.id, entry).await.unwrap().unwrap();
    }
}

async fn a_run_is_kept_with_all_its_commands_or_not_at_all<R: RunRepository, L>(
    subject: &RunsSubject<'_, R, L>,
) where
    L: CommandLedger + CommandArchive,
{
    let (mine, other) = (subject.agent, subject.other_agent);
    let (kept, commands) = subject.begun(901, &[mine, other, mine]).await;
    assert_eq!(subject.runs.find(&TenantScope::All, kept.id).await.unwrap(), Some(kept.clone()));
    for command in &commands {
        let found = subject.ledger.find(&TenantScope::All, command.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(command));
    }
    let mut members = subject.runs.members(kept.id).await.unwrap();
    members.retain(|member| member.held && member.status == Status::Pending);
    assert_eq!(members.len(), 3);
    let counted = subject.runs.tallies(&[kept.id]).await.unwrap();
    assert_eq!(counted[&kept.id], Tally { held: 3, ..Tally::default() });

    let again = run(902, 1);
    let once = |fingerprint| {
        Some(Once { scope: "s".into(), key: "k".into(), fingerprint: [fingerprint; 32] })
    };
    let begin = async |run: Run, fingerprint| {
        subject.runs.begin(run, Vec::new(), once(fingerprint), Author::system()).await.unwrap()
    };
    assert_eq!(begin(again.clone(), 1).await, Begun::New);
    assert_eq!(begin(run(903, 1), 1).await, Begun::Known(again.id));
    assert_eq!(begin(run(904, 1), 2).await, Begun::Conflict);
    assert_eq!(subject.runs.known("s", "k").await.unwrap(), Some(again.id));
    assert_eq!(subject.runs.known("s", "other").await.unwrap(), None);
    assert_eq!(subject.runs.find(&TenantScope::All, run(903, 1).id).await.unwrap(), None);
    let over = RunChange::Ended(RunStatus::Completed, Tally::default(), noon());
    for id in [kept.id, again.id] {
        subject.runs.change(id, over, &Author::system(), noon()).await.unwrap();
    }
}

async fn a_run_is_seen_by_those_who_see_all_its_machines<R: RunRepository, L>(
    subject: &RunsSubject<'_, R, L>,
) where
    L: CommandLedger + CommandArchive,
{
    let (mine, other) = (subject.agent, subject.other_agent);
    let (own, _) = subject.begun(911, &[mine]).await;
    let (both, _) = subject.begun(912, &[mine, other]).await;
    let one = TenantScope::one(mine.1);
    let two = TenantScope::Customers([mine.1, other.1].into());
    let nobody = TenantScope::Customers([].into());
    let finds = async |scope: &TenantScope, run: &Run| {
        subject.runs.find(scope, run.id).await.unwrap().is_some()
    };
    assert!(finds(&one, &own).await && finds(&two, &own).await && finds(&two, &both).await);
    assert!(!finds(&one, &both).await && !finds(&nobody, &own).await);
    assert!(!finds(&TenantScope::one(other.1), &own).await);

    let ids = async |scope: &TenantScope, filter: RunFilter| {
        let page = subject.runs.list(scope, &filter, &PageRequest::default()).await.unwrap();
        assert_eq!(page.total, u64::try_from(page.items.len()).unwrap());
        page.items.into_iter().map(|run| run.id).collect::<Vec<_>>()
    };
    let running = RunFilter { status: Some(RunStatus::Running), ..RunFilter::default() };
    assert_eq!(ids(&one, running.clone()).await, [own.id]);
    assert_eq!(ids(&two, running.clone()).await, [both.id, own.id], "the newest first");
    let of_other = RunFilter { customer_id: Some(other.1), ..running.clone() };
    assert_eq!(ids(&TenantScope::All, of_other).await, [both.id]);
    let by = RunFilter { requested_by: Some(own.requested_by.id()), ..RunFilter::default() };
    assert_eq!(ids(&TenantScope::All, by).await, [own.id]);
    let text = RunFilter { q: Some("ECHO 911".into()), ..RunFilter::default() };
    assert_eq!(ids(&TenantScope::All, text).await, [own.id]);
    let again = RunFilter { retry_of: Some(own.id), ..RunFilter::default() };
    assert!(ids(&TenantScope::All, again).await.is_empty());
    let active: Vec<_> =
        subject.runs.active().await.unwrap().into_iter().map(|run| run.id).collect();
    assert_eq!(active, [own.id, both.id], "the oldest first");
    let first = subject.runs.list(&two, &running, &PageRequest::new(1, None)).await.unwrap();
    let rest = PageRequest::new(1, first.next_cursor);
    let rest = subject.runs.list(&two, &running, &rest).await.unwrap();
    assert_eq!((rest.items[0].id, rest.next_cursor), (own.id, None));
}

async fn what_is_held_back_is_nobodys_until_it_is_let_go<R: RunRepository, L>(
    subject: &RunsSubject<'_, R, L>,
) where
    L: CommandLedger + CommandArchive,
{
    let (run, commands) = subject.begun(921, &[subject.agent, subject.agent]).await;
    let (first, second) = (&commands[0], &commands[1]);
    let waiting = async || {
        let backlog = subject.ledger.backlog(subject.agent.0, 1000).await.unwrap();
        backlog
            .into_iter()
            .filter(|it| it.run_id == Some(run.id))
            .map(|it| it.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(waiting().await, []);
    let at = noon();
    subject.happens(first, Event::Dispatched { at }).await;
    subject.happens(first, Event::Released { at }).await;
    assert_eq!(waiting().await, [first.id], "and nobody has it");
    subject.happens(first, Event::Dispatched { at }).await;
    let failure = Failure { code: "EXIT_CODE".into(), detail: None };
    let report = Report { outcome: Outcome::Failed(failure), ..completed(at) };
    subject.happens(first, Event::Finished(report)).await;
    subject.happens(second, Event::CancelRequested { at }).await;
    let members: BTreeMap<_, _> = subject
        .runs
        .members(run.id)
        .await
        .unwrap()
        .into_iter()
        .map(|member| (member.command_id, (member.status, member.agent_id)))
        .collect();
    assert_eq!(members[&first.id], (Status::Failed, subject.agent.0));
    assert_eq!(members[&second.id], (Status::Cancelled, subject.agent.0));
    let counted = subject.runs.tallies(&[run.id]).await.unwrap();
    let tally = Tally { failed: 1, cancelled: 1, ..Tally::default() };
    assert_eq!(counted, BTreeMap::from([(run.id, tally)]));
    let single = command_for(929, subject.agent.0, subject.agent.1);
    subject.ledger.submit(single.clone(), None, Author::system()).await.unwrap();
    let whole = subject.runs.commands(&[first.id, single.id]).await.unwrap();
    assert_eq!(whole.iter().map(|command| command.id).collect::<Vec<_>>(), [first.id]);
    subject.happens(&single, Event::Expired { at }).await;
    let failed = subject.runs.ended(run.id, &[Status::Failed, Status::Expired]).await.unwrap();
    assert_eq!(failed.iter().map(|command| command.id).collect::<Vec<_>>(), [first.id]);
}

async fn a_run_is_stopped_once_and_ends_once<R: RunRepository, L>(subject: &RunsSubject<'_, R, L>)
where
    L: CommandLedger + CommandArchive,
{
    let (run, _) = subject.begun(931, &[subject.agent]).await;
    let change = async |change| {
        let changed = subject.runs.change(run.id, change, &Author::system(), noon()).await.unwrap();
        let (run, changed) = changed.unwrap();
        (run.status, run.stop, changed)
    };
    assert_eq!(change(RunChange::Paused).await, (RunStatus::Paused, None, true));
    assert_eq!(change(RunChange::Paused).await, (RunStatus::Paused, None, false));
    assert_eq!(change(RunChange::Resumed).await, (RunStatus::Running, None, true));
    let failures = Some(StopReason::TooManyFailures);
    let stop = RunChange::Stopped(StopReason::TooManyFailures);
    assert_eq!(change(stop).await, (RunStatus::Running, failures, true));
    let cancel = RunChange::Stopped(StopReason::Cancelled);
    assert_eq!(change(cancel).await, (RunStatus::Running, failures, false));
    let tally = Tally { completed: 1, failed: 2, cancelled: 3, expired: 4, ..Tally::default() };
    let end = RunChange::Ended(RunStatus::Failed, tally, noon());
    assert_eq!(change(end).await, (RunStatus::Failed, failures, true));
    let end = RunChange::Ended(RunStatus::Completed, Tally::default(), noon());
    assert_eq!(change(end).await, (RunStatus::Failed, failures, false));
    let found = subject.runs.find(&TenantScope::All, run.id).await.unwrap().unwrap();
    assert_eq!((found.tally, found.finished_at), (tally, Some(noon())));
    let nowhere = super::runs::run(999, 1).id;
    let missing = subject.runs.change(nowhere, RunChange::Paused, &Author::system(), noon()).await;
    assert_eq!(missing.unwrap(), None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::command;

    #[tokio::test]
    async fn the_fake_keeps_the_contract_of_runs() {
        let ledger = FakeLedger::default();
        let (one, other) = (command(1), command(2));
        runs_contract(&RunsSubject {
            runs: &ledger,
            ledger: &ledger,
            agent: (one.agent_id, one.customer_id),
            other_agent: (other.agent_id, other.customer_id),
        })
        .await;
    }
}
