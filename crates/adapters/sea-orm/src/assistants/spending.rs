//! What was asked on whose account, in the table `assistant_spending`, and who asked, in the audit log.

use async_trait::async_trait;
use chrono::{Datelike, NaiveDate};
use futures_util::FutureExt;
use muster_assistant::{AskLog, Budget, Daily, Payer, Spent};
use muster_kernel::{Author, Deed, StorageError, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QuerySelect};

use super::{SeaAssistants, reading};
use crate::DatabaseError;
use crate::columns::{count, from_count};

/// For how many days accounts are kept.
const KEPT_DAYS: i64 = 90;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "assistant_spending")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub payer_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub day: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub payer_kind: String,
    pub requests: i64,
    pub tokens: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<Model> for Spent {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        Ok(Self {
            requests: from_count(row.requests, "assistant_spending.requests")?,
            tokens: from_count(row.tokens, "assistant_spending.tokens")?,
        })
    }
}

/// An account of a day, in columns: whose, of which kind, which day.
#[derive(Debug, Clone, Copy)]
struct Account(Uuid, &'static str, i64);

impl Account {
    fn of(payer: Payer, day: NaiveDate) -> Self {
        let day = i64::from(day.num_days_from_ce());
        match payer {
            Payer::Customer(id) => Self(id.as_uuid(), "customer", day),
            Payer::Person(id) => Self(id.as_uuid(), "user", day),
        }
    }

    fn row(self) -> Condition {
        let Self(id, kind, day) = self;
        Condition::all()
            .add(Column::PayerId.eq(id))
            .add(Column::PayerKind.eq(kind))
            .add(Column::Day.eq(day))
    }

    fn with(self, spent: Spent) -> Model {
        let Self(payer_id, kind, day) = self;
        let (requests, tokens) = (count(spent.requests), count(spent.tokens));
        Model { payer_id, day, payer_kind: kind.to_owned(), requests, tokens }
    }
}

/// Makes of what was spent what `change` says, if it says something; answers with whether it did.
async fn change(
    transaction: &DatabaseTransaction,
    account: Account,
    change: impl FnOnce(Spent) -> Option<Spent> + Send,
) -> Result<bool, DatabaseError> {
    let new = account.with(Spent::default()).into_active_model().reset_all();
    let key = [Column::PayerId, Column::Day, Column::PayerKind];
    // Of several nodes that begin the day at once each finds the row that one of them wrote.
    let known = OnConflict::columns(key).update_column(Column::PayerKind).to_owned();
    Entity::insert(new).on_conflict(known).exec_without_returning(transaction).await?;
    let row = Entity::find().filter(account.row()).lock_exclusive().one(transaction).await?;
    let spent = row.map(Spent::try_from).transpose()?.unwrap_or_default();
    let Some(after) = change(spent) else { return Ok(false) };
    let row = account.with(after).into_active_model().reset_all();
    Entity::update(row).exec(transaction).await?;
    Ok(true)
}

#[async_trait]
impl Budget for SeaAssistants {
    async fn reserve(
        &self,
        payer: Payer,
        day: NaiveDate,
        daily: Daily,
        wanted: Spent,
    ) -> Result<bool, StorageError> {
        let account = Account::of(payer, day);
        let write = self.database.write(move |transaction| {
            async move {
                let old = Column::Day.lt(account.2 - KEPT_DAYS);
                Entity::delete_many().filter(old).exec(transaction).await?;
                let allowed = |spent: Spent| {
                    let then = spent.plus(wanted);
                    daily.allows(then).then_some(then)
                };
                change(transaction, account, allowed).await
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn settle(
        &self,
        payer: Payer,
        day: NaiveDate,
        reserved: u64,
        used: u64,
    ) -> Result<(), StorageError> {
        if reserved == used {
            return Ok(());
        }
        let account = Account::of(payer, day);
        let write = self.database.write(move |transaction| {
            async move {
                let settled = |spent: Spent| {
                    let tokens = spent.tokens.saturating_sub(reserved).saturating_add(used);
                    Some(Spent { tokens, ..spent })
                };
                change(transaction, account, settled).await.map(drop)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn spent(&self, payer: Payer, day: NaiveDate) -> Result<Spent, StorageError> {
        let row = Entity::find().filter(Account::of(payer, day).row());
        let row = row.one(self.database.reader()).await.map_err(reading)?;
        Ok(row.map(Spent::try_from).transpose()?.unwrap_or_default())
    }
}

#[async_trait]
impl AskLog for SeaAssistants {
    async fn asked(&self, author: &Author, at: Timestamp, deed: Deed) -> Result<(), StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { trail.enter(transaction, &author, at, deed).await }.boxed()
        });
        Ok(write.await?)
    }
}
