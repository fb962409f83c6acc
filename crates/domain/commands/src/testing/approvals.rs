//! Approvals in memory, and the contract that every repository of approvals keeps.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_agents::OsType;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, ApprovalId, Author, Cursor, CustomerId, Page, PageRequest, RunId, Sealed,
    StorageError, TenantScope, Timestamp, UserId,
};
use parking_lot::Mutex;

use super::{command, noon};
use crate::approvals::{
    Approval, ApprovalEvent, ApprovalFilter, ApprovalRepository, ApprovalState, ApprovalStatus,
    Decision, Kept,
};
use crate::runs::{Strategy, Target, Template, Wording, Work};
use crate::{Once, Requester, SafetyLevel};

/// A request that waits; the same `seed` makes the same one.
pub fn approval(seed: u64) -> Approval {
    let at = noon() + TimeDelta::milliseconds(i64::try_from(seed).unwrap_or(0));
    let (clock, entropy) = (FakeClock::at(at), SeededEntropy::new(seed.wrapping_add(7_000_000)));
    let wording = Wording { command: "rm -rf /".to_owned(), ..Wording::default() };
    let machine = AgentId::new(&clock, &entropy);
    Approval {
        id: ApprovalId::new(&clock, &entropy),
        template: Template {
            target: Target { agent_ids: [machine].into(), ..Target::default() },
            work: Work::Command(wording),
            secrets: Some(Sealed(vec![1, 2, 3])),
            strategy: Strategy { canary: Some(1), ..Strategy::default() },
            expires_in: Some(std::time::Duration::from_mins(5)),
        },
        specs: [(OsType::Linux, command(seed).spec)].into(),
        total: 1,
        customers: [CustomerId::new(&clock, &entropy)].into(),
        summary: "rm -rf /".to_owned(),
        safety_level: SafetyLevel::Dangerous,
        reasons: vec!["deletes files".to_owned()],
        retry_of: None,
        requested_by: Requester::User(UserId::new(&clock, &entropy)),
        requester_name: "bob".to_owned(),
        created_at: at,
        expires_at: at + TimeDelta::hours(24),
        state: ApprovalState::Pending,
    }
}

#[derive(Debug, Default)]
struct Rows {
    approvals: BTreeMap<ApprovalId, Approval>,
    keys: HashMap<(String, String), ([u8; 32], ApprovalId)>,
}

/// Approvals in memory.
#[derive(Debug, Default)]
pub struct FakeApprovals(Mutex<Rows>);

fn visible(scope: &TenantScope, approval: &Approval) -> bool {
    approval.customers.iter().all(|customer| scope.contains(*customer))
}

#[async_trait]
impl ApprovalRepository for FakeApprovals {
    async fn create(
        &self,
        approval: Approval,
        once: Option<Once>,
        _author: &Author,
    ) -> Result<Kept, StorageError> {
        let mut rows = self.0.lock();
        if let Some(once) = once {
            let key = (once.scope, once.key);
            match rows.keys.get(&key) {
                Some((fingerprint, id)) if *fingerprint == once.fingerprint => {
                    return Ok(Kept::Known(*id));
                }
                Some(_) => return Ok(Kept::Conflict),
                None => rows.keys.insert(key, (once.fingerprint, approval.id)),
            };
        }
        rows.approvals.insert(approval.id, approval);
        Ok(Kept::New)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: ApprovalId,
    ) -> Result<Option<Approval>, StorageError> {
        let rows = self.0.lock();
        Ok(rows.approvals.get(&id).filter(|it| visible(scope, it)).cloned())
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: ApprovalFilter,
        now: Timestamp,
        page: &PageRequest,
    ) -> Result<Page<Approval>, StorageError> {
        let rows = self.0.lock();
        let passes = |it: &&Approval| {
            visible(scope, it) && filter.status.is_none_or(|status| it.status(now) == status)
        };
        let all: Vec<_> = rows.approvals.values().rev().filter(passes).collect();
        let total = u64::try_from(all.len()).unwrap();
        let before = page.cursor.as_ref().map(|cursor| ApprovalId::from_uuid(cursor.id));
        let items = all
            .into_iter()
            .filter(|it| before.is_none_or(|before| it.id < before))
            .take(usize::from(page.limit()) + 1)
            .cloned()
            .collect();
        Ok(Page::from_rows(items, page, total, |it| Cursor::after(it.id.as_uuid())))
    }

    async fn change(
        &self,
        id: ApprovalId,
        event: ApprovalEvent,
        _author: &Author,
        _now: Timestamp,
    ) -> Result<Option<(Approval, bool)>, StorageError> {
        let mut rows = self.0.lock();
        let Some(approval) = rows.approvals.get_mut(&id) else { return Ok(None) };
        let changed = approval.apply(event);
        Ok(Some((approval.clone(), changed)))
    }
}

/// The contract of [`ApprovalRepository`], for one that has none yet.
///
/// # Panics
/// When the repository breaks it.
pub async fn approvals_contract<R: ApprovalRepository>(approvals: &R) {
    one_is_kept_whole_and_once(approvals).await;
    one_is_seen_by_those_who_see_all_its_machines(approvals).await;
    one_is_decided_about_once(approvals).await;
}

async fn create<R: ApprovalRepository>(approvals: &R, approval: &Approval) {
    let kept = approvals.create(approval.clone(), None, &Author::system()).await.unwrap();
    assert_eq!(kept, Kept::New);
}

