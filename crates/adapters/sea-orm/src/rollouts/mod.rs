//! Rollouts and their machines.

mod advance;
pub(crate) mod entity;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_commands::Once;
use muster_deployment_profiles::rollouts::{
    Advance, Advanced, Device, DeviceFilter, DeviceStatus, Rollout, RolloutBegun, RolloutChange,
    RolloutFilter, RolloutRepository, RolloutTally,
};
use muster_kernel::{
    AgentId, Audited, Author, CustomerId, Deed, Page, PageRequest, RolloutId, StorageError,
    TenantScope, Timestamp,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{
    Condition, DatabaseTransaction, IntoActiveModel, QueryOrder, QuerySelect, QueryTrait,
};

use crate::audit::Trail;
use crate::columns::{all_scoped, micros};
use crate::commands::{entity as commands, transitions};
use crate::idempotency::{Remembered, remember};
use crate::{Database, DatabaseError, pages};
use entity::{Column, Entity, Model, customer, device};

/// How many machines one statement writes: SQLite takes 32,766 values in one, a machine has 13.
const DEVICES_AT_ONCE: usize = 2000;

/// Rollouts, in the tables `rollouts`, `rollout_customers` and `rollout_devices`.
#[derive(Debug, Clone)]
pub struct SeaRollouts {
    database: Database,
}

impl SeaRollouts {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading rollouts", error).into()
}

fn customers_of_rollout() -> SelectStatement {
    Query::select()
        .expr(Expr::val(1))
        .from(customer::Entity)
        .and_where(
            Expr::col((customer::Entity, customer::Column::RolloutId)).equals((Entity, Column::Id)),
        )
        .take()
}

/// Rollouts all of whose machines lie in `scope`.
fn in_scope(scope: &TenantScope) -> Condition {
    all_scoped((customer::Entity, customer::Column::CustomerId), customers_of_rollout(), scope)
}

fn filtered(scope: &TenantScope, filter: &RolloutFilter) -> Condition {
    let of_customer = |id: CustomerId| {
        let same = Expr::col((customer::Entity, customer::Column::CustomerId)).eq(id.as_uuid());
        Expr::exists(customers_of_rollout().and_where(same).take())
    };
    in_scope(scope)
        .add_option(filter.status.map(|status| Column::Status.eq(status.as_str())))
        .add_option(filter.profile_id.map(|id| Column::ProfileId.eq(id.as_uuid())))
        .add_option(filter.customer_id.map(of_customer))
        .add_option(filter.dry_run.map(|dry_run| Column::DryRun.eq(dry_run)))
}

#[async_trait]
impl RolloutRepository for SeaRollouts {
    async fn begin(
        &self,
        rollout: Rollout,
        devices: Vec<Device>,
        once: Option<Once>,
        author: &Author,
    ) -> Result<RolloutBegun, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { begin(transaction, &trail, &rollout, &devices, once, &author).await }
                .boxed()
        });
        Ok(write.await?)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: RolloutId,
    ) -> Result<Option<Rollout>, StorageError> {
        let row = Entity::find()
            .filter(in_scope(scope).add(Column::Id.eq(id.as_uuid())))
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(row.map(Rollout::try_from).transpose()?)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &RolloutFilter,
        page: &PageRequest,
    ) -> Result<Page<Rollout>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(filtered(scope, filter));
        let page = pages::newest_first(reader, matching, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(Rollout::try_from)?)
    }

    async fn active(&self) -> Result<BTreeMap<RolloutId, u32>, StorageError> {
        let rows: Vec<(Uuid, i32)> = Entity::find()
            .select_only()
            .columns([Column::Id, Column::Revision])
            .filter(Column::FinishedAt.is_null())
            .into_tuple()
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        let rollout = |(id, revision)| {
            let revision = entity::from_number(revision, "rollouts.revision")?;
            Ok((RolloutId::from_uuid(id), revision))
        };
        Ok(rows.into_iter().map(rollout).collect::<Result<_, DatabaseError>>()?)
    }

    async fn devices(&self, id: RolloutId) -> Result<Vec<Device>, StorageError> {
        let rows = device::Entity::find()
            .filter(device::Column::RolloutId.eq(id.as_uuid()))
            .order_by_asc(device::Column::AgentId)
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(rows.into_iter().map(Device::try_from).collect::<Result<_, DatabaseError>>()?)
    }

    async fn device_page(
        &self,
        id: RolloutId,
        filter: &DeviceFilter,
        page: &PageRequest,
    ) -> Result<Page<Device>, StorageError> {
        use device::{Column, Entity};
        let reader = self.database.reader();
        let status = filter.status.map(|status| Column::Status.eq(status.as_str()));
        let wanted = Condition::all().add(Column::RolloutId.eq(id.as_uuid())).add_option(status);
        let matching = Entity::find().filter(wanted);
        let of = |row: &device::Model| row.agent_id;
        let page = pages::oldest_first(reader, matching, Column::AgentId, page, of).await;
        Ok(page.map_err(reading)?.try_map(Device::try_from)?)
    }

    async fn device(&self, id: RolloutId, agent: AgentId) -> Result<Option<Device>, StorageError> {
        let row = device::Entity::find_by_id((id.as_uuid(), agent.as_uuid()))
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(row.map(Device::try_from).transpose()?)
    }

    async fn tallies(
        &self,
        ids: &[RolloutId],
    ) -> Result<BTreeMap<RolloutId, RolloutTally>, StorageError> {
        use device::{Column, Entity};
        let rows: Vec<(Uuid, String, bool, i64)> = Entity::find()
            .select_only()
            .columns([Column::RolloutId, Column::Status, Column::WithErrors])
            .column_as(Column::AgentId.count(), "number")
            .filter(Column::RolloutId.is_in(ids.iter().map(|id| id.as_uuid())))
            .group_by(Column::RolloutId)
            .group_by(Column::Status)
            .group_by(Column::WithErrors)
            .into_tuple()
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        let mut tallies = BTreeMap::<_, RolloutTally>::new();
        for (id, status, with_errors, number) in rows {
            let status = DeviceStatus::parse(&status)
                .ok_or_else(|| DatabaseError::bad_row("rollout_devices.status"))?;
            let tally = tallies.entry(RolloutId::from_uuid(id)).or_default();
            tally.add(status, with_errors, u32::try_from(number).unwrap_or(u32::MAX));
        }
        Ok(tallies)
    }

    async fn change(
        &self,
        id: RolloutId,
        expected: Option<u32>,
        change: RolloutChange,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<(Rollout, bool)>, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let Some(row) = Entity::find_by_id(id.as_uuid()).one(transaction).await? else {
                    return Ok::<_, DatabaseError>(None);
                };
                let mut rollout = Rollout::try_from(row)?;
                let is_expected = expected.is_none_or(|revision| revision == rollout.revision);
                let changed = is_expected && change.apply(&mut rollout);
                if changed {
                    let row = Model::from(&rollout).into_active_model().reset_all();
                    Entity::update(row).exec(transaction).await?;
                    if let Some(action) = change.deed() {
                        let reason =
                            rollout.stop.map(|it| serde_json::json!({ "reason": it.as_str() }));
                        let deed = Deed::done(action, Audited::place(&rollout), reason);
                        trail.enter(transaction, &author, now, deed).await?;
                    }
                }
                Ok(Some((rollout, changed)))
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn retry(
        &self,
        id: RolloutId,
        expected: u32,
        advances: Vec<Advance>,
        expires_at: Timestamp,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let row = Entity::find_by_id(id.as_uuid()).one(transaction).await?;
                let rollout = row.map(Rollout::try_from).transpose()?;
                let Some(mut rollout) = rollout.filter(|it| it.revision == expected) else {
                    return Ok(false);
                };
                rollout.retry(expires_at);
                let row = Model::from(&rollout).into_active_model().reset_all();
                Entity::update(row).exec(transaction).await?;
                let facts = serde_json::json!({ "devices": advances.len() });
                let deed = Deed::done("rollout.retry", Audited::place(&rollout), Some(facts));
                trail.enter(transaction, &author, now, deed).await?;
                advance::advance(transaction, &trail, id, advances, &author).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn advance(
        &self,
        id: RolloutId,
        advances: Vec<Advance>,
        author: &Author,
    ) -> Result<Vec<Advanced>, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { advance::advance(transaction, &trail, id, advances, &author).await }
                .boxed()
        });
        let (outcomes, statuses) = write.await?;
        transitions::count(&statuses);
        Ok(outcomes)
    }
}

