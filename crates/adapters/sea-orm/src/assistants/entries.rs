//! Assistants and projects, in the table `assistant_entries`.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_assistant::workspace::{
    AssistantBody, Body, Entry, EntryId, EntryRepository, ProjectBody, WriteError,
};
use muster_kernel::{
    Author, CustomerId, Deed, Page, PageRequest, StorageError, TenantScope, Timestamp,
};
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QuerySelect, QueryTrait};

use super::entity::{chat, entry, owner, proposal};
use super::{SeaAssistants, reading};
use crate::audit::Trail;
use crate::columns::{from_json, json, micros, scoped, timestamp};
use crate::{DatabaseError, customers, pages};
use entry::{Column, Entity, Model};

impl<B: Body> From<&Entry<B>> for Model {
    fn from(entry: &Entry<B>) -> Self {
        Self {
            id: entry.id.uuid(),
            kind: B::KIND.to_owned(),
            customer_id: entry.customer_id.map(CustomerId::as_uuid),
            name: entry.name.clone(),
            body: json(&entry.body),
            version: i32::try_from(entry.version).unwrap_or(i32::MAX),
            created_at: micros(entry.created_at),
            updated_at: micros(entry.updated_at),
        }
    }
}

impl<B: Body> TryFrom<Model> for Entry<B> {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let bad = DatabaseError::bad_row;
        Ok(Self {
            id: B::Id::of_uuid(row.id),
            customer_id: row.customer_id.map(CustomerId::from_uuid),
            name: row.name,
            body: from_json(&row.body, "assistant_entries.body")?,
            version: u32::try_from(row.version).map_err(|_| bad("assistant_entries.version"))?,
            created_at: timestamp(row.created_at, "assistant_entries.created_at")?,
            updated_at: timestamp(row.updated_at, "assistant_entries.updated_at")?,
        })
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
        Self::Database(DatabaseError::new("writing an assistant or a project", error))
    }
}

impl From<Refusal> for WriteError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stale => Self::Stale,
            Refusal::NoCustomer => Self::NoCustomer,
            Refusal::Database(error) => Self::Storage(error.into()),
        }
    }
}

/// Those of a kind that are seen in a scope.
fn visible<B: Body>(scope: &TenantScope) -> Condition {
    let own = scoped(Column::CustomerId, scope);
    let seen =
        if B::SHARED { Condition::any().add(Column::CustomerId.is_null()).add(own) } else { own };
    Condition::all().add(Column::Kind.eq(B::KIND)).add(seen)
}

/// The entry `id` as it is now, if it still has this version.
async fn still<B: Body>(
    transaction: &DatabaseTransaction,
    id: B::Id,
    version: u32,
) -> Result<Entry<B>, Refusal> {
    let row = Entity::find_by_id(id.uuid()).filter(Column::Kind.eq(B::KIND)).lock_exclusive();
    let entry: Option<Entry<B>> = row.one(transaction).await?.map(Entry::try_from).transpose()?;
    entry.filter(|entry| entry.version == version).ok_or(Refusal::Stale)
}

#[async_trait]
impl<B: Body> EntryRepository<B> for SeaAssistants {
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
                let [create, ..] = B::DEEDS;
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

    async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<Entry<B>>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(visible::<B>(scope));
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
                let [_, update, _] = B::DEEDS;
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
                // The conversations of a project go with it: the database sees to that.
                Entity::delete_by_id(id.uuid()).exec(transaction).await?;
                let [.., delete] = B::DEEDS;
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
    let id = customer.as_uuid();
    let theirs = Column::CustomerId.eq(id);
    let rows = Entity::find().filter(theirs.clone()).all(transaction).await?;
    let deeds = rows.into_iter().map(|row| Ok((author.clone(), now, removed(row)?)));
    let deeds = deeds.collect::<Result<_, DatabaseError>>()?;
    Entity::delete_many().filter(theirs).exec(transaction).await?;
    chat::Entity::delete_many().filter(chat::Column::CustomerId.eq(id)).exec(transaction).await?;
    let about = owner::Entity::find().select_only().column(owner::Column::ProposalId);
    let about = about.filter(owner::Column::CustomerId.eq(id)).into_query();
    proposal::Entity::delete_many()
        .filter(proposal::Column::Id.in_subquery(about))
        .exec(transaction)
        .await?;
    trail.enter_all(transaction, deeds).await
}

/// Lets go of conversations in which nothing was said since `before`, and of proposals that can't be
/// decided about since then.
pub(crate) async fn forget(
    transaction: &DatabaseTransaction,
    before: Timestamp,
) -> Result<(), DatabaseError> {
    let silent = chat::Column::UpdatedAt.lt(micros(before));
    chat::Entity::delete_many().filter(silent).exec(transaction).await?;
    let late = proposal::Column::ExpiresAt.lt(micros(before));
    proposal::Entity::delete_many().filter(late).exec(transaction).await?;
    Ok(())
}

/// What there is to say of an entry that is gone.
fn removed(row: Model) -> Result<Deed, DatabaseError> {
    fn of<B: Body>(row: Model) -> Result<Deed, DatabaseError> {
        let [.., delete] = B::DEEDS;
        Ok(Deed::removed(delete, &Entry::<B>::try_from(row)?))
    }
    if row.kind == AssistantBody::KIND {
        of::<AssistantBody>(row)
    } else if row.kind == ProjectBody::KIND {
        of::<ProjectBody>(row)
    } else {
        Err(DatabaseError::bad_row("assistant_entries.kind"))
    }
}
