//! What machines were made from.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_deployment_profiles::{ImagedAgent, ImagedAgents, OsImage};
use muster_kernel::{
    AgentId, Author, Cursor, CustomerId, Deed, OsImageId, Page, PageRequest, Place, StorageError,
    TenantScope, Timestamp,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{OnConflict, Query};
use sea_orm::{
    Condition, DatabaseTransaction, IntoActiveModel, JoinType, QueryOrder, QuerySelect, Select,
};
use serde_json::{Value, json};

use super::entity::imaged::{Column, Entity, Model, Relation};
use super::{SeaCatalog, entity as catalog, reading};
use crate::DatabaseError;
use crate::agents::{entity as agents, in_scope};
use crate::audit::Trail;
use crate::columns::{micros, timestamp};

/// A machine, whose it is, its image, what that is called, and since when.
type Row = (Uuid, Uuid, Uuid, String, i64);

/// Machines in a scope, with what they were made from.
fn select(scope: &TenantScope) -> Select<Entity> {
    Entity::find()
        .select_only()
        .column(Column::AgentId)
        .column(agents::Column::CustomerId)
        .column(Column::OsImageId)
        .column(catalog::Column::Name)
        .column(Column::ImagedAt)
        .join(JoinType::InnerJoin, Relation::Agent.def())
        .join(JoinType::InnerJoin, Relation::Image.def())
        .filter(in_scope(scope))
}

fn read((agent, customer, image, name, at): Row) -> Result<ImagedAgent, DatabaseError> {
    Ok(ImagedAgent {
        agent_id: AgentId::from_uuid(agent),
        customer_id: CustomerId::from_uuid(customer),
        os_image_id: OsImageId::from_uuid(image),
        name,
        imaged_at: timestamp(at, "agent_os_images.imaged_at")?,
    })
}

async fn find<C: ConnectionTrait>(
    connection: &C,
    scope: &TenantScope,
    agent: AgentId,
) -> Result<Option<ImagedAgent>, DatabaseError> {
    let own = select(scope).filter(Column::AgentId.eq(agent.as_uuid()));
    own.into_tuple().one(connection).await?.map(read).transpose()
}

/// What the audit log shows of it.
fn facts(imaged: &ImagedAgent) -> Value {
    let ImagedAgent { os_image_id, name, imaged_at, .. } = imaged;
    json!({ "os_image_id": os_image_id, "name": name, "imaged_at": imaged_at })
}

async fn enter(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    action: &'static str,
    (before, after): (Option<&ImagedAgent>, Option<&ImagedAgent>),
    author: &Author,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let Some(ImagedAgent { agent_id, customer_id, .. }) = after.or(before) else { return Ok(()) };
    let (id, customer_id) = (agent_id.as_uuid(), Some(*customer_id));
    let place = Place { kind: "agent", id, customer_id };
    let deed = Deed { action, place, before: before.map(facts), after: after.map(facts) };
    trail.enter(transaction, author, now, deed).await
}

#[async_trait]
impl ImagedAgents for SeaCatalog {
    async fn set(
        &self,
        scope: &TenantScope,
        agent: AgentId,
        image: &OsImage,
        imaged_at: Timestamp,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<ImagedAgent>, StorageError> {
        let (trail, author, scope) = (self.database.trail(), author.clone(), scope.clone());
        let row = Model {
            agent_id: agent.as_uuid(),
            os_image_id: image.id.as_uuid(),
            imaged_at: micros(imaged_at),
        };
        let write = self.database.write(move |transaction| {
            async move {
                let own = agents::Entity::find_by_id(row.agent_id).filter(in_scope(&scope));
                let image = catalog::Entity::find_by_id(row.os_image_id);
                // An image that was removed by now goes with the row that says so.
                if own.count(transaction).await? == 0 || image.count(transaction).await? == 0 {
                    return Ok(None);
                }
                let before = find(transaction, &scope, agent).await?;
                let instead = OnConflict::column(Column::AgentId)
                    .update_columns([Column::OsImageId, Column::ImagedAt])
                    .to_owned();
                Entity::insert(row.into_active_model().reset_all())
                    .on_conflict(instead)
                    .exec_without_returning(transaction)
                    .await?;
                let after = find(transaction, &scope, agent).await?;
                let change = (before.as_ref(), after.as_ref());
                enter(transaction, &trail, "agent.set_os_image", change, &author, now).await?;
                Ok::<_, DatabaseError>(after)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn of(
        &self,
        scope: &TenantScope,
        agent: AgentId,
    ) -> Result<Option<ImagedAgent>, StorageError> {
        Ok(find(self.database.reader(), scope, agent).await?)
    }

    async fn unset(
        &self,
        scope: &TenantScope,
        agent: AgentId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author, scope) = (self.database.trail(), author.clone(), scope.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let Some(before) = find(transaction, &scope, agent).await? else {
                    return Ok(false);
                };
                Entity::delete_by_id(agent.as_uuid()).exec(transaction).await?;
                let change = (Some(&before), None);
                enter(transaction, &trail, "agent.unset_os_image", change, &author, now).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn made_from(
        &self,
        scope: &TenantScope,
        image: OsImageId,
        page: &PageRequest,
    ) -> Result<Page<ImagedAgent>, StorageError> {
        let reader = self.database.reader();
        let matching = select(scope).filter(Column::OsImageId.eq(image.as_uuid()));
        let total = matching.clone().count(reader).await.map_err(reading)?;
        let behind = page.cursor.as_ref().map(|cursor| Column::AgentId.gt(cursor.id));
        let rows: Vec<Row> = matching
            .filter(Condition::all().add_option(behind))
            .order_by_asc(Column::AgentId)
            .limit(u64::from(page.limit()) + 1)
            .into_tuple()
            .all(reader)
            .await
            .map_err(reading)?;
        let machines = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let behind = |machine: &ImagedAgent| Cursor::after(machine.agent_id.as_uuid());
        Ok(Page::from_rows(machines, page, total, behind))
    }
}

/// Forgets that a machine was made from an image of `customer`'s own, within the transaction that
/// gives the machine to another one, who may not see that image.
pub(crate) async fn leave(
    transaction: &DatabaseTransaction,
    machine: AgentId,
    customer: CustomerId,
) -> Result<(), DbErr> {
    let theirs = Query::select()
        .column(catalog::Column::Id)
        .from(catalog::Entity)
        .and_where(catalog::Column::CustomerId.eq(customer.as_uuid()))
        .take();
    Entity::delete_many()
        .filter(Column::AgentId.eq(machine.as_uuid()))
        .filter(Column::OsImageId.in_subquery(theirs))
        .exec(transaction)
        .await
        .map(|_| ())
}
