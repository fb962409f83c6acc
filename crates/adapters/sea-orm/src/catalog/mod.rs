//! Profiles, software and OS images.

pub(crate) mod entity;
mod imaged;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_deployment_profiles::{
    Body, CatalogFilter, CatalogRepository, Entry, EntryId, Kind, OsImageBody, ProfileBody,
    SoftwareBody, WriteError,
};
use muster_kernel::{
    Author, CustomerId, Deed, Page, PageRequest, StorageError, TenantScope, Timestamp,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, LikeExpr, SimpleExpr};
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel};

use crate::audit::Trail;
use crate::columns::{contains, scoped};
use crate::{Database, DatabaseError, customers, pages};
use entity::{Column, Entity, Model, name_key};
pub(crate) use imaged::leave;

/// The catalog, in the tables `catalog_entries` and `agent_os_images`.
#[derive(Debug, Clone)]
pub struct SeaCatalog {
    database: Database,
}

impl SeaCatalog {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

/// Why a write transaction ends without a change.
#[derive(Debug)]
enum Refusal {
    Stale,
    NoCustomer,
    Database(DatabaseError),
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<DbErr> for Refusal {
    fn from(error: DbErr) -> Self {
        Self::Database(DatabaseError::new("writing to the catalog", error))
    }
}

impl From<Refusal> for WriteError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stale => Self::Stale,
            Refusal::NoCustomer => Self::NoCustomer,
            Refusal::Database(error) if error.is_unique_violation() => Self::NameTaken,
            Refusal::Database(error) => Self::Storage(error.into()),
        }
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading the catalog", error).into()
}

fn of_kind<B: Body>() -> SimpleExpr {
    Column::Kind.eq(B::KIND.as_str())
}

fn of_owner(owner: Option<CustomerId>) -> SimpleExpr {
    match owner {
        Some(customer) => Column::CustomerId.eq(customer.as_uuid()),
        None => Column::CustomerId.is_null(),
    }
}

/// Those of a kind in a scope: its customers' and what is shared.
fn visible<B: Body>(scope: &TenantScope) -> Condition {
    let seen =
        Condition::any().add(Column::CustomerId.is_null()).add(scoped(Column::CustomerId, scope));
    Condition::all().add(of_kind::<B>()).add(seen)
}

fn passing(filter: &CatalogFilter) -> Condition {
    let named = |q: &String| {
        Expr::col((Entity, Column::NameKey))
            .like(LikeExpr::new(contains(&name_key(q))).escape('\\'))
    };
    Condition::all()
        .add_option(filter.customer_id.map(|id| of_owner(Some(id))))
        .add_option(filter.q.as_ref().map(named))
        .add_option(filter.os_type.map(|os_type| Column::OsType.eq(os_type.as_str())))
        .add_option(filter.is_template.map(|is_template| Column::IsTemplate.eq(is_template)))
}

/// The entry `id` as it is now, if it still has this version.
async fn still<B: Body>(
    transaction: &DatabaseTransaction,
    id: B::Id,
    version: u32,
) -> Result<Entry<B>, Refusal> {
    let row = Entity::find_by_id(id.uuid()).filter(of_kind::<B>()).one(transaction).await?;
    let entry: Option<Entry<B>> = row.map(Entry::try_from).transpose()?;
    entry.filter(|entry| entry.version == version).ok_or(Refusal::Stale)
}

#[async_trait]
impl<B: Body> CatalogRepository<B> for SeaCatalog {
    async fn create(&self, entry: Entry<B>, author: &Author) -> Result<(), WriteError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                if let Some(customer) = entry.customer_id
                    && !customers::exists(transaction, customer).await?
                {
                    return Err(Refusal::NoCustomer);
                }
                let row = Model::from(&entry).into_active_model().reset_all();
                Entity::insert(row).exec_without_returning(transaction).await?;
                let [create, ..] = B::KIND.deeds();
                let deed = Deed::created(create, &entry);
                trail.enter(transaction, &author, entry.created_at, deed).await?;
                Ok(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find(&self, scope: &TenantScope, id: B::Id) -> Result<Option<Entry<B>>, StorageError> {
        let row = Entity::find_by_id(id.uuid())
            .filter(visible::<B>(scope))
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(row.map(Entry::try_from).transpose()?)
    }

    async fn named(
        &self,
        owner: Option<CustomerId>,
        name: &str,
    ) -> Result<Option<Entry<B>>, StorageError> {
        let row = Entity::find()
            .filter(of_kind::<B>().and(of_owner(owner)).and(Column::NameKey.eq(name_key(name))))
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(row.map(Entry::try_from).transpose()?)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &CatalogFilter,
        page: &PageRequest,
    ) -> Result<Page<Entry<B>>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(visible::<B>(scope)).filter(passing(filter));
        let page = pages::oldest_first(reader, matching, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(Entry::try_from)?)
    }

    async fn replace(
        &self,
        before: u32,
        after: Entry<B>,
        author: &Author,
    ) -> Result<(), WriteError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let before = still::<B>(transaction, after.id, before).await?;
                let row = Model::from(&after).into_active_model().reset_all();
                Entity::update(row).exec(transaction).await?;
                let [_, update, _] = B::KIND.deeds();
                let deed = Deed::changed(update, &before, &after);
                trail.enter(transaction, &author, after.updated_at, deed).await?;
                Ok::<_, Refusal>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn remove(
        &self,
        id: B::Id,
        before: u32,
        author: &Author,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let entry = still::<B>(transaction, id, before).await?;
                // How machines stand to a profile, and that they were made from an image, goes with
                // it: the database sees to that.
                Entity::delete_by_id(id.uuid()).exec(transaction).await?;
                let [.., delete] = B::KIND.deeds();
                trail.enter(transaction, &author, now, Deed::removed(delete, &entry)).await?;
                Ok::<_, Refusal>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }
}

/// Removes what a customer has, within the transaction that removes the customer.
pub(crate) async fn remove_all(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    customer: CustomerId,
    author: &Author,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let theirs = of_owner(Some(customer));
    let rows = Entity::find().filter(theirs.clone()).all(transaction).await?;
    let deeds = rows.into_iter().map(|row| Ok((author.clone(), now, removed(row)?)));
    let deeds = deeds.collect::<Result<_, DatabaseError>>()?;
    Entity::delete_many().filter(theirs).exec(transaction).await?;
    trail.enter_all(transaction, deeds).await
}

/// What there is to say of an entry that is gone.
fn removed(row: Model) -> Result<Deed, DatabaseError> {
    fn of<B: Body>(row: Model) -> Result<Deed, DatabaseError> {
        let [.., delete] = B::KIND.deeds();
        Ok(Deed::removed(delete, &Entry::<B>::try_from(row)?))
    }
    let kinds = [Kind::Profile, Kind::Software, Kind::OsImage];
    match kinds.into_iter().find(|kind| kind.as_str() == row.kind) {
        Some(Kind::Profile) => of::<ProfileBody>(row),
        Some(Kind::Software) => of::<SoftwareBody>(row),
        Some(Kind::OsImage) => of::<OsImageBody>(row),
        None => Err(DatabaseError::bad_row("catalog_entries.kind")),
    }
}

#[cfg(test)]
mod tests;
