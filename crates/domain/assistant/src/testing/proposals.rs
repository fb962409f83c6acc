//! Proposals in memory, and the contract that every repository of them keeps.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_agents::Target;
use muster_commands::approvals::Decision;
use muster_commands::runs::{RunsError, Strategy, Wish, Wording, Work};
use muster_commands::{Requester, SafetyLevel, ShellType, assess};
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, Author, ChatId, Clock, Cursor, CustomerId, Page, PageRequest, Permit, ProposalId,
    RunId, StorageError, TenantScope, Timestamp, UserId, act,
};
use parking_lot::Mutex;

use super::page_of;
use crate::proposals::{
    Bench, Outcome, Proposal, ProposalEvent, ProposalFilter, ProposalRepository, ProposalState,
    ProposalStatus, Source, WAITS_FOR, Weighed,
};

/// A proposal that waits; the same `seed` makes the same one.
pub fn proposal(seed: u64) -> Proposal {
    let at = FakeClock::default().now() + TimeDelta::milliseconds(i64::try_from(seed).unwrap_or(0));
    let (clock, entropy) = (FakeClock::at(at), SeededEntropy::new(seed.wrapping_add(4000)));
    let wording = Wording {
        command: "systemctl restart nginx".to_owned(),
        shell_type: Some(ShellType::Bash),
        ..Wording::default()
    };
    Proposal {
        id: ProposalId::new(&clock, &entropy),
        chat_id: Some(ChatId::new(&clock, &entropy)),
        turn_id: None,
        project_id: None,
        source: Source { assistant_id: None, name: "Muster".into(), model: Some("tiny".into()) },
        asked_by: Requester::User(UserId::new(&clock, &entropy)),
        asker_name: "bob".to_owned(),
        agent_ids: [AgentId::new(&clock, &entropy)].into(),
        customers: [CustomerId::new(&clock, &entropy)].into(),
        work: Work::Command(wording),
        script_version_id: None,
        strategy: Strategy { canary: Some(1), ..Strategy::default() },
        explanation: "It restarts the web server.".to_owned(),
        safety_level: SafetyLevel::Caution,
        safety_reasons: vec!["restarts a service".to_owned()],
        created_at: at,
        expires_at: at + WAITS_FOR,
        state: ProposalState::Proposed,
    }
}

/// Proposals in memory.
#[derive(Debug, Default)]
pub struct FakeProposals(Mutex<BTreeMap<ProposalId, Proposal>>);

impl FakeProposals {
    /// All of them, the oldest first.
    pub fn all(&self) -> Vec<Proposal> {
        self.0.lock().values().cloned().collect()
    }
}

#[async_trait]
impl ProposalRepository for FakeProposals {
    async fn create(
        &self,
        proposal: Proposal,
        replaces: Option<ProposalId>,
        _: &Author,
    ) -> Result<(), StorageError> {
        let mut all = self.0.lock();
        if let Some(before) = replaces.and_then(|id| all.get_mut(&id))
            && before.chat_id.is_some()
            && before.chat_id == proposal.chat_id
        {
            before.apply(ProposalEvent::Superseded(proposal.id));
        }
        all.insert(proposal.id, proposal);
        Ok(())
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: ProposalId,
    ) -> Result<Option<Proposal>, StorageError> {
        Ok(self.0.lock().get(&id).filter(|it| visible(scope, it)).cloned())
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: ProposalFilter,
        now: Timestamp,
        page: &PageRequest,
    ) -> Result<Page<Proposal>, StorageError> {
        let all = self.0.lock();
        let passes = |it: &&Proposal| {
            visible(scope, it)
                && filter.status.is_none_or(|status| it.status(now) == status)
                && filter.chat_id.is_none_or(|chat| it.chat_id == Some(chat))
                && filter.project_id.is_none_or(|project| it.project_id == Some(project))
        };
        let rows: Vec<_> = all.values().rev().filter(passes).cloned().collect();
        Ok(page_of(&rows, page, |row| Cursor::after(row.id.as_uuid())))
    }

    async fn change(
        &self,
        id: ProposalId,
        event: ProposalEvent,
        _: &Author,
        _: Timestamp,
    ) -> Result<Option<(Proposal, bool)>, StorageError> {
        let mut all = self.0.lock();
        let Some(proposal) = all.get_mut(&id) else { return Ok(None) };
        let changed = proposal.apply(event);
        Ok(Some((proposal.clone(), changed)))
    }
}