async fn one_is_kept_whole_and_once<R: ApprovalRepository>(approvals: &R) {
    let kept = approval(1);
    create(approvals, &kept).await;
    assert_eq!(approvals.find(&TenantScope::All, kept.id).await.unwrap(), Some(kept));
    let create = async |seed, fingerprint| {
        let once = Once { scope: "s".into(), key: "k".into(), fingerprint: [fingerprint; 32] };
        approvals.create(approval(seed), Some(once), &Author::system()).await.unwrap()
    };
    assert_eq!(create(2, 1).await, Kept::New);
    assert_eq!(create(3, 1).await, Kept::Known(approval(2).id));
    assert_eq!(create(4, 2).await, Kept::Conflict);
    assert_eq!(approvals.find(&TenantScope::All, approval(3).id).await.unwrap(), None);
}

async fn one_is_seen_by_those_who_see_all_its_machines<R: ApprovalRepository>(approvals: &R) {
    let (own, other) = (approval(11), approval(12));
    let mut both = approval(13);
    both.customers = own.customers.union(&other.customers).copied().collect();
    for it in [&own, &other, &both] {
        create(approvals, it).await;
    }
    let one = TenantScope::Customers(own.customers.clone());
    let two = TenantScope::Customers(both.customers.clone());
    let finds = async |scope: &TenantScope, it: &Approval| {
        approvals.find(scope, it.id).await.unwrap().as_ref() == Some(it)
    };
    assert!(finds(&one, &own).await && finds(&two, &both).await && finds(&two, &other).await);
    assert!(!finds(&one, &both).await && !finds(&one, &other).await);
    assert!(!finds(&TenantScope::Customers([].into()), &own).await);

    let list = async |scope: &TenantScope, status, now, page: PageRequest| {
        let filter = ApprovalFilter { status };
        let page = approvals.list(scope, filter, now, &page).await.unwrap();
        (page.items.into_iter().map(|it| it.id).collect::<Vec<_>>(), page.next_cursor)
    };
    let all = PageRequest::default;
    assert_eq!(list(&one, None, noon(), all()).await.0, [own.id]);
    let newest_first = [both.id, other.id, own.id];
    assert_eq!(list(&two, None, noon(), all()).await.0, newest_first);
    let late = own.expires_at + TimeDelta::hours(1);
    let (pending, expired) = (Some(ApprovalStatus::Pending), Some(ApprovalStatus::Expired));
    assert_eq!(list(&two, pending, noon(), all()).await.0, newest_first);
    assert_eq!(list(&two, pending, late, all()).await.0, []);
    assert_eq!(list(&two, expired, late, all()).await.0, newest_first);
    assert_eq!(list(&two, expired, noon(), all()).await.0, []);
    let (first, next) = list(&two, None, noon(), PageRequest::new(2, None)).await;
    let (rest, end) = list(&two, None, noon(), PageRequest::new(2, next)).await;
    assert_eq!((first.len(), rest, end), (2, vec![own.id], None));
}

async fn one_is_decided_about_once<R: ApprovalRepository>(approvals: &R) {
    let (approved, rejected) = (approval(21), approval(22));
    create(approvals, &approved).await;
    create(approvals, &rejected).await;
    let (clock, entropy) = (FakeClock::at(noon()), SeededEntropy::new(21));
    let by = UserId::new(&clock, &entropy);
    let decision = Decision { by, name: "ann".into(), at: noon() };
    let change = async |id, event| {
        let author = Author::system();
        let (after, changed) =
            approvals.change(id, event, &author, noon()).await.unwrap().expect("it is there");
        assert_eq!(approvals.find(&TenantScope::All, id).await.unwrap().as_ref(), Some(&after));
        (after, changed)
    };
    let run = RunId::new(&clock, &entropy);
    let (approve, began) = (ApprovalEvent::Approved(decision.clone()), ApprovalEvent::Began(run));
    let reject = ApprovalEvent::Rejected(decision, Some("no".to_owned()));
    assert!(!change(approved.id, began.clone()).await.1, "not before it is approved");
    assert!(change(approved.id, approve.clone()).await.1);
    assert!(!change(approved.id, approve.clone()).await.1);
    assert!(!change(approved.id, reject.clone()).await.1);
    let (after, changed) = change(approved.id, began).await;
    assert_eq!((after.run_id(), changed), (Some(run), true));
    assert_eq!(after.template.secrets, None);
    let (after, changed) = change(rejected.id, reject).await;
    assert!(
        changed
            && matches!(&after.state, ApprovalState::Rejected { reason, .. } if reason.as_deref() == Some("no"))
    );
    assert!(!change(rejected.id, approve).await.1);
    let status = |status| ApprovalFilter { status: Some(status) };
    for (status, id) in [
        (status(ApprovalStatus::Approved), approved.id),
        (status(ApprovalStatus::Rejected), rejected.id),
    ] {
        let late = approved.expires_at + TimeDelta::hours(1);
        let all = PageRequest::default();
        let page = approvals.list(&TenantScope::All, status, late, &all).await.unwrap();
        assert_eq!(page.items.iter().map(|it| it.id).collect::<Vec<_>>(), [id]);
    }
    let nobodys = approval(23).id;
    let gone =
        approvals.change(nobodys, ApprovalEvent::Began(run), &Author::system(), noon()).await;
    assert_eq!(gone.unwrap(), None);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fake_keeps_the_contract() {
        approvals_contract(&FakeApprovals::default()).await;
    }
}
