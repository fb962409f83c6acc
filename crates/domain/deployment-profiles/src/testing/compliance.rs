//! Checks in memory, and the contract that whoever keeps checks keeps.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_agents::Target;
use muster_commands::Requester;
use muster_commands::schedules::{CronExpression, Zone};
use muster_commands::testing::noon;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, Author, ComplianceCheckId, Cursor, CustomerId, Page, PageRequest, ProfileId,
    RolloutId, StorageError, TenantScope, Timestamp, UserId,
};
use parking_lot::Mutex;
use uuid::Uuid;

use super::page_of;
use crate::compliance::{
    ComplianceCheck, ComplianceRepository, Standing, StandingCounts, StandingFilter, StandingStatus,
};
use crate::rollouts::Submission;

/// Checks and what they found, in memory.
#[derive(Debug)]
pub struct FakeCompliance {
    customers: Vec<CustomerId>,
    checks: Mutex<BTreeMap<ComplianceCheckId, ComplianceCheck>>,
    standings: Mutex<BTreeMap<(ProfileId, AgentId), Standing>>,
}

impl FakeCompliance {
    /// Without checks, for these customers.
    pub fn new(customers: &[CustomerId]) -> Self {
        let customers = customers.to_vec();
        Self { customers, checks: Mutex::default(), standings: Mutex::default() }
    }

    /// Keeps how a machine stands.
    pub(super) fn keep(&self, standing: Standing) {
        self.standings.lock().insert((standing.profile_id, standing.agent_id), standing);
    }
}

fn is_in(scope: &TenantScope, check: &ComplianceCheck) -> bool {
    match check.customer_id {
        Some(customer) => scope.contains(customer),
        None => *scope == TenantScope::All,
    }
}

#[async_trait]
impl ComplianceRepository for FakeCompliance {
    async fn create(&self, check: ComplianceCheck, _: &Author) -> Result<bool, StorageError> {
        let there = check.customer_id.is_none_or(|customer| self.customers.contains(&customer));
        if there {
            self.checks.lock().insert(check.id, check);
        }
        Ok(there)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: ComplianceCheckId,
    ) -> Result<Option<ComplianceCheck>, StorageError> {
        Ok(self.checks.lock().get(&id).filter(|check| is_in(scope, check)).cloned())
    }

    async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<ComplianceCheck>, StorageError> {
        let checks = self.checks.lock();
        let seen: Vec<_> = checks.values().filter(|check| is_in(scope, check)).cloned().collect();
        Ok(page_of(&seen, page, |check| Cursor::after(check.id.as_uuid())))
    }

    async fn replace(
        &self,
        check: ComplianceCheck,
        _: &Author,
        _: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut checks = self.checks.lock();
        let Some(known) = checks.get_mut(&check.id) else { return Ok(false) };
        let (last_rollout_id, last_error) = (known.last_rollout_id, known.last_error.clone());
        *known = ComplianceCheck { last_rollout_id, last_error, ..check };
        Ok(true)
    }

    async fn delete(
        &self,
        scope: &TenantScope,
        id: ComplianceCheckId,
        _: &Author,
        _: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut checks = self.checks.lock();
        let there = checks.get(&id).is_some_and(|check| is_in(scope, check));
        Ok(there && checks.remove(&id).is_some())
    }

    async fn due(&self, now: Timestamp, limit: u64) -> Result<Vec<ComplianceCheck>, StorageError> {
        let checks = self.checks.lock();
        let is_due = |check: &&ComplianceCheck| check.next_at.is_some_and(|at| at <= now);
        let mut due: Vec<_> = checks.values().filter(is_due).cloned().collect();
        due.sort_by_key(|check| (check.next_at, check.id));
        due.truncate(usize::try_from(limit).unwrap());
        Ok(due)
    }

    async fn began(&self, id: ComplianceCheckId, rollout: RolloutId) -> Result<(), StorageError> {
        if let Some(check) = self.checks.lock().get_mut(&id) {
            check.last_rollout_id = Some(rollout);
        }
        Ok(())
    }

    async fn settle(
        &self,
        id: ComplianceCheckId,
        due: Timestamp,
        next_at: Option<Timestamp>,
        began: Result<RolloutId, String>,
    ) -> Result<(), StorageError> {
        let mut checks = self.checks.lock();
        if let Some(check) = checks.get_mut(&id).filter(|check| check.next_at == Some(due)) {
            check.next_at = next_at;
            check.last_rollout_id = began.as_ref().ok().copied().or(check.last_rollout_id);
            check.last_error = began.err();
        }
        Ok(())
    }

