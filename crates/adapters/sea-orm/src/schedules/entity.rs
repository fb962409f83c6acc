//! The tables `schedules` and `schedule_history`.

use std::time::Duration;

use muster_commands::Requester;
use muster_commands::runs::Template;
use muster_commands::schedules::{
    Course, CronExpression, Lease, Maker, MissedPolicy, OverlapPolicy, Schedule, ScheduleZone,
    Timing,
};
use muster_kernel::{ApiKeyId, CustomerId, NodeId, ScheduleId, Sealed, UserId};
use sea_orm::entity::prelude::*;

use crate::DatabaseError;
use crate::columns::{count, from_count, from_json, json, maybe_timestamp, micros, timestamp};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "schedules")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub customer_id: Option<Uuid>,
    pub name: String,
    pub canonical_name: String,
    pub description: Option<String>,
    pub cron: Option<String>,
    pub time_zone: Option<String>,
    pub at: Option<i64>,
    pub template: String,
    pub secrets: Option<Vec<u8>>,
    pub missed_runs: String,
    pub overlap: String,
    pub jitter_seconds: i64,
    pub maintenance_windows: String,
    pub enabled: bool,
    pub made_by: Uuid,
    pub made_by_kind: String,
    pub made_by_name: String,
    pub created_at: i64,
    pub updated_at: i64,
    pub decided_until: i64,
    pub wakes_at: Option<i64>,
    pub asked_at: Option<i64>,
    pub lease_owner: Option<Uuid>,
    pub lease_until: Option<i64>,
    pub lease_due: Option<i64>,
    pub last_runs: String,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The form of a name that is searched.
pub(super) fn canonical(name: &str) -> String {
    name.to_lowercase()
}

impl From<&Schedule> for Model {
    fn from(schedule: &Schedule) -> Self {
        let (cron, time_zone, at) = match &schedule.timing {
            Timing::Cron { expression, zone } => {
                (Some(expression.as_str().to_owned()), Some(zone.as_str().to_owned()), None)
            }
            Timing::Once { at } => (None, None, Some(micros(*at))),
        };
        let (kind, made_by) = match schedule.made_by.requester {
            Requester::User(id) => ("user", id.as_uuid()),
            Requester::ApiKey(id) => ("api_key", id.as_uuid()),
        };
        let course = &schedule.course;
        Self {
            id: schedule.id.as_uuid(),
            customer_id: schedule.customer_id.map(CustomerId::as_uuid),
            name: schedule.name.clone(),
            canonical_name: canonical(&schedule.name),
            description: schedule.description.clone(),
            cron,
            time_zone,
            at,
            template: json(&schedule.template),
            secrets: schedule.template.secrets.clone().map(|sealed| sealed.0),
            missed_runs: schedule.missed_runs.as_str().to_owned(),
            overlap: schedule.overlap.as_str().to_owned(),
            jitter_seconds: count(schedule.jitter.as_secs()),
            maintenance_windows: json(&schedule.windows),
            enabled: schedule.enabled,
            made_by,
            made_by_kind: kind.to_owned(),
            made_by_name: schedule.made_by.name.clone(),
            created_at: micros(schedule.created_at),
            updated_at: micros(schedule.updated_at),
            decided_until: micros(course.decided_until),
            wakes_at: course.wakes_at.map(micros),
            asked_at: course.asked_at.map(micros),
            lease_owner: course.lease.map(|lease| lease.owner.as_uuid()),
            lease_until: course.lease.map(|lease| micros(lease.until)),
            lease_due: course.lease.map(|lease| micros(lease.due)),
            last_runs: json(&course.last_runs),
        }
    }
}

impl TryFrom<Model> for Schedule {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let mut template: Template = from_json(&row.template, "schedules.template")?;
        template.secrets = row.secrets.clone().map(Sealed);
        let jitter = from_count(row.jitter_seconds, "schedules.jitter_seconds")?;
        Ok(Self {
            id: ScheduleId::from_uuid(row.id),
            customer_id: row.customer_id.map(CustomerId::from_uuid),
            timing: timing(&row)?,
            made_by: maker(&row)?,
            course: course(&row)?,
            template,
            missed_runs: MissedPolicy::parse(&row.missed_runs)
                .ok_or_else(|| DatabaseError::bad_row("schedules.missed_runs"))?,
            overlap: OverlapPolicy::parse(&row.overlap)
                .ok_or_else(|| DatabaseError::bad_row("schedules.overlap"))?,
            jitter: Duration::from_secs(jitter),
            windows: from_json(&row.maintenance_windows, "schedules.maintenance_windows")?,
            enabled: row.enabled,
            created_at: timestamp(row.created_at, "schedules.created_at")?,
            updated_at: timestamp(row.updated_at, "schedules.updated_at")?,
            name: row.name,
            description: row.description,
        })
    }
}

