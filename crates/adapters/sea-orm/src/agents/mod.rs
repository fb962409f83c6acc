//! The registry of machines.

mod arrivals;
mod bulk;
mod connections;
mod copies;
mod enrol;
pub(crate) mod entity;
mod filter;
mod lists;
pub(crate) mod parts;
#[cfg(test)]
pub(crate) mod plans;
mod speakers;

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_agents::groups::Membership;
use muster_agents::{
    Agent, AgentChange, AgentFilter, AgentOrder, AgentPage, AgentProgram, AgentRepository,
    AgentSelection, AgentTokens, BulkEdit, BulkWriteError, ConnectionRecord, OsType, SelectedAgent,
    StatusCounts, SystemInfo,
};
use muster_kernel::{
    AgentId, Author, CustomerId, Deed, PageRequest, StorageError, TenantScope, Timestamp, TokenHash,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{Condition, DatabaseTransaction, QueryOrder, QuerySelect, QueryTrait};

use crate::columns::{micros, scoped};
use crate::compliance::standings;
use crate::gathered::Gathered;
use crate::{Database, DatabaseError, alerts, catalog, customers};
use arrivals::{Arrival, Description, describe, note};
use entity::{Column, Entity};
use filter::{Conditions, Lead, online_since};
use lists::RecentCounts;

/// How many ids one statement names at most.
pub(crate) const IDS_AT_ONCE: usize = 500;

/// The registry of machines, in the table `agents`.
#[derive(Debug, Clone)]
pub struct SeaAgents {
    pub(crate) database: Database,
    arrivals: Gathered<Arrival, Option<CustomerId>>,
    descriptions: Gathered<Description, ()>,
    recent: RecentCounts,
}

impl SeaAgents {
    /// In this database. Clones share what was counted lately.
    pub fn new(database: Database) -> Self {
        let (arrivals, descriptions) = (Gathered::new(note), Gathered::new(describe));
        Self { database, arrivals, descriptions, recent: RecentCounts::default() }
    }

    async fn picked(&self, condition: Condition) -> Result<Vec<SelectedAgent>, StorageError> {
        let rows: Vec<(Uuid, Uuid, String)> = Entity::find()
            .select_only()
            .columns([Column::Id, Column::CustomerId, Column::OsType])
            .filter(condition)
            .order_by_asc(Column::Id)
            .into_tuple()
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        let selected = |(id, customer, os_type): (Uuid, Uuid, String)| {
            Ok(SelectedAgent {
                id: AgentId::from_uuid(id),
                customer_id: CustomerId::from_uuid(customer),
                os_type: OsType::parse(&os_type)
                    .ok_or_else(|| DatabaseError::bad_row("agents.os_type"))?,
            })
        };
        Ok(rows.into_iter().map(selected).collect::<Result<_, DatabaseError>>()?)
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading agents", error).into()
}

/// The machines in a scope that were not removed.
pub(crate) fn in_scope(scope: &TenantScope) -> Condition {
    scoped(Column::CustomerId, scope).add(Column::DeletedAt.is_null())
}

impl Conditions {
    /// What is picked, whatever ids are named.
    fn picked(self, scope: &TenantScope, selection: &AgentSelection) -> Condition {
        let AgentSelection { ids, tags, customer_id, os_type, time_zones, groups, only_online } =
            selection;
        let lead = if ids.is_some() { Lead::Order } else { Lead::Filter };
        let showing = |zones: &BTreeSet<String>| {
            // Those that told none show UTC.
            let none = zones.contains("UTC").then(|| Column::TimeZone.is_null());
            Condition::any().add(Column::TimeZone.is_in(zones)).add_option(none)
        };
        let in_any = |groups: &Vec<Membership>| {
            let none = Condition::any().add(Expr::value(false));
            groups.iter().fold(none, |any, group| any.add(self.member(group, lead)))
        };
        tags.iter()
            .fold(in_scope(scope), |condition, tag| condition.add(self.has_tag([tag], lead)))
            .add_option(customer_id.map(|id| Column::CustomerId.eq(id.as_uuid())))
            .add_option(os_type.map(|os_type| Column::OsType.eq(os_type.as_str())))
            .add_option(time_zones.as_ref().map(showing))
            .add_option(groups.as_ref().map(in_any))
            .add_option(only_online.then(|| Column::LastSeen.gt(online_since(self.now))))
    }
}

#[async_trait]
impl AgentRepository for SeaAgents {
    async fn find(&self, scope: &TenantScope, id: AgentId) -> Result<Option<Agent>, StorageError> {
        let row = Entity::find()
            .filter(in_scope(scope).add(Column::Id.eq(id.as_uuid())))
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(parts::complete_one(self.database.reader(), row).await?))
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &AgentFilter,
        order: AgentOrder,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<AgentPage, StorageError> {
        self.page(scope, filter, order, page, now).await
    }

    async fn tags(&self, scope: &TenantScope) -> Result<Vec<(String, u64)>, StorageError> {
        let own = match scope {
            TenantScope::All => None,
            TenantScope::Customers(_) => {
                let own = Entity::find().select_only().column(Column::Id).filter(in_scope(scope));
                Some(own.into_query())
            }
        };
        Self::count_tags(&self.database, own).await
    }

    async fn select(
        &self,
        scope: &TenantScope,
        selection: &AgentSelection,
        now: Timestamp,
    ) -> Result<Vec<SelectedAgent>, StorageError> {
        let picked = self.conditions(now).picked(scope, selection);
        let Some(ids) = &selection.ids else { return self.picked(picked).await };
        let ids: Vec<_> = ids.iter().map(|id| id.as_uuid()).collect();
        let mut selected = Vec::with_capacity(ids.len());
        for ids in ids.chunks(IDS_AT_ONCE) {
            let these = Column::Id.is_in(ids.iter().copied());
            selected.extend(self.picked(picked.clone().add(these)).await?);
        }
        Ok(selected)
    }

    async fn time_zones(
        &self,
        scope: &TenantScope,
        selection: &AgentSelection,
        now: Timestamp,
    ) -> Result<BTreeSet<Option<String>>, StorageError> {
        let look = async |condition: Condition| {
            let zones = Entity::find().select_only().column(Column::TimeZone).distinct();
            let zones = zones.filter(condition).into_tuple::<Option<String>>();
            zones.all(self.database.reader()).await.map_err(reading)
        };
        let picked = self.conditions(now).picked(scope, selection);
        let Some(ids) = &selection.ids else {
            return Ok(look(picked).await?.into_iter().collect());
        };
        let ids: Vec<_> = ids.iter().map(|id| id.as_uuid()).collect();
        let mut zones = BTreeSet::new();
        for ids in ids.chunks(IDS_AT_ONCE) {
            zones.extend(look(picked.clone().add(Column::Id.is_in(ids.iter().copied()))).await?);
        }
        Ok(zones)
    }

    async fn count(
        &self,
        scope: &TenantScope,
        filter: &AgentFilter,
        now: Timestamp,
    ) -> Result<StatusCounts, StorageError> {
        self.counts(scope, filter, now).await
    }

    async fn update(
        &self,
        scope: &TenantScope,
        id: AgentId,
        change: AgentChange,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<Agent>, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let wanted = in_scope(scope).add(Column::Id.eq(id.as_uuid()));
        let write = self.database.write(move |transaction| {
            async move {
                let Some(row) = Entity::find().filter(wanted).one(transaction).await? else {
                    return Ok(None);
                };
                if let Some(customer) = change.customer_id
                    && !customers::exists(transaction, customer).await?
                {
                    return Ok(None);
                }
                let before = parts::complete_one(transaction, row).await?;
                let after = before.clone().changed(change, now);
                let after = store(transaction, &before, after, &author).await?;
                let deed = Deed::changed("agent.update", &before, &after);
                trail.enter(transaction, &author, now, deed).await?;
                Ok::<_, DatabaseError>(Some(after))
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn update_many(
        &self,
        scope: &TenantScope,
        ids: Vec<AgentId>,
        edit: BulkEdit,
        author: &Author,
        now: Timestamp,
    ) -> Result<u64, BulkWriteError> {
        self.edit_all(scope, ids, edit, author, now).await
    }

    async fn delete_many(
        &self,
        scope: &TenantScope,
        ids: Vec<AgentId>,
        author: &Author,
        now: Timestamp,
    ) -> Result<Vec<AgentId>, StorageError> {
        self.delete_all(scope, ids, author, now).await
    }

    async fn delete(
        &self,
        scope: &TenantScope,
        id: AgentId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let wanted = in_scope(scope).add(Column::Id.eq(id.as_uuid()));
        let write = self.database.write(move |transaction| {
            async move {
                let row = Entity::find().filter(wanted.clone()).one(transaction).await?;
                let Some(row) = row else { return Ok(false) };
                let agent = parts::complete_one(transaction, row).await?;
                parts::remove(transaction, &parts::only(id.as_uuid())).await?;
                Entity::update_many()
                    .col_expr(Column::DeletedAt, Expr::value(micros(now)))
                    .col_expr(Column::TokenHash, Expr::value(Option::<Vec<u8>>::None))
                    .filter(wanted)
                    .exec(transaction)
                    .await?;
                let deed = Deed::removed("agent.delete", &agent);
                trail.enter(transaction, &author, now, deed).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn record_system_info(
        &self,
        id: AgentId,
        info: SystemInfo,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        self.descriptions.write(&self.database, (id, info, now)).await
    }

    async fn record_connected(
        &self,
        program: AgentProgram,
        connection: ConnectionRecord,
    ) -> Result<Option<CustomerId>, StorageError> {
        self.arrivals.write(&self.database, (program, connection)).await
    }

    async fn record_seen(
        &self,
        ids: Vec<AgentId>,
        now: Timestamp,
    ) -> Result<Vec<AgentId>, StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                let mut gone = Vec::new();
                for ids in ids.chunks(IDS_AT_ONCE) {
                    let uuids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
                    let wanted = Column::Id.is_in(uuids).and(Column::DeletedAt.is_null());
                    let seen = Entity::update_many()
                        .col_expr(Column::LastSeen, Expr::value(micros(now)))
                        .filter(wanted.clone())
                        .exec(transaction)
                        .await?;
                    if usize::try_from(seen.rows_affected).is_ok_and(|seen| seen == ids.len()) {
                        continue;
                    }
                    let there: Vec<Uuid> = Entity::find()
                        .select_only()
                        .column(Column::Id)
                        .filter(wanted)
                        .into_tuple()
                        .all(transaction)
                        .await?;
                    gone.extend(ids.iter().filter(|id| !there.contains(&id.as_uuid())));
                }
                Ok::<_, DatabaseError>(gone)
            }
            .boxed()
        });
        Ok(write.await?)
    }
}

/// Writes what people change of an agent; answers with what it then is, which is in no group that
/// it can't be in. What is open about it for a customer that it is taken from is over.
pub(super) async fn store(
    transaction: &DatabaseTransaction,
    before: &Agent,
    after: Agent,
    author: &Author,
) -> Result<Agent, DatabaseError> {
    Entity::update_many()
        .col_expr(Column::Hostname, Expr::value(after.hostname.clone()))
        .col_expr(Column::CanonicalHostname, Expr::value(after.hostname.to_lowercase()))
        .col_expr(Column::CustomerId, Expr::value(after.customer_id.as_uuid()))
        .col_expr(Column::Notes, Expr::value(after.notes.clone()))
        .col_expr(Column::UpdatedAt, Expr::value(micros(after.updated_at)))
        .filter(Column::Id.eq(after.id.as_uuid()))
        .exec(transaction)
        .await?;
    if before.customer_id != after.customer_id {
        let (former, actor) = (before.customer_id, &author.actor);
        alerts::leave(transaction, after.id, former, actor, after.updated_at).await?;
        catalog::leave(transaction, after.id, former).await?;
        standings::leave(transaction, after.id).await?;
    }
    let groups = parts::write(transaction, Some(before), &after).await?;
    Ok(Agent { groups, ..after })
}

#[async_trait]
impl AgentTokens for SeaAgents {
    async fn find(&self, token: TokenHash) -> Result<Option<(AgentId, CustomerId)>, StorageError> {
        let row: Option<(Uuid, Uuid)> = Entity::find()
            .select_only()
            .column(Column::Id)
            .column(Column::CustomerId)
            .filter(Column::TokenHash.eq(token.as_bytes().to_vec()))
            .filter(Column::DeletedAt.is_null())
            .into_tuple()
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(row.map(|(id, customer)| (AgentId::from_uuid(id), CustomerId::from_uuid(customer))))
    }
}

#[cfg(test)]
mod tests {
    use muster_agents::testing::{Subject, contract};

    use super::*;
    use crate::testing::{customers, on_each_database};

    on_each_database!(the_registry_keeps_the_contract);

    async fn the_registry_keeps_the_contract(database: Database) {
        let customers = customers(&database).await;
        contract(&Subject { registry: &SeaAgents::new(database), customers: &customers }).await;
    }
}