    async fn standings(
        &self,
        scope: &TenantScope,
        profile: ProfileId,
        filter: &StandingFilter,
        page: &PageRequest,
    ) -> Result<(Page<Standing>, StandingCounts), StorageError> {
        let standings = self.standings.lock();
        let in_scope = |it: &&Standing| it.profile_id == profile && scope.contains(it.customer_id);
        let mut seen: Vec<_> = standings.values().filter(in_scope).cloned().collect();
        let count = |status| seen.iter().filter(|it| it.status == status).count();
        let count = |status| u64::try_from(count(status)).unwrap();
        let counts = StandingCounts {
            compliant: count(StandingStatus::Compliant),
            drifted: count(StandingStatus::Drifted),
            unknown: count(StandingStatus::Unknown),
        };
        seen.retain(|it| filter.status.is_none_or(|status| it.status == status));
        Ok((page_of(&seen, page, |it| Cursor::after(it.agent_id.as_uuid())), counts))
    }
}

/// A check that is due every hour, next an hour after noon; the same `seed` makes the same one,
/// later seeds later ones.
///
/// # Panics
/// Never: its words keep the rules.
pub fn check(seed: u64, customer_id: Option<CustomerId>) -> ComplianceCheck {
    let at = noon() + TimeDelta::milliseconds(i64::try_from(seed).unwrap_or(0));
    let (clock, entropy) = (FakeClock::at(at), SeededEntropy::new(seed.wrapping_add(1 << 36)));
    ComplianceCheck {
        id: ComplianceCheckId::new(&clock, &entropy),
        customer_id,
        name: format!("Check {seed}"),
        profile_id: ProfileId::new(&clock, &entropy),
        target: Target { tags: ["web".to_owned()].into(), ..Target::default() },
        cron: CronExpression::parse("0 * * * *").unwrap(),
        zone: Zone::parse("Europe/Berlin").unwrap(),
        enabled: true,
        made_by: Submission {
            requester: Requester::User(UserId::new(&clock, &entropy)),
            name: "ann".into(),
        },
        created_at: at,
        next_at: Some(noon() + TimeDelta::hours(1)),
        last_rollout_id: None,
        last_error: None,
    }
}

/// The contract of [`ComplianceRepository`], on one without checks; both customers exist. How
/// machines stand is part of [`rollouts_contract`](super::rollouts_contract).
///
/// # Panics
/// When the repository breaks it.
pub async fn compliance_contract(
    compliance: &dyn ComplianceRepository,
    [mine, theirs]: [CustomerId; 2],
) {
    let author = Author::system();
    let [own, other, shared] = [check(1, Some(mine)), check(2, Some(theirs)), check(3, None)];
    for check in [&own, &other, &shared] {
        assert!(compliance.create(check.clone(), &author).await.unwrap());
    }
    let homeless = check(4, Some(CustomerId::from_uuid(Uuid::nil())));
    assert!(!compliance.create(homeless.clone(), &author).await.unwrap());
    let (all, scope) = (TenantScope::All, TenantScope::one(mine));
    assert_eq!(compliance.find(&all, homeless.id).await.unwrap(), None);
    assert_eq!(compliance.find(&scope, own.id).await.unwrap(), Some(own.clone()));
    assert_eq!(compliance.find(&scope, other.id).await.unwrap(), None);
    assert_eq!(compliance.find(&scope, shared.id).await.unwrap(), None, "it is of all customers");
    assert_eq!(compliance.find(&all, shared.id).await.unwrap(), Some(shared.clone()));

    let list = async |scope: &TenantScope, page| compliance.list(scope, &page).await.unwrap();
    let whole = list(&all, PageRequest::default()).await;
    assert_eq!((whole.items, whole.total), (vec![own.clone(), other.clone(), shared.clone()], 3));
    let first = list(&all, PageRequest::new(2, None)).await;
    assert_eq!((first.items, first.total), (vec![own.clone(), other.clone()], 3));
    let rest = list(&all, PageRequest::new(2, first.next_cursor)).await;
    assert_eq!((rest.items.as_slice(), rest.next_cursor), (std::slice::from_ref(&shared), None));
    let seen = list(&scope, PageRequest::default()).await;
    assert_eq!((seen.items.as_slice(), seen.total), (std::slice::from_ref(&own), 1));

    what_is_due_is_settled_once(compliance, [&own, &other, &shared]).await;
    a_check_is_changed_and_removed(compliance, &own).await;
}

