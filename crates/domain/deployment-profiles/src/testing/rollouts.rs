//! Rollouts in memory, beside their commands and what they find out.

mod contract;
mod standings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_agents::Target;
use muster_commands::runs::Strategy;
use muster_commands::testing::{FakeLedger, noon};
use muster_commands::{CommandLedger, Once, Requester, SafetyLevel};
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, Author, ComplianceCheckId, Cursor, CustomerId, Page, PageRequest, ProfileId,
    RolloutId, Sealed, StorageError, TenantScope, Timestamp, UserId,
};
use parking_lot::Mutex;

pub use contract::{RolloutsSubject, rollouts_contract};

use super::{FakeCompliance, frozen, page_of};
use crate::rollouts::{
    Advance, Advanced, Device, DeviceFilter, Rollout, RolloutBegun, RolloutChange, RolloutFilter,
    RolloutRepository, RolloutStatus, RolloutTally, Shape, Submission,
};

#[derive(Debug, Default)]
struct Rows {
    rollouts: BTreeMap<RolloutId, Rollout>,
    devices: BTreeMap<(RolloutId, AgentId), Device>,
    keys: HashMap<(String, String), ([u8; 32], RolloutId)>,
}

impl Rows {
    fn devices(&self, id: RolloutId) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(move |((of, _), _)| *of == id).map(|(_, device)| device)
    }

    fn customers(&self, id: RolloutId) -> BTreeSet<CustomerId> {
        self.devices(id).map(|device| device.customer_id).collect()
    }

    fn is_visible(&self, scope: &TenantScope, id: RolloutId) -> bool {
        self.customers(id).into_iter().all(|customer| scope.contains(customer))
    }
}

/// Rollouts in memory. Their commands are in a ledger, and how machines stand is kept by whoever
/// keeps checks.
#[derive(Debug)]
pub struct FakeRollouts {
    ledger: Arc<FakeLedger>,
    compliance: Arc<FakeCompliance>,
    rows: Mutex<Rows>,
}

impl FakeRollouts {
    /// Without rollouts.
    pub fn new(ledger: Arc<FakeLedger>, compliance: Arc<FakeCompliance>) -> Self {
        Self { ledger, compliance, rows: Mutex::default() }
    }
}

#[async_trait]
impl RolloutRepository for FakeRollouts {
    async fn begin(
        &self,
        rollout: Rollout,
        devices: Vec<Device>,
        once: Option<Once>,
        _: &Author,
    ) -> Result<RolloutBegun, StorageError> {
        let mut rows = self.rows.lock();
        if let Some(once) = once {
            let key = (once.scope, once.key);
            match rows.keys.get(&key) {
                Some((fingerprint, id)) if *fingerprint == once.fingerprint => {
                    return Ok(RolloutBegun::Known(*id));
                }
                Some(_) => return Ok(RolloutBegun::Conflict),
                None => rows.keys.insert(key, (once.fingerprint, rollout.id)),
            };
        }
        let id = rollout.id;
        rows.devices.extend(devices.into_iter().map(|device| ((id, device.agent_id), device)));
        rows.rollouts.insert(id, rollout);
        Ok(RolloutBegun::New)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: RolloutId,
    ) -> Result<Option<Rollout>, StorageError> {
        let rows = self.rows.lock();
        Ok(rows.rollouts.get(&id).filter(|_| rows.is_visible(scope, id)).cloned())
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &RolloutFilter,
        page: &PageRequest,
    ) -> Result<Page<Rollout>, StorageError> {
        let rows = self.rows.lock();
        let passes = |rollout: &&Rollout| {
            let customers = rows.customers(rollout.id);
            rows.is_visible(scope, rollout.id)
                && filter.status.is_none_or(|status| rollout.status == status)
                && filter.profile_id.is_none_or(|id| rollout.profile_id == id)
                && filter.customer_id.is_none_or(|id| customers.contains(&id))
                && filter.dry_run.is_none_or(|dry_run| rollout.dry_run == dry_run)
        };
        let passing: Vec<_> = rows.rollouts.values().rev().filter(passes).cloned().collect();
        Ok(page_of(&passing, page, |rollout| Cursor::after(rollout.id.as_uuid())))
    }

    async fn active(&self) -> Result<BTreeMap<RolloutId, u32>, StorageError> {
        let rows = self.rows.lock();
        let open = rows.rollouts.values().filter(|rollout| !rollout.status.is_end());
        Ok(open.map(|rollout| (rollout.id, rollout.revision)).collect())
    }

    async fn devices(&self, id: RolloutId) -> Result<Vec<Device>, StorageError> {
        Ok(self.rows.lock().devices(id).cloned().collect())
    }

