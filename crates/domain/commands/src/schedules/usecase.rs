//! What people do with schedules.

use std::sync::Arc;
use std::time::Duration;

use muster_kernel::{
    Clock, CustomerId, Denied, Entropy, Page, PageRequest, Permit, ScheduleId, StorageError,
    TenantScope, Timestamp, act,
};

use super::plan::next_runs;
use super::scheduler::zones_of;
use super::{
    AgentZones, Course, Firing, MaintenanceWindow, MaintenanceWindows, Maker, MissedPolicy,
    OverlapPolicy, Schedule, ScheduleChange, ScheduleFilter, ScheduleRepository, ScheduleZone,
    TemplateKeeper, Timing, WindowWish, check,
};
use crate::runs::{RunsError, Strategy, Target, Template, Work};
use crate::{InvalidSpec, Limits};

/// How many runs to come are shown.
const SHOWN_RUNS: usize = 5;

/// Why something could not be done with a schedule.
#[derive(Debug, thiserror::Error)]
pub enum SchedulesError {
    /// There is no such schedule, or it is not the asker's.
    #[error("there is no such schedule, or it is not yours")]
    NotFound,
    /// There is no such customer, or it is not the asker's.
    #[error("there is no such customer, or it is not yours")]
    CustomerNotFound,
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// What is asked for breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    /// What it is to run can't be kept.
    #[error(transparent)]
    Work(#[from] RunsError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// When a schedule is to come due, in the words of whoever asks.
#[derive(Debug, Clone, Default)]
pub struct TimingWish {
    /// A cron expression, or
    pub cron: Option<String>,
    /// an instant.
    pub at: Option<Timestamp>,
    /// The zone of the expression: a name, or `agent`; UTC when nobody says.
    pub time_zone: Option<String>,
}

/// A wish for a schedule.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of Schedule")]
pub struct NewSchedule {
    pub customer_id: Option<CustomerId>,
    pub name: String,
    pub description: Option<String>,
    pub timing: TimingWish,
    pub template: Template,
    pub missed_runs: MissedPolicy,
    pub overlap: OverlapPolicy,
    pub jitter: Duration,
    pub windows: Vec<WindowWish>,
    pub enabled: bool,
    /// Whether whoever asks knows that it may be dangerous.
    pub confirm: bool,
}

/// A wish for a change; what is `None` stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are those of Schedule")]
pub struct ScheduleUpdate {
    pub name: Option<String>,
    pub description: Option<String>,
    pub timing: TimingWish,
    pub target: Option<Target>,
    pub work: Option<Work>,
    pub strategy: Option<Strategy>,
    pub expires_in: Option<Duration>,
    pub missed_runs: Option<MissedPolicy>,
    pub overlap: Option<OverlapPolicy>,
    pub jitter: Option<Duration>,
    pub windows: Option<Vec<WindowWish>>,
    pub enabled: Option<bool>,
    /// Whether whoever asks knows that it may be dangerous.
    pub confirm: bool,
}

/// A schedule with its next runs.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The schedule.
    pub schedule: Schedule,
    /// When its next runs begin, as far as it can be known.
    pub next_runs: Vec<Timestamp>,
}

/// What people do with schedules.
#[derive(Debug, Clone)]
pub struct Schedules {
    repository: Arc<dyn ScheduleRepository>,
    zones: Arc<dyn AgentZones>,
    keeper: Arc<dyn TemplateKeeper>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    limits: Limits,
}

impl Schedules {
    /// Made of its ports and what the installation allows.
    pub fn new(
        repository: Arc<dyn ScheduleRepository>,
        zones: Arc<dyn AgentZones>,
        keeper: Arc<dyn TemplateKeeper>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        limits: Limits,
    ) -> Self {
        Self { repository, zones, keeper, clock, entropy, limits }
    }

    /// Makes a schedule. It is for one customer's machines; only who may use all of them makes one
    /// for all.
    ///
    /// # Errors
    /// [`SchedulesError::Invalid`], [`SchedulesError::CustomerNotFound`].
    pub async fn create(
        &self,
        permit: &Permit<act::ManageSchedules>,
        wish: NewSchedule,
    ) -> Result<Planned, SchedulesError> {
        let now = self.clock.now();
        check::template(&wish.template, self.limits)?;
        let id = ScheduleId::new(&*self.clock, &*self.entropy);
        let mut template = wish.template;
        let customer_id = customer(permit.scope(), wish.customer_id)?;
        let place = Schedule::secrets_place(id);
        self.keeper.keep(permit, customer_id, &mut template, &place, wish.confirm).await?;
        let schedule = Schedule {
            id,
            customer_id,
            name: check::name(&wish.name)?,
            description: check::description(wish.description)?.filter(|text| !text.is_empty()),
            timing: new_timing(wish.timing, now)?,
            template,
            missed_runs: wish.missed_runs,
            overlap: wish.overlap,
            jitter: check::jitter(wish.jitter)?,
            windows: windows(&wish.windows, now)?,
            enabled: wish.enabled,
            made_by: Maker::of(permit.actor()).ok_or(Denied::Forbidden)?,
            created_at: now,
            updated_at: now,
            course: Course::from(now),
        };
        if !self.repository.create(schedule.clone(), permit.author()).await? {
            return Err(SchedulesError::CustomerNotFound);
        }
        self.planned(schedule).await
    }

