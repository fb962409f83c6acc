//! How machines fare over time; `docs/decisions/0017-metrics-are-packed.md` says why rows look like
//! this.

mod encoding;
mod entity;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_agents::metrics::{
    Ageing, Bucket, MetricsStore, Pack, Resolution, Rolled, Sample, Step,
};
use muster_kernel::{AgentId, StorageError, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, OnConflict};
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QueryOrder, QuerySelect};

use crate::agents::entity as agents;
use crate::columns::{micros, timestamp};
use crate::{Database, DatabaseError};
use entity::{rollups, samples};

/// How many rows a statement writes at most.
const ROWS_AT_ONCE: usize = 100;
/// How many rows of a machine and resolution are let go of at a time.
const GONE_AT_ONCE: u64 = 200;

/// Metrics, in the tables `metric_samples` and `metric_rollups`.
#[derive(Debug, Clone)]
pub struct SeaMetrics {
    database: Database,
}

impl SeaMetrics {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    /// The next machine after `after` of which something is kept: one look into each index, however
    /// much is kept of it.
    async fn next(&self, after: Option<Uuid>) -> Result<Option<Uuid>, StorageError> {
        let reader = self.database.reader();
        let sample: Option<Uuid> = samples::Entity::find()
            .select_only()
            .column(samples::Column::AgentId)
            .filter(later(samples::Column::AgentId, after))
            .order_by_asc(samples::Column::AgentId)
            .limit(1)
            .into_tuple()
            .one(reader)
            .await
            .map_err(reading)?;
        let rollup: Option<Uuid> = rollups::Entity::find()
            .select_only()
            .column(rollups::Column::AgentId)
            .filter(later(rollups::Column::AgentId, after))
            .order_by_asc(rollups::Column::AgentId)
            .limit(1)
            .into_tuple()
            .one(reader)
            .await
            .map_err(reading)?;
        Ok(sample.into_iter().chain(rollup).min())
    }
}

fn later(column: impl ColumnTrait, after: Option<Uuid>) -> Condition {
    Condition::all().add_option(after.map(|after| column.gt(after)))
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading metrics", error).into()
}

/// What stands in the column `step_seconds`; samples are in a table of their own.
fn number(resolution: Resolution) -> i32 {
    let step = resolution.bucket().map_or(0, Step::seconds);
    i32::try_from(step).unwrap_or(i32::MAX)
}

/// The row of a pack; `None` of an empty one.
fn row(pack: &Pack) -> Option<samples::ActiveModel> {
    let last = pack.samples.iter().map(|sample| sample.at).max()?;
    let row = samples::Model {
        agent_id: pack.agent_id.as_uuid(),
        first_at: micros(pack.samples.iter().map(|sample| sample.at).min()?),
        last_at: micros(last),
        data: encoding::samples_to_bytes(&pack.samples),
    };
    Some(row.into_active_model().reset_all())
}

