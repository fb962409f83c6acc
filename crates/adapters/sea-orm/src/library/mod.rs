//! Scripts and saved commands.

mod entity;
#[cfg(test)]
mod first_saved_commands;
mod recent;
mod texts;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_commands::library::{
    Item, ItemId, Kind, LibraryFilter, LibraryRepository, LibraryWriteError, Version,
};
use muster_kernel::{
    Author, Cursor, CustomerId, Deed, Page, PageRequest, StorageError, TenantScope, Timestamp,
};
use parking_lot::Mutex;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, LikeExpr};
use sea_orm::{
    Condition, DatabaseTransaction, IntoActiveModel, JoinType, QueryOrder, QuerySelect, Select,
};

use crate::columns::{contains, json, micros, scoped};
use crate::{Database, DatabaseError, customers};
use entity::{Column, Entity, Head, Model, Relation, Row, canonical, version};
use recent::RecentTexts;

/// The library, in the tables `library_items` and `library_versions`.
#[derive(Debug, Clone)]
pub struct SeaLibrary {
    database: Database,
    recent: Arc<Mutex<RecentTexts>>,
}

impl SeaLibrary {
    /// In this database. Clones share the texts that were asked for lately.
    pub fn new(database: Database) -> Self {
        Self { database, recent: Arc::default() }
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
        Self::Database(DatabaseError::new("writing to the library", error))
    }
}

impl From<Refusal> for LibraryWriteError {
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
    DatabaseError::new("reading the library", error).into()
}

/// What the audit log calls what is done to a thing of the library.
struct Actions {
    create: &'static str,
    update: &'static str,
    delete: &'static str,
}

const fn actions(kind: Kind) -> Actions {
    match kind {
        Kind::Script => {
            Actions { create: "script.create", update: "script.update", delete: "script.delete" }
        }
        Kind::SavedCommand => Actions {
            create: "saved_command.create",
            update: "saved_command.update",
            delete: "saved_command.delete",
        },
    }
}

/// Those of a kind in a scope: its customers' and what is shared.
fn visible<I: ItemId>(scope: &TenantScope) -> Condition {
    let seen =
        Condition::any().add(Column::CustomerId.is_null()).add(scoped(Column::CustomerId, scope));
    Condition::all()
        .add(Column::Kind.eq(I::KIND.as_str()))
        .add(Column::DeletedAt.is_null())
        .add(seen)
}

/// Items with their versions.
fn select() -> Select<Entity> {
    Entity::find().join(JoinType::InnerJoin, Relation::Version.def())
}

fn passing(filter: &LibraryFilter) -> Condition {
    use version::Column as Of;
    let like = |pattern: &str| LikeExpr::new(contains(pattern)).escape('\\');
    let named = |q: &String| Expr::col((Entity, Column::CanonicalName)).like(like(&canonical(q)));
    // The tags are a JSON list: with its quotes around it a tag is found whole or not at all.
    let tagged = |tag: &String| Expr::col((version::Entity, Of::Tags)).like(like(&json(tag)));
    Condition::all()
        .add_option(filter.customer_id.map(|id| Column::CustomerId.eq(id.as_uuid())))
        .add_option(filter.q.as_ref().map(named))
        .add_option(filter.shell_type.map(|shell| Of::ShellType.eq(shell.as_str())))
        .add_option(filter.target_os_type.map(|target| Of::TargetOsType.eq(target.as_str())))
        .add_option(filter.category.as_ref().map(|category| Of::Category.eq(category.as_str())))
        .add_option(filter.tag.as_ref().map(tagged))
}

/// Behind the row that the cursor names, in the order of names.
fn behind(cursor: &Cursor) -> Condition {
    let name = cursor.key.as_deref().unwrap_or_default();
    Condition::any()
        .add(Column::CanonicalName.gt(name))
        .add(Condition::all().add(Column::CanonicalName.eq(name)).add(Column::Id.gt(cursor.id)))
}

