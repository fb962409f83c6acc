//! Customers' keys.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_customers::{ApiKey, ApiKeyRepository, Once, Stored};
use muster_kernel::{
    ApiKeyId, Author, CustomerId, Deed, Page, PageRequest, Plan, StorageError, Timestamp, TokenHash,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel};

use super::entity::Entity as Customers;
use super::entity::key::{Column, Entity, Model};
use crate::audit::Trail;
use crate::columns::micros;
use crate::idempotency::{Remembered, remember};
use crate::{Database, DatabaseError, pages};

/// The keys of customers, in the table `api_keys`.
#[derive(Debug, Clone)]
pub struct SeaApiKeys {
    database: Database,
}

impl SeaApiKeys {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading API keys", error).into()
}

fn live_default(customer: CustomerId) -> Condition {
    Condition::all()
        .add(Column::CustomerId.eq(customer.as_uuid()))
        .add(Column::IsDefault.eq(true))
        .add(Column::RevokedAt.is_null())
}

impl SeaApiKeys {
    async fn find_one(&self, which: Expr) -> Result<Option<(ApiKey, Plan)>, StorageError> {
        let reader = self.database.reader();
        let row = Entity::find().filter(which).one(reader).await.map_err(reading)?;
        let Some(key) = row.map(ApiKey::try_from).transpose()? else { return Ok(None) };
        let customer = Customers::find().filter(super::live(key.customer_id)).one(reader).await;
        let Some(customer) = customer.map_err(reading)? else { return Ok(None) };
        let plan = muster_customers::Customer::try_from(customer)?.plan;
        Ok(Some((key, plan)))
    }
}

#[async_trait]
impl ApiKeyRepository for SeaApiKeys {
    async fn create(
        &self,
        key: ApiKey,
        once: Option<Once>,
        author: &Author,
    ) -> Result<Stored<ApiKey>, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { create(transaction, &trail, key, once, &author).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn find_by_hash(&self, hash: TokenHash) -> Result<Option<(ApiKey, Plan)>, StorageError> {
        self.find_one(Column::KeyHash.eq(hash.as_bytes().to_vec())).await
    }

    async fn find(&self, id: ApiKeyId) -> Result<Option<(ApiKey, Plan)>, StorageError> {
        self.find_one(Column::Id.eq(id.as_uuid())).await
    }

    async fn list(
        &self,
        customer: CustomerId,
        page: &PageRequest,
    ) -> Result<Page<ApiKey>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(Column::CustomerId.eq(customer.as_uuid()));
        let page = pages::newest_first(reader, matching, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(ApiKey::try_from)?)
    }

    async fn find_default(&self, customer: CustomerId) -> Result<Option<ApiKey>, StorageError> {
        let reader = self.database.reader();
        let row = Entity::find().filter(live_default(customer)).one(reader).await;
        Ok(row.map_err(reading)?.map(ApiKey::try_from).transpose()?)
    }

    async fn revoke(
        &self,
        customer: CustomerId,
        id: ApiKeyId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let wanted = Condition::all()
            .add(Column::Id.eq(id.as_uuid()))
            .add(Column::CustomerId.eq(customer.as_uuid()))
            .add(Column::RevokedAt.is_null());
        let write = self.database.write(move |transaction| {
            async move { revoke(transaction, &trail, wanted, &author, now).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn record_used(&self, used: Vec<(ApiKeyId, Timestamp)>) -> Result<(), StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                for (id, at) in used {
                    Entity::update_many()
                        .col_expr(Column::LastUsedAt, Expr::value(micros(at)))
                        .filter(Column::Id.eq(id.as_uuid()))
                        .exec(transaction)
                        .await?;
                }
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }
}

async fn create(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    key: ApiKey,
    once: Option<Once>,
    author: &Author,
) -> Result<Stored<ApiKey>, DatabaseError> {
    // Within the transaction: a key of a deleted customer would open nothing to nobody.
    let customer = super::live(key.customer_id);
    if Customers::find().filter(customer).one(transaction).await?.is_none() {
        return Ok(Stored::NoCustomer);
    }
    let now = key.created_at;
    if let Some(once) = once {
        let id = key.id.as_uuid();
        let known =
            remember(transaction, &once.scope, &once.key, &once.fingerprint, id, micros(now));
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
    if key.is_default {
        revoke(transaction, trail, live_default(key.customer_id), author, now).await?;
    }
    let row = Model::from(&key).into_active_model().reset_all();
    Entity::insert(row).exec_without_returning(transaction).await?;
    trail.enter(transaction, author, now, Deed::created("api_key.create", &key)).await?;
    Ok(Stored::New)
}

async fn revoke(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    wanted: Condition,
    author: &Author,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let Some(row) = Entity::find().filter(wanted.clone()).one(transaction).await? else {
        return Ok(false);
    };
    Entity::update_many()
        .col_expr(Column::RevokedAt, Expr::value(micros(now)))
        .filter(wanted)
        .exec(transaction)
        .await?;
    let before = ApiKey::try_from(row)?;
    let after = ApiKey { revoked_at: Some(now), ..before.clone() };
    let deed = Deed::changed("api_key.revoke", &before, &after);
    trail.enter(transaction, author, now, deed).await?;
    Ok(true)
}

/// Revokes every key of a customer.
pub(super) async fn revoke_all(
    transaction: &DatabaseTransaction,
    customer: CustomerId,
    now: Timestamp,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::RevokedAt, Expr::value(micros(now)))
        .filter(Column::CustomerId.eq(customer.as_uuid()).and(Column::RevokedAt.is_null()))
        .exec(transaction)
        .await
        .map(|_| ())
}
