//! Alerts, and everything about them.

mod channels;
mod deliveries;
pub(crate) mod deviations;
mod entity;
mod occurrences;
#[cfg(test)]
mod plans;
mod rules;
mod windows;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_alerts::{
    Alert, AlertFilter, AlertRepository, Cause, Change, Delivery, Find, Opened, Replacement, Step,
};
use muster_kernel::{
    Actor, AgentId, AlertId, AlertRuleId, Author, CustomerId, Deed, Page, PageRequest,
    StorageError, TenantScope, Timestamp,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr};
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QueryOrder, QuerySelect, Select};

use crate::audit::Trail;
use crate::columns::{micros, scoped};
use crate::{Database, DatabaseError, pages};
use entity::{Column, Entity, Model, cause, change};

/// How many alerts are opened in one transaction.
const AT_ONCE: usize = 200;

/// Alerts, in the tables `alerts`, `alert_…`, `maintenance_windows` and `watch_marks`.
#[derive(Debug, Clone)]
pub struct SeaAlerts {
    database: Database,
}

impl SeaAlerts {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    async fn all(&self, wanted: Condition) -> Result<Vec<Alert>, StorageError> {
        let rows = in_order(wanted).all(self.database.reader()).await.map_err(reading)?;
        Ok(rows.into_iter().map(Alert::try_from).collect::<Result<_, DatabaseError>>()?)
    }
}

fn in_order(wanted: Condition) -> Select<Entity> {
    Entity::find().filter(wanted).order_by_asc(Column::Id)
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading alerts", error).into()
}

/// What began in a maintenance window. The state is spelled out, so that the index of such rows is
/// used.
fn silent() -> Condition {
    Condition::all().add(Expr::col(Column::State).eq(Expr::cust("'suppressed'")))
}

fn of(rule: AlertRuleId, subject: Uuid) -> Condition {
    Condition::all().add(Column::RuleId.eq(rule.as_uuid())).add(Column::SubjectId.eq(subject))
}

fn of_customer(customer: Option<CustomerId>) -> SimpleExpr {
    match customer {
        Some(customer) => Column::CustomerId.eq(customer.as_uuid()),
        None => Column::CustomerId.is_null(),
    }
}

async fn write(transaction: &DatabaseTransaction, alert: &Alert) -> Result<(), DatabaseError> {
    let row = Model::from(alert).into_active_model().reset_all();
    Entity::update(row).exec(transaction).await?;
    Ok(())
}

async fn enter(
    transaction: &DatabaseTransaction,
    alert: AlertId,
    entry: &Change,
) -> Result<(), DatabaseError> {
    let of_it = change::Column::AlertId.eq(alert.as_uuid());
    let before = change::Entity::find().filter(of_it).count(transaction).await?;
    let number = i32::try_from(before).unwrap_or(i32::MAX);
    let row = change::Model::of(alert, number, entry).into_active_model().reset_all();
    change::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(())
}

/// Resolves open alerts, within the transaction that ends what they are about.
async fn resolve_all(
    transaction: &DatabaseTransaction,
    wanted: Condition,
    actor: &Actor,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let open = Entity::find().filter(wanted.add(Column::ResolvedAt.is_null()));
    for row in open.lock_exclusive().all(transaction).await? {
        if let Ok(after) = Alert::try_from(row)?.after(Step::Resolve, now) {
            write(transaction, &after).await?;
            enter(transaction, after.id, &Change::new(after.state, now, actor)).await?;
        }
    }
    Ok(())
}

/// Resolves what is open for `customer` about a machine, within the transaction that gives the machine
/// to another one.
pub(crate) async fn leave(
    transaction: &DatabaseTransaction,
    machine: AgentId,
    customer: CustomerId,
    actor: &Actor,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let theirs = Condition::all()
        .add(Column::SubjectKind.eq("agent"))
        .add(Column::SubjectId.eq(machine.as_uuid()))
        .add(Column::CustomerId.eq(customer.as_uuid()));
    resolve_all(transaction, theirs, actor, now).await
}

