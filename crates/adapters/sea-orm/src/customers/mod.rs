//! Customers and enrollment tokens.

mod entity;
mod keys;
mod tokens;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_agents::DialectPolicies;
use muster_commands::DangerPolicies;
use muster_customers::{Customer, CustomerChange, CustomerRepository, CustomerWriteError};
use muster_kernel::{
    Author, CustomerId, DangerPolicy, Deed, DialectPolicy, Page, PageRequest, StorageError,
    TenantScope, Timestamp, TokenHash,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, LikeExpr};
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QuerySelect, QueryTrait};

use crate::agents::{entity as agents, parts};
use crate::audit::Trail;
use crate::columns::{contains, micros, scoped};
use crate::{
    Database, DatabaseError, alerts, assistants, catalog, compliance, groups, library, pages,
    schedules,
};
use entity::{Column, Entity, Model, canonical};

pub use keys::SeaApiKeys;
pub use tokens::SeaEnrollmentTokens;
pub(crate) use tokens::{find_by_hash as find_token, redeem};

/// The customers, in the table `customers`.
#[derive(Debug, Clone)]
pub struct SeaCustomers {
    database: Database,
}

impl SeaCustomers {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

/// Why a write transaction ends without a change.
#[derive(Debug)]
enum Refusal {
    HasAgents,
    Database(DatabaseError),
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<DbErr> for Refusal {
    fn from(error: DbErr) -> Self {
        Self::Database(DatabaseError::new("writing a customer", error))
    }
}

impl From<Refusal> for CustomerWriteError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::HasAgents => Self::HasAgents,
            Refusal::Database(error) if error.is_unique_violation() => Self::NameTaken,
            Refusal::Database(error) => Self::Storage(error.into()),
        }
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading customers", error).into()
}

/// Whether there is such a customer, for within a transaction.
pub(crate) async fn exists(
    transaction: &DatabaseTransaction,
    id: CustomerId,
) -> Result<bool, DatabaseError> {
    Ok(Entity::find().filter(live(id)).one(transaction).await?.is_some())
}

fn live(id: CustomerId) -> Condition {
    Condition::all().add(Column::Id.eq(id.as_uuid())).add(Column::DeletedAt.is_null())
}

#[async_trait]
impl CustomerRepository for SeaCustomers {
    async fn create(&self, customer: Customer, author: &Author) -> Result<(), CustomerWriteError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let row = Model::from(&customer).into_active_model().reset_all();
                Entity::insert(row).exec_without_returning(transaction).await?;
                let deed = Deed::created("customer.create", &customer);
                trail.enter(transaction, &author, customer.created_at, deed).await?;
                Ok::<_, Refusal>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: CustomerId,
    ) -> Result<Option<Customer>, StorageError> {
        let row = Entity::find()
            .filter(scoped(Column::Id, scope).add(live(id)))
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(row.map(Customer::try_from).transpose()?)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        q: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Customer>, StorageError> {
        let reader = self.database.reader();
        let named = q.map(|q| {
            Expr::col((Entity, Column::CanonicalName))
                .like(LikeExpr::new(contains(&canonical(q))).escape('\\'))
        });
        let matching = Entity::find()
            .filter(scoped(Column::Id, scope).add(Column::DeletedAt.is_null()).add_option(named));
        let page = pages::oldest_first(reader, matching, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(Customer::try_from)?)
    }

    async fn update(
        &self,
        id: CustomerId,
        change: CustomerChange,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<Customer>, CustomerWriteError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let Some(row) = Entity::find().filter(live(id)).one(transaction).await? else {
                    return Ok(None);
                };
                let before = Customer::try_from(row)?;
                let after = before.clone().changed(change, now);
                let row = Model::from(&after).into_active_model().reset_all();
                Entity::update(row).exec(transaction).await?;
                let deed = Deed::changed("customer.update", &before, &after);
                trail.enter(transaction, &author, now, deed).await?;
                Ok::<_, Refusal>(Some(after))
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn delete(
        &self,
        id: CustomerId,
        cascade: bool,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, CustomerWriteError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { delete(transaction, &trail, id, cascade, &author, now).await }.boxed()
        });
        Ok(write.await?)
    }
}

