//! Schedules in memory, a launcher that remembers, and the contract that every repository of
//! schedules keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    Author, Clock, Cursor, CustomerId, Page, PageRequest, Permit, RunId, ScheduleId, StorageError,
    TenantScope, Timestamp, UserId, act,
};
use parking_lot::Mutex;

use super::noon;
use crate::runs::{RunsError, Strategy, Target, Template, Wording, Work};
use crate::schedules::{
    AgentZones, Course, CronExpression, Firing, LaunchError, Lease, MaintenanceWindows, Maker,
    MissedPolicy, OverlapPolicy, RunLauncher, Schedule, ScheduleChange, ScheduleCourses,
    ScheduleFilter, ScheduleRepository, ScheduleZone, Settlement, TemplateKeeper, Timing, Zone,
};
use crate::{Requester, ShellType};

mod contract;

pub use contract::contract;

/// A keeper that takes every template as it is.
#[derive(Debug)]
pub struct KeepsAll;

#[async_trait]
impl TemplateKeeper for KeepsAll {
    async fn keep(
        &self,
        _: &Permit<act::ManageSchedules>,
        _: Option<CustomerId>,
        _: &mut Template,
        _: &str,
        _: bool,
    ) -> Result<(), RunsError> {
        Ok(())
    }
}

/// The zones of machines of which none tells its own: all of them count as in UTC.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllInUtc;

#[async_trait]
impl AgentZones for AllInUtc {
    async fn zones(&self, _: &Schedule) -> Result<BTreeSet<Zone>, StorageError> {
        Ok(BTreeSet::from([Zone::UTC]))
    }
}

/// A customer; the same `seed` makes the same one.
pub fn customer(seed: u64) -> CustomerId {
    CustomerId::new(&FakeClock::at(noon()), &SeededEntropy::new(seed))
}

/// The person `seed`, as who makes schedules.
pub fn maker(seed: u64) -> Maker {
    let id = UserId::new(&FakeClock::at(noon()), &SeededEntropy::new(seed));
    Maker { requester: Requester::User(id), name: format!("user{seed}") }
}

/// What schedules run in examples.
pub fn template() -> Template {
    let wording = Wording {
        command: "echo".into(),
        args: vec!["a b".into()],
        shell_type: Some(ShellType::Sh),
        timeout: Some(1.5),
        working_directory: Some("/tmp".into()),
        environment: [("A".to_owned(), "1".to_owned())].into(),
    };
    Template {
        target: Target { tags: ["web".to_owned()].into(), ..Target::default() },
        work: Work::Command(wording),
        secrets: None,
        strategy: Strategy { canary: Some(1), ..Strategy::default() },
        expires_in: Some(Duration::from_hours(1)),
    }
}

/// The times that an expression means by the clocks of `zone`.
///
/// # Panics
/// When one of them is none.
pub fn cron(expression: &str, zone: &str) -> Timing {
    Timing::Cron {
        expression: CronExpression::parse(expression).unwrap(),
        zone: ScheduleZone::parse(zone).unwrap(),
    }
}

/// A schedule of [`customer`] `seed` for each hour, made at [`noon`] and a little later the greater
/// the seed.
///
/// # Panics
/// When `seed` is no number of milliseconds.
pub fn schedule(seed: u64) -> Schedule {
    let later = chrono::TimeDelta::milliseconds(i64::try_from(seed).unwrap());
    let clock = FakeClock::at(noon() + later);
    Schedule {
        id: ScheduleId::new(&clock, &SeededEntropy::new(seed)),
        customer_id: Some(customer(seed)),
        name: format!("Schedule {seed}"),
        description: Some("each hour".into()),
        timing: cron("0 * * * *", "Europe/Berlin"),
        template: template(),
        missed_runs: MissedPolicy::Skip,
        overlap: OverlapPolicy::Allow,
        jitter: Duration::ZERO,
        windows: MaintenanceWindows::default(),
        enabled: true,
        made_by: maker(seed),
        created_at: clock.now(),
        updated_at: clock.now(),
        course: Course::from(noon()),
    }
}

#[derive(Debug, Default)]
struct Rows {
    customers: BTreeSet<CustomerId>,
    schedules: BTreeMap<ScheduleId, Schedule>,
    history: Vec<Firing>,
}

/// Schedules in memory.
#[derive(Debug, Default)]
pub struct FakeSchedules(Mutex<Rows>);