/// Removes what a customer has of rules, windows and channels, and resolves its alerts, within the
/// transaction that removes the customer.
pub(crate) async fn remove_all(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    customer: CustomerId,
    author: &Author,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    rules::remove_all(transaction, trail, customer, author, now).await?;
    windows::remove_all(transaction, trail, customer, author, now).await?;
    channels::remove_all(transaction, trail, customer, author, now).await?;
    let theirs = Condition::all().add(Column::CustomerId.eq(customer.as_uuid()));
    resolve_all(transaction, theirs, &author.actor, now).await
}

async fn open(
    transaction: &DatabaseTransaction,
    found: Alert,
    because: Option<Cause>,
    cooled_since: Timestamp,
    deliveries: Vec<Delivery>,
) -> Result<Opened, DatabaseError> {
    if let Some(Cause(id)) = because {
        let rule_id = found.rule_id.as_uuid();
        if cause::Entity::find_by_id((rule_id, id)).one(transaction).await?.is_some() {
            return Ok(Opened::Nothing);
        }
        let row = cause::Model { rule_id, cause_id: id, at: micros(found.last_seen_at) };
        let row = row.into_active_model().reset_all();
        cause::Entity::insert(row).exec_without_returning(transaction).await?;
    }
    let same = of(found.rule_id, found.subject.id);
    let open = same.clone().add(Column::ResolvedAt.is_null());
    if let Some(row) = Entity::find().filter(open).lock_exclusive().one(transaction).await? {
        let alert = Alert::try_from(row)?;
        if alert.customer_id == found.customer_id {
            if because.is_none() {
                return Ok(Opened::Again(alert));
            }
            let alert = alert.again(&found);
            write(transaction, &alert).await?;
            return Ok(Opened::Again(alert));
        }
        if let Ok(over) = alert.after(Step::Resolve, found.last_seen_at) {
            write(transaction, &over).await?;
            let ended = Change::new(over.state, found.last_seen_at, &Actor::System);
            enter(transaction, over.id, &ended).await?;
        }
    }
    let recent =
        same.add(of_customer(found.customer_id)).add(Column::ResolvedAt.gt(micros(cooled_since)));
    if because.is_none() && Entity::find().filter(recent).count(transaction).await? > 0 {
        return Ok(Opened::Nothing);
    }
    let row = Model::from(&found).into_active_model().reset_all();
    Entity::insert(row).exec_without_returning(transaction).await?;
    let begun = Change::new(found.state, found.first_seen_at, &Actor::System);
    enter(transaction, found.id, &begun).await?;
    deliveries::add(transaction, deliveries).await?;
    Ok(Opened::New(found))
}

const fn action(step: Step) -> &'static str {
    match step {
        Step::Release => "alert.release",
        Step::Acknowledge => "alert.acknowledge",
        Step::Resolve => "alert.resolve",
    }
}

async fn replace(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    replacement: Replacement,
) -> Result<bool, DatabaseError> {
    let Replacement { before, after, change, deliveries, audited } = replacement;
    let row = Entity::find_by_id(after.id.as_uuid()).lock_exclusive().one(transaction).await?;
    let Some(found) = row.map(Alert::try_from).transpose()? else { return Ok(false) };
    if found.state != before {
        return Ok(false);
    }
    // Meanwhile it may have been found again.
    let after = Alert {
        summary: found.summary.clone(),
        details: found.details.clone(),
        last_seen_at: found.last_seen_at,
        count: found.count,
        clear_since: found.clear_since,
        ..after
    };
    write(transaction, &after).await?;
    enter(transaction, after.id, &change).await?;
    deliveries::add(transaction, deliveries).await?;
    if let Some((step, author)) = audited {
        let deed = Deed::changed(action(step), &found, &after);
        trail.enter(transaction, &author, change.at, deed).await?;
    }
    Ok(true)
}

