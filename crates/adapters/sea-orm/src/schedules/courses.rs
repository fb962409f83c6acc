//! How far schedules are.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_commands::schedules::{Lease, Schedule, ScheduleCourses, Settlement};
use muster_kernel::{ScheduleId, StorageError, TenantScope, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, IntoActiveModel, QueryOrder, QuerySelect};

use super::entity::{Column, Entity, history};
use super::{SeaSchedules, locked, one, reading, write};
use crate::DatabaseError;
use crate::columns::micros;

#[async_trait]
impl ScheduleCourses for SeaSchedules {
    async fn waking(
        &self,
        until: Timestamp,
        now: Timestamp,
        limit: u64,
    ) -> Result<Vec<Schedule>, StorageError> {
        let free = Condition::any()
            .add(Column::LeaseUntil.is_null())
            .add(Column::LeaseUntil.lte(micros(now)));
        let rows = Entity::find()
            .filter(Column::WakesAt.lte(micros(until)))
            .filter(free)
            .order_by_asc(Column::WakesAt)
            .limit(limit)
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        let readable = rows.into_iter().filter_map(|row| {
            let id = row.id;
            Schedule::try_from(row)
                .inspect_err(|error| {
                    let cause = std::error::Error::source(error).map(ToString::to_string);
                    tracing::error!(schedule.id = %id, error.cause = cause, "a schedule is unreadable");
                })
                .ok()
        });
        Ok(readable.collect())
    }

    async fn lease(
        &self,
        id: ScheduleId,
        lease: Lease,
        seen: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let leased = self.database.write(move |transaction| {
            async move {
                let row = locked(transaction, one(&TenantScope::All, id)).await?;
                let Some(schedule) = row.and_then(|row| row.leased(lease, seen, now)) else {
                    return Ok(false);
                };
                write(transaction, &schedule).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(leased.await?)
    }

    async fn settle(&self, id: ScheduleId, settlement: Settlement) -> Result<(), StorageError> {
        let settled = self.database.write(move |transaction| {
            async move {
                let Some(row) = locked(transaction, one(&TenantScope::All, id)).await? else {
                    return Ok(());
                };
                write(transaction, &row.settled(&settlement)).await?;
                if let Some(firing) = settlement.firing {
                    let row = history::Model::from(firing).into_active_model().reset_all();
                    history::Entity::insert(row).exec_without_returning(transaction).await?;
                }
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        Ok(settled.await?)
    }

    async fn forget(&self, before: Timestamp, limit: u64) -> Result<u64, StorageError> {
        use history::{Column, Entity};
        let forgotten = self.database.write(move |transaction| {
            async move {
                let old: Vec<Uuid> = Entity::find()
                    .select_only()
                    .column(Column::Id)
                    .filter(Column::FiredAt.lt(micros(before)))
                    .order_by_asc(Column::FiredAt)
                    .limit(limit)
                    .into_tuple()
                    .all(transaction)
                    .await?;
                let gone = Entity::delete_many().filter(Column::Id.is_in(old)).exec(transaction);
                Ok::<_, DatabaseError>(gone.await?.rows_affected)
            }
            .boxed()
        });
        Ok(forgotten.await?)
    }
}