impl FakeSchedules {
    /// None, and customers who may have some.
    pub fn of(customers: impl IntoIterator<Item = CustomerId>) -> Self {
        let customers = customers.into_iter().collect();
        Self(Mutex::new(Rows { customers, ..Rows::default() }))
    }

    /// The schedule `id` as it is.
    ///
    /// # Panics
    /// When there is none.
    pub fn one(&self, id: ScheduleId) -> Schedule {
        self.0.lock().schedules.get(&id).unwrap().clone()
    }

    /// What came of all runs, the oldest first.
    pub fn all_history(&self) -> Vec<Firing> {
        self.0.lock().history.clone()
    }
}

fn lies_in(scope: &TenantScope, schedule: &Schedule) -> bool {
    match schedule.customer_id {
        Some(customer) => scope.contains(customer),
        None => *scope == TenantScope::All,
    }
}

fn page_of<T: Clone>(rows: Vec<&T>, page: &PageRequest, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
    let total = u64::try_from(rows.len()).unwrap();
    let seen = page.cursor.as_ref().and_then(|at| rows.iter().position(|row| cursor(row) == *at));
    let skipped = seen.map_or(0, |seen| seen + 1);
    let items = rows.into_iter().skip(skipped).take(usize::from(page.limit()) + 1).cloned();
    Page::from_rows(items.collect(), page, total, cursor)
}

#[async_trait]
impl ScheduleRepository for FakeSchedules {
    async fn create(&self, schedule: Schedule, _: &Author) -> Result<bool, StorageError> {
        let mut rows = self.0.lock();
        let is_there = schedule.customer_id.is_none_or(|id| rows.customers.contains(&id));
        if is_there {
            rows.schedules.insert(schedule.id, schedule);
        }
        Ok(is_there)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: ScheduleId,
    ) -> Result<Option<Schedule>, StorageError> {
        let rows = self.0.lock();
        Ok(rows.schedules.get(&id).filter(|it| lies_in(scope, it)).cloned())
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &ScheduleFilter,
        page: &PageRequest,
    ) -> Result<Page<Schedule>, StorageError> {
        let rows = self.0.lock();
        let passes = |schedule: &&Schedule| {
            let named = |q: &String| schedule.name.to_lowercase().contains(&q.to_lowercase());
            lies_in(scope, schedule)
                && filter.customer_id.is_none_or(|id| schedule.customer_id == Some(id))
                && filter.enabled.is_none_or(|enabled| schedule.enabled == enabled)
                && filter.q.as_ref().is_none_or(named)
        };
        let all = rows.schedules.values().filter(passes).collect();
        Ok(page_of(all, page, |schedule| Cursor::after(schedule.id.as_uuid())))
    }

    async fn update(
        &self,
        scope: &TenantScope,
        id: ScheduleId,
        change: ScheduleChange,
        maker: Maker,
        _: &Author,
        now: Timestamp,
    ) -> Result<Option<Schedule>, StorageError> {
        let mut rows = self.0.lock();
        let Some(row) = rows.schedules.get_mut(&id).filter(|it| lies_in(scope, it)) else {
            return Ok(None);
        };
        *row = row.clone().changed(change, maker, now);
        Ok(Some(row.clone()))
    }

    async fn ask(
        &self,
        scope: &TenantScope,
        id: ScheduleId,
        _: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut rows = self.0.lock();
        let row = rows.schedules.get_mut(&id).filter(|it| lies_in(scope, it));
        Ok(row.map(|row| *row = row.clone().asked(now)).is_some())
    }

    async fn delete(
        &self,
        scope: &TenantScope,
        id: ScheduleId,
        _: &Author,
        _: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut rows = self.0.lock();
        if !rows.schedules.get(&id).is_some_and(|it| lies_in(scope, it)) {
            return Ok(false);
        }
        rows.history.retain(|firing| firing.schedule_id != id);
        Ok(rows.schedules.remove(&id).is_some())
    }

    async fn history(
        &self,
        id: ScheduleId,
        page: &PageRequest,
    ) -> Result<Page<Firing>, StorageError> {
        let rows = self.0.lock();
        let mut of_it: Vec<_> = rows.history.iter().filter(|it| it.schedule_id == id).collect();
        of_it.sort_by_key(|firing| std::cmp::Reverse(firing.id));
        Ok(page_of(of_it, page, |firing| Cursor::after(firing.id.as_uuid())))
    }
}