#[async_trait]
impl AlertRepository for SeaAlerts {
    async fn open(
        &self,
        found: Alert,
        cause: Option<Cause>,
        cooled_since: Timestamp,
        deliveries: Vec<Delivery>,
    ) -> Result<Opened, StorageError> {
        let write = self.database.write(move |transaction| {
            async move { open(transaction, found, cause, cooled_since, deliveries).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn open_all(&self, finds: Vec<Find>) -> Result<Vec<Opened>, StorageError> {
        let mut opened = Vec::with_capacity(finds.len());
        for finds in finds.chunks(AT_ONCE) {
            let finds = finds.to_vec();
            let write = self.database.write(move |transaction| {
                async move {
                    let mut opened = Vec::with_capacity(finds.len());
                    for Find { alert, cause, cooled_since, deliveries } in finds {
                        let found = open(transaction, alert, cause, cooled_since, deliveries);
                        opened.push(found.await?);
                    }
                    Ok::<_, DatabaseError>(opened)
                }
                .boxed()
            });
            opened.extend(write.await?);
        }
        Ok(opened)
    }

    async fn replace(&self, replacement: Replacement) -> Result<bool, StorageError> {
        let trail = self.database.trail();
        let write = self.database.write(move |transaction| {
            async move { replace(transaction, &trail, replacement).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn mark_clear(
        &self,
        marks: Vec<(AlertId, Option<Timestamp>)>,
    ) -> Result<(), StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                for (id, since) in marks {
                    Entity::update_many()
                        .col_expr(Column::ClearSince, Expr::value(since.map(micros)))
                        .filter(Column::Id.eq(id.as_uuid()))
                        .exec(transaction)
                        .await?;
                }
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find(&self, scope: &TenantScope, id: AlertId) -> Result<Option<Alert>, StorageError> {
        let wanted = scoped(Column::CustomerId, scope).add(Column::Id.eq(id.as_uuid()));
        let row = Entity::find().filter(wanted).one(self.database.reader()).await;
        Ok(row.map_err(reading)?.map(Alert::try_from).transpose()?)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &AlertFilter,
        page: &PageRequest,
    ) -> Result<Page<Alert>, StorageError> {
        let reader = self.database.reader();
        let about =
            |id: AgentId| Column::SubjectKind.eq("agent").and(Column::SubjectId.eq(id.as_uuid()));
        let passes = scoped(Column::CustomerId, scope)
            .add_option(filter.state.map(|state| Column::State.eq(state.as_str())))
            .add_option(filter.severity.map(|it| Column::Severity.eq(it.as_str())))
            .add_option(filter.rule_id.map(|id| Column::RuleId.eq(id.as_uuid())))
            .add_option(filter.customer_id.map(|id| Column::CustomerId.eq(id.as_uuid())))
            .add_option(filter.agent_id.map(about));
        let matching = Entity::find().filter(passes);
        let page = pages::newest_first(reader, matching, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(Alert::try_from)?)
    }

    async fn history(&self, id: AlertId) -> Result<Vec<Change>, StorageError> {
        let rows = change::Entity::find()
            .filter(change::Column::AlertId.eq(id.as_uuid()))
            .order_by_asc(change::Column::Number)
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(rows.into_iter().map(Change::try_from).collect::<Result<_, DatabaseError>>()?)
    }

    async fn suppressed(&self) -> Result<Vec<Alert>, StorageError> {
        self.all(silent()).await
    }

    async fn open_of(
        &self,
        rule: AlertRuleId,
        subject: Uuid,
    ) -> Result<Option<Alert>, StorageError> {
        let wanted = of(rule, subject).add(Column::ResolvedAt.is_null());
        let row = Entity::find().filter(wanted).one(self.database.reader()).await;
        Ok(row.map_err(reading)?.map(Alert::try_from).transpose()?)
    }
}

#[cfg(test)]
mod tests;
