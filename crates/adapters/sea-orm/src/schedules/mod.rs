//! Schedules and their history.

mod courses;
mod entity;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_commands::schedules::{
    Firing, Maker, Schedule, ScheduleChange, ScheduleFilter, ScheduleRepository,
};
use muster_kernel::{
    Author, CustomerId, Deed, Page, PageRequest, ScheduleId, StorageError, TenantScope, Timestamp,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, LikeExpr};
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QuerySelect};

use crate::audit::Trail;
use crate::columns::{contains, scoped};
use crate::{Database, DatabaseError, customers, pages};
use entity::{Column, Entity, Model, canonical, history};

/// The schedules, in the tables `schedules` and `schedule_history`.
#[derive(Debug, Clone)]
pub struct SeaSchedules {
    database: Database,
}

impl SeaSchedules {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading schedules", error).into()
}

fn one(scope: &TenantScope, id: ScheduleId) -> Condition {
    scoped(Column::CustomerId, scope).add(Column::Id.eq(id.as_uuid()))
}

/// The schedule that `wanted` leads to, which nobody else changes until the transaction ends: a
/// database with several writers locks its row.
async fn locked(
    transaction: &DatabaseTransaction,
    wanted: Condition,
) -> Result<Option<Schedule>, DatabaseError> {
    let row = Entity::find().filter(wanted).lock_exclusive().one(transaction).await?;
    row.map(Schedule::try_from).transpose()
}

/// Writes a schedule that is there as it is now.
async fn write(
    transaction: &DatabaseTransaction,
    schedule: &Schedule,
) -> Result<(), DatabaseError> {
    let row = Model::from(schedule).into_active_model().reset_all();
    Entity::update(row).exec(transaction).await?;
    Ok(())
}

fn filtered(scope: &TenantScope, filter: &ScheduleFilter) -> Condition {
    let named = |q: &String| {
        Expr::col((Entity, Column::CanonicalName))
            .like(LikeExpr::new(contains(&canonical(q))).escape('\\'))
    };
    scoped(Column::CustomerId, scope)
        .add_option(filter.customer_id.map(|id| Column::CustomerId.eq(id.as_uuid())))
        .add_option(filter.enabled.map(|enabled| Column::Enabled.eq(enabled)))
        .add_option(filter.q.as_ref().map(named))
}