#[async_trait]
impl ScheduleCourses for FakeSchedules {
    async fn waking(
        &self,
        until: Timestamp,
        now: Timestamp,
        limit: u64,
    ) -> Result<Vec<Schedule>, StorageError> {
        let rows = self.0.lock();
        let wakes = |schedule: &&Schedule| {
            schedule.course.wakes_at.is_some_and(|at| at <= until)
                && schedule.course.lease.is_none_or(|lease| lease.until <= now)
        };
        let mut waking: Vec<_> = rows.schedules.values().filter(wakes).cloned().collect();
        waking.sort_by_key(|schedule| schedule.course.wakes_at);
        waking.truncate(usize::try_from(limit).unwrap());
        Ok(waking)
    }

    async fn lease(
        &self,
        id: ScheduleId,
        lease: Lease,
        seen: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut rows = self.0.lock();
        let row = rows.schedules.get_mut(&id);
        let leased = row.and_then(|row| {
            *row = row.clone().leased(lease, seen, now)?;
            Some(())
        });
        Ok(leased.is_some())
    }

    async fn settle(&self, id: ScheduleId, settlement: Settlement) -> Result<(), StorageError> {
        let mut rows = self.0.lock();
        if let Some(row) = rows.schedules.get_mut(&id) {
            *row = row.clone().settled(&settlement);
            rows.history.extend(settlement.firing);
        }
        Ok(())
    }

    async fn forget(&self, before: Timestamp, limit: u64) -> Result<u64, StorageError> {
        let mut rows = self.0.lock();
        let old: Vec<_> = rows.history.iter().filter(|it| it.fired_at < before).collect();
        let old: BTreeSet<_> =
            old.into_iter().take(usize::try_from(limit).unwrap()).map(|it| it.id).collect();
        rows.history.retain(|firing| !old.contains(&firing.id));
        Ok(u64::try_from(old.len()).unwrap())
    }
}

/// A run that a [`FakeLauncher`] started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RunLauncher::launch")]
pub struct Launched {
    pub run: RunId,
    pub schedule: ScheduleId,
    pub due: Timestamp,
    pub only: Option<BTreeSet<Zone>>,
}

/// Starts runs that nothing comes of.
#[derive(Debug, Default)]
pub struct FakeLauncher {
    /// What was started.
    pub launched: Mutex<Vec<Launched>>,
    /// Which runs have ended.
    pub ended: Mutex<BTreeSet<RunId>>,
    /// Why nothing may be started.
    pub refuses: Mutex<Option<String>>,
    /// Whether the answer about a run that was started is lost, as if the process had died.
    pub loses_answers: Mutex<bool>,
}

#[async_trait]
impl RunLauncher for FakeLauncher {
    async fn launch(
        &self,
        schedule: &Schedule,
        due: Timestamp,
        only: Option<&BTreeSet<Zone>>,
    ) -> Result<RunId, LaunchError> {
        if let Some(reason) = self.refuses.lock().clone() {
            return Err(LaunchError::Refused(reason));
        }
        let mut launched = self.launched.lock();
        let known = launched.iter().find(|it| (it.schedule, it.due) == (schedule.id, due));
        let run = if let Some(known) = known {
            known.run
        } else {
            let seed = u64::try_from(launched.len()).unwrap();
            let run = RunId::new(&FakeClock::at(due), &SeededEntropy::new(seed));
            launched.push(Launched { run, schedule: schedule.id, due, only: only.cloned() });
            run
        };
        if *self.loses_answers.lock() {
            return Err(LaunchError::Storage(StorageError::new(std::fmt::Error)));
        }
        Ok(run)
    }

    async fn launched(
        &self,
        schedule: ScheduleId,
        due: Timestamp,
    ) -> Result<Option<RunId>, StorageError> {
        let launched = self.launched.lock();
        let known = launched.iter().find(|it| (it.schedule, it.due) == (schedule, due));
        Ok(known.map(|it| it.run))
    }

    async fn has_ended(&self, run: RunId) -> Result<bool, StorageError> {
        Ok(self.ended.lock().contains(&run))
    }
}

/// Machines in these zones, whatever the schedule.
#[derive(Debug, Default)]
pub struct FakeZones(pub Mutex<BTreeSet<Zone>>);

#[async_trait]
impl AgentZones for FakeZones {
    async fn zones(&self, _: &Schedule) -> Result<BTreeSet<Zone>, StorageError> {
        Ok(self.0.lock().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fake_keeps_the_contract() {
        let customers = [customer(1), customer(2)];
        let fake = FakeSchedules::of(customers);
        contract(&fake, &fake, customers).await;
    }
}