#[async_trait]
impl<I: ItemId> LibraryRepository<I> for SeaLibrary {
    async fn create(
        &self,
        item: Item<I>,
        text: Arc<str>,
        author: &Author,
    ) -> Result<(), LibraryWriteError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                if let Some(customer) = item.customer_id
                    && !customers::exists(transaction, customer).await?
                {
                    return Err(Refusal::NoCustomer);
                }
                let row = Model::from(&item).into_active_model().reset_all();
                Entity::insert(row).exec_without_returning(transaction).await?;
                insert_version(transaction, &item, &text).await?;
                let deed = Deed::created(actions(I::KIND).create, &item);
                trail.enter(transaction, &author, item.created_at, deed).await?;
                Ok(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find(&self, scope: &TenantScope, id: I) -> Result<Option<Item<I>>, StorageError> {
        let row = Row::of(select())
            .filter(visible::<I>(scope).add(Column::Id.eq(id.uuid())))
            .into_model::<Row>()
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(row.map(Row::read).transpose()?)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &LibraryFilter,
        page: &PageRequest,
    ) -> Result<Page<Item<I>>, StorageError> {
        let reader = self.database.reader();
        let matching = select().filter(visible::<I>(scope)).filter(passing(filter));
        let total = matching.clone().select_only().column(Column::Id).count(reader).await;
        let rows = Row::of(matching)
            .filter(Condition::all().add_option(page.cursor.as_ref().map(behind)))
            .order_by_asc(Column::CanonicalName)
            .order_by_asc(Column::Id)
            .limit(u64::from(page.limit()) + 1)
            .into_model::<Row>()
            .all(reader)
            .await
            .map_err(reading)?;
        let items = rows.into_iter().map(Row::read).collect::<Result<Vec<Item<I>>, _>>()?;
        Ok(Page::from_rows(items, page, total.map_err(reading)?, |item| {
            Cursor::after_key(item.id.uuid(), canonical(&item.version.about.name))
        }))
    }

    async fn append(
        &self,
        before: &Item<I>,
        after: Item<I>,
        text: Arc<str>,
        author: &Author,
    ) -> Result<(), LibraryWriteError> {
        let (trail, author, before) = (self.database.trail(), author.clone(), before.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let (about, version) = (&after.version.about, after.version.id.as_uuid());
                let changed = Entity::update_many()
                    .col_expr(Column::VersionId, Expr::value(version))
                    .col_expr(Column::CanonicalName, Expr::value(canonical(&about.name)))
                    .filter(still(&before))
                    .exec(transaction)
                    .await?;
                if changed.rows_affected != 1 {
                    return Err(Refusal::Stale);
                }
                insert_version(transaction, &after, &text).await?;
                let deed = Deed::changed(actions(I::KIND).update, &before, &after);
                trail.enter(transaction, &author, after.version.created_at, deed).await?;
                Ok(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn remove(
        &self,
        item: &Item<I>,
        author: &Author,
        now: Timestamp,
    ) -> Result<(), LibraryWriteError> {
        let (trail, author, item) = (self.database.trail(), author.clone(), item.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let removed = Entity::update_many()
                    .col_expr(Column::DeletedAt, Expr::value(micros(now)))
                    .filter(still(&item))
                    .exec(transaction)
                    .await?;
                if removed.rows_affected != 1 {
                    return Err(Refusal::Stale);
                }
                let deed = Deed::removed(actions(I::KIND).delete, &item);
                trail.enter(transaction, &author, now, deed).await?;
                Ok(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn versions(&self, id: I, page: &PageRequest) -> Result<Page<Version>, StorageError> {
        use version::Column as Of;
        let reader = self.database.reader();
        let matching = version::Entity::find().filter(Of::ItemId.eq(id.uuid()));
        let total = matching.clone().count(reader).await.map_err(reading)?;
        let before = |cursor: &Cursor| cursor.key.as_ref()?.parse::<i64>().ok();
        let before = page.cursor.as_ref().and_then(before).map(|number| Of::Number.lt(number));
        let rows = matching
            .select_only()
            .columns(Head::COLUMNS)
            .filter(Condition::all().add_option(before))
            .order_by_desc(Of::Number)
            .limit(u64::from(page.limit()) + 1)
            .into_model::<Head>()
            .all(reader)
            .await
            .map_err(reading)?;
        let read = |head: Head| head.read(I::KIND);
        let versions = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::from_rows(versions, page, total, |version| {
            Cursor::after_key(version.id.as_uuid(), version.number.to_string())
        }))
    }

    async fn version(&self, id: I, number: u32) -> Result<Option<Version>, StorageError> {
        use version::Column as Of;
        let head = version::Entity::find()
            .select_only()
            .columns(Head::COLUMNS)
            .filter(Of::ItemId.eq(id.uuid()).and(Of::Number.eq(i64::from(number))))
            .into_model::<Head>()
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(head.map(|head| head.read(I::KIND)).transpose()?)
    }
}

/// That an item is there, and no other version of it than this.
fn still<I: ItemId>(item: &Item<I>) -> Condition {
    Condition::all()
        .add(Column::Id.eq(item.id.uuid()))
        .add(Column::VersionId.eq(item.version.id.as_uuid()))
        .add(Column::DeletedAt.is_null())
}

async fn insert_version<I: ItemId>(
    transaction: &DatabaseTransaction,
    item: &Item<I>,
    text: &str,
) -> Result<(), DbErr> {
    let row = version::Model::of(item, text).into_active_model().reset_all();
    version::Entity::insert(row).exec_without_returning(transaction).await.map(|_| ())
}

/// Removes what a customer has, within the transaction that removes the customer.
pub(crate) async fn remove_all(
    transaction: &DatabaseTransaction,
    customer: CustomerId,
    now: Timestamp,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::DeletedAt, Expr::value(micros(now)))
        .filter(Column::CustomerId.eq(customer.as_uuid()))
        .filter(Column::DeletedAt.is_null())
        .exec(transaction)
        .await
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use muster_commands::testing::library::{item, library_contract};
    use muster_customers::CustomerRepository;
    use muster_kernel::{SavedCommandId, ScriptId};

    use super::*;
    use crate::SeaCustomers;
    use crate::testing::{customers, on_each_database};

    on_each_database!(
        scripts_keep_the_contract,
        saved_commands_keep_the_contract,
        a_customer_that_is_deleted_takes_what_it_has_with_it,
    );

    async fn scripts_keep_the_contract(database: Database) {
        let customers = customers(&database).await.map(|(id, _)| id);
        library_contract::<ScriptId, _>(&SeaLibrary::new(database), customers).await;
    }

    async fn saved_commands_keep_the_contract(database: Database) {
        let customers = customers(&database).await.map(|(id, _)| id);
        library_contract::<SavedCommandId, _>(&SeaLibrary::new(database), customers).await;
    }

    async fn a_customer_that_is_deleted_takes_what_it_has_with_it(database: Database) {
        let [(customer, _), _] = customers(&database).await;
        let library = SeaLibrary::new(database.clone());
        let (author, script) = (Author::system(), item::<ScriptId>(1, Some(customer)));
        library.create(script.clone(), "x".into(), &author).await.unwrap();
        let customers = SeaCustomers::new(database);
        customers.delete(customer, false, &author, script.created_at).await.unwrap();
        assert_eq!(library.find(&TenantScope::All, script.id).await.unwrap(), None);
    }
}
