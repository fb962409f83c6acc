//! The audit log.

mod entity;
mod trail;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_audit::{AuditFilter, AuditLog, Entry, Head, Link, Mac};
use muster_kernel::{Author, Cursor, Deed, Page, PageRequest, Place, StorageError, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, LikeExpr};
use sea_orm::{Condition, DatabaseTransaction, QueryOrder, QuerySelect};

use crate::columns::{count, micros};
use crate::{Database, DatabaseError};
use entity::{Column, Entity};
pub(crate) use trail::Trail;
use trail::read_head;

/// The audit log, in the tables `audit_entries` and `audit_head`.
#[derive(Debug, Clone)]
pub struct SeaAudit {
    database: Database,
}

impl SeaAudit {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading the audit log", error).into()
}

fn filtered(filter: &AuditFilter) -> Condition {
    let action = |action: &String| match action.strip_suffix('.') {
        // Actions are of letters, dots and underscores; only the latter mean something to LIKE.
        Some(_) => Expr::col((Entity, Column::Action))
            .like(LikeExpr::new(format!("{}%", action.replace('_', "\\_"))).escape('\\')),
        None => Column::Action.eq(action.as_str()),
    };
    Condition::all()
        .add_option(filter.actor_id.map(|id| Column::ActorId.eq(id)))
        .add_option(filter.action.as_ref().map(action))
        .add_option(filter.resource_kind.as_ref().map(|kind| Column::ResourceKind.eq(kind)))
        .add_option(filter.resource_id.map(|id| Column::ResourceId.eq(id)))
        .add_option(filter.customer_id.map(|id| Column::CustomerId.eq(id.as_uuid())))
        .add_option(filter.from.map(|from| Column::At.gte(micros(from))))
        .add_option(filter.to.map(|to| Column::At.lt(micros(to))))
}

#[async_trait]
impl AuditLog for SeaAudit {
    async fn list(
        &self,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<Entry>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(filtered(filter));
        let total = matching.clone().count(reader).await.map_err(reading)?;
        let before = page.cursor.as_ref().map(|cursor| Column::Seq.lt(seq_of(cursor.id)));
        let rows = matching
            .filter(Condition::all().add_option(before))
            .order_by_desc(Column::Seq)
            .limit(u64::from(page.limit()) + 1)
            .all(reader)
            .await
            .map_err(reading)?;
        let entries = rows
            .into_iter()
            .map(|row| Link::try_from(row).map(|link| link.entry))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Page::from_rows(entries, page, total, |entry| Cursor::after(id_of(entry.seq))))
    }

    async fn head(&self) -> Result<(Head, Mac), StorageError> {
        Ok(read_head(self.database.reader()).await?)
    }

    async fn links(&self, from: u64, through: u64, limit: u64) -> Result<Vec<Link>, StorageError> {
        let rows = Entity::find()
            .filter(Column::Seq.gte(count(from)))
            .filter(Column::Seq.lte(count(through)))
            .order_by_asc(Column::Seq)
            .limit(limit)
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(rows.into_iter().map(Link::try_from).collect::<Result<_, _>>()?)
    }

    async fn prune(
        &self,
        before: Timestamp,
        limit: u64,
        author: &Author,
        now: Timestamp,
    ) -> Result<u64, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { prune(transaction, &trail, before, limit, &author, now).await }.boxed()
        });
        Ok(write.await?)
    }
}