fn visible(scope: &TenantScope, proposal: &Proposal) -> bool {
    proposal.customers.iter().all(|customer| scope.contains(*customer))
}

/// Runs nothing, and remembers what it was to run, once for each name of a request.
#[derive(Debug, Default)]
pub struct FakeBench {
    /// The machines that there are.
    pub machines: Mutex<BTreeMap<AgentId, CustomerId>>,
    begun: Mutex<Vec<(String, Wish, RunId)>>,
}

impl FakeBench {
    /// Who began what.
    pub fn begun(&self) -> Vec<(String, Wish)> {
        self.begun.lock().iter().map(|it| (it.0.clone(), it.1.clone())).collect()
    }
}

#[async_trait]
impl Bench for FakeBench {
    async fn weigh(
        &self,
        scope: &TenantScope,
        target: &Target,
        work: &Work,
    ) -> Result<Weighed, RunsError> {
        let all = self.machines.lock();
        let named = |id: &AgentId| target.agent_ids.is_empty() || target.agent_ids.contains(id);
        let machines = all.iter().filter(|(id, owner)| named(id) && scope.contains(**owner));
        let machines: BTreeMap<_, _> = machines.map(|(id, owner)| (*id, *owner)).collect();
        if machines.is_empty() {
            return Err(RunsError::NobodyMeant);
        }
        let found = match work {
            Work::Command(wording) => {
                let shell = wording.shell_type.unwrap_or(ShellType::Sh);
                assess(shell, &wording.command, &[])
            }
            Work::Script { .. } | Work::SavedCommand { .. } => {
                return Err(RunsError::NothingToRun);
            }
        };
        let reasons = found.reasons.into_iter().map(ToOwned::to_owned).collect();
        Ok(Weighed { machines, level: found.level, reasons, script_version_id: None })
    }

    async fn check(
        &self,
        _: &Permit<act::RunSaved>,
        _: Option<&Permit<act::RunCommands>>,
        _: &Wish,
    ) -> Result<(), RunsError> {
        Ok(())
    }

    async fn start(
        &self,
        permit: &Permit<act::RunSaved>,
        _: Option<&Permit<act::RunCommands>>,
        wish: Wish,
    ) -> Result<Outcome, RunsError> {
        let mut begun = self.begun.lock();
        if let Some(known) = begun.iter().find(|it| it.1.once == wish.once) {
            return Ok(Outcome::Run(known.2));
        }
        let seed = u64::try_from(begun.len()).unwrap();
        let run = RunId::new(&FakeClock::default(), &SeededEntropy::new(seed));
        begun.push((permit.actor().name().unwrap_or_default().to_owned(), wish, run));
        Ok(Outcome::Run(run))
    }
}

/// The contract of [`ProposalRepository`], for one that has none yet.
///
/// # Panics
/// When it is broken.
pub async fn proposals_contract(proposals: &dyn ProposalRepository) {
    one_is_seen_by_those_who_see_all_its_machines(proposals).await;
    one_is_decided_about_once(proposals).await;
    another_takes_its_place(proposals).await;
}

async fn create(proposals: &dyn ProposalRepository, proposal: &Proposal) {
    proposals.create(proposal.clone(), None, &Author::system()).await.unwrap();
}