    /// One schedule.
    ///
    /// # Errors
    /// [`SchedulesError::NotFound`] when it does not lie in the asker's scope.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadSchedules>,
        id: ScheduleId,
    ) -> Result<Planned, SchedulesError> {
        let schedule = self.find(permit.scope(), id).await?;
        self.planned(schedule).await
    }

    /// A page of schedules, in the order of their creation.
    ///
    /// # Errors
    /// [`SchedulesError::Storage`].
    pub async fn list(
        &self,
        permit: &Permit<act::ReadSchedules>,
        filter: &ScheduleFilter,
        page: &PageRequest,
    ) -> Result<Page<Schedule>, SchedulesError> {
        Ok(self.repository.list(permit.scope(), filter, page).await?)
    }

    /// Changes a schedule, whose runs are on behalf of whoever does from then on: nobody plans what
    /// somebody else answers for.
    ///
    /// # Errors
    /// [`SchedulesError::NotFound`], [`SchedulesError::Invalid`].
    pub async fn update(
        &self,
        permit: &Permit<act::ManageSchedules>,
        id: ScheduleId,
        mut wish: ScheduleUpdate,
    ) -> Result<Planned, SchedulesError> {
        let now = self.clock.now();
        let maker = Maker::of(permit.actor()).ok_or(Denied::Forbidden)?;
        let before = self.find(permit.scope(), id).await?;
        let mut template = changed_template(&before.template, &mut wish);
        if let Some(template) = &mut template {
            check::template(template, self.limits)?;
            let place = Schedule::secrets_place(id);
            self.keeper.keep(permit, before.customer_id, template, &place, wish.confirm).await?;
        }
        let change = ScheduleChange {
            name: wish.name.as_deref().map(check::name).transpose()?,
            description: check::description(wish.description)?,
            timing: changed_timing(&before.timing, wish.timing, now)?,
            template,
            missed_runs: wish.missed_runs,
            overlap: wish.overlap,
            jitter: wish.jitter.map(check::jitter).transpose()?,
            windows: wish.windows.map(|wishes| windows(&wishes, now)).transpose()?,
            enabled: wish.enabled,
        };
        let (scope, author) = (permit.scope(), permit.author());
        let changed = self.repository.update(scope, id, change, maker, author, now).await?;
        self.planned(changed.ok_or(SchedulesError::NotFound)?).await
    }

    /// Has a schedule run now, whatever its times, windows and last runs say. The run begins
    /// within a second or so; who asks again before it has gets the same one.
    ///
    /// # Errors
    /// [`SchedulesError::NotFound`] when it does not lie in the asker's scope.
    pub async fn run_now(
        &self,
        permit: &Permit<act::ManageSchedules>,
        id: ScheduleId,
    ) -> Result<Planned, SchedulesError> {
        let (scope, now) = (permit.scope(), self.clock.now());
        if !self.repository.ask(scope, id, permit.author(), now).await? {
            return Err(SchedulesError::NotFound);
        }
        let schedule = self.find(scope, id).await?;
        self.planned(schedule).await
    }

    /// Removes a schedule and its history. Its runs stay.
    ///
    /// # Errors
    /// [`SchedulesError::NotFound`] when it does not lie in the asker's scope.
    pub async fn delete(
        &self,
        permit: &Permit<act::ManageSchedules>,
        id: ScheduleId,
    ) -> Result<(), SchedulesError> {
        let now = self.clock.now();
        let deleted = self.repository.delete(permit.scope(), id, permit.author(), now).await?;
        if deleted { Ok(()) } else { Err(SchedulesError::NotFound) }
    }

    /// What came of a schedule's runs, the newest first.
    ///
    /// # Errors
    /// [`SchedulesError::NotFound`] when it does not lie in the asker's scope.
    pub async fn history(
        &self,
        permit: &Permit<act::ReadSchedules>,
        id: ScheduleId,
        page: &PageRequest,
    ) -> Result<Page<Firing>, SchedulesError> {
        self.find(permit.scope(), id).await?;
        Ok(self.repository.history(id, page).await?)
    }

