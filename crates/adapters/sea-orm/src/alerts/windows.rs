//! Maintenance windows, in the table `maintenance_windows`.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_alerts::{MaintenanceWindow, Span, WindowRepository};
use muster_kernel::{
    Author, CustomerId, Deed, MaintenanceWindowId, Page, PageRequest, StorageError, TenantScope,
    Timestamp,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QueryOrder};

use super::{SeaAlerts, reading};
use crate::audit::Trail;
use crate::columns::{from_json, json, micros, scoped, timestamp};
use crate::pages;
use crate::{DatabaseError, customers};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "maintenance_windows")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub customer_id: Option<Uuid>,
    pub name: String,
    pub selector: String,
    pub span: String,
    /// When it is over; never when it comes again every week.
    pub ends_at: Option<i64>,
    pub created_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&MaintenanceWindow> for Model {
    fn from(window: &MaintenanceWindow) -> Self {
        Self {
            id: window.id.as_uuid(),
            customer_id: window.customer_id.map(CustomerId::as_uuid),
            name: window.name.clone(),
            selector: json(&window.selector),
            span: json(&window.span),
            ends_at: match &window.span {
                Span::Once { to, .. } => Some(micros(*to)),
                Span::Weekly(_) => None,
            },
            created_at: micros(window.created_at),
        }
    }
}

impl TryFrom<Model> for MaintenanceWindow {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: MaintenanceWindowId::from_uuid(row.id),
            customer_id: row.customer_id.map(CustomerId::from_uuid),
            name: row.name,
            selector: from_json(&row.selector, "maintenance_windows.selector")?,
            span: from_json(&row.span, "maintenance_windows.span")?,
            created_at: timestamp(row.created_at, "maintenance_windows.created_at")?,
        })
    }
}

fn one(scope: &TenantScope, id: MaintenanceWindowId) -> Condition {
    scoped(Column::CustomerId, scope).add(Column::Id.eq(id.as_uuid()))
}

async fn delete(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    wanted: Condition,
    author: &Author,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let rows = Entity::find().filter(wanted).all(transaction).await?;
    let found = !rows.is_empty();
    for row in rows {
        let window = MaintenanceWindow::try_from(row)?;
        Entity::delete_by_id(window.id.as_uuid()).exec(transaction).await?;
        let deed = Deed::removed("maintenance_window.delete", &window);
        trail.enter(transaction, author, now, deed).await?;
    }
    Ok(found)
}

/// Removes every window of a customer.
pub(super) async fn remove_all(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    customer: CustomerId,
    author: &Author,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let theirs = Condition::all().add(Column::CustomerId.eq(customer.as_uuid()));
    delete(transaction, trail, theirs, author, now).await.map(drop)
}

#[async_trait]
impl WindowRepository for SeaAlerts {
    async fn create(
        &self,
        window: MaintenanceWindow,
        author: &Author,
    ) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                if let Some(customer) = window.customer_id
                    && !customers::exists(transaction, customer).await?
                {
                    return Ok(false);
                }
                let row = Model::from(&window).into_active_model().reset_all();
                Entity::insert(row).exec_without_returning(transaction).await?;
                let deed = Deed::created("maintenance_window.create", &window);
                trail.enter(transaction, &author, window.created_at, deed).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<MaintenanceWindow>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(scoped(Column::CustomerId, scope));
        let page = pages::oldest_first(reader, matching, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(MaintenanceWindow::try_from)?)
    }

    async fn delete(
        &self,
        scope: &TenantScope,
        id: MaintenanceWindowId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author, wanted) = (self.database.trail(), author.clone(), one(scope, id));
        let write = self.database.write(move |transaction| {
            async move { delete(transaction, &trail, wanted, &author, now).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn current(&self, now: Timestamp) -> Result<Vec<MaintenanceWindow>, StorageError> {
        let ahead = Column::EndsAt.is_null().or(Column::EndsAt.gt(micros(now)));
        let rows = Entity::find().filter(ahead).order_by_asc(Column::Id);
        let rows = rows.all(self.database.reader()).await.map_err(reading)?;
        let windows = rows.into_iter().map(MaintenanceWindow::try_from);
        Ok(windows.collect::<Result<_, DatabaseError>>()?)
    }
}
