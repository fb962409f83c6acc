//! Schedules.

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_commands::schedules::{
    Firing, FiringOutcome, MissedPolicy, NewSchedule, OverlapPolicy, Planned, Schedule,
    ScheduleFilter, ScheduleUpdate, SchedulesError, Timing, TimingWish, WindowWish,
};
use muster_kernel::{CustomerId, ProblemCode, RunId, ScheduleId, act};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::commands::RequesterAnswer;
use super::wish::{StrategyBody, TargetBody, WorkBody, seconds};
use crate::extract::{Id, Json, ListAnswer, May, PageQuery, Query};
use crate::{AppState, Problem};

/// When it comes due, and what becomes of it then.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct PlanBody {
    description: Option<String>,
    /// Minute, hour, day of the month, month and day of the week, or seconds before them. Fixed
    /// times of day come due once a day, also where clocks are changed; intervals go on evenly.
    #[schema(example = "30 2 * * MON-FRI")]
    cron: Option<String>,
    /// By the clocks of which zone: its name, or `agent` for each agent's own; `UTC` unless given.
    #[schema(example = "Europe/Berlin")]
    time_zone: Option<String>,
    /// The only instant, instead of `cron`.
    at: Option<DateTime<Utc>>,
    strategy: Option<StrategyBody>,
    /// Seconds that a machine which is out of reach may come back for it; 7 days unless given.
    expires_in: Option<f64>,
    /// What becomes of runs that nobody could start in time; `skip` unless given.
    #[schema(inline)]
    missed_runs: Option<MissedParameter>,
    /// What becomes of a run that comes due while the last one goes on; `skip` unless given.
    #[schema(inline)]
    overlap: Option<OverlapParameter>,
    /// Each run begins at random up to so many seconds later, at most 86400.
    jitter: Option<f64>,
    /// When no run may begin: what comes due in one is held to its end, and runs once.
    maintenance_windows: Option<Vec<WindowBody>>,
    /// Whether it runs at all; `true` unless given.
    enabled: Option<bool>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleRequest {
    /// 1 to 200 printable characters.
    name: String,
    /// Whose it is; to be left out by whoever has one customer, and for all customers by whoever
    /// may use all machines.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    target: TargetBody,
    #[serde(flatten)]
    work: WorkBody,
    #[serde(flatten)]
    plan: PlanBody,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleUpdateRequest {
    name: Option<String>,
    target: Option<TargetBody>,
    #[serde(flatten)]
    work: WorkBody,
    #[serde(flatten)]
    plan: PlanBody,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MissedParameter {
    /// They are left out.
    Skip,
    /// One run makes up for all of them.
    RunOnce,
}

impl From<MissedParameter> for MissedPolicy {
    fn from(policy: MissedParameter) -> Self {
        match policy {
            MissedParameter::Skip => Self::Skip,
            MissedParameter::RunOnce => Self::RunOnce,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OverlapParameter {
    /// It is left out.
    Skip,
    /// It begins beside the other.
    Allow,
}

impl From<OverlapParameter> for OverlapPolicy {
    fn from(policy: OverlapParameter) -> Self {
        match policy {
            OverlapParameter::Skip => Self::Skip,
            OverlapParameter::Allow => Self::Allow,
        }
    }
}

/// A day of the week.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl From<Day> for chrono::Weekday {
    fn from(day: Day) -> Self {
        match day {
            Day::Mon => Self::Mon,
            Day::Tue => Self::Tue,
            Day::Wed => Self::Wed,
            Day::Thu => Self::Thu,
            Day::Fri => Self::Fri,
            Day::Sat => Self::Sat,
            Day::Sun => Self::Sun,
        }
    }
}

impl From<chrono::Weekday> for Day {
    fn from(day: chrono::Weekday) -> Self {
        match day {
            chrono::Weekday::Mon => Self::Mon,
            chrono::Weekday::Tue => Self::Tue,
            chrono::Weekday::Wed => Self::Wed,
            chrono::Weekday::Thu => Self::Thu,
            chrono::Weekday::Fri => Self::Fri,
            chrono::Weekday::Sat => Self::Sat,
            chrono::Weekday::Sun => Self::Sun,
        }
    }
}

/// A time of the week.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WindowBody {
    /// On which days it begins; on all of them unless given.
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    days: Vec<Day>,
    /// At what time of day.
    #[schema(example = "22:00")]
    start: String,
    /// How many seconds it lasts, at most 604800.
    duration: f64,
    /// By the clocks of which zone.
    #[schema(example = "Europe/Berlin")]
    time_zone: String,
}

impl From<WindowBody> for WindowWish {
    fn from(body: WindowBody) -> Self {
        let WindowBody { days, start, duration, time_zone } = body;
        Self { days: days.into_iter().map(Into::into).collect(), start, duration, time_zone }
    }
}

impl PlanBody {
    fn timing(&mut self) -> TimingWish {
        let (cron, time_zone) = (self.cron.take(), self.time_zone.take());
        TimingWish { cron, at: self.at, time_zone }
    }

    fn windows(&mut self) -> Option<Vec<WindowWish>> {
        let windows = self.maintenance_windows.take();
        windows.map(|windows| windows.into_iter().map(Into::into).collect())
    }
}

impl TryFrom<ScheduleRequest> for NewSchedule {
    type Error = Problem;

    fn try_from(body: ScheduleRequest) -> Result<Self, Problem> {
        let mut plan = body.plan;
        let template = muster_commands::runs::Template {
            target: body.target.try_into()?,
            work: body.work.try_into()?,
            secrets: None,
            strategy: plan.strategy.unwrap_or_default().into(),
            expires_in: seconds(plan.expires_in, "/expires_in")?,
        };
        Ok(Self {
            customer_id: body.customer_id.map(CustomerId::from_uuid),
            name: body.name,
            timing: plan.timing(),
            template,
            missed_runs: plan.missed_runs.map(Into::into).unwrap_or_default(),
            overlap: plan.overlap.map(Into::into).unwrap_or_default(),
            jitter: seconds(plan.jitter, "/jitter")?.unwrap_or_default(),
            windows: plan.windows().unwrap_or_default(),
            enabled: plan.enabled.unwrap_or(true),
            description: plan.description,
        })
    }
}

impl TryFrom<ScheduleUpdateRequest> for ScheduleUpdate {
    type Error = Problem;

    fn try_from(body: ScheduleUpdateRequest) -> Result<Self, Problem> {
        let mut plan = body.plan;
        Ok(Self {
            name: body.name,
            timing: plan.timing(),
            target: body.target.map(TryInto::try_into).transpose()?,
            work: body.work.given()?,
            strategy: plan.strategy.map(Into::into),
            expires_in: seconds(plan.expires_in, "/expires_in")?,
            missed_runs: plan.missed_runs.map(Into::into),
            overlap: plan.overlap.map(Into::into),
            jitter: seconds(plan.jitter, "/jitter")?,
            windows: plan.windows(),
            enabled: plan.enabled,
            description: plan.description,
        })
    }
}

/// Something that runs again and again, or once at a time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleAnswer {
    id: Uuid,
    /// Whose it is; null when it is for all customers.
    customer_id: Option<Uuid>,
    name: String,
    description: Option<String>,
    cron: Option<String>,
    /// The name of a zone, or `agent` for each agent's own.
    time_zone: Option<&'static str>,
    at: Option<DateTime<Utc>>,
    target: TargetBody,
    #[serde(flatten)]
    work: WorkBody,
    strategy: StrategyBody,
    expires_in: Option<f64>,
    /// `skip` or `run_once`.
    missed_runs: &'static str,
    /// `skip` or `allow`.
    overlap: &'static str,
    jitter: u64,
    maintenance_windows: Vec<WindowBody>,
    enabled: bool,
    made_by: MakerAnswer,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// When the next five runs begin, as far as it can be known; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_runs: Option<Vec<DateTime<Utc>>>,
}

/// Whoever made a schedule or changed it last: its runs are on their behalf.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MakerAnswer {
    #[serde(flatten)]
    who: RequesterAnswer,
    name: String,
}

impl From<Schedule> for ScheduleAnswer {
    fn from(schedule: Schedule) -> Self {
        let (cron, time_zone, at) = match &schedule.timing {
            Timing::Cron { expression, zone } => {
                (Some(expression.to_string()), Some(zone.as_str()), None)
            }
            Timing::Once { at } => (None, None, Some(*at)),
        };
        let windows = schedule.windows.iter().map(|window| WindowBody {
            days: window.days().iter().copied().map(Into::into).collect(),
            start: window.start(),
            duration: window.duration().as_secs_f64(),
            time_zone: window.zone().name().to_owned(),
        });
        Self {
            id: schedule.id.as_uuid(),
            customer_id: schedule.customer_id.map(CustomerId::as_uuid),
            cron,
            time_zone,
            at,
            maintenance_windows: windows.collect(),
            name: schedule.name,
            description: schedule.description,
            target: schedule.template.target.into(),
            work: schedule.template.work.into(),
            strategy: schedule.template.strategy.into(),
            expires_in: schedule.template.expires_in.map(|time| time.as_secs_f64()),
            missed_runs: schedule.missed_runs.as_str(),
            overlap: schedule.overlap.as_str(),
            jitter: schedule.jitter.as_secs(),
            enabled: schedule.enabled,
            made_by: MakerAnswer {
                who: schedule.made_by.requester.into(),
                name: schedule.made_by.name,
            },
            created_at: schedule.created_at,
            updated_at: schedule.updated_at,
            next_runs: None,
        }
    }
}

impl From<Planned> for ScheduleAnswer {
    fn from(planned: Planned) -> Self {
        Self { next_runs: Some(planned.next_runs), ..planned.schedule.into() }
    }
}

/// What came of a run that came due.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FiringAnswer {
    id: Uuid,
    due_at: DateTime<Utc>,
    fired_at: DateTime<Utc>,
    /// `started`, `missed` (nobody could start it in time, nor those that came due after it until
    /// `fired_at`), `overlapped` (the last one went on) or `failed`.
    outcome: &'static str,
    /// The run that was started.
    run_id: Option<Uuid>,
    /// Why it failed.
    reason: Option<String>,
}

