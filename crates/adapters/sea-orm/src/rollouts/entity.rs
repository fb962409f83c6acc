//! The tables `rollouts`, `rollout_customers` and `rollout_devices`.

use std::time::Duration;

use muster_commands::SafetyLevel;
use muster_commands::runs::StopReason;
use muster_deployment_profiles::rollouts::{Rollout, RolloutStatus, RolloutTally, Submission};
use muster_kernel::{ComplianceCheckId, CustomerId, ProfileId, RolloutId, Sealed};
use sea_orm::entity::prelude::*;

use crate::DatabaseError;
use crate::columns::{from_count, from_json, json, maybe_timestamp, micros, timestamp};
use crate::commands::entity::{duration_micros, requester, requester_columns};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "rollouts")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub profile_id: Uuid,
    pub profile_version: i32,
    pub name: String,
    pub tasks: String,
    pub secrets: Option<Vec<u8>>,
    pub target: String,
    pub strategy: String,
    pub dry_run: bool,
    pub compliance_check_id: Option<Uuid>,
    pub requested_by: Uuid,
    pub requested_by_kind: String,
    pub requested_by_name: String,
    pub safety_level: String,
    pub customer_id: Option<Uuid>,
    pub created_at: i64,
    pub expires_at: i64,
    pub expires_in_micros: i64,
    pub status: String,
    pub stop_reason: Option<String>,
    pub finished_at: Option<i64>,
    pub queued: i32,
    pub running: i32,
    pub waiting_for_reboot: i32,
    pub done: i32,
    pub done_with_errors: i32,
    pub failed: i32,
    pub skipped: i32,
    pub cancelled: i32,
    pub revision: i32,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The table `rollout_customers`.
pub(crate) mod customer {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "rollout_customers")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub rollout_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: Uuid,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The table `rollout_devices`.
pub(crate) mod device {
    use muster_agents::OsType;
    use muster_deployment_profiles::rollouts::Device;
    use muster_kernel::{AgentId, CustomerId, RolloutId};
    use sea_orm::entity::prelude::*;

    use crate::DatabaseError;
    use crate::columns::{from_json, json, maybe_timestamp, micros};

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "rollout_devices")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub rollout_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub agent_id: Uuid,
        pub customer_id: Uuid,
        pub os_type: String,
        pub status: String,
        pub with_errors: bool,
        pub stage: String,
        pub position: i32,
        pub attempt: i32,
        pub results: String,
        pub revision: i32,
        pub started_at: Option<i64>,
        pub finished_at: Option<i64>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    impl Model {
        /// The row of a machine of this rollout.
        pub(crate) fn of(rollout: RolloutId, device: &Device) -> Self {
            Self {
                rollout_id: rollout.as_uuid(),
                agent_id: device.agent_id.as_uuid(),
                customer_id: device.customer_id.as_uuid(),
                os_type: device.os_type.as_str().to_owned(),
                status: device.status().as_str().to_owned(),
                with_errors: device.has_errors(),
                stage: json(&device.stage),
                position: i32::try_from(device.position).unwrap_or(i32::MAX),
                attempt: super::number(device.attempt),
                results: json(&device.results),
                revision: super::number(device.revision),
                started_at: device.started_at.map(micros),
                finished_at: device.finished_at.map(micros),
            }
        }
    }

    impl TryFrom<Model> for Device {
        type Error = DatabaseError;

        fn try_from(row: Model) -> Result<Self, DatabaseError> {
            let bad = DatabaseError::bad_row;
            Ok(Self {
                agent_id: AgentId::from_uuid(row.agent_id),
                customer_id: CustomerId::from_uuid(row.customer_id),
                os_type: OsType::parse(&row.os_type)
                    .ok_or_else(|| bad("rollout_devices.os_type"))?,
                stage: from_json(&row.stage, "rollout_devices.stage")?,
                position: usize::try_from(row.position)
                    .map_err(|_| bad("rollout_devices.position"))?,
                attempt: super::from_number(row.attempt, "rollout_devices.attempt")?,
                results: from_json(&row.results, "rollout_devices.results")?,
                revision: super::from_number(row.revision, "rollout_devices.revision")?,
                started_at: maybe_timestamp(row.started_at, "rollout_devices.started_at")?,
                finished_at: maybe_timestamp(row.finished_at, "rollout_devices.finished_at")?,
            })
        }
    }
}

pub(super) fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

