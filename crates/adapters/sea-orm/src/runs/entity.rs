//! The tables `runs` and `run_customers`.

use std::time::Duration;

use muster_commands::SafetyLevel;
use muster_commands::runs::{Run, RunStatus, StopReason, Tally, Template};
use muster_kernel::{CustomerId, RunId, ScheduleId, Sealed};
use sea_orm::entity::prelude::*;

use crate::DatabaseError;
use crate::columns::{from_count, from_json, json, maybe_timestamp, micros, timestamp};
use crate::commands::entity::{duration_micros, requester, requester_columns};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "runs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub customer_id: Option<Uuid>,
    pub target: String,
    pub work: String,
    pub strategy: String,
    pub secrets: Option<Vec<u8>>,
    pub expires_in_micros: Option<i64>,
    pub summary: String,
    pub requested_by: Uuid,
    pub requested_by_kind: String,
    pub safety_level: String,
    pub retry_of: Option<Uuid>,
    pub schedule_id: Option<Uuid>,
    pub created_at: i64,
    pub expires_at: i64,
    pub status: String,
    pub stop_reason: Option<String>,
    pub finished_at: Option<i64>,
    pub total: i32,
    pub completed: i32,
    pub failed: i32,
    pub cancelled: i32,
    pub expired: i32,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The table `run_customers`.
pub(crate) mod customer {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "run_customers")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub run_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: Uuid,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

impl From<&Run> for Model {
    fn from(run: &Run) -> Self {
        let (kind, requested_by) = requester_columns(run.requested_by);
        let Template { target, work, secrets, strategy, expires_in } = &run.template;
        Self {
            id: run.id.as_uuid(),
            customer_id: run.customer_id.map(CustomerId::as_uuid),
            target: json(target),
            work: json(work),
            strategy: json(strategy),
            secrets: secrets.clone().map(|it| it.0),
            expires_in_micros: expires_in.map(duration_micros),
            summary: run.summary.clone(),
            requested_by,
            requested_by_kind: kind.to_owned(),
            safety_level: run.safety_level.as_str().to_owned(),
            retry_of: run.retry_of.map(RunId::as_uuid),
            schedule_id: run.schedule_id.map(ScheduleId::as_uuid),
            created_at: micros(run.created_at),
            expires_at: micros(run.expires_at),
            status: run.status.as_str().to_owned(),
            stop_reason: run.stop.map(|reason| reason.as_str().to_owned()),
            finished_at: run.finished_at.map(micros),
            total: number(run.tally.total()),
            completed: number(run.tally.completed),
            failed: number(run.tally.failed),
            cancelled: number(run.tally.cancelled),
            expired: number(run.tally.expired),
        }
    }
}

/// What is not counted as ended counts as held: of a run that goes on, its commands know better.
fn tally(row: &Model) -> Option<Tally> {
    let count = |value: i32| u32::try_from(value).ok();
    let mut tally = Tally {
        completed: count(row.completed)?,
        failed: count(row.failed)?,
        cancelled: count(row.cancelled)?,
        expired: count(row.expired)?,
        ..Tally::default()
    };
    tally.held = count(row.total)?.checked_sub(tally.total())?;
    Some(tally)
}

impl TryFrom<Model> for Run {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let tally = tally(&row).ok_or_else(|| DatabaseError::bad_row("runs.total"))?;
        let stop = row.stop_reason.as_deref().map(|text| {
            StopReason::parse(text).ok_or_else(|| DatabaseError::bad_row("runs.stop_reason"))
        });
        let expires_in = row
            .expires_in_micros
            .map(|micros| from_count(micros, "runs.expires_in_micros"))
            .transpose()?;
        Ok(Self {
            id: RunId::from_uuid(row.id),
            template: Template {
                target: from_json(&row.target, "runs.target")?,
                work: from_json(&row.work, "runs.work")?,
                secrets: row.secrets.map(Sealed),
                strategy: from_json(&row.strategy, "runs.strategy")?,
                expires_in: expires_in.map(Duration::from_micros),
            },
            summary: row.summary,
            requested_by: requester(&row.requested_by_kind, row.requested_by)?,
            safety_level: SafetyLevel::parse(&row.safety_level)
                .ok_or_else(|| DatabaseError::bad_row("runs.safety_level"))?,
            retry_of: row.retry_of.map(RunId::from_uuid),
            schedule_id: row.schedule_id.map(ScheduleId::from_uuid),
            created_at: timestamp(row.created_at, "runs.created_at")?,
            expires_at: timestamp(row.expires_at, "runs.expires_at")?,
            status: RunStatus::parse(&row.status)
                .ok_or_else(|| DatabaseError::bad_row("runs.status"))?,
            stop: stop.transpose()?,
            finished_at: maybe_timestamp(row.finished_at, "runs.finished_at")?,
            tally,
            customer_id: row.customer_id.map(CustomerId::from_uuid),
        })
    }
}
