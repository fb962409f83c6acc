//! Messages on their way, in the table `alert_deliveries`.

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_alerts::{Delivery, DeliveryRepository, DeliveryState, Forgotten};
use muster_kernel::{
    AlertChannelId, AlertId, DeliveryId, Page, PageRequest, StorageError, Timestamp,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, IntoColumnRef, Query, SimpleExpr};
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QueryOrder, QuerySelect, Select};

use super::{SeaAlerts, cause, change, entity, reading};
use crate::DatabaseError;
use crate::columns::{from_json, json, micros, timestamp};
use crate::pages;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alert_deliveries")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub channel_id: Uuid,
    pub alert_id: Option<Uuid>,
    pub message: String,
    pub state: String,
    pub due_at: i64,
    pub created_at: i64,
    pub attempts: String,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&Delivery> for Model {
    fn from(delivery: &Delivery) -> Self {
        Self {
            id: delivery.id.as_uuid(),
            channel_id: delivery.channel_id.as_uuid(),
            alert_id: delivery.alert_id.map(AlertId::as_uuid),
            message: json(&delivery.message),
            state: delivery.state.as_str().to_owned(),
            due_at: micros(delivery.due_at),
            created_at: micros(delivery.created_at),
            attempts: json(&delivery.attempts),
        }
    }
}

impl TryFrom<Model> for Delivery {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let bad = || DatabaseError::bad_row("alert_deliveries.state");
        Ok(Self {
            id: DeliveryId::from_uuid(row.id),
            channel_id: AlertChannelId::from_uuid(row.channel_id),
            alert_id: row.alert_id.map(AlertId::from_uuid),
            message: from_json(&row.message, "alert_deliveries.message")?,
            state: DeliveryState::parse(&row.state).ok_or_else(bad)?,
            due_at: timestamp(row.due_at, "alert_deliveries.due_at")?,
            created_at: timestamp(row.created_at, "alert_deliveries.created_at")?,
            attempts: from_json(&row.attempts, "alert_deliveries.attempts")?,
        })
    }
}

/// What is still to arrive. The state is spelled out, so that the index of such rows is used.
fn pending(state: impl IntoColumnRef) -> SimpleExpr {
    Expr::col(state).eq(Expr::cust("'pending'"))
}

/// What is tried: of an alert, through a channel, what is oldest, so that nobody is told that
/// something is over before they are told of it.
fn due(now: Timestamp) -> Condition {
    let older = Alias::new("older");
    let of = |column: Column| Expr::col((older.clone(), column));
    let before = Query::select()
        .expr(Expr::value(1))
        .from_as(Entity, older.clone())
        .and_where(of(Column::AlertId).equals((Entity, Column::AlertId)))
        .and_where(of(Column::Id).lt(Expr::col((Entity, Column::Id))))
        .and_where(of(Column::ChannelId).equals((Entity, Column::ChannelId)))
        .and_where(pending((older.clone(), Column::State)))
        .take();
    Condition::all()
        .add(pending((Entity, Column::State)))
        .add(Column::DueAt.lte(micros(now)))
        .add(Expr::exists(before).not())
}

/// The channels through which something is due, the one that waits longest first.
pub(super) fn waiting(
    now: Timestamp,
    busy: &BTreeSet<AlertChannelId>,
    limit: u64,
) -> Select<Entity> {
    let busy = busy.iter().map(|id| id.as_uuid());
    Entity::find()
        .select_only()
        .column(Column::ChannelId)
        .filter(due(now).add(Column::ChannelId.is_not_in(busy)))
        .group_by(Column::ChannelId)
        .order_by_asc(Column::DueAt.min())
        .limit(limit)
}

/// The delivery of a channel that has been due for longest.
pub(super) fn next(channel: Uuid, now: Timestamp) -> Select<Entity> {
    Entity::find()
        .filter(due(now).add(Column::ChannelId.eq(channel)))
        .order_by_asc(Column::DueAt)
        .order_by_asc(Column::Id)
        .limit(1)
}

/// Keeps messages, within the transaction that makes them true.
pub(super) async fn add(
    transaction: &DatabaseTransaction,
    deliveries: Vec<Delivery>,
) -> Result<(), DatabaseError> {
    let rows = deliveries.iter().map(|it| Model::from(it).into_active_model().reset_all());
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        Entity::insert_many(rows).exec_without_returning(transaction).await?;
    }
    Ok(())
}

/// Removes everything that goes through a channel.
pub(super) async fn remove_all(
    transaction: &DatabaseTransaction,
    channel: AlertChannelId,
) -> Result<(), DatabaseError> {
    let through = Column::ChannelId.eq(channel.as_uuid());
    Entity::delete_many().filter(through).exec(transaction).await?;
    Ok(())
}

