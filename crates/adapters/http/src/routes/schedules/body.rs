//! Schedules as they are asked for.

use chrono::{DateTime, Utc};
use muster_commands::runs::Template;
use muster_commands::schedules::{
    MissedPolicy, NewSchedule, OverlapPolicy, ScheduleUpdate, TimingWish, WindowWish,
};
use muster_kernel::CustomerId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Problem;
use crate::routes::wish::{StrategyBody, TargetBody, WorkBody, seconds};

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
    /// That you know that it may be dangerous; some customers ask for it.
    confirm: Option<bool>,
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
    pub(super) days: Vec<Day>,
    /// At what time of day.
    #[schema(example = "22:00")]
    pub(super) start: String,
    /// How many seconds it lasts, at most 604800.
    pub(super) duration: f64,
    /// By the clocks of which zone.
    #[schema(example = "Europe/Berlin")]
    pub(super) time_zone: String,
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
        let template = Template {
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
            confirm: plan.confirm.unwrap_or(false),
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
            confirm: plan.confirm.unwrap_or(false),
            description: plan.description,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schedule_is_asked_for_in_one_flat_body() {
        let body = json!({
            "name": "Updates", "customer_uuid": Uuid::nil(), "target": { "tags": ["web"] },
            "cron": "30 2 * * *", "time_zone": "agent", "payload": "uptime", "shell": "sh",
            "strategy": { "canary": 1 }, "expires_in": 60, "missed_runs": "run_once",
            "overlap": "allow", "jitter": 90.5, "enabled": false,
            "maintenance_windows": [
                { "days": ["mon"], "start": "22:00", "duration": 3600, "time_zone": "UTC" },
            ],
        });
        let body: ScheduleRequest = serde_json::from_value(body).unwrap();
        let wish = NewSchedule::try_from(body).unwrap();
        assert_eq!((wish.missed_runs, wish.overlap), (MissedPolicy::RunOnce, OverlapPolicy::Allow));
        assert_eq!(wish.timing.time_zone.as_deref(), Some("agent"));
        assert_eq!(wish.windows.first().unwrap().days, [chrono::Weekday::Mon]);
        assert_eq!(wish.jitter.as_millis(), 90_500);
        assert!(!wish.enabled && wish.template.strategy.canary == Some(1));
    }

    #[test]
    fn a_field_that_is_not_known_is_refused_among_those_that_are() {
        let body = |more: &str| {
            let mut body = json!({ "name": "a", "target": { "all": true }, "command": "a" });
            body[more] = json!("x");
            serde_json::from_value::<ScheduleRequest>(body).map(|_| ())
        };
        assert!(body("time_zone").is_ok());
        for unknown in ["timezone", "colour", "next_runs"] {
            assert!(body(unknown).unwrap_err().to_string().contains(unknown));
        }
        let update =
            serde_json::from_value::<ScheduleUpdateRequest>(json!({ "customer_id": null }));
        assert!(update.is_err(), "whose it is stays");
    }

    #[test]
    fn a_change_says_what_it_names_and_nothing_else() {
        let body = serde_json::from_value::<ScheduleUpdateRequest>(json!({ "enabled": false }));
        let update = ScheduleUpdate::try_from(body.unwrap()).unwrap();
        assert!(update.work.is_none() && update.target.is_none() && update.windows.is_none());
        assert!(update.timing.cron.is_none() && update.jitter.is_none());
        assert_eq!(update.enabled, Some(false));
    }
}