async fn one_is_seen_by_those_who_see_all_its_machines(proposals: &dyn ProposalRepository) {
    let (own, other) = (proposal(11), proposal(12));
    let mut both = proposal(13);
    both.customers = own.customers.union(&other.customers).copied().collect();
    for it in [&own, &other, &both] {
        create(proposals, it).await;
    }
    let one = TenantScope::Customers(own.customers.clone());
    let two = TenantScope::Customers(both.customers.clone());
    let finds = async |scope: &TenantScope, it: &Proposal| {
        proposals.find(scope, it.id).await.unwrap().as_ref() == Some(it)
    };
    assert!(finds(&one, &own).await && finds(&two, &both).await && finds(&two, &other).await);
    assert!(!finds(&one, &both).await && !finds(&one, &other).await);
    assert!(!finds(&TenantScope::Customers(BTreeSet::new()), &own).await);

    let list = async |scope: &TenantScope, filter: ProposalFilter, now| {
        let page = proposals.list(scope, filter, now, &PageRequest::default()).await.unwrap();
        page.items.into_iter().map(|it| it.id).collect::<Vec<_>>()
    };
    let (any, now) = (ProposalFilter::default(), own.created_at);
    assert_eq!(list(&one, any, now).await, [own.id]);
    assert_eq!(list(&two, any, now).await, [both.id, other.id, own.id], "the newest first");
    let of_chat = ProposalFilter { chat_id: other.chat_id, ..any };
    assert_eq!(list(&two, of_chat, now).await, [other.id]);
    let late = both.expires_at;
    let waits = ProposalFilter { status: Some(ProposalStatus::Proposed), ..any };
    let expired = ProposalFilter { status: Some(ProposalStatus::Expired), ..any };
    assert_eq!(list(&one, waits, now).await, [own.id]);
    assert!(list(&two, waits, late).await.is_empty());
    assert_eq!(list(&two, expired, late).await.len(), 3);
    assert!(list(&two, expired, now).await.is_empty());
}

async fn one_is_decided_about_once(proposals: &dyn ProposalRepository) {
    let (approved, rejected) = (proposal(21), proposal(22));
    create(proposals, &approved).await;
    create(proposals, &rejected).await;
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(21));
    let at = approved.created_at;
    let decision = Decision { by: UserId::new(&clock, &entropy), name: "ann".into(), at };
    let change = async |id, event| {
        let changed = proposals.change(id, event, &Author::system(), at).await.unwrap();
        let (after, changed) = changed.expect("it is there");
        assert_eq!(proposals.find(&TenantScope::All, id).await.unwrap().as_ref(), Some(&after));
        (after, changed)
    };
    let outcome = Outcome::Run(RunId::new(&clock, &entropy));
    let (approve, began) =
        (ProposalEvent::Approved(decision.clone()), ProposalEvent::Began(outcome));
    let reject = ProposalEvent::Rejected(decision, Some("no".to_owned()));
    assert!(!change(approved.id, began.clone()).await.1, "not before it is approved");
    assert!(change(approved.id, approve.clone()).await.1);
    assert!(!change(approved.id, approve.clone()).await.1);
    assert!(!change(approved.id, reject.clone()).await.1);
    let (after, changed) = change(approved.id, began).await;
    assert_eq!((after.outcome(), changed), (Some(outcome), true));
    assert!(change(rejected.id, reject).await.1);
    assert!(!change(rejected.id, approve).await.1);
    for (status, id) in
        [(ProposalStatus::Approved, approved.id), (ProposalStatus::Rejected, rejected.id)]
    {
        let filter = ProposalFilter { status: Some(status), ..ProposalFilter::default() };
        let (late, page) = (approved.expires_at, PageRequest::default());
        let page = proposals.list(&TenantScope::All, filter, late, &page).await.unwrap();
        assert_eq!(page.items.iter().map(|it| it.id).collect::<Vec<_>>(), [id]);
    }
    let (author, event) = (Author::system(), ProposalEvent::Began(outcome));
    assert_eq!(proposals.change(proposal(23).id, event, &author, at).await.unwrap(), None);
}

async fn another_takes_its_place(proposals: &dyn ProposalRepository) {
    let (first, elsewhere) = (proposal(31), proposal(32));
    create(proposals, &first).await;
    create(proposals, &elsewhere).await;
    let next = Proposal { chat_id: first.chat_id, ..proposal(33) };
    let author = Author::system();
    proposals.create(next.clone(), Some(first.id), &author).await.unwrap();
    let state = async |id| proposals.find(&TenantScope::All, id).await.unwrap().unwrap().state;
    assert_eq!(state(first.id).await, ProposalState::Superseded { by: next.id });
    let third = Proposal { chat_id: first.chat_id, ..proposal(34) };
    proposals.create(third, Some(elsewhere.id), &author).await.unwrap();
    assert_eq!(state(elsewhere.id).await, ProposalState::Proposed, "it is of another conversation");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fake_keeps_the_contract() {
        proposals_contract(&FakeProposals::default()).await;
    }
}
