//! Letting go of old commands.

use async_trait::async_trait;
use chrono::TimeDelta;
use futures_util::FutureExt;
use muster_commands::CommandRetention;
use muster_kernel::{Author, Deed, Place, StorageError, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, DatabaseTransaction, QueryOrder, QuerySelect};

use super::entity::{Column, Entity, output};
use super::{SeaCommands, first_id_at};
use crate::DatabaseError;
use crate::audit::Trail;
use crate::columns::micros;
use crate::{approvals, assistants, idempotency, rollouts, runs};

#[async_trait]
impl CommandRetention for SeaCommands {
    async fn forget(
        &self,
        before: Timestamp,
        limit: u64,
        author: &Author,
        now: Timestamp,
    ) -> Result<u64, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { forget(transaction, &trail, before, limit, &author, now).await }.boxed()
        });
        Ok(write.await?)
    }
}

async fn forget(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    before: Timestamp,
    limit: u64,
    author: &Author,
    now: Timestamp,
) -> Result<u64, DatabaseError> {
    // Nothing ends before it was created: only what is old enough is looked at.
    let youngest = first_id_at(before + TimeDelta::milliseconds(1));
    let old: Vec<Uuid> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::FinishedAt.lt(micros(before)))
        .filter(Column::Id.lt(youngest))
        // A run that goes on is decided from all of its commands.
        .filter(
            Condition::any()
                .add(Column::RunId.is_null())
                .add(Column::RunId.not_in_subquery(runs::open())),
        )
        // And so is a rollout, a machine of which may be away for long.
        .filter(
            Condition::any()
                .add(Column::RolloutId.is_null())
                .add(Column::RolloutId.not_in_subquery(rollouts::open())),
        )
        .order_by_asc(Column::Id)
        .limit(limit)
        .into_tuple()
        .all(transaction)
        .await?;
    let number = u64::try_from(old.len()).unwrap_or(u64::MAX);
    if number > 0 {
        delete(transaction, old).await?;
        let place = Place { kind: "commands", id: Uuid::nil(), customer_id: None };
        let facts = serde_json::json!({ "number": number, "ended_before": before });
        let deed = Deed::done("command.forget", place, Some(facts));
        trail.enter(transaction, author, now, deed).await?;
    }
    if number < limit {
        // No more are to come: what they were part of goes with the last of them.
        runs::forget(transaction, before).await?;
        rollouts::forget(transaction, before).await?;
        approvals::forget(transaction, before).await?;
        assistants::forget(transaction, before).await?;
    }
    Ok(number)
}

async fn delete(transaction: &DatabaseTransaction, old: Vec<Uuid>) -> Result<(), DatabaseError> {
    let of_these = output::Column::CommandId.is_in(old.clone());
    output::Entity::delete_many().filter(of_these).exec(transaction).await?;
    idempotency::forget_of(transaction, &old).await?;
    Entity::delete_many().filter(Column::Id.is_in(old)).exec(transaction).await?;
    Ok(())
}