    async fn find(&self, scope: &TenantScope, id: ScheduleId) -> Result<Schedule, SchedulesError> {
        self.repository.find(scope, id).await?.ok_or(SchedulesError::NotFound)
    }

    async fn planned(&self, schedule: Schedule) -> Result<Planned, SchedulesError> {
        let zones = zones_of(&*self.zones, &schedule).await?;
        let next_runs = next_runs(&schedule, &zones, self.clock.now(), SHOWN_RUNS);
        Ok(Planned { schedule, next_runs })
    }
}

/// Whose machines a new schedule is for.
fn customer(
    scope: &TenantScope,
    wished: Option<CustomerId>,
) -> Result<Option<CustomerId>, SchedulesError> {
    match (wished, scope) {
        (Some(id), scope) if scope.contains(id) => Ok(Some(id)),
        (Some(_), _) => Err(SchedulesError::CustomerNotFound),
        (None, TenantScope::All) => Ok(None),
        (None, TenantScope::Customers(own)) => {
            let only = own.first().copied().filter(|_| own.len() == 1);
            let rule = "one of your customers is expected";
            let missing = || InvalidSpec { field: "customer_id", rule: rule.into() };
            Ok(Some(only.ok_or_else(missing)?))
        }
    }
}

fn windows(wishes: &[WindowWish], now: Timestamp) -> Result<MaintenanceWindows, InvalidSpec> {
    let windows = wishes.iter().map(MaintenanceWindow::parse).collect::<Result<_, _>>()?;
    MaintenanceWindows::new(windows, now)
}

/// What is to run from now on; `None` when nobody says a word about it. Secrets belong to the work
/// that they were given with.
fn changed_template(before: &Template, wish: &mut ScheduleUpdate) -> Option<Template> {
    let (target, work) = (wish.target.take(), wish.work.take());
    let stays = target.is_none() && work.is_none();
    if stays && wish.strategy.is_none() && wish.expires_in.is_none() {
        return None;
    }
    Some(Template {
        secrets: before.secrets.clone().filter(|_| work.is_none()),
        target: target.unwrap_or_else(|| before.target.clone()),
        work: work.unwrap_or_else(|| before.work.clone()),
        strategy: wish.strategy.unwrap_or(before.strategy),
        expires_in: wish.expires_in.or(before.expires_in),
    })
}

fn new_timing(wish: TimingWish, now: Timestamp) -> Result<Timing, InvalidSpec> {
    let nothing = || InvalidSpec {
        field: "cron",
        rule: "a cron expression is expected here, or an instant as at".into(),
    };
    timing(None, wish, now)?.ok_or_else(nothing)
}

fn changed_timing(
    before: &Timing,
    wish: TimingWish,
    now: Timestamp,
) -> Result<Option<Timing>, InvalidSpec> {
    timing(Some(before), wish, now)
}

/// The timing that is wished for; `None` when nobody says a word about it. What is left out of a
/// cron schedule is as it was `before`.
fn timing(
    before: Option<&Timing>,
    wish: TimingWish,
    now: Timestamp,
) -> Result<Option<Timing>, InvalidSpec> {
    let invalid = |field, rule: &str| InvalidSpec { field, rule: rule.to_owned() };
    let zone = wish.time_zone.as_deref().map(ScheduleZone::parse).transpose()?;
    let (old_expression, old_zone) = match before {
        Some(Timing::Cron { expression, zone }) => (Some(expression.clone()), Some(*zone)),
        Some(Timing::Once { .. }) | None => (None, None),
    };
    let expression = match (wish.cron, wish.at) {
        (Some(_), Some(_)) => {
            return Err(invalid("at", "a cron expression or an instant is expected, not both"));
        }
        (None, Some(_)) if zone.is_some() => {
            return Err(invalid("time_zone", "an instant is the same in all zones: leave it out"));
        }
        (None, Some(at)) => return Timing::once(at, now).map(Some),
        (Some(cron), None) => super::CronExpression::parse(&cron)?,
        (None, None) if zone.is_none() => return Ok(None),
        (None, None) => {
            old_expression.ok_or_else(|| invalid("cron", "a cron expression is expected"))?
        }
    };
    let utc = ScheduleZone::Named(super::Zone::UTC);
    Ok(Some(Timing::Cron { expression, zone: zone.or(old_zone).unwrap_or(utc) }))
}

#[cfg(test)]
mod tests;
