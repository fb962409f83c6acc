//! Rules, in the table `alert_rules`.

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_alerts::{Rule, RuleRepository, Severity, Update};
use muster_kernel::{
    AlertChannelId, AlertRuleId, Author, CustomerId, Deed, Page, PageRequest, StorageError,
    TenantScope, Timestamp,
};
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QueryOrder, QuerySelect};

use super::{SeaAlerts, deviations, reading, resolve_all};
use crate::audit::Trail;
use crate::columns::{from_json, json, micros, scoped, timestamp};
use crate::pages;
use crate::{DatabaseError, customers};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alert_rules")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub customer_id: Option<Uuid>,
    pub name: String,
    pub severity: String,
    pub condition: String,
    pub selector: String,
    pub channel_ids: String,
    pub enabled: bool,
    pub version: i32,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&Rule> for Model {
    fn from(rule: &Rule) -> Self {
        Self {
            id: rule.id.as_uuid(),
            customer_id: rule.customer_id.map(CustomerId::as_uuid),
            name: rule.name.clone(),
            severity: rule.severity.as_str().to_owned(),
            condition: json(&rule.condition),
            selector: json(&rule.selector),
            channel_ids: json(&rule.channel_ids),
            enabled: rule.enabled,
            version: i32::try_from(rule.version).unwrap_or(i32::MAX),
            created_at: micros(rule.created_at),
            updated_at: micros(rule.updated_at),
        }
    }
}

impl TryFrom<Model> for Rule {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let bad = DatabaseError::bad_row;
        let channel_ids: BTreeSet<AlertChannelId> =
            from_json(&row.channel_ids, "alert_rules.channel_ids")?;
        Ok(Self {
            id: AlertRuleId::from_uuid(row.id),
            customer_id: row.customer_id.map(CustomerId::from_uuid),
            name: row.name,
            severity: Severity::parse(&row.severity).ok_or_else(|| bad("alert_rules.severity"))?,
            condition: from_json(&row.condition, "alert_rules.condition")?,
            selector: from_json(&row.selector, "alert_rules.selector")?,
            channel_ids,
            enabled: row.enabled,
            version: u32::try_from(row.version).map_err(|_| bad("alert_rules.version"))?,
            created_at: timestamp(row.created_at, "alert_rules.created_at")?,
            updated_at: timestamp(row.updated_at, "alert_rules.updated_at")?,
        })
    }
}

fn one(scope: &TenantScope, id: AlertRuleId) -> Condition {
    scoped(Column::CustomerId, scope).add(Column::Id.eq(id.as_uuid()))
}

/// Ends what a rule found.
async fn end_all(
    transaction: &DatabaseTransaction,
    rule: AlertRuleId,
    author: &Author,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let of_it = Condition::all().add(super::Column::RuleId.eq(rule.as_uuid()));
    resolve_all(transaction, of_it, &author.actor, now).await?;
    let loads = deviations::Column::RuleId.eq(rule.as_uuid());
    deviations::Entity::delete_many().filter(loads).exec(transaction).await?;
    Ok(())
}

async fn update(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    after: Rule,
    author: &Author,
) -> Result<Update<Rule>, DatabaseError> {
    let row = Entity::find_by_id(after.id.as_uuid()).lock_exclusive().one(transaction).await?;
    let Some(before) = row.map(Rule::try_from).transpose()? else { return Ok(Update::NotFound) };
    if before.version.saturating_add(1) != after.version {
        return Ok(Update::Stale);
    }
    let row = Model::from(&after).into_active_model().reset_all();
    Entity::update(row).exec(transaction).await?;
    if after.outdates(&before) {
        end_all(transaction, after.id, author, after.updated_at).await?;
    }
    let deed = Deed::changed("alert_rule.update", &before, &after);
    trail.enter(transaction, author, after.updated_at, deed).await?;
    Ok(Update::Done(after))
}

/// Takes a channel out of the rules that tell it, within the transaction that removes it.
pub(super) async fn tell_no_more(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    channel: AlertChannelId,
    author: &Author,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let naming = Column::ChannelIds.contains(channel.to_string());
    for row in Entity::find().filter(naming).lock_exclusive().all(transaction).await? {
        let before = Rule::try_from(row)?;
        let Some(after) = before.without(channel, now) else { continue };
        let row = Model::from(&after).into_active_model().reset_all();
        Entity::update(row).exec(transaction).await?;
        let deed = Deed::changed("alert_rule.update", &before, &after);
        trail.enter(transaction, author, now, deed).await?;
    }
    Ok(())
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
        let rule = Rule::try_from(row)?;
        Entity::delete_by_id(rule.id.as_uuid()).exec(transaction).await?;
        end_all(transaction, rule.id, author, now).await?;
        let deed = Deed::removed("alert_rule.delete", &rule);
        trail.enter(transaction, author, now, deed).await?;
    }
    Ok(found)
}

/// Removes every rule of a customer.
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
impl RuleRepository for SeaAlerts {
    async fn create(&self, rule: Rule, author: &Author) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                if let Some(customer) = rule.customer_id
                    && !customers::exists(transaction, customer).await?
                {
                    return Ok(false);
                }
                let row = Model::from(&rule).into_active_model().reset_all();
                Entity::insert(row).exec_without_returning(transaction).await?;
                let deed = Deed::created("alert_rule.create", &rule);
                trail.enter(transaction, &author, rule.created_at, deed).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: AlertRuleId,
    ) -> Result<Option<Rule>, StorageError> {
        let row = Entity::find().filter(one(scope, id)).one(self.database.reader()).await;
        Ok(row.map_err(reading)?.map(Rule::try_from).transpose()?)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<Rule>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(scoped(Column::CustomerId, scope));
        let page = pages::oldest_first(reader, matching, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(Rule::try_from)?)
    }

    async fn update(&self, rule: Rule, author: &Author) -> Result<Update<Rule>, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { update(transaction, &trail, rule, &author).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn delete(
        &self,
        scope: &TenantScope,
        id: AlertRuleId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author, wanted) = (self.database.trail(), author.clone(), one(scope, id));
        let write = self.database.write(move |transaction| {
            async move { delete(transaction, &trail, wanted, &author, now).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn enabled(&self) -> Result<Vec<Rule>, StorageError> {
        let rows = Entity::find().filter(Column::Enabled.eq(true)).order_by_asc(Column::Id);
        let rows = rows.all(self.database.reader()).await.map_err(reading)?;
        Ok(rows.into_iter().map(Rule::try_from).collect::<Result<_, DatabaseError>>()?)
    }
}