async fn begin(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    rollout: &Rollout,
    devices: &[Device],
    once: Option<Once>,
    author: &Author,
) -> Result<RolloutBegun, DatabaseError> {
    let id = rollout.id;
    if let Some(once) = once {
        let now = micros(rollout.created_at);
        let known =
            remember(transaction, &once.scope, &once.key, &once.fingerprint, id.as_uuid(), now);
        match known.await? {
            Remembered::New => {}
            Remembered::Conflict => return Ok(RolloutBegun::Conflict),
            Remembered::Same(known) => return Ok(RolloutBegun::Known(RolloutId::from_uuid(known))),
        }
    }
    let row = Model::from(rollout).into_active_model().reset_all();
    Entity::insert(row).exec_without_returning(transaction).await?;
    let customers: BTreeSet<_> = devices.iter().map(|device| device.customer_id).collect();
    let customers: Vec<_> = customers.into_iter().collect();
    for some in customers.chunks(DEVICES_AT_ONCE) {
        let rows = some.iter().map(|customer| {
            let customer_id = customer.as_uuid();
            customer::Model { rollout_id: id.as_uuid(), customer_id }
                .into_active_model()
                .reset_all()
        });
        customer::Entity::insert_many(rows).exec_without_returning(transaction).await?;
    }
    for some in devices.chunks(DEVICES_AT_ONCE) {
        let rows = some.iter().map(|it| device::Model::of(id, it).into_active_model().reset_all());
        device::Entity::insert_many(rows).exec_without_returning(transaction).await?;
    }
    let deed = Deed::created("rollout.start", rollout);
    trail.enter(transaction, author, rollout.created_at, deed).await?;
    Ok(RolloutBegun::New)
}

/// The ids of the rollouts that go on.
pub(crate) fn open() -> SelectStatement {
    Query::select().column(Column::Id).from(Entity).and_where(Column::FinishedAt.is_null()).take()
}

/// Lets go of rollouts that ended before `before` and whose commands are all gone.
pub(crate) async fn forget(
    transaction: &DatabaseTransaction,
    before: Timestamp,
) -> Result<(), DatabaseError> {
    let of_it = Expr::col((commands::Entity, commands::Column::RolloutId));
    let has_commands = commands::Entity::find()
        .select_only()
        .expr(Expr::val(1))
        .filter(of_it.equals((Entity, Column::Id)))
        .into_query();
    // Their machines go with them: the database sees to that.
    Entity::delete_many()
        .filter(Column::FinishedAt.lt(micros(before)))
        .filter(Expr::exists(has_commands).not())
        .exec(transaction)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
