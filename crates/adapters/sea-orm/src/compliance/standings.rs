//! How machines stand to profiles, in the table `compliance_standings`.

use std::collections::BTreeSet;

use muster_deployment_profiles::compliance::{
    Standing, StandingCounts, StandingFilter, StandingStatus,
};
use muster_kernel::{AgentId, CustomerId, Page, PageRequest, ProfileId, RolloutId, TenantScope};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, OnConflict};
use sea_orm::{Condition, DatabaseConnection, DatabaseTransaction, IntoActiveModel, QuerySelect};

use crate::agents::{IDS_AT_ONCE, entity as agents};
use crate::catalog::entity as catalog;
use crate::columns::{from_count, from_json, json, micros, scoped, timestamp};
use crate::{DatabaseError, pages};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "compliance_standings")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub profile_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: Uuid,
    pub customer_id: Uuid,
    pub status: String,
    pub drifted: String,
    pub rollout_id: Uuid,
    pub checked_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&Standing> for Model {
    fn from(standing: &Standing) -> Self {
        Self {
            profile_id: standing.profile_id.as_uuid(),
            agent_id: standing.agent_id.as_uuid(),
            customer_id: standing.customer_id.as_uuid(),
            status: standing.status.as_str().to_owned(),
            drifted: json(&standing.drifted),
            rollout_id: standing.rollout_id.as_uuid(),
            checked_at: micros(standing.checked_at),
        }
    }
}

fn status(text: &str) -> Result<StandingStatus, DatabaseError> {
    StandingStatus::parse(text).ok_or_else(|| DatabaseError::bad_row("compliance_standings.status"))
}

impl TryFrom<Model> for Standing {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        Ok(Self {
            profile_id: ProfileId::from_uuid(row.profile_id),
            agent_id: AgentId::from_uuid(row.agent_id),
            customer_id: CustomerId::from_uuid(row.customer_id),
            status: status(&row.status)?,
            drifted: from_json(&row.drifted, "compliance_standings.drifted")?,
            rollout_id: RolloutId::from_uuid(row.rollout_id),
            checked_at: timestamp(row.checked_at, "compliance_standings.checked_at")?,
        })
    }
}

/// Keeps how machines stand instead of how they stood before. What is known of a machine or profile
/// that was removed meanwhile, or of a machine that is another customer's by now, is dropped.
pub(crate) async fn write(
    transaction: &DatabaseTransaction,
    known: Vec<Standing>,
) -> Result<(), DatabaseError> {
    let profiles: BTreeSet<_> = known.iter().map(|it| it.profile_id.as_uuid()).collect();
    if profiles.is_empty() {
        return Ok(());
    }
    let profiles = catalog::Entity::find()
        .select_only()
        .column(catalog::Column::Id)
        .filter(catalog::Column::Id.is_in(profiles));
    let profiles: Vec<Uuid> = profiles.into_tuple().all(transaction).await?;
    for some in known.chunks(IDS_AT_ONCE) {
        let ids = some.iter().map(|standing| standing.agent_id.as_uuid());
        let there: Vec<(Uuid, Uuid)> = agents::Entity::find()
            .select_only()
            .columns([agents::Column::Id, agents::Column::CustomerId])
            .filter(agents::Column::Id.is_in(ids).and(agents::Column::DeletedAt.is_null()))
            .into_tuple()
            .all(transaction)
            .await?;
        let there: BTreeSet<_> = there.into_iter().collect();
        let is_there = |row: &Model| {
            profiles.contains(&row.profile_id) && there.contains(&(row.agent_id, row.customer_id))
        };
        let rows: Vec<_> = some.iter().map(Model::from).filter(is_there).collect();
        insert(transaction, rows).await?;
    }
    Ok(())
}

async fn insert(transaction: &DatabaseTransaction, rows: Vec<Model>) -> Result<(), DatabaseError> {
    if rows.is_empty() {
        return Ok(());
    }
    let instead = OnConflict::columns([Column::ProfileId, Column::AgentId])
        .update_columns([
            Column::CustomerId,
            Column::Status,
            Column::Drifted,
            Column::RolloutId,
            Column::CheckedAt,
        ])
        .to_owned();
    let rows = rows.into_iter().map(|row| row.into_active_model().reset_all());
    Entity::insert_many(rows).on_conflict(instead).exec_without_returning(transaction).await?;
    Ok(())
}

/// A page of how machines in `scope` stand to a profile, and how many of all stand how.
pub(super) async fn read(
    reader: &DatabaseConnection,
    scope: &TenantScope,
    profile: ProfileId,
    filter: &StandingFilter,
    page: &PageRequest,
) -> Result<(Page<Standing>, StandingCounts), DatabaseError> {
    let of_profile = scoped(Column::CustomerId, scope).add(Column::ProfileId.eq(profile.as_uuid()));
    let counted: Vec<(String, i64)> = Entity::find()
        .select_only()
        .column(Column::Status)
        .column_as(Column::AgentId.count(), "number")
        .filter(of_profile.clone())
        .group_by(Column::Status)
        .into_tuple()
        .all(reader)
        .await?;
    let mut counts = StandingCounts::default();
    for (text, number) in counted {
        let number = from_count(number, "the number of machines that stand alike")?;
        match status(&text)? {
            StandingStatus::Compliant => counts.compliant = number,
            StandingStatus::Drifted => counts.drifted = number,
            StandingStatus::Unknown => counts.unknown = number,
        }
    }
    let standing = filter.status.map(|status| Column::Status.eq(status.as_str()));
    let matching = Entity::find().filter(of_profile).filter(Condition::all().add_option(standing));
    let of = |row: &Model| row.agent_id;
    let page = pages::oldest_first(reader, matching, Column::AgentId, page, of).await?;
    Ok((page.try_map(Standing::try_from)?, counts))
}

/// Forgets how machines of a customer stand, within the transaction that removes the customer.
pub(super) async fn remove_all(
    transaction: &DatabaseTransaction,
    customer: CustomerId,
) -> Result<(), DbErr> {
    let theirs = Column::CustomerId.eq(customer.as_uuid());
    Entity::delete_many().filter(theirs).exec(transaction).await.map(|_| ())
}

/// Forgets how a machine stands, within the transaction that gives it to another customer.
pub(crate) async fn leave(
    transaction: &DatabaseTransaction,
    machine: AgentId,
) -> Result<(), DbErr> {
    let of_it = Column::AgentId.eq(machine.as_uuid());
    Entity::delete_many().filter(of_it).exec(transaction).await.map(|_| ())
}
