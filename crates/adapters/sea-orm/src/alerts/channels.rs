//! Channels, in the table `alert_channels`.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_alerts::{Channel, ChannelRepository, Update};
use muster_kernel::{
    AlertChannelId, Author, CustomerId, Deed, Page, PageRequest, Sealed, StorageError, TenantScope,
    Timestamp,
};
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QuerySelect};

use super::{SeaAlerts, deliveries, reading, rules};
use crate::audit::Trail;
use crate::columns::{from_json, json, micros, scoped, timestamp};
use crate::pages;
use crate::{DatabaseError, customers};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alert_channels")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub customer_id: Option<Uuid>,
    pub name: String,
    pub leads_to: String,
    pub secrets: Option<Vec<u8>>,
    pub enabled: bool,
    pub version: i32,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&Channel> for Model {
    fn from(channel: &Channel) -> Self {
        Self {
            id: channel.id.as_uuid(),
            customer_id: channel.customer_id.map(CustomerId::as_uuid),
            name: channel.name.clone(),
            leads_to: json(&channel.kind),
            secrets: channel.secret.as_ref().map(|secret| secret.0.clone()),
            enabled: channel.enabled,
            version: i32::try_from(channel.version).unwrap_or(i32::MAX),
            created_at: micros(channel.created_at),
            updated_at: micros(channel.updated_at),
        }
    }
}

impl TryFrom<Model> for Channel {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let bad = DatabaseError::bad_row;
        Ok(Self {
            id: AlertChannelId::from_uuid(row.id),
            customer_id: row.customer_id.map(CustomerId::from_uuid),
            name: row.name,
            kind: from_json(&row.leads_to, "alert_channels.leads_to")?,
            secret: row.secrets.map(Sealed),
            enabled: row.enabled,
            version: u32::try_from(row.version).map_err(|_| bad("alert_channels.version"))?,
            created_at: timestamp(row.created_at, "alert_channels.created_at")?,
            updated_at: timestamp(row.updated_at, "alert_channels.updated_at")?,
        })
    }
}

fn one(scope: &TenantScope, id: AlertChannelId) -> Condition {
    scoped(Column::CustomerId, scope).add(Column::Id.eq(id.as_uuid()))
}

async fn update(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    after: Channel,
    author: &Author,
) -> Result<Update<Channel>, DatabaseError> {
    let row = Entity::find_by_id(after.id.as_uuid()).lock_exclusive().one(transaction).await?;
    let Some(before) = row.map(Channel::try_from).transpose()? else { return Ok(Update::NotFound) };
    if before.version.saturating_add(1) != after.version {
        return Ok(Update::Stale);
    }
    let row = Model::from(&after).into_active_model().reset_all();
    Entity::update(row).exec(transaction).await?;
    let deed = Deed::changed("alert_channel.update", &before, &after);
    trail.enter(transaction, author, after.updated_at, deed).await?;
    Ok(Update::Done(after))
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
        let channel = Channel::try_from(row)?;
        Entity::delete_by_id(channel.id.as_uuid()).exec(transaction).await?;
        deliveries::remove_all(transaction, channel.id).await?;
        rules::tell_no_more(transaction, trail, channel.id, author, now).await?;
        let deed = Deed::removed("alert_channel.delete", &channel);
        trail.enter(transaction, author, now, deed).await?;
    }
    Ok(found)
}

/// Removes every channel of a customer.
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
impl ChannelRepository for SeaAlerts {
    async fn create(&self, channel: Channel, author: &Author) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                if let Some(customer) = channel.customer_id
                    && !customers::exists(transaction, customer).await?
                {
                    return Ok(false);
                }
                let row = Model::from(&channel).into_active_model().reset_all();
                Entity::insert(row).exec_without_returning(transaction).await?;
                let deed = Deed::created("alert_channel.create", &channel);
                trail.enter(transaction, &author, channel.created_at, deed).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: AlertChannelId,
    ) -> Result<Option<Channel>, StorageError> {
        let row = Entity::find().filter(one(scope, id)).one(self.database.reader()).await;
        Ok(row.map_err(reading)?.map(Channel::try_from).transpose()?)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<Channel>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(scoped(Column::CustomerId, scope));
        let page = pages::oldest_first(reader, matching, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(Channel::try_from)?)
    }

    async fn update(
        &self,
        channel: Channel,
        author: &Author,
    ) -> Result<Update<Channel>, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { update(transaction, &trail, channel, &author).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn delete(
        &self,
        scope: &TenantScope,
        id: AlertChannelId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author, wanted) = (self.database.trail(), author.clone(), one(scope, id));
        let write = self.database.write(move |transaction| {
            async move { delete(transaction, &trail, wanted, &author, now).await }.boxed()
        });
        Ok(write.await?)
    }
}