pub(super) fn from_number(value: i32, place: &'static str) -> Result<u32, DatabaseError> {
    u32::try_from(value).map_err(|_| DatabaseError::bad_row(place))
}

impl From<&Rollout> for Model {
    fn from(rollout: &Rollout) -> Self {
        let Submission { requester, name: requester_name } = &rollout.requested_by;
        let (requester_kind, requester_id) = requester_columns(*requester);
        let tally = &rollout.tally;
        Self {
            id: rollout.id.as_uuid(),
            profile_id: rollout.profile_id.as_uuid(),
            profile_version: number(rollout.profile_version),
            name: rollout.name.clone(),
            tasks: json(&rollout.tasks),
            secrets: rollout.secrets.as_ref().map(|sealed| sealed.0.clone()),
            target: json(&rollout.target),
            strategy: json(&rollout.strategy),
            dry_run: rollout.dry_run,
            compliance_check_id: rollout.compliance_check_id.map(ComplianceCheckId::as_uuid),
            requested_by: requester_id,
            requested_by_kind: requester_kind.to_owned(),
            requested_by_name: requester_name.clone(),
            safety_level: rollout.safety_level.as_str().to_owned(),
            customer_id: rollout.customer_id.map(CustomerId::as_uuid),
            created_at: micros(rollout.created_at),
            expires_at: micros(rollout.expires_at),
            expires_in_micros: duration_micros(rollout.expires_in),
            status: rollout.status.as_str().to_owned(),
            stop_reason: rollout.stop.map(|reason| reason.as_str().to_owned()),
            finished_at: rollout.finished_at.map(micros),
            queued: number(tally.queued),
            running: number(tally.running),
            waiting_for_reboot: number(tally.waiting_for_reboot),
            done: number(tally.done),
            done_with_errors: number(tally.done_with_errors),
            failed: number(tally.failed),
            skipped: number(tally.skipped),
            cancelled: number(tally.cancelled),
            revision: number(rollout.revision),
        }
    }
}

fn tally(row: &Model) -> Result<RolloutTally, DatabaseError> {
    let count = |value| from_number(value, "the number of machines of a rollout");
    Ok(RolloutTally {
        queued: count(row.queued)?,
        running: count(row.running)?,
        waiting_for_reboot: count(row.waiting_for_reboot)?,
        done: count(row.done)?,
        done_with_errors: count(row.done_with_errors)?,
        failed: count(row.failed)?,
        skipped: count(row.skipped)?,
        cancelled: count(row.cancelled)?,
    })
}

impl TryFrom<Model> for Rollout {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let bad = DatabaseError::bad_row;
        let tally = tally(&row)?;
        let stop = row
            .stop_reason
            .as_deref()
            .map(|text| StopReason::parse(text).ok_or_else(|| bad("rollouts.stop_reason")));
        let expires_in = from_count(row.expires_in_micros, "rollouts.expires_in_micros")?;
        Ok(Self {
            id: RolloutId::from_uuid(row.id),
            profile_id: ProfileId::from_uuid(row.profile_id),
            profile_version: from_number(row.profile_version, "rollouts.profile_version")?,
            name: row.name,
            tasks: from_json(&row.tasks, "rollouts.tasks")?,
            secrets: row.secrets.map(Sealed),
            target: from_json(&row.target, "rollouts.target")?,
            strategy: from_json(&row.strategy, "rollouts.strategy")?,
            dry_run: row.dry_run,
            compliance_check_id: row.compliance_check_id.map(ComplianceCheckId::from_uuid),
            requested_by: Submission {
                requester: requester(&row.requested_by_kind, row.requested_by)?,
                name: row.requested_by_name,
            },
            safety_level: SafetyLevel::parse(&row.safety_level)
                .ok_or_else(|| bad("rollouts.safety_level"))?,
            customer_id: row.customer_id.map(CustomerId::from_uuid),
            created_at: timestamp(row.created_at, "rollouts.created_at")?,
            expires_at: timestamp(row.expires_at, "rollouts.expires_at")?,
            expires_in: Duration::from_micros(expires_in),
            status: RolloutStatus::parse(&row.status).ok_or_else(|| bad("rollouts.status"))?,
            stop: stop.transpose()?,
            finished_at: maybe_timestamp(row.finished_at, "rollouts.finished_at")?,
            tally,
            revision: from_number(row.revision, "rollouts.revision")?,
        })
    }
}