impl From<Firing> for FiringAnswer {
    fn from(firing: Firing) -> Self {
        let outcome = firing.outcome.as_str();
        let (run_id, reason) = match firing.outcome {
            FiringOutcome::Started(run) => (Some(RunId::as_uuid(run)), None),
            FiringOutcome::Failed(reason) => (None, Some(reason)),
            FiringOutcome::Missed | FiringOutcome::Overlapped => (None, None),
        };
        let (due_at, fired_at) = (firing.due_at, firing.fired_at);
        Self { id: firing.id.as_uuid(), due_at, fired_at, outcome, run_id, reason }
    }
}

impl From<SchedulesError> for Problem {
    fn from(error: SchedulesError) -> Self {
        let text = error.to_string();
        match error {
            SchedulesError::NotFound | SchedulesError::CustomerNotFound => {
                Self::new(ProblemCode::NotFound, text)
            }
            SchedulesError::Denied(denied) => denied.into(),
            SchedulesError::Invalid(error) => error.into(),
            SchedulesError::Storage(error) => error.into(),
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScheduleQuery {
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// Only those that run, or only those that do not.
    enabled: Option<bool>,
    /// Only those whose name contains this.
    q: Option<String>,
}

/// The schedules, in the order of their creation.
#[utoipa::path(
    get, path = "/schedules", tag = "schedules", operation_id = "list_schedules",
    params(ScheduleQuery, PageQuery),
    responses((status = 200, body = ListAnswer<ScheduleAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadSchedules>,
    query: Query<ScheduleQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let ScheduleQuery { customer_id, enabled, q } = query.0;
    let filter = ScheduleFilter { customer_id: customer_id.map(CustomerId::from_uuid), enabled, q };
    let page = state.schedules.list(&permit, &filter, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, ScheduleAnswer::from)))
}

/// Make a schedule. Its runs are on your behalf, as far as you may when they begin.
#[utoipa::path(
    post, path = "/schedules", tag = "schedules", operation_id = "create_schedule",
    request_body = ScheduleRequest,
    responses(
        (status = 201, body = ScheduleAnswer),
        (status = 404, description = "no such customer"),
        (status = 422, description = "a field breaks a rule, or it never comes due"),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageSchedules>,
    body: Json<ScheduleRequest>,
) -> Result<impl Responder, Problem> {
    let wish = body.value().await?.try_into()?;
    let planned = state.schedules.create(&permit, wish).await?;
    let location = format!("/api/v1/schedules/{}", planned.schedule.id);
    let answer = ScheduleAnswer::from(planned);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(answer))
}

/// One schedule, with its next runs.
#[utoipa::path(
    get, path = "/schedules/{id}", tag = "schedules", operation_id = "read_schedule",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = ScheduleAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadSchedules>,
    id: Id<ScheduleId>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(ScheduleAnswer::from(state.schedules.get(&permit, id.get()?).await?)))
}