    async fn device_page(
        &self,
        id: RolloutId,
        filter: &DeviceFilter,
        page: &PageRequest,
    ) -> Result<Page<Device>, StorageError> {
        let rows = self.rows.lock();
        let passes = |it: &&Device| filter.status.is_none_or(|status| it.status() == status);
        let passing: Vec<_> = rows.devices(id).filter(passes).cloned().collect();
        Ok(page_of(&passing, page, |device| Cursor::after(device.agent_id.as_uuid())))
    }

    async fn device(&self, id: RolloutId, agent: AgentId) -> Result<Option<Device>, StorageError> {
        Ok(self.rows.lock().devices.get(&(id, agent)).cloned())
    }

    async fn tallies(
        &self,
        ids: &[RolloutId],
    ) -> Result<BTreeMap<RolloutId, RolloutTally>, StorageError> {
        let rows = self.rows.lock();
        let mut tallies = BTreeMap::<_, RolloutTally>::new();
        for ((id, _), device) in rows.devices.iter().filter(|((id, _), _)| ids.contains(id)) {
            tallies.entry(*id).or_default().add(device.status(), device.has_errors(), 1);
        }
        Ok(tallies)
    }

    async fn change(
        &self,
        id: RolloutId,
        expected: Option<u32>,
        change: RolloutChange,
        _: &Author,
        _: Timestamp,
    ) -> Result<Option<(Rollout, bool)>, StorageError> {
        let mut rows = self.rows.lock();
        let Some(rollout) = rows.rollouts.get_mut(&id) else { return Ok(None) };
        let is_expected = expected.is_none_or(|revision| revision == rollout.revision);
        let changed = is_expected && change.apply(rollout);
        Ok(Some((rollout.clone(), changed)))
    }

    async fn retry(
        &self,
        id: RolloutId,
        expected: u32,
        advances: Vec<Advance>,
        expires_at: Timestamp,
        author: &Author,
        _: Timestamp,
    ) -> Result<bool, StorageError> {
        {
            let mut rows = self.rows.lock();
            let known = rows.rollouts.get_mut(&id).filter(|it| it.revision == expected);
            let Some(rollout) = known else { return Ok(false) };
            rollout.retry(expires_at);
        }
        self.advance(id, advances, author).await?;
        Ok(true)
    }

    async fn advance(
        &self,
        id: RolloutId,
        advances: Vec<Advance>,
        author: &Author,
    ) -> Result<Vec<Advanced>, StorageError> {
        let mut outcomes = Vec::with_capacity(advances.len());
        let mut commands = Vec::new();
        for Advance { device, before, command, standing } in advances {
            let mut rows = self.rows.lock();
            let known = rows.devices.get_mut(&(id, device.agent_id));
            let Some(known) = known.filter(|known| known.revision == before) else {
                outcomes.push(Advanced::Stale);
                continue;
            };
            *known = device;
            commands.extend(command);
            if let Some(standing) = standing {
                self.compliance.keep(standing);
            }
            outcomes.push(Advanced::Written);
        }
        for command in commands {
            self.ledger.submit(command, None, author.clone()).await?;
        }
        Ok(outcomes)
    }
}

/// A rollout of a profile with a task of every shape, on its way to `total` machines; the same
/// `seed` makes the same one, later seeds later ones.
pub fn rollout(seed: u64, total: u32) -> Rollout {
    let at = noon() + TimeDelta::milliseconds(i64::try_from(seed).unwrap_or(0));
    let (clock, entropy) = (FakeClock::at(at), SeededEntropy::new(seed.wrapping_add(1 << 37)));
    let within = Duration::from_mins(15);
    let shapes = [
        Shape::Plain,
        Shape::Steady { verified: true },
        Shape::Reboot { only_if_changed: true, within },
        Shape::Wait { interval: Duration::from_millis(2500), within },
    ];
    let tasks = shapes.into_iter().enumerate();
    Rollout {
        id: RolloutId::new(&clock, &entropy),
        profile_id: ProfileId::new(&clock, &entropy),
        profile_version: 7,
        name: format!("Profile {seed}"),
        tasks: tasks.map(|(number, shape)| frozen(number, shape, number % 2 == 1)).collect(),
        secrets: Some(Sealed(vec![1, 2, 3])),
        target: Target { tags: ["web".to_owned()].into(), ..Target::default() },
        strategy: Strategy { canary: Some(1), max_concurrency: Some(20), max_failures: None },
        dry_run: false,
        compliance_check_id: Some(ComplianceCheckId::new(&clock, &entropy)),
        requested_by: Submission {
            requester: Requester::User(UserId::new(&clock, &entropy)),
            name: "ann".into(),
        },
        safety_level: SafetyLevel::Caution,
        customer_id: None,
        created_at: at,
        expires_at: at + TimeDelta::hours(1),
        expires_in: Duration::from_millis(3_600_500),
        status: RolloutStatus::Running,
        stop: None,
        finished_at: None,
        tally: RolloutTally { queued: total, ..RolloutTally::default() },
        revision: 0,
    }
}
