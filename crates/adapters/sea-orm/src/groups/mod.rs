//! Groups of agents.

pub(crate) mod entity;

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_agents::groups::{
    Group, GroupFilter, GroupRepository, GroupWriteError, MemberChange, MembersChanged,
};
use muster_kernel::{
    AgentId, Audited, Author, Cursor, CustomerId, Deed, GroupId, Page, PageRequest, StorageError,
    TenantScope, Timestamp,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, LikeExpr};
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QueryOrder, QuerySelect};

use crate::agents::IDS_AT_ONCE;
use crate::agents::entity as agents;
use crate::columns::{contains, scoped};
use crate::{Database, DatabaseError, customers};
pub(crate) use entity::member;
use entity::{Column, Entity, Model};

/// How many machines one entry of the audit log names.
const NAMED: usize = 1000;

/// The groups, in the tables `agent_groups` and `agent_group_members`.
#[derive(Debug, Clone)]
pub struct SeaGroups {
    database: Database,
}

impl SeaGroups {
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
        Self::Database(DatabaseError::new("writing a group", error))
    }
}

impl From<Refusal> for GroupWriteError {
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
    DatabaseError::new("reading groups", error).into()
}

/// Those in a scope: its customers' and those of all customers.
fn visible(scope: &TenantScope) -> Condition {
    Condition::any().add(Column::CustomerId.is_null()).add(scoped(Column::CustomerId, scope))
}

/// That a group is there, and no other version of it than this.
fn still(group: &Group) -> Condition {
    Condition::all()
        .add(Column::Id.eq(group.id.as_uuid()))
        .add(Column::Version.eq(Model::from(group).version))
}

/// Behind the row that the cursor names, in the order of names.
fn behind(cursor: &Cursor) -> Condition {
    let name = cursor.key.as_deref().unwrap_or_default();
    Condition::any()
        .add(Column::CanonicalName.gt(name))
        .add(Condition::all().add(Column::CanonicalName.eq(name)).add(Column::Id.gt(cursor.id)))
}

#[async_trait]
impl GroupRepository for SeaGroups {
    async fn create(&self, group: Group, author: &Author) -> Result<(), GroupWriteError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                if let Some(customer) = group.customer_id
                    && !customers::exists(transaction, customer).await?
                {
                    return Err(Refusal::NoCustomer);
                }
                let row = Model::from(&group).into_active_model().reset_all();
                Entity::insert(row).exec_without_returning(transaction).await?;
                let deed = Deed::created("group.create", &group);
                trail.enter(transaction, &author, group.created_at, deed).await?;
                Ok(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find(&self, scope: &TenantScope, id: GroupId) -> Result<Option<Group>, StorageError> {
        let row = Entity::find_by_id(id.as_uuid())
            .filter(visible(scope))
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(row.map(Group::try_from).transpose()?)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &GroupFilter,
        page: &PageRequest,
    ) -> Result<Page<Group>, StorageError> {
        let reader = self.database.reader();
        let named = filter.q.as_ref().map(|q| {
            Expr::col((Entity, Column::CanonicalName))
                .like(LikeExpr::new(contains(&q.to_lowercase())).escape('\\'))
        });
        let own = filter.customer_id.map(|id| Column::CustomerId.eq(id.as_uuid()));
        let passing = Condition::all().add(visible(scope)).add_option(own).add_option(named);
        let matching = Entity::find().filter(passing);
        let total = matching.clone().count(reader).await.map_err(reading)?;
        let rows = matching
            .filter(Condition::all().add_option(page.cursor.as_ref().map(behind)))
            .order_by_asc(Column::CanonicalName)
            .order_by_asc(Column::Id)
            .limit(u64::from(page.limit()) + 1)
            .all(reader)
            .await
            .map_err(reading)?;
        let groups = rows.into_iter().map(Group::try_from).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::from_rows(groups, page, total, |group| {
            Cursor::after_key(group.id.as_uuid(), group.name.canonical())
        }))
    }