#[async_trait]
impl MetricsStore for SeaMetrics {
    async fn append(&self, packs: Vec<Pack>) -> Result<(), StorageError> {
        use samples::{Column, Entity};
        let rows: Vec<_> = packs.iter().filter_map(row).collect();
        let write = self.database.write(move |transaction| {
            async move {
                for rows in rows.chunks(ROWS_AT_ONCE) {
                    let known = OnConflict::columns([Column::AgentId, Column::FirstAt])
                        .update_columns([Column::LastAt, Column::Data])
                        .to_owned();
                    Entity::insert_many(rows.to_vec())
                        .on_conflict(known)
                        .exec_without_returning(transaction)
                        .await?;
                }
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn samples(
        &self,
        agent_id: AgentId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Sample>, StorageError> {
        use samples::{Column, Entity};
        // A pack begins no longer before its last sample than an hour.
        let first = from.checked_sub_signed(Resolution::Samples.pack().length()).unwrap_or(from);
        let rows: Vec<Vec<u8>> = Entity::find()
            .select_only()
            .column(Column::Data)
            .filter(Column::AgentId.eq(agent_id.as_uuid()))
            .filter(Column::FirstAt.gte(micros(first)))
            .filter(Column::FirstAt.lt(micros(to)))
            .filter(Column::LastAt.gte(micros(from)))
            .order_by_asc(Column::FirstAt)
            .into_tuple()
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        let mut samples = Vec::new();
        for row in rows {
            samples.extend(encoding::samples_from_bytes(&row)?);
        }
        samples.retain(|sample| (from..to).contains(&sample.at));
        samples.sort_by_key(|sample| sample.at);
        Ok(samples)
    }

    async fn buckets(
        &self,
        agent_id: AgentId,
        resolution: Resolution,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Bucket>, StorageError> {
        use rollups::{Column, Entity};
        let Some(step) = resolution.bucket() else { return Ok(Vec::new()) };
        let rows: Vec<Vec<u8>> = Entity::find()
            .select_only()
            .column(Column::Data)
            .filter(Column::AgentId.eq(agent_id.as_uuid()))
            .filter(Column::StepSeconds.eq(number(resolution)))
            .filter(Column::FirstAt.gte(micros(resolution.pack().floor(from))))
            .filter(Column::FirstAt.lt(micros(to)))
            .order_by_asc(Column::FirstAt)
            .into_tuple()
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        let mut buckets = Vec::new();
        for row in rows {
            buckets.extend(encoding::buckets_from_bytes(step, &row)?);
        }
        buckets.retain(|bucket| (from..to).contains(&bucket.at));
        Ok(buckets)
    }

    async fn last_pack(
        &self,
        agent_id: AgentId,
        resolution: Resolution,
        before: Timestamp,
    ) -> Result<Option<Timestamp>, StorageError> {
        use rollups::{Column, Entity};
        let last: Option<i64> = Entity::find()
            .select_only()
            .column(Column::FirstAt)
            .filter(Column::AgentId.eq(agent_id.as_uuid()))
            .filter(Column::StepSeconds.eq(number(resolution)))
            .filter(Column::FirstAt.lt(micros(before)))
            .order_by_desc(Column::FirstAt)
            .limit(1)
            .into_tuple()
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(last.map(|at| timestamp(at, "metric_rollups.first_at")).transpose()?)
    }

    async fn machines(
        &self,
        after: Option<AgentId>,
        limit: u64,
    ) -> Result<Vec<(AgentId, bool)>, StorageError> {
        let (mut found, mut last) = (Vec::new(), after.map(AgentId::as_uuid));
        for _ in 0..limit {
            let Some(next) = self.next(last).await? else { break };
            found.push(next);
            last = Some(next);
        }
        let there: Vec<Uuid> = agents::Entity::find()
            .select_only()
            .column(agents::Column::Id)
            .filter(agents::Column::Id.is_in(found.iter().copied()))
            .filter(agents::Column::DeletedAt.is_null())
            .into_tuple()
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        let machine = |id: Uuid| (AgentId::from_uuid(id), there.contains(&id));
        Ok(found.into_iter().map(machine).collect())
    }

    async fn age(&self, ageings: Vec<Ageing>) -> Result<u64, StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                let mut gone = 0;
                for ageing in ageings {
                    let id = ageing.agent_id.as_uuid();
                    keep(transaction, id, &ageing.rolled).await?;
                    for (resolution, before) in ageing.forget {
                        let before = micros(before);
                        gone += match resolution {
                            Resolution::Samples => forget_samples(transaction, id, before).await?,
                            Resolution::FiveMinutes | Resolution::Hours => {
                                forget_rolled(transaction, id, number(resolution), before).await?
                            }
                        };
                    }
                }
                Ok::<_, DatabaseError>(gone)
            }
            .boxed()
        });
        Ok(write.await?)
    }
}

async fn keep(
    transaction: &DatabaseTransaction,
    agent_id: Uuid,
    rolled: &[Rolled],
) -> Result<(), DatabaseError> {
    use rollups::{Column, Entity, Model};
    let row = |pack: &Rolled| {
        let step = pack.resolution.bucket()?;
        let row = Model {
            agent_id,
            step_seconds: number(pack.resolution),
            first_at: micros(pack.at),
            data: encoding::buckets_to_bytes(step, &pack.buckets),
        };
        Some(row.into_active_model().reset_all())
    };
    let rows: Vec<_> = rolled.iter().filter_map(row).collect();
    for rows in rows.chunks(ROWS_AT_ONCE) {
        let known = OnConflict::columns([Column::AgentId, Column::StepSeconds, Column::FirstAt])
            .update_column(Column::Data)
            .to_owned();
        let insert = Entity::insert_many(rows.to_vec()).on_conflict(known);
        insert.exec_without_returning(transaction).await?;
    }
    Ok(())
}

/// Lets go of the oldest samples of a machine, in one range of its key.
async fn forget_samples(
    transaction: &DatabaseTransaction,
    agent_id: Uuid,
    before: i64,
) -> Result<u64, DatabaseError> {
    use samples::{Column, Entity};
    let old = Column::AgentId.eq(agent_id).and(Column::FirstAt.lt(before));
    let oldest: Vec<i64> = Entity::find()
        .select_only()
        .column(Column::FirstAt)
        .filter(old.clone())
        .order_by_asc(Column::FirstAt)
        .limit(GONE_AT_ONCE)
        .into_tuple()
        .all(transaction)
        .await?;
    let Some(last) = oldest.last() else { return Ok(0) };
    let gone = old.and(Column::FirstAt.lte(*last));
    Ok(Entity::delete_many().filter(gone).exec(transaction).await?.rows_affected)
}

/// The same of what is rolled up.
async fn forget_rolled(
    transaction: &DatabaseTransaction,
    agent_id: Uuid,
    step: i32,
    before: i64,
) -> Result<u64, DatabaseError> {
    use rollups::{Column, Entity};
    let old = Column::AgentId
        .eq(agent_id)
        .and(Column::StepSeconds.eq(step))
        .and(Column::FirstAt.lt(before));
    let oldest: Vec<i64> = Entity::find()
        .select_only()
        .column(Column::FirstAt)
        .filter(old.clone())
        .order_by_asc(Column::FirstAt)
        .limit(GONE_AT_ONCE)
        .into_tuple()
        .all(transaction)
        .await?;
    let Some(last) = oldest.last() else { return Ok(0) };
    let gone = old.and(Column::FirstAt.lte(*last));
    Ok(Entity::delete_many().filter(gone).exec(transaction).await?.rows_affected)
}

#[cfg(test)]
mod tests {
    use muster_agents::AgentRepository;
    use muster_agents::testing::metrics::{Subject, contract};
    use muster_kernel::testing::{FakeClock, SeededEntropy};
    use muster_kernel::{Author, Clock, TenantScope};

    use super::*;
    use crate::SeaAgents;
    use crate::testing::on_each_database;

    on_each_database!(the_store_keeps_the_contract,);

    async fn the_store_keeps_the_contract(database: Database) {
        let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(9));
        let registry = SeaAgents::new(database.clone());
        let [(_, token), _] = crate::testing::customers(&database).await;
        let enrol = async |name| {
            let machine = muster_agents::testing::candidate(name, None, &clock, &entropy);
            muster_agents::Enrol::enrol(&registry, token.into(), machine).await.unwrap()
        };
        let (agents, gone) = ([enrol("one").await, enrol("two").await], enrol("three").await);
        let (author, now) = (Author::system(), clock.now());
        assert!(registry.delete(&TenantScope::All, gone, &author, now).await.unwrap());
        contract(&Subject { store: &SeaMetrics::new(database), agents, gone }).await;
    }
}
