//! Enrollment tokens.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_customers::{EnrollmentToken, EnrollmentTokenRepository, Once, RedeemError, Stored};
use muster_kernel::{
    Author, CustomerId, Deed, EnrollmentTokenId, Page, PageRequest, StorageError, TenantScope,
    Timestamp, TokenHash,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{ConnectionTrait, DatabaseTransaction, IntoActiveModel};

use super::entity::token::{Column, Entity, Model};
use crate::audit::Trail;
use crate::columns::{micros, scoped};
use crate::idempotency::{Remembered, remember};
use crate::{Database, DatabaseError, pages};

/// The enrollment tokens, in the table `enrollment_tokens`.
#[derive(Debug, Clone)]
pub struct SeaEnrollmentTokens {
    database: Database,
}

impl SeaEnrollmentTokens {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading enrollment tokens", error).into()
}

#[async_trait]
impl EnrollmentTokenRepository for SeaEnrollmentTokens {
    async fn create(
        &self,
        token: EnrollmentToken,
        once: Option<Once>,
        author: &Author,
    ) -> Result<Stored<EnrollmentToken>, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { create(transaction, &trail, token, once, &author).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: EnrollmentTokenId,
    ) -> Result<Option<EnrollmentToken>, StorageError> {
        let row = Entity::find()
            .filter(scoped(Column::CustomerId, scope).add(Column::Id.eq(id.as_uuid())))
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(row.map(EnrollmentToken::try_from).transpose()?)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<EnrollmentToken>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(scoped(Column::CustomerId, scope));
        let page = pages::newest_first(reader, matching, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(EnrollmentToken::try_from)?)
    }

    async fn revoke(
        &self,
        scope: &TenantScope,
        id: EnrollmentTokenId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let wanted = scoped(Column::CustomerId, scope).add(Column::Id.eq(id.as_uuid()));
        let write = self.database.write(move |transaction| {
            async move {
                let Some(row) = Entity::find().filter(wanted.clone()).one(transaction).await?
                else {
                    return Ok(false);
                };
                let before = EnrollmentToken::try_from(row)?;
                if before.revoked_at.is_some() {
                    return Ok(true);
                }
                Entity::update_many()
                    .col_expr(Column::RevokedAt, Expr::value(micros(now)))
                    .filter(wanted)
                    .exec(transaction)
                    .await?;
                let after = EnrollmentToken { revoked_at: Some(now), ..before.clone() };
                let deed = Deed::changed("enrollment_token.revoke", &before, &after);
                trail.enter(transaction, &author, now, deed).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }
}

async fn create(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    token: EnrollmentToken,
    once: Option<Once>,
    author: &Author,
) -> Result<Stored<EnrollmentToken>, DatabaseError> {
    // Within the transaction: a token of a deleted customer would let machines in to nobody.
    let customer = super::live(token.customer_id);
    if super::entity::Entity::find().filter(customer).one(transaction).await?.is_none() {
        return Ok(Stored::NoCustomer);
    }
    if let Some(once) = once {
        let (id, now) = (token.id.as_uuid(), micros(token.created_at));
        let known = remember(transaction, &once.scope, &once.key, &once.fingerprint, id, now);
        match known.await? {
            Remembered::New => {}
            Remembered::Conflict => return Ok(Stored::Conflict),
            Remembered::Same(id) => {
                let row = Entity::find_by_id(id).one(transaction).await?;
                let row = row.ok_or(DatabaseError::bad_row("idempotency_keys.resource_id"))?;
                return Ok(Stored::Known(row.try_into()?));
            }
        }
    }
    let row = Model::from(&token).into_active_model().reset_all();
    Entity::insert(row).exec_without_returning(transaction).await?;
    let deed = Deed::created("enrollment_token.create", &token);
    trail.enter(transaction, author, token.created_at, deed).await?;
    Ok(Stored::New)
}

/// Redeems the token with this hash, within the transaction that writes what it is redeemed for.
pub(crate) async fn redeem(
    transaction: &DatabaseTransaction,
    hash: TokenHash,
    now: Timestamp,
) -> Result<Result<EnrollmentToken, RedeemError>, DatabaseError> {
    let Some(mut token) = find_by_hash(transaction, hash).await? else {
        return Ok(Err(RedeemError::Invalid));
    };
    if let Err(error) = token.redeem(now) {
        return Ok(Err(error));
    }
    Entity::update_many()
        .col_expr(Column::Uses, Expr::value(i64::from(token.uses)))
        .filter(Column::Id.eq(token.id.as_uuid()))
        .exec(transaction)
        .await?;
    Ok(Ok(token))
}

/// The token with this hash, whether or not it still lets anybody in.
pub(crate) async fn find_by_hash<C: ConnectionTrait>(
    connection: &C,
    hash: TokenHash,
) -> Result<Option<EnrollmentToken>, DatabaseError> {
    let wanted = Column::TokenHash.eq(hash.as_bytes().to_vec());
    let row = Entity::find().filter(wanted).one(connection).await?;
    row.map(EnrollmentToken::try_from).transpose()
}

/// Revokes every token of a customer.
pub(super) async fn revoke_all(
    transaction: &DatabaseTransaction,
    customer: CustomerId,
    now: Timestamp,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::RevokedAt, Expr::value(micros(now)))
        .filter(Column::CustomerId.eq(customer.as_uuid()))
        .filter(Column::RevokedAt.is_null())
        .exec(transaction)
        .await
        .map(|_| ())
}
