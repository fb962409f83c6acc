//! The table `compliance_checks`.

use muster_commands::schedules::{CronExpression, Zone};
use muster_deployment_profiles::compliance::ComplianceCheck;
use muster_deployment_profiles::rollouts::Submission;
use muster_kernel::{ComplianceCheckId, CustomerId, ProfileId, RolloutId};
use sea_orm::entity::prelude::*;

use crate::DatabaseError;
use crate::columns::{from_json, json, maybe_timestamp, micros, timestamp};
use crate::commands::entity::{requester, requester_columns};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "compliance_checks")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub customer_id: Option<Uuid>,
    pub name: String,
    pub profile_id: Uuid,
    pub target: String,
    pub cron: String,
    pub time_zone: String,
    pub enabled: bool,
    pub made_by: Uuid,
    pub made_by_kind: String,
    pub made_by_name: String,
    pub created_at: i64,
    pub next_at: Option<i64>,
    pub last_rollout_id: Option<Uuid>,
    pub last_error: Option<String>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&ComplianceCheck> for Model {
    fn from(check: &ComplianceCheck) -> Self {
        let Submission { requester, name: made_by_name } = &check.made_by;
        let (made_by_kind, made_by) = requester_columns(*requester);
        Self {
            id: check.id.as_uuid(),
            customer_id: check.customer_id.map(CustomerId::as_uuid),
            name: check.name.clone(),
            profile_id: check.profile_id.as_uuid(),
            target: json(&check.target),
            cron: check.cron.as_str().to_owned(),
            time_zone: check.zone.name().to_owned(),
            enabled: check.enabled,
            made_by,
            made_by_kind: made_by_kind.to_owned(),
            made_by_name: made_by_name.clone(),
            created_at: micros(check.created_at),
            next_at: check.next_at.map(micros),
            last_rollout_id: check.last_rollout_id.map(RolloutId::as_uuid),
            last_error: check.last_error.clone(),
        }
    }
}

impl TryFrom<Model> for ComplianceCheck {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let bad = DatabaseError::bad_row;
        Ok(Self {
            id: ComplianceCheckId::from_uuid(row.id),
            customer_id: row.customer_id.map(CustomerId::from_uuid),
            name: row.name,
            profile_id: ProfileId::from_uuid(row.profile_id),
            target: from_json(&row.target, "compliance_checks.target")?,
            cron: CronExpression::parse(&row.cron).map_err(|_| bad("compliance_checks.cron"))?,
            zone: Zone::parse(&row.time_zone).ok_or_else(|| bad("compliance_checks.time_zone"))?,
            enabled: row.enabled,
            made_by: Submission {
                requester: requester(&row.made_by_kind, row.made_by)?,
                name: row.made_by_name,
            },
            created_at: timestamp(row.created_at, "compliance_checks.created_at")?,
            next_at: maybe_timestamp(row.next_at, "compliance_checks.next_at")?,
            last_rollout_id: row.last_rollout_id.map(RolloutId::from_uuid),
            last_error: row.last_error,
        })
    }
}