#[async_trait]
impl ScheduleRepository for SeaSchedules {
    async fn create(&self, schedule: Schedule, author: &Author) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                if let Some(customer) = schedule.customer_id
                    && !customers::exists(transaction, customer).await?
                {
                    return Ok(false);
                }
                let row = Model::from(&schedule).into_active_model().reset_all();
                Entity::insert(row).exec_without_returning(transaction).await?;
                let deed = Deed::created("schedule.create", &schedule);
                trail.enter(transaction, &author, schedule.created_at, deed).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: ScheduleId,
    ) -> Result<Option<Schedule>, StorageError> {
        let row = Entity::find().filter(one(scope, id)).one(self.database.reader()).await;
        Ok(row.map_err(reading)?.map(Schedule::try_from).transpose()?)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &ScheduleFilter,
        page: &PageRequest,
    ) -> Result<Page<Schedule>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(filtered(scope, filter));
        let page = pages::oldest_first(reader, matching, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(Schedule::try_from)?)
    }

    async fn update(
        &self,
        scope: &TenantScope,
        id: ScheduleId,
        change: ScheduleChange,
        maker: Maker,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<Schedule>, StorageError> {
        let (trail, author, wanted) = (self.database.trail(), author.clone(), one(scope, id));
        let write = self.database.write(move |transaction| {
            async move {
                let Some(before) = locked(transaction, wanted).await? else { return Ok(None) };
                let after = before.clone().changed(change, maker, now);
                write(transaction, &after).await?;
                let deed = Deed::changed("schedule.update", &before, &after);
                trail.enter(transaction, &author, now, deed).await?;
                Ok::<_, DatabaseError>(Some(after))
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn ask(
        &self,
        scope: &TenantScope,
        id: ScheduleId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author, wanted) = (self.database.trail(), author.clone(), one(scope, id));
        let write = self.database.write(move |transaction| {
            async move {
                let Some(schedule) = locked(transaction, wanted).await? else { return Ok(false) };
                let place = muster_kernel::Audited::place(&schedule);
                write(transaction, &schedule.asked(now)).await?;
                let deed = Deed::done("schedule.run", place, None);
                trail.enter(transaction, &author, now, deed).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn delete(
        &self,
        scope: &TenantScope,
        id: ScheduleId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author, wanted) = (self.database.trail(), author.clone(), one(scope, id));
        let write = self.database.write(move |transaction| {
            async move { Ok(delete(transaction, &trail, wanted, &author, now).await? > 0) }.boxed()
        });
        Ok(write.await.map_err(|error: DatabaseError| error)?)
    }

    async fn history(
        &self,
        id: ScheduleId,
        page: &PageRequest,
    ) -> Result<Page<Firing>, StorageError> {
        use history::{Column, Entity};
        let reader = self.database.reader();
        let of_it = Entity::find().filter(Column::ScheduleId.eq(id.as_uuid()));
        let page = pages::newest_first(reader, of_it, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(Firing::try_from)?)
    }
}

/// Removes the schedules that `wanted` leads to, and their history; answers with how many.
async fn delete(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    wanted: Condition,
    author: &Author,
    now: Timestamp,
) -> Result<usize, DatabaseError> {
    let rows = Entity::find().filter(wanted).all(transaction).await?;
    let number = rows.len();
    let mut deeds = Vec::with_capacity(number);
    for row in rows {
        let id = row.id;
        let deed = Deed::removed("schedule.delete", &Schedule::try_from(row)?);
        deeds.push((author.clone(), now, deed));
        let of_it = history::Column::ScheduleId.eq(id);
        history::Entity::delete_many().filter(of_it).exec(transaction).await?;
        Entity::delete_by_id(id).exec(transaction).await?;
    }
    trail.enter_all(transaction, deeds).await?;
    Ok(number)
}

/// Removes every schedule of a customer, within the transaction that removes the customer.
pub(crate) async fn delete_all(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    customer: CustomerId,
    author: &Author,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let wanted = Condition::all().add(Column::CustomerId.eq(customer.as_uuid()));
    delete(transaction, trail, wanted, author, now).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use muster_commands::schedules::ScheduleCourses;
    use muster_commands::testing::noon;
    use muster_commands::testing::schedules::{contract, schedule};
    use muster_customers::CustomerRepository;

    use super::*;
    use crate::SeaCustomers;
    use crate::testing::{customers, on_each_database};

    on_each_database!(
        schedules_keep_the_contract,
        a_customers_schedules_go_with_the_customer,
        a_row_that_makes_no_sense_keeps_no_other_one_from_its_time,
    );

    async fn schedules_keep_the_contract(database: Database) {
        let customers = customers(&database).await.map(|(customer, _)| customer);
        let schedules = SeaSchedules::new(database);
        contract(&schedules, &schedules, customers).await;
    }

    async fn a_customers_schedules_go_with_the_customer(database: Database) {
        let [(mine, _), (other, _)] = customers(&database).await;
        let schedules = SeaSchedules::new(database.clone());
        for (seed, customer) in [(1, mine), (2, other)] {
            let schedule = Schedule { customer_id: Some(customer), ..schedule(seed) };
            schedules.create(schedule, &Author::system()).await.unwrap();
        }
        let customers = SeaCustomers::new(database);
        assert!(customers.delete(mine, false, &Author::system(), noon()).await.unwrap());
        let any = ScheduleFilter::default();
        let left = schedules.list(&TenantScope::All, &any, &PageRequest::default()).await.unwrap();
        assert_eq!(left.items.iter().map(|it| it.customer_id).collect::<Vec<_>>(), [Some(other)]);
    }

    async fn a_row_that_makes_no_sense_keeps_no_other_one_from_its_time(database: Database) {
        let schedules = SeaSchedules::new(database.clone());
        for seed in [1, 2] {
            let schedule = Schedule { customer_id: None, ..schedule(seed) };
            schedules.create(schedule, &Author::system()).await.unwrap();
        }
        let broken = schedule(1).id;
        database
            .write(move |transaction| {
                Entity::update_many()
                    .col_expr(Column::TimeZone, Expr::value("Atlantis"))
                    .filter(Column::Id.eq(broken.as_uuid()))
                    .exec(transaction)
                    .map(|done| Ok::<_, DatabaseError>(done.map(|_| ())?))
                    .boxed()
            })
            .await
            .unwrap();
        let waking = schedules.waking(noon(), noon(), 10).await.unwrap();
        assert_eq!(waking.iter().map(|it| it.id).collect::<Vec<_>>(), [schedule(2).id]);
    }
}