/// Takes the delivery of a channel that has been due for longest.
async fn take_one(
    transaction: &DatabaseTransaction,
    channel: Uuid,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Delivery>, DatabaseError> {
    let row = next(channel, now).lock_exclusive().one(transaction).await?;
    let Some(row) = row else { return Ok(None) };
    Entity::update_many()
        .col_expr(Column::DueAt, Expr::value(micros(until)))
        .filter(Column::Id.eq(row.id))
        .exec(transaction)
        .await?;
    Delivery::try_from(row).map(Some)
}

/// Forgets old alerts with all that is about them; says how many.
async fn forget_alerts(
    transaction: &DatabaseTransaction,
    before: i64,
    limit: u64,
) -> Result<u64, DatabaseError> {
    let old: Vec<Uuid> = entity::Entity::find()
        .select_only()
        .column(entity::Column::Id)
        .filter(entity::Column::ResolvedAt.lt(before))
        .order_by_asc(entity::Column::ResolvedAt)
        .limit(limit)
        .into_tuple()
        .all(transaction)
        .await?;
    let ids = || old.iter().copied();
    let of_them = change::Column::AlertId.is_in(ids());
    change::Entity::delete_many().filter(of_them).exec(transaction).await?;
    Entity::delete_many().filter(Column::AlertId.is_in(ids())).exec(transaction).await?;
    let them = entity::Column::Id.is_in(ids());
    Ok(entity::Entity::delete_many().filter(them).exec(transaction).await?.rows_affected)
}

/// Forgets old causes, and whatever came at the instant of the last of them; says how many.
async fn forget_causes(
    transaction: &DatabaseTransaction,
    before: i64,
    limit: u64,
) -> Result<u64, DatabaseError> {
    let old = cause::Column::At.lt(before);
    let last: Option<i64> = cause::Entity::find()
        .select_only()
        .column(cause::Column::At)
        .filter(old.clone())
        .order_by_asc(cause::Column::At)
        .offset(limit.saturating_sub(1))
        .limit(1)
        .into_tuple()
        .one(transaction)
        .await?;
    let these = last.map_or(old, |last| cause::Column::At.lte(last));
    Ok(cause::Entity::delete_many().filter(these).exec(transaction).await?.rows_affected)
}

/// Forgets old tests of channels, which are about no alert; says how many.
async fn forget_tests(
    transaction: &DatabaseTransaction,
    before: i64,
    limit: u64,
) -> Result<u64, DatabaseError> {
    let old: Vec<Uuid> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::AlertId.is_null().and(Column::CreatedAt.lt(before)))
        .limit(limit)
        .into_tuple()
        .all(transaction)
        .await?;
    let them = Column::Id.is_in(old);
    Ok(Entity::delete_many().filter(them).exec(transaction).await?.rows_affected)
}

#[async_trait]
impl DeliveryRepository for SeaAlerts {
    async fn add(&self, delivery: Delivery) -> Result<(), StorageError> {
        let write = self.database.write(move |transaction| {
            async move { add(transaction, vec![delivery]).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn take(
        &self,
        now: Timestamp,
        until: Timestamp,
        busy: &BTreeSet<AlertChannelId>,
        limit: u64,
    ) -> Result<Vec<Delivery>, StorageError> {
        let channels: Vec<Uuid> = waiting(now, busy, limit)
            .into_tuple()
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        if channels.is_empty() {
            return Ok(Vec::new());
        }
        let write = self.database.write(move |transaction| {
            async move {
                let mut taken = Vec::with_capacity(channels.len());
                for channel in channels {
                    taken.extend(take_one(transaction, channel, now, until).await?);
                }
                Ok::<_, DatabaseError>(taken)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn settle(&self, delivery: Delivery) -> Result<(), StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                let row = Model::from(&delivery);
                // Its channel may have been removed meanwhile, and the delivery with it.
                Entity::update_many()
                    .col_expr(Column::State, Expr::value(row.state))
                    .col_expr(Column::DueAt, Expr::value(row.due_at))
                    .col_expr(Column::Attempts, Expr::value(row.attempts))
                    .filter(Column::Id.eq(row.id))
                    .exec(transaction)
                    .await?;
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn list(
        &self,
        channel: AlertChannelId,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, StorageError> {
        let reader = self.database.reader();
        let through = Entity::find().filter(Column::ChannelId.eq(channel.as_uuid()));
        let page = pages::newest_first(reader, through, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(Delivery::try_from)?)
    }

    async fn forget(&self, before: Timestamp, limit: u64) -> Result<Forgotten, StorageError> {
        let before = micros(before);
        let write = self.database.write(move |transaction| {
            async move {
                let alerts = forget_alerts(transaction, before, limit).await?;
                let causes = forget_causes(transaction, before, limit).await?;
                let tests = forget_tests(transaction, before, limit).await?;
                let more = [alerts, causes, tests].into_iter().any(|gone| gone >= limit);
                Ok::<_, DatabaseError>(Forgotten { alerts, more })
            }
            .boxed()
        });
        Ok(write.await?)
    }
}