async fn prune(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    before: Timestamp,
    limit: u64,
    author: &Author,
    now: Timestamp,
) -> Result<u64, DatabaseError> {
    let (mut head, ours) = trail.read_head(transaction).await?;
    let oldest = Entity::find().order_by_asc(Column::Seq).limit(limit).all(transaction).await?;
    // Up to the first that is to stay: the log has no gaps, whatever the clock did.
    let gone: Vec<_> = oldest
        .into_iter()
        .take_while(|row| row.at < micros(before) && row.seq < count(head.last))
        .collect();
    let number = u64::try_from(gone.len()).unwrap_or(u64::MAX);
    let Some(last) = gone.into_iter().next_back() else { return Ok(0) };
    let last = Link::try_from(last)?;
    head.forget_through(&last);
    Entity::delete_many().filter(Column::Seq.lte(count(last.entry.seq))).exec(transaction).await?;
    trail.write_head(transaction, &head, ours).await?;
    let place = Place { kind: "audit_log", id: Uuid::nil(), customer_id: None };
    let facts = serde_json::json!({ "through": last.entry.seq, "mac": last.mac.to_string() });
    trail.enter(transaction, author, now, Deed::done("audit.prune", place, Some(facts))).await?;
    Ok(number)
}

/// Cursors name rows by UUIDs; an entry's number is one, in its lower half.
fn id_of(seq: u64) -> Uuid {
    Uuid::from_u64_pair(0, seq)
}

fn seq_of(id: Uuid) -> i64 {
    count(id.as_u64_pair().1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sea_orm::ConnectionTrait;

    use super::*;
    use crate::testing::{CHAIN_KEY, another, on_each_database};

    on_each_database!(the_log_keeps_the_contract, whoever_tampers_with_the_tables_is_found,);

    async fn the_log_keeps_the_contract(database: Database) {
        let append = async |deed, at| {
            let trail = database.trail();
            let write = database.write(move |transaction| {
                async move { trail.enter(transaction, &Author::system(), at, deed).await }.boxed()
            });
            write.await.unwrap();
        };
        let log = Arc::new(SeaAudit::new(database.clone()));
        muster_audit::testing::contract(log, CHAIN_KEY, append).await;
    }

    async fn whoever_tampers_with_the_tables_is_found(database: Database) {
        let tamperings = [
            ("UPDATE audit_entries SET action = 'thing.look' WHERE seq = 3", 3),
            ("UPDATE audit_entries SET before = '{}' WHERE seq = 3", 3),
            ("DELETE FROM audit_entries WHERE seq = 4", 4),
            ("DELETE FROM audit_entries WHERE seq > 4", 5),
            ("DELETE FROM audit_entries WHERE seq < 2", 1),
            ("UPDATE audit_head SET last = 4", 4),
            ("DELETE FROM audit_head", 0),
            (
                "UPDATE audit_entries SET seq = CASE seq WHEN 2 THEN -3 ELSE -2 END \
                 WHERE seq IN (2, 3); UPDATE audit_entries SET seq = -seq WHERE seq < 0",
                2,
            ),
            (
                "INSERT INTO audit_entries SELECT 7, at, actor_kind, actor_id, actor_name, \
                 address, request_id, action, resource_kind, resource_id, customer_id, before, \
                 after, mac FROM audit_entries WHERE seq = 6",
                7,
            ),
        ];
        for (sql, seq) in tamperings {
            let database = another(&database).await;
            let now = muster_kernel::Clock::now(&muster_kernel::testing::FakeClock::default());
            let trail = database.trail();
            let deeds = (0..6).map(|n| (Author::system(), now, muster_audit::testing::deed(n)));
            let deeds: Vec<_> = deeds.collect();
            let entered: Result<(), DatabaseError> = database
                .write(move |transaction| {
                    async move { trail.enter_all(transaction, deeds).await }.boxed()
                })
                .await;
            entered.unwrap();
            database.schema_connection().execute_unprepared(sql).await.unwrap();
            let log = Arc::new(SeaAudit::new(database));
            let clock = Arc::new(muster_kernel::testing::FakeClock::default());
            let audit = muster_audit::Audit::new(log, CHAIN_KEY, clock);
            let report = audit.verify(&muster_kernel::testing::permit(1)).await.unwrap();
            assert_eq!(report.outcome.map_err(|broken| broken.seq), Err(seq), "{sql}");
        }
    }
}
