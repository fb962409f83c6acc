//! Second factors.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_identity::{SecondFactor, SecondFactorRepository};
use muster_kernel::{Author, Deed, Place, StorageError, Timestamp, TokenHash, UserId};
use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseTransaction, IntoActiveModel};

use super::SeaIdentity;
use super::entity::second_factor::{Entity, Model};
use crate::DatabaseError;
use crate::audit::Trail;

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading second factors", error).into()
}

async fn find(
    transaction: &DatabaseTransaction,
    user: UserId,
) -> Result<Option<SecondFactor>, DatabaseError> {
    let row = Entity::find_by_id(user.as_uuid()).one(transaction).await?;
    row.map(SecondFactor::try_from).transpose()
}

async fn write(
    transaction: &DatabaseTransaction,
    factor: &SecondFactor,
) -> Result<(), DatabaseError> {
    let row = Model::from(factor).into_active_model().reset_all();
    Entity::update(row).exec(transaction).await?;
    Ok(())
}

/// Enters what was done to somebody's second factor.
async fn enter(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    user: UserId,
    action: &'static str,
    author: &Author,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let place = Place { kind: "user", id: user.as_uuid(), customer_id: None };
    trail.enter(transaction, author, now, Deed::done(action, place, None)).await
}

#[async_trait]
impl SecondFactorRepository for SeaIdentity {
    async fn find_factor(&self, user: UserId) -> Result<Option<SecondFactor>, StorageError> {
        let row = Entity::find_by_id(user.as_uuid()).one(self.database.reader()).await;
        Ok(row.map_err(reading)?.map(SecondFactor::try_from).transpose()?)
    }

    async fn keep_factor(
        &self,
        factor: SecondFactor,
        action: &'static str,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let known = find(transaction, factor.user_id).await?;
                if !factor.may_replace(known.as_ref()) {
                    return Ok(false);
                }
                Entity::delete_by_id(factor.user_id.as_uuid()).exec(transaction).await?;
                let row = Model::from(&factor).into_active_model().reset_all();
                Entity::insert(row).exec_without_returning(transaction).await?;
                enter(transaction, &trail, factor.user_id, action, &author, now).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn use_step(&self, user: UserId, step: u64) -> Result<bool, StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                let Some(mut factor) = find(transaction, user).await? else { return Ok(false) };
                let fresh = factor.use_step(step);
                write(transaction, &factor).await?;
                Ok::<_, DatabaseError>(fresh)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn use_recovery_code(
        &self,
        user: UserId,
        code: TokenHash,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let Some(mut factor) = find(transaction, user).await? else { return Ok(false) };
                if !factor.use_recovery_code(&code) {
                    return Ok(false);
                }
                write(transaction, &factor).await?;
                let action = "second_factor.use_recovery_code";
                enter(transaction, &trail, user, action, &author, now).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn remove_factor(
        &self,
        user: UserId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let removed = Entity::delete_by_id(user.as_uuid()).exec(transaction).await?;
                if removed.rows_affected == 0 {
                    return Ok(false);
                }
                let action = "second_factor.remove";
                enter(transaction, &trail, user, action, &author, now).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }
}
