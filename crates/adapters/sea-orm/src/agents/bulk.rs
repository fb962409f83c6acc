//! Changes of many agents, in one transaction.

use futures_util::FutureExt;
use muster_agents::{Agent, BulkEdit, BulkWriteError};
use muster_kernel::{AgentId, Author, Deed, StorageError, TenantScope, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{Condition, DatabaseTransaction};

use super::entity::{Column, Entity};
use super::{IDS_AT_ONCE, SeaAgents, in_scope, parts, store};
use crate::columns::micros;
use crate::{DatabaseError, customers};

/// Why the transaction ends without a change.
#[derive(Debug)]
enum Refusal {
    TooManyTags(AgentId),
    NoCustomer,
    Database(DatabaseError),
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<Refusal> for BulkWriteError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooManyTags(id) => Self::TooManyTags(id),
            Refusal::NoCustomer => Self::NoCustomer,
            Refusal::Database(error) => Self::Storage(error.into()),
        }
    }
}

impl SeaAgents {
    pub(super) async fn edit_all(
        &self,
        scope: &TenantScope,
        ids: Vec<AgentId>,
        edit: BulkEdit,
        author: &Author,
        now: Timestamp,
    ) -> Result<u64, BulkWriteError> {
        let (trail, author, inside) = (self.database.trail(), author.clone(), in_scope(scope));
        let write = self.database.write(move |transaction| {
            async move {
                if let Some(customer) = edit.customer_id
                    && !customers::exists(transaction, customer).await?
                {
                    return Err(Refusal::NoCustomer);
                }
                let mut deeds = Vec::new();
                for ids in ids.chunks(IDS_AT_ONCE) {
                    for before in some(transaction, &inside, ids).await? {
                        let change = edit.change(&before);
                        let change = change.map_err(|_| Refusal::TooManyTags(before.id))?;
                        let Some(change) = change else { continue };
                        let after = before.clone().changed(change, now);
                        let after = store(transaction, &before, after, &author).await?;
                        let deed = Deed::changed("agent.update", &before, &after);
                        deeds.push((author.clone(), now, deed));
                    }
                }
                let changed = u64::try_from(deeds.len()).unwrap_or(u64::MAX);
                trail.enter_all(transaction, deeds).await?;
                Ok::<_, Refusal>(changed)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    pub(super) async fn delete_all(
        &self,
        scope: &TenantScope,
        ids: Vec<AgentId>,
        author: &Author,
        now: Timestamp,
    ) -> Result<Vec<AgentId>, StorageError> {
        let (trail, author, inside) = (self.database.trail(), author.clone(), in_scope(scope));
        let write = self.database.write(move |transaction| {
            async move {
                let (mut deeds, mut gone) = (Vec::new(), Vec::new());
                for ids in ids.chunks(IDS_AT_ONCE) {
                    for agent in some(transaction, &inside, ids).await? {
                        deeds.push((author.clone(), now, Deed::removed("agent.delete", &agent)));
                        gone.push(agent.id);
                    }
                    let these = Column::Id.is_in(ids.iter().map(|id| id.as_uuid()));
                    let these = inside.clone().add(these);
                    let mut selected = Query::select();
                    selected.column(Column::Id).from(Entity).cond_where(these.clone());
                    parts::remove(transaction, &selected).await?;
                    Entity::update_many()
                        .col_expr(Column::DeletedAt, Expr::value(micros(now)))
                        .col_expr(Column::TokenHash, Expr::value(Option::<Vec<u8>>::None))
                        .filter(these)
                        .exec(transaction)
                        .await?;
                }
                trail.enter_all(transaction, deeds).await?;
                Ok::<_, DatabaseError>(gone)
            }
            .boxed()
        });
        Ok(write.await?)
    }
}

/// Those of these agents that are in the scope.
async fn some(
    transaction: &DatabaseTransaction,
    inside: &Condition,
    ids: &[AgentId],
) -> Result<Vec<Agent>, DatabaseError> {
    let these = inside.clone().add(Column::Id.is_in(ids.iter().map(|id| id.as_uuid())));
    let rows = Entity::find().filter(these).all(transaction).await?;
    parts::complete(transaction, rows).await
}