async fn delete(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    id: CustomerId,
    cascade: bool,
    author: &Author,
    now: Timestamp,
) -> Result<bool, Refusal> {
    let Some(customer) = Entity::find().filter(live(id)).one(transaction).await? else {
        return Ok(false);
    };
    let customer = Customer::try_from(customer)?;
    let agents =
        agents::Column::CustomerId.eq(id.as_uuid()).and(agents::Column::DeletedAt.is_null());
    if cascade {
        let mut deeds = Vec::new();
        let rows = agents::Entity::find().filter(agents.clone()).all(transaction).await?;
        for agent in parts::complete(transaction, rows).await? {
            deeds.push((author.clone(), now, Deed::removed("agent.delete", &agent)));
        }
        trail.enter_all(transaction, deeds).await?;
        let ids = agents::Entity::find().select_only().column(agents::Column::Id);
        parts::remove(transaction, &ids.filter(agents.clone()).into_query()).await?;
        agents::Entity::update_many()
            .col_expr(agents::Column::DeletedAt, Expr::value(micros(now)))
            .col_expr(agents::Column::TokenHash, Expr::value(Option::<Vec<u8>>::None))
            .filter(agents)
            .exec(transaction)
            .await?;
    } else if agents::Entity::find().filter(agents).count(transaction).await? > 0 {
        return Err(Refusal::HasAgents);
    }
    tokens::revoke_all(transaction, id, now).await?;
    keys::revoke_all(transaction, id, now).await?;
    schedules::delete_all(transaction, trail, id, author, now).await?;
    library::remove_all(transaction, id, now).await?;
    alerts::remove_all(transaction, trail, id, author, now).await?;
    assistants::remove_all(transaction, trail, id, author, now).await?;
    groups::remove_all(transaction, id).await?;
    compliance::remove_all(transaction, trail, id, author, now).await?;
    catalog::remove_all(transaction, trail, id, author, now).await?;
    Entity::update_many()
        .col_expr(Column::DeletedAt, Expr::value(micros(now)))
        .filter(live(id))
        .exec(transaction)
        .await?;
    trail.enter(transaction, author, now, Deed::removed("customer.delete", &customer)).await?;
    Ok(true)
}

#[async_trait]
impl DangerPolicies for SeaCustomers {
    async fn danger_policy(&self, customer: CustomerId) -> Result<DangerPolicy, StorageError> {
        let customer = self.find(&TenantScope::All, customer).await?;
        Ok(customer.map_or(DangerPolicy::Approve, |customer| customer.dangerous_commands))
    }
}

#[async_trait]
impl DialectPolicies for SeaCustomers {
    async fn of_customer(&self, customer: CustomerId) -> Result<DialectPolicy, StorageError> {
        let customer = self.find(&TenantScope::All, customer).await?;
        Ok(customer.map(|customer| customer.dialects).unwrap_or_default())
    }

    async fn of_token(
        &self,
        token: TokenHash,
    ) -> Result<Option<(CustomerId, DialectPolicy)>, StorageError> {
        let token = tokens::find_by_hash(self.database.reader(), token).await?;
        let Some(token) = token.filter(|token| token.revoked_at.is_none()) else {
            return Ok(None);
        };
        Ok(Some((token.customer_id, self.of_customer(token.customer_id).await?)))
    }

    async fn with_networks(&self) -> Result<Vec<(CustomerId, DialectPolicy)>, StorageError> {
        let open = Column::DeletedAt.is_null().and(Column::LegacyNetworks.ne("[]"));
        let rows = Entity::find().filter(open).all(self.database.reader()).await;
        let customers = rows.map_err(reading)?.into_iter().map(Customer::try_from);
        let open = customers.map(|customer| customer.map(|it| (it.id, it.dialects)));
        Ok(open.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use muster_customers::EnrollmentTokenRepository;
    use muster_customers::testing::{
        api_key_contract, customer, customer_contract, token_contract,
    };

    use super::*;
    use crate::testing::{agents, on_each_database};

    on_each_database!(
        enrollment_tokens_keep_the_contract,
        api_keys_keep_the_contract,
        a_customer_with_agents_is_deleted_only_with_them,
        customers_keep_the_contract,
    );

    async fn customers_keep_the_contract(database: Database) {
        customer_contract(&SeaCustomers::new(database)).await;
    }

    async fn enrollment_tokens_keep_the_contract(database: Database) {
        let customers = SeaCustomers::new(database.clone());
        for seed in [11, 12] {
            customers.create(customer(seed), &Author::system()).await.unwrap();
        }
        token_contract(&SeaEnrollmentTokens::new(database)).await;
    }

    async fn api_keys_keep_the_contract(database: Database) {
        let customers = SeaCustomers::new(database.clone());
        for seed in [21, 22] {
            customers.create(customer(seed), &Author::system()).await.unwrap();
        }
        api_key_contract(&SeaApiKeys::new(database)).await;
    }

    async fn a_customer_with_agents_is_deleted_only_with_them(database: Database) {
        let [(agent, id), _] = agents(&database).await;
        let customers = SeaCustomers::new(database.clone());
        let now = customer(1).created_at;
        let refused = customers.delete(id, false, &Author::system(), now).await;
        assert!(matches!(refused, Err(CustomerWriteError::HasAgents)));
        assert!(customers.delete(id, true, &Author::system(), now).await.unwrap());
        let registry = crate::SeaAgents::new(database.clone());
        let found = muster_agents::AgentRepository::find(&registry, &TenantScope::All, agent).await;
        assert!(found.unwrap().is_none());
        let tokens = SeaEnrollmentTokens::new(database);
        let page = tokens.list(&TenantScope::one(id), &PageRequest::default()).await.unwrap();
        assert!(page.items.iter().all(|token| token.revoked_at.is_some()));
    }
}