    async fn update(
        &self,
        before: &Group,
        after: Group,
        author: &Author,
    ) -> Result<(), GroupWriteError> {
        let (trail, author, before) = (self.database.trail(), author.clone(), before.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let row = Model::from(&after).into_active_model().reset_all();
                let written = Entity::update_many().set(row).filter(still(&before));
                if written.exec(transaction).await?.rows_affected != 1 {
                    return Err(Refusal::Stale);
                }
                let deed = Deed::changed("group.update", &before, &after);
                trail.enter(transaction, &author, after.updated_at, deed).await?;
                Ok(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn remove(
        &self,
        group: &Group,
        author: &Author,
        now: Timestamp,
    ) -> Result<(), GroupWriteError> {
        let (trail, author, group) = (self.database.trail(), author.clone(), group.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let removed = Entity::delete_many().filter(still(&group));
                if removed.exec(transaction).await?.rows_affected != 1 {
                    return Err(Refusal::Stale);
                }
                let deed = Deed::removed("group.delete", &group);
                trail.enter(transaction, &author, now, deed).await?;
                Ok(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn change_members(
        &self,
        group: &Group,
        change: MemberChange,
        author: &Author,
        now: Timestamp,
    ) -> Result<MembersChanged, GroupWriteError> {
        let (trail, author, group) = (self.database.trail(), author.clone(), group.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let id = group.id.as_uuid();
                if Entity::find_by_id(id).one(transaction).await?.is_none() {
                    return Err(Refusal::Stale);
                }
                let (added, removed) = apply(transaction, &group, change).await?;
                let members = member::Entity::find().filter(member::Column::GroupId.eq(id));
                let total = members.count(transaction).await?;
                if !added.is_empty() || !removed.is_empty() {
                    let facts = facts(&added, &removed);
                    let deed = Deed::done("group.members", group.place(), Some(facts));
                    trail.enter(transaction, &author, now, deed).await?;
                }
                let count = |ids: &[Uuid]| u64::try_from(ids.len()).unwrap_or(u64::MAX);
                Ok::<_, Refusal>(MembersChanged {
                    added: count(&added),
                    removed: count(&removed),
                    total,
                })
            }
            .boxed()
        });
        Ok(write.await?)
    }
}

/// What the audit log shows of a change of members.
fn facts(added: &[Uuid], removed: &[Uuid]) -> serde_json::Value {
    let named = |ids: &[Uuid]| ids.iter().take(NAMED).copied().collect::<Vec<_>>();
    serde_json::json!({
        "added": named(added), "added_count": added.len(),
        "removed": named(removed), "removed_count": removed.len(),
    })
}

/// Lets machines in and out; answers with those that came and those that went.
async fn apply(
    transaction: &DatabaseTransaction,
    group: &Group,
    change: MemberChange,
) -> Result<(Vec<Uuid>, Vec<Uuid>), DatabaseError> {
    use member::Column as Of;
    let id = group.id.as_uuid();
    let members: Vec<Uuid> = member::Entity::find()
        .select_only()
        .column(Of::AgentId)
        .filter(Of::GroupId.eq(id))
        .into_tuple()
        .all(transaction)
        .await?;
    let members: BTreeSet<Uuid> = members.into_iter().collect();
    let uuids = |ids: &BTreeSet<AgentId>| ids.iter().map(|id| id.as_uuid()).collect();
    let (come, go) = match &change {
        MemberChange::Add(ids) => (&uuids(ids) - &members, BTreeSet::new()),
        MemberChange::Remove(ids) => (BTreeSet::new(), &members & &uuids(ids)),
        MemberChange::Replace(ids) => (&uuids(ids) - &members, &members - &uuids(ids)),
    };
    let (come, go): (Vec<_>, Vec<_>) = (come.into_iter().collect(), go.into_iter().collect());
    for ids in go.chunks(IDS_AT_ONCE) {
        let these = Of::GroupId.eq(id).and(Of::AgentId.is_in(ids.iter().copied()));
        member::Entity::delete_many().filter(these).exec(transaction).await?;
    }
    let mut joined = Vec::with_capacity(come.len());
    for ids in come.chunks(IDS_AT_ONCE) {
        let can = joinable(transaction, group, ids).await?;
        let rows = can.iter().map(|agent_id| member::Model { group_id: id, agent_id: *agent_id });
        let rows: Vec<_> = rows.map(|row| row.into_active_model().reset_all()).collect();
        if !rows.is_empty() {
            member::Entity::insert_many(rows).exec_without_returning(transaction).await?;
        }
        joined.extend(can);
    }
    Ok((joined, go))
}

/// Those of these machines that can be in a group.
async fn joinable(
    transaction: &DatabaseTransaction,
    group: &Group,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, DatabaseError> {
    use agents::Column as Of;
    let own = group.customer_id.map(|id| Of::CustomerId.eq(id.as_uuid()));
    let these = Condition::all()
        .add(Of::Id.is_in(ids.iter().copied()))
        .add(Of::DeletedAt.is_null())
        .add_option(own);
    let agents = agents::Entity::find().select_only().column(Of::Id).filter(these);
    Ok(agents.into_tuple().all(transaction).await?)
}

/// Removes what a customer has, within the transaction that removes the customer.
pub(crate) async fn remove_all(
    transaction: &DatabaseTransaction,
    customer: CustomerId,
) -> Result<(), DbErr> {
    let own = Column::CustomerId.eq(customer.as_uuid());
    Entity::delete_many().filter(own).exec(transaction).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use muster_agents::testing::{Subject, group_contract};
    use muster_customers::CustomerRepository;

    use super::*;
    use crate::testing::{customers, grouped, on_each_database};
    use crate::{SeaAgents, SeaCustomers};

    on_each_database!(
        groups_keep_the_contract,
        a_customer_that_is_deleted_takes_its_groups_with_it,
    );

    async fn groups_keep_the_contract(database: Database) {
        let customers = customers(&database).await;
        let registry = SeaAgents::new(database.clone());
        let subject = Subject { registry: &registry, customers: &customers };
        group_contract(&subject, &SeaGroups::new(database)).await;
    }

    async fn a_customer_that_is_deleted_takes_its_groups_with_it(database: Database) {
        let [(customer, _), _] = customers(&database).await;
        let group = grouped(&database, Some(customer), []).await;
        let customers = SeaCustomers::new(database.clone());
        let author = Author::system();
        customers.delete(customer, true, &author, group.created_at).await.unwrap();
        let groups = SeaGroups::new(database);
        assert_eq!(groups.find(&TenantScope::All, group.id).await.unwrap(), None);
    }
}