async fn what_is_due_is_settled_once(
    compliance: &dyn ComplianceRepository,
    [own, other, shared]: [&ComplianceCheck; 3],
) {
    let author = Author::system();
    let at = |hours| noon() + TimeDelta::hours(hours);
    let due = async |now, limit| {
        let due = compliance.due(now, limit).await.unwrap();
        due.into_iter().map(|check| check.id).collect::<Vec<_>>()
    };
    let find = async |id| compliance.find(&TenantScope::All, id).await.unwrap().unwrap();
    let early = ComplianceCheck { next_at: Some(noon()), ..other.clone() };
    let off = ComplianceCheck { enabled: false, next_at: None, ..shared.clone() };
    for check in [&early, &off] {
        assert!(compliance.replace(check.clone(), &author, noon()).await.unwrap());
    }
    assert!(due(noon() - TimeDelta::microseconds(1), 10).await.is_empty());
    assert_eq!(due(noon(), 10).await, [other.id]);
    assert_eq!(due(at(1), 10).await, [other.id, own.id], "what is due for longest comes first");
    assert_eq!(due(at(1), 1).await, [other.id]);
    assert_eq!(compliance.due(noon(), 10).await.unwrap(), std::slice::from_ref(&early));

    let rollout = |number| RolloutId::from_uuid(Uuid::from_u128(number));
    compliance.settle(own.id, at(1), Some(at(2)), Ok(rollout(1))).await.unwrap();
    let settled =
        ComplianceCheck { next_at: Some(at(2)), last_rollout_id: Some(rollout(1)), ..own.clone() };
    assert_eq!(find(own.id).await, settled);
    compliance.settle(own.id, at(1), Some(at(9)), Ok(rollout(2))).await.unwrap();
    assert_eq!(find(own.id).await, settled, "it was not due then any more");
    compliance.settle(own.id, at(2), Some(at(3)), Err("nobody".into())).await.unwrap();
    let failed =
        ComplianceCheck { next_at: Some(at(3)), last_error: Some("nobody".into()), ..settled };
    assert_eq!(find(own.id).await, failed, "what it began last is still known");
    compliance.settle(own.id, at(3), None, Ok(rollout(3))).await.unwrap();
    let over = ComplianceCheck {
        next_at: None,
        last_rollout_id: Some(rollout(3)),
        last_error: None,
        ..failed
    };
    assert_eq!(find(own.id).await, over);
    compliance.began(own.id, rollout(4)).await.unwrap();
    let asked = ComplianceCheck { last_rollout_id: Some(rollout(4)), ..over };
    assert_eq!(find(own.id).await, asked, "and it is due when it was");
    compliance.began(check(8, None).id, rollout(5)).await.unwrap();
    assert_eq!(find(other.id).await, early, "and nothing of another one");
}

async fn a_check_is_changed_and_removed(
    compliance: &dyn ComplianceRepository,
    own: &ComplianceCheck,
) {
    let author = Author::system();
    let found = async || compliance.find(&TenantScope::All, own.id).await.unwrap();
    let before = found().await.unwrap();
    let elsewhere = check(9, None);
    let changed = ComplianceCheck {
        name: "Nightly".into(),
        profile_id: elsewhere.profile_id,
        target: Target { all: true, ..Target::default() },
        cron: CronExpression::parse("30 3 * * 1").unwrap(),
        zone: Zone::UTC,
        made_by: elsewhere.made_by.clone(),
        next_at: Some(noon() + TimeDelta::days(2)),
        // As they were when it was read: what it began meanwhile stays known.
        last_rollout_id: None,
        last_error: Some("long ago".into()),
        ..before.clone()
    };
    assert!(compliance.replace(changed.clone(), &author, noon()).await.unwrap());
    let (last_rollout_id, last_error) = (before.last_rollout_id, before.last_error);
    let after = ComplianceCheck { last_rollout_id, last_error, ..changed };
    assert_eq!(found().await, Some(after));
    assert!(!compliance.replace(elsewhere, &author, noon()).await.unwrap(), "there is none");

    let delete = async |scope: TenantScope| {
        compliance.delete(&scope, own.id, &author, noon()).await.unwrap()
    };
    let stranger = TenantScope::one(CustomerId::from_uuid(Uuid::nil()));
    assert!(!delete(stranger).await && found().await.is_some());
    assert!(delete(TenantScope::All).await && found().await.is_none());
    assert!(!delete(TenantScope::All).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fake_keeps_the_contract_of_checks() {
        let customers = [1, 2].map(|number| CustomerId::from_uuid(Uuid::from_u128(number)));
        compliance_contract(&FakeCompliance::new(&customers), customers).await;
    }
}
