//! Dangerous requests that wait for a second person.

mod entity;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_commands::Once;
use muster_commands::approvals::{
    Approval, ApprovalEvent, ApprovalFilter, ApprovalRepository, ApprovalStatus, Kept,
};
use muster_kernel::{
    ApprovalId, Author, CustomerId, Deed, Page, PageRequest, StorageError, TenantScope, Timestamp,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{Condition, ConnectionTrait, DatabaseTransaction, IntoActiveModel, QuerySelect};

use crate::audit::Trail;
use crate::columns::{all_scoped, micros};
use crate::idempotency::{Remembered, remember};
use crate::{Database, DatabaseError, pages};
use entity::{APPROVED, Column, Entity, Model, PENDING, REJECTED, customer};

/// Approvals, in the tables `approvals` and `approval_customers`.
#[derive(Debug, Clone)]
pub struct SeaApprovals {
    database: Database,
}

impl SeaApprovals {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading approvals", error).into()
}

/// Approvals all of whose machines lie in `scope`.
fn in_scope(scope: &TenantScope) -> Condition {
    let approval = Expr::col((customer::Entity, customer::Column::ApprovalId));
    let owners = Query::select()
        .expr(Expr::val(1))
        .from(customer::Entity)
        .and_where(approval.equals((Entity, Column::Id)))
        .take();
    all_scoped((customer::Entity, customer::Column::CustomerId), owners, scope)
}

fn of_status(status: ApprovalStatus, now: Timestamp) -> Condition {
    let is = |status: &str| Condition::all().add(Column::Status.eq(status));
    match status {
        ApprovalStatus::Pending => is(PENDING).add(Column::ExpiresAt.gt(micros(now))),
        ApprovalStatus::Expired => is(PENDING).add(Column::ExpiresAt.lte(micros(now))),
        ApprovalStatus::Approved => is(APPROVED),
        ApprovalStatus::Rejected => is(REJECTED),
    }
}

/// The approvals in these rows, with whose machines they are about.
async fn whole(
    connection: &impl ConnectionTrait,
    rows: Vec<Model>,
) -> Result<Vec<Approval>, DatabaseError> {
    let owners = customer::Entity::find()
        .filter(customer::Column::ApprovalId.is_in(rows.iter().map(|row| row.id)))
        .all(connection)
        .await?;
    let mut customers: BTreeMap<Uuid, BTreeSet<CustomerId>> = BTreeMap::new();
    for owner in owners {
        let of_approval = customers.entry(owner.approval_id).or_default();
        of_approval.insert(CustomerId::from_uuid(owner.customer_id));
    }
    rows.into_iter()
        .map(|row| {
            let customers = customers.remove(&row.id).unwrap_or_default();
            row.about(customers)
        })
        .collect()
}

#[async_trait]
impl ApprovalRepository for SeaApprovals {
    async fn create(
        &self,
        approval: Approval,
        once: Option<Once>,
        author: &Author,
    ) -> Result<Kept, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { create(transaction, &trail, approval, once, &author).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: ApprovalId,
    ) -> Result<Option<Approval>, StorageError> {
        let reader = self.database.reader();
        let row = Entity::find()
            .filter(in_scope(scope).add(Column::Id.eq(id.as_uuid())))
            .one(reader)
            .await
            .map_err(reading)?;
        Ok(whole(reader, row.into_iter().collect()).await?.pop())
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: ApprovalFilter,
        now: Timestamp,
        page: &PageRequest,
    ) -> Result<Page<Approval>, StorageError> {
        let reader = self.database.reader();
        let status = filter.status.map(|status| of_status(status, now));
        let matching = Entity::find().filter(in_scope(scope).add_option(status));
        let page = pages::newest_first(reader, matching, Column::Id, page, |row| row.id).await;
        let Page { items, next_cursor, total } = page.map_err(reading)?;
        Ok(Page { items: whole(reader, items).await?, next_cursor, total })
    }

    async fn change(
        &self,
        id: ApprovalId,
        event: ApprovalEvent,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<(Approval, bool)>, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { change(transaction, &trail, id, event, &author, now).await }.boxed()
        });
        Ok(write.await?)
    }
}

async fn create(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    approval: Approval,
    once: Option<Once>,
    author: &Author,
) -> Result<Kept, DatabaseError> {
    let (id, now) = (approval.id.as_uuid(), approval.created_at);
    if let Some(Once { scope, key, fingerprint }) = once {
        match remember(transaction, &scope, &key, &fingerprint, id, micros(now)).await? {
            Remembered::New => {}
            Remembered::Conflict => return Ok(Kept::Conflict),
            Remembered::Same(id) => return Ok(Kept::Known(ApprovalId::from_uuid(id))),
        }
    }
    let row = Model::from(&approval).into_active_model().reset_all();
    Entity::insert(row).exec_without_returning(transaction).await?;
    for customer_id in &approval.customers {
        let row = customer::Model { approval_id: id, customer_id: customer_id.as_uuid() };
        let row = row.into_active_model().reset_all();
        customer::Entity::insert(row).exec_without_returning(transaction).await?;
    }
    trail.enter(transaction, author, now, Deed::created("approval.request", &approval)).await?;
    Ok(Kept::New)
}

async fn change(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    id: ApprovalId,
    event: ApprovalEvent,
    author: &Author,
    now: Timestamp,
) -> Result<Option<(Approval, bool)>, DatabaseError> {
    // Where several servers share the database, whoever comes second waits here for the first.
    let row = Entity::find_by_id(id.as_uuid()).lock_exclusive().one(transaction).await?;
    let Some(before) = whole(transaction, row.into_iter().collect()).await?.pop() else {
        return Ok(None);
    };
    let deed = event.deed();
    let mut approval = before.clone();
    let changed = approval.apply(event);
    if changed {
        let row = Model::from(&approval).into_active_model().reset_all();
        Entity::update(row).exec(transaction).await?;
        if let Some(action) = deed {
            let deed = Deed::changed(action, &before, &approval);
            trail.enter(transaction, author, now, deed).await?;
        }
    }
    Ok(Some((approval, changed)))
}

/// Lets go of what was asked for before `before` and can't be decided about any more.
pub(crate) async fn forget(
    transaction: &DatabaseTransaction,
    before: Timestamp,
) -> Result<(), DatabaseError> {
    let old = Column::ExpiresAt.lt(micros(before));
    Entity::delete_many().filter(old).exec(transaction).await?;
    let approvals = Query::select().column(Column::Id).from(Entity).take();
    customer::Entity::delete_many()
        .filter(customer::Column::ApprovalId.not_in_subquery(approvals))
        .exec(transaction)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use muster_commands::testing::approvals::approvals_contract;

    use super::*;
    use crate::testing::on_each_database;

    on_each_database!(approvals_keep_the_contract);

    async fn approvals_keep_the_contract(database: Database) {
        approvals_contract(&SeaApprovals::new(database)).await;
    }
}
