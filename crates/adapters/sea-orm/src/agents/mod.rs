//! The registry of machines.

mod arrivals;
mod connections;
mod copies;
mod enrol;
pub(crate) mod entity;

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_agents::{
    Agent, AgentChange, AgentFilter, AgentProgram, AgentRepository, AgentSelection, AgentStatus,
    AgentTokens, ConnectionRecord, ONLINE_FOR, OsType, SelectedAgent, StatusCounts, SystemInfo,
};
use muster_kernel::{
    AgentId, Author, Cursor, CustomerId, Deed, Page, PageRequest, StorageError, TenantScope,
    Timestamp, TokenHash,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr, SimpleExpr};
use sea_orm::{Condition, QueryOrder, QuerySelect};

use crate::columns::{contains, json, micros, scoped};
use crate::gathered::Gathered;
use crate::{Database, DatabaseError, customers};
use arrivals::{Arrival, Description, describe, note};
use entity::{Column, Entity};

/// How many ids one statement names at most.
const IDS_AT_ONCE: usize = 500;

/// The registry of machines, in the table `agents`.
#[derive(Debug, Clone)]
pub struct SeaAgents {
    pub(crate) database: Database,
    arrivals: Gathered<Arrival, Option<CustomerId>>,
    descriptions: Gathered<Description, ()>,
}

impl SeaAgents {
    /// In this database.
    pub fn new(database: Database) -> Self {
        let (arrivals, descriptions) = (Gathered::new(note), Gathered::new(describe));
        Self { database, arrivals, descriptions }
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

fn in_scope(scope: &TenantScope) -> Condition {
    scoped(Column::CustomerId, scope).add(Column::DeletedAt.is_null())
}

fn online_since(now: Timestamp) -> i64 {
    micros(now - ONLINE_FOR)
}

fn has_tag(tag: &str) -> SimpleExpr {
    // The tags are a JSON list: with its quotes around it a tag is found whole or not at all.
    let quoted = json(tag);
    Expr::col((Entity, Column::Tags)).like(LikeExpr::new(contains(&quoted)).escape('\\'))
}

/// What is picked, whatever ids are named.
fn picked(scope: &TenantScope, selection: &AgentSelection) -> Condition {
    let AgentSelection { ids: _, tags, customer_id, os_type, time_zones } = selection;
    let showing = |zones: &BTreeSet<String>| {
        // Those that told none show UTC.
        let none = zones.contains("UTC").then(|| Column::TimeZone.is_null());
        Condition::any().add(Column::TimeZone.is_in(zones)).add_option(none)
    };
    tags.iter()
        .fold(in_scope(scope), |condition, tag| condition.add(has_tag(tag)))
        .add_option(customer_id.map(|id| Column::CustomerId.eq(id.as_uuid())))
        .add_option(os_type.map(|os_type| Column::OsType.eq(os_type.as_str())))
        .add_option(time_zones.as_ref().map(showing))
}

fn filtered(scope: &TenantScope, filter: &AgentFilter) -> Condition {
    let any_text = |q: &String| {
        let pattern = contains(&q.to_lowercase());
        let like = |column: Column| {
            Expr::expr(Func::lower(Expr::col((Entity, column))))
                .like(LikeExpr::new(pattern.clone()).escape('\\'))
        };
        Condition::any()
            .add(like(Column::Hostname))
            .add(like(Column::IpAddress))
            .add(like(Column::Os))
            .add(like(Column::Notes))
    };
    in_scope(scope)
        .add_option(filter.status.map(|(status, now)| {
            match status {
                AgentStatus::Online => Condition::all().add(Column::LastSeen.gt(online_since(now))),
                AgentStatus::Offline => Condition::any()
                    .add(Column::LastSeen.lte(online_since(now)))
                    .add(Column::LastSeen.is_null()),
            }
        }))
        .add_option(filter.os_type.map(|os_type| Column::OsType.eq(os_type.as_str())))
        .add_option(filter.customer_id.map(|id| Column::CustomerId.eq(id.as_uuid())))
        .add_option(filter.tag.as_deref().map(has_tag))
        .add_option(filter.version.as_ref().map(|version| Column::Version.eq(version.as_str())))
        .add_option(filter.q.as_ref().map(any_text))
}

#[async_trait]
impl AgentRepository for SeaAgents {
    async fn find(&self, scope: &TenantScope, id: AgentId) -> Result<Option<Agent>, StorageError> {
        let row = Entity::find()
            .filter(in_scope(scope).add(Column::Id.eq(id.as_uuid())))
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(row.map(Agent::try_from).transpose()?)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &AgentFilter,
        page: &PageRequest,
    ) -> Result<Page<Agent>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(filtered(scope, filter));
        let total = matching.clone().count(reader).await.map_err(reading)?;
        let after = page.cursor.as_ref().map(|cursor| Column::Id.gt(cursor.id));
        let rows = matching
            .filter(Condition::all().add_option(after))
            .order_by_asc(Column::Id)
            .limit(u64::from(page.limit()) + 1)
            .all(reader)
            .await
            .map_err(reading)?;
        let agents =
            rows.into_iter().map(Agent::try_from).collect::<Result<Vec<_>, DatabaseError>>()?;
        Ok(Page::from_rows(agents, page, total, |agent| Cursor::after(agent.id.as_uuid())))
    }

    async fn select(
        &self,
        scope: &TenantScope,
        selection: &AgentSelection,
    ) -> Result<Vec<SelectedAgent>, StorageError> {
        let picked = picked(scope, selection);
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
    ) -> Result<BTreeSet<Option<String>>, StorageError> {
        let look = async |condition: Condition| {
            let zones = Entity::find().select_only().column(Column::TimeZone).distinct();
            let zones = zones.filter(condition).into_tuple::<Option<String>>();
            zones.all(self.database.reader()).await.map_err(reading)
        };
        let picked = picked(scope, selection);
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
        let count = async |status| {
            let filter = AgentFilter { status: Some((status, now)), ..filter.clone() };
            let matching = Entity::find().filter(filtered(scope, &filter));
            matching.count(self.database.reader()).await.map_err(reading)
        };
        Ok(StatusCounts {
            online: count(AgentStatus::Online).await?,
            offline: count(AgentStatus::Offline).await?,
        })
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
                let id = row.id;
                let before = Agent::try_from(row)?;
                let after = before.clone().changed(change, now);
                Entity::update_many()
                    .col_expr(Column::Hostname, Expr::value(after.hostname.clone()))
                    .col_expr(Column::Tags, Expr::value(json(&after.tags)))
                    .col_expr(Column::CustomerId, Expr::value(after.customer_id.as_uuid()))
                    .col_expr(Column::Notes, Expr::value(after.notes.clone()))
                    .col_expr(Column::UpdatedAt, Expr::value(micros(now)))
                    .filter(Column::Id.eq(id))
                    .exec(transaction)
                    .await?;
                let deed = Deed::changed("agent.update", &before, &after);
                trail.enter(transaction, &author, now, deed).await?;
                Ok::<_, DatabaseError>(Some(after))
            }
            .boxed()
        });
        Ok(write.await?)
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
                Entity::update_many()
                    .col_expr(Column::DeletedAt, Expr::value(micros(now)))
                    .col_expr(Column::TokenHash, Expr::value(Option::<Vec<u8>>::None))
                    .filter(wanted)
                    .exec(transaction)
                    .await?;
                let deed = Deed::removed("agent.delete", &Agent::try_from(row)?);
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