/// Change a schedule; what is left out stays. Its runs are on your behalf from then on.
#[utoipa::path(
    put, path = "/schedules/{id}", tag = "schedules", operation_id = "update_schedule",
    params(("id" = Uuid, Path)), request_body = ScheduleUpdateRequest,
    responses((status = 200, body = ScheduleAnswer), (status = 404), (status = 422)),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageSchedules>,
    id: Id<ScheduleId>,
    body: Json<ScheduleUpdateRequest>,
) -> Result<impl Responder, Problem> {
    let wish = body.value().await?.try_into()?;
    let planned = state.schedules.update(&permit, id.get()?, wish).await?;
    Ok(web::Json(ScheduleAnswer::from(planned)))
}

/// Delete a schedule and its history. What it started goes on.
#[utoipa::path(
    delete, path = "/schedules/{id}", tag = "schedules", operation_id = "delete_schedule",
    params(("id" = Uuid, Path)), responses((status = 204), (status = 404)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageSchedules>,
    id: Id<ScheduleId>,
) -> Result<impl Responder, Problem> {
    state.schedules.delete(&permit, id.get()?).await?;
    Ok(HttpResponse::NoContent())
}

/// What came of a schedule's runs, the newest first.
#[utoipa::path(
    get, path = "/schedules/{id}/runs", tag = "schedules", operation_id = "list_schedule_runs",
    params(("id" = Uuid, Path), PageQuery),
    responses((status = 200, body = ListAnswer<FiringAnswer>), (status = 404)),
)]
pub(crate) async fn history(
    state: web::Data<AppState>,
    permit: May<act::ReadSchedules>,
    id: Id<ScheduleId>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let page = state.schedules.history(&permit, id.get()?, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, FiringAnswer::from)))
}

/// Have a schedule run now, whatever its times, windows and last runs say. The run begins within a
/// second or so and stands in the history then; asking again before it has is harmless.
#[utoipa::path(
    post, path = "/schedules/{id}/run", tag = "schedules", operation_id = "run_schedule",
    params(("id" = Uuid, Path)),
    responses((status = 202, body = ScheduleAnswer), (status = 404)),
)]
pub(crate) async fn run_now(
    state: web::Data<AppState>,
    permit: May<act::ManageSchedules>,
    id: Id<ScheduleId>,
) -> Result<impl Responder, Problem> {
    let planned = state.schedules.run_now(&permit, id.get()?).await?;
    let answer = web::Json(ScheduleAnswer::from(planned));
    Ok(answer.customize().with_status(StatusCode::ACCEPTED))
}