fn timing(row: &Model) -> Result<Timing, DatabaseError> {
    let bad = || DatabaseError::bad_row("schedules.cron");
    match (&row.cron, &row.time_zone, row.at) {
        (Some(cron), Some(zone), None) => Ok(Timing::Cron {
            expression: CronExpression::parse(cron).map_err(|_| bad())?,
            zone: ScheduleZone::parse(zone)
                .map_err(|_| DatabaseError::bad_row("schedules.time_zone"))?,
        }),
        (None, None, Some(at)) => Ok(Timing::Once { at: timestamp(at, "schedules.at")? }),
        _ => Err(bad()),
    }
}

fn maker(row: &Model) -> Result<Maker, DatabaseError> {
    let requester = match row.made_by_kind.as_str() {
        "user" => Requester::User(UserId::from_uuid(row.made_by)),
        "api_key" => Requester::ApiKey(ApiKeyId::from_uuid(row.made_by)),
        _ => return Err(DatabaseError::bad_row("schedules.made_by_kind")),
    };
    Ok(Maker { requester, name: row.made_by_name.clone() })
}

fn course(row: &Model) -> Result<Course, DatabaseError> {
    let until = maybe_timestamp(row.lease_until, "schedules.lease_until")?;
    let due = maybe_timestamp(row.lease_due, "schedules.lease_due")?;
    let lease = match (row.lease_owner, until, due) {
        (Some(owner), Some(until), Some(due)) => {
            Some(Lease { owner: NodeId::from_uuid(owner), until, due })
        }
        _ => None,
    };
    Ok(Course {
        decided_until: timestamp(row.decided_until, "schedules.decided_until")?,
        wakes_at: maybe_timestamp(row.wakes_at, "schedules.wakes_at")?,
        asked_at: maybe_timestamp(row.asked_at, "schedules.asked_at")?,
        lease,
        last_runs: from_json(&row.last_runs, "schedules.last_runs")?,
    })
}

/// The table `schedule_history`.
pub(super) mod history {
    use muster_commands::schedules::{Firing, FiringOutcome};
    use muster_kernel::{FiringId, RunId, ScheduleId};
    use sea_orm::entity::prelude::*;

    use crate::DatabaseError;
    use crate::columns::{micros, timestamp};

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "schedule_history")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub schedule_id: Uuid,
        pub due_at: i64,
        pub fired_at: i64,
        pub outcome: String,
        pub run_id: Option<Uuid>,
        pub reason: Option<String>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    impl From<Firing> for Model {
        fn from(firing: Firing) -> Self {
            let outcome = firing.outcome.as_str().to_owned();
            let (run_id, reason) = match firing.outcome {
                FiringOutcome::Started(run) => (Some(run.as_uuid()), None),
                FiringOutcome::Failed(reason) => (None, Some(reason)),
                FiringOutcome::Missed | FiringOutcome::Overlapped => (None, None),
            };
            Self {
                id: firing.id.as_uuid(),
                schedule_id: firing.schedule_id.as_uuid(),
                due_at: micros(firing.due_at),
                fired_at: micros(firing.fired_at),
                outcome,
                run_id,
                reason,
            }
        }
    }

    impl TryFrom<Model> for Firing {
        type Error = DatabaseError;

        fn try_from(row: Model) -> Result<Self, DatabaseError> {
            let outcome = match (row.outcome.as_str(), row.run_id, row.reason) {
                ("started", Some(run), _) => FiringOutcome::Started(RunId::from_uuid(run)),
                ("failed", _, Some(reason)) => FiringOutcome::Failed(reason),
                ("missed", ..) => FiringOutcome::Missed,
                ("overlapped", ..) => FiringOutcome::Overlapped,
                _ => return Err(DatabaseError::bad_row("schedule_history.outcome")),
            };
            Ok(Self {
                id: FiringId::from_uuid(row.id),
                schedule_id: ScheduleId::from_uuid(row.schedule_id),
                due_at: timestamp(row.due_at, "schedule_history.due_at")?,
                fired_at: timestamp(row.fired_at, "schedule_history.fired_at")?,
                outcome,
            })
        }
    }
}
