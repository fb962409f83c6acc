//! Checks, and how machines stand to profiles.

mod entity;
pub(crate) mod standings;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_deployment_profiles::compliance::{
    ComplianceCheck, ComplianceRepository, Standing, StandingCounts, StandingFilter,
};
use muster_kernel::{
    Author, ComplianceCheckId, CustomerId, Deed, Page, PageRequest, ProfileId, RolloutId,
    StorageError, TenantScope, Timestamp,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QueryOrder, QuerySelect};

use crate::audit::Trail;
use crate::columns::{micros, scoped};
use crate::{Database, DatabaseError, customers, pages};
use entity::{Column, Entity, Model};

/// Checks and what they found, in the tables `compliance_checks` and `compliance_standings`.
#[derive(Debug, Clone)]
pub struct SeaCompliance {
    database: Database,
}

impl SeaCompliance {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading compliance checks", error).into()
}

fn one(scope: &TenantScope, id: ComplianceCheckId) -> Condition {
    scoped(Column::CustomerId, scope).add(Column::Id.eq(id.as_uuid()))
}

#[async_trait]
impl ComplianceRepository for SeaCompliance {
    async fn create(&self, check: ComplianceCheck, author: &Author) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                if let Some(customer) = check.customer_id
                    && !customers::exists(transaction, customer).await?
                {
                    return Ok(false);
                }
                let row = Model::from(&check).into_active_model().reset_all();
                Entity::insert(row).exec_without_returning(transaction).await?;
                let deed = Deed::created("compliance_check.create", &check);
                trail.enter(transaction, &author, check.created_at, deed).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: ComplianceCheckId,
    ) -> Result<Option<ComplianceCheck>, StorageError> {
        let row = Entity::find().filter(one(scope, id)).one(self.database.reader()).await;
        Ok(row.map_err(reading)?.map(ComplianceCheck::try_from).transpose()?)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<ComplianceCheck>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(scoped(Column::CustomerId, scope));
        let page = pages::oldest_first(reader, matching, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(ComplianceCheck::try_from)?)
    }

    async fn replace(
        &self,
        check: ComplianceCheck,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let row = Entity::find_by_id(check.id.as_uuid()).one(transaction).await?;
                let Some(row) = row else { return Ok(false) };
                let before = ComplianceCheck::try_from(row)?;
                // What it began meanwhile is not what people change.
                let ComplianceCheck { last_rollout_id, last_error, .. } = before.clone();
                let after = ComplianceCheck { last_rollout_id, last_error, ..check };
                let row = Model::from(&after).into_active_model().reset_all();
                Entity::update(row).exec(transaction).await?;
                let deed = Deed::changed("compliance_check.update", &before, &after);
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
        id: ComplianceCheckId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author, wanted) = (self.database.trail(), author.clone(), one(scope, id));
        let write = self.database.write(move |transaction| {
            async move { delete(transaction, &trail, wanted, &author, now).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn due(&self, now: Timestamp, limit: u64) -> Result<Vec<ComplianceCheck>, StorageError> {
        let rows = Entity::find()
            .filter(Column::NextAt.lte(micros(now)))
            .order_by_asc(Column::NextAt)
            .order_by_asc(Column::Id)
            .limit(limit)
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        // One that nobody can read keeps no other one from its time.
        let readable = rows.into_iter().filter_map(|row| {
            let id = row.id;
            ComplianceCheck::try_from(row)
                .inspect_err(|error| {
                    let cause = std::error::Error::source(error).map(ToString::to_string);
                    tracing::error!(check.id = %id, error.cause = cause, "a check is unreadable");
                })
                .ok()
        });
        Ok(readable.collect())
    }

    async fn began(&self, id: ComplianceCheckId, rollout: RolloutId) -> Result<(), StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                Entity::update_many()
                    .col_expr(Column::LastRolloutId, Expr::value(rollout.as_uuid()))
                    .filter(Column::Id.eq(id.as_uuid()))
                    .exec(transaction)
                    .await?;
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn settle(
        &self,
        id: ComplianceCheckId,
        due: Timestamp,
        next_at: Option<Timestamp>,
        began: Result<RolloutId, String>,
    ) -> Result<(), StorageError> {
        let (rollout, error) = match began {
            Ok(rollout) => (Some(rollout.as_uuid()), None),
            Err(error) => (None, Some(error)),
        };
        let write = self.database.write(move |transaction| {
            async move {
                let mut settled = Entity::update_many()
                    .col_expr(Column::NextAt, Expr::value(next_at.map(micros)))
                    .col_expr(Column::LastError, Expr::value(error))
                    .filter(Column::Id.eq(id.as_uuid()))
                    .filter(Column::NextAt.eq(micros(due)));
                if let Some(rollout) = rollout {
                    settled = settled.col_expr(Column::LastRolloutId, Expr::value(rollout));
                }
                settled.exec(transaction).await?;
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn standings(
        &self,
        scope: &TenantScope,
        profile: ProfileId,
        filter: &StandingFilter,
        page: &PageRequest,
    ) -> Result<(Page<Standing>, StandingCounts), StorageError> {
        Ok(standings::read(self.database.reader(), scope, profile, filter, page).await?)
    }
}

/// Removes the checks that `wanted` leads to; says whether there was one.
async fn delete(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    wanted: Condition,
    author: &Author,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let rows = Entity::find().filter(wanted.clone()).all(transaction).await?;
    let found = !rows.is_empty();
    let deed = |row: Model| {
        let deed = Deed::removed("compliance_check.delete", &ComplianceCheck::try_from(row)?);
        Ok((author.clone(), now, deed))
    };
    let deeds = rows.into_iter().map(deed).collect::<Result<_, DatabaseError>>()?;
    Entity::delete_many().filter(wanted).exec(transaction).await?;
    trail.enter_all(transaction, deeds).await?;
    Ok(found)
}

/// Removes a customer's checks and how its machines stand, within the transaction that removes the
/// customer.
pub(crate) async fn remove_all(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    customer: CustomerId,
    author: &Author,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    standings::remove_all(transaction, customer).await?;
    let theirs = Condition::all().add(Column::CustomerId.eq(customer.as_uuid()));
    delete(transaction, trail, theirs, author, now).await.map(drop)
}

#[cfg(test)]
mod tests;
