//! Everything from one database to another, of either kind, and the proof that it arrived.

mod rows;
mod tables;
#[cfg(test)]
mod tests;

use futures_util::TryStreamExt;
use muster_migrations::{MigrationStatus, Migrator, MigratorTrait};
use sea_orm::sea_query::Query;
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, IsolationLevel,
    StreamTrait, TransactionTrait,
};

use crate::connection::{Purpose, open};
use crate::{DatabaseError, DatabaseUrl};
use rows::{Batch, Digest};
use tables::{Table, number_on, tables};

/// What became of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedTable {
    /// Its name.
    pub name: String,
    /// How many rows it has, here and there.
    pub rows: u64,
}

/// Why a database was not copied. The source is as it was, and the target has nothing new in it
/// but empty tables.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source was made by an older version of Muster, or by a newer one.
    #[error(
        "the schema of the source is not this version's; run `muster migrate up` on it with this \
         version first"
    )]
    Schema,
    /// There is something in the target.
    #[error(
        "the target is not empty; name a new file, or make a database with `createdb`, and copy \
         into that"
    )]
    NotEmpty,
    /// A table that the target lacks, or a column of a kind that nobody thought of.
    #[error("{0} can't be copied: the two databases do not have the same tables")]
    Strange(String),
    /// What arrived is not what was sent.
    #[error("{0} is not the same in both databases; nothing was copied")]
    Differs(String),
    /// A database failed.
    #[error("copying {table} failed")]
    Database {
        /// What was being copied.
        table: String,
        /// Why.
        #[source]
        source: DatabaseError,
    },
}

impl CopyError {
    fn at(table: &str) -> impl Fn(DbErr) -> Self {
        move |source| Self::Database { table: table.to_owned(), source: source.into() }
    }
}

/// Copies everything and compares every row afterwards: all of it or nothing. The source is only
/// read, as it is at one instant.
///
/// # Errors
/// As [`CopyError`] says.
pub async fn copy(from: &DatabaseUrl, to: &DatabaseUrl) -> Result<Vec<CopiedTable>, CopyError> {
    let failed = CopyError::at("the list of tables");
    let source = open(from, Purpose::Read(1)).await.map_err(&failed)?;
    if !is_current(&source).await.map_err(&failed)? {
        return Err(CopyError::Schema);
    }
    let target = open(to, Purpose::Write).await.map_err(&failed)?;
    prepare(&target).await?;

    let (snapshot, once) = (Some(IsolationLevel::RepeatableRead), Some(AccessMode::ReadOnly));
    let source = match source.get_database_backend() {
        // SQLite knows neither, and its transactions see one instant anyway.
        sea_orm::DbBackend::Sqlite => source.begin().await,
        _ => source.begin_with_config(snapshot, once).await,
    };
    let source = source.map_err(&failed)?;
    let target = target.begin().await.map_err(&failed)?;
    for transaction in [&source, &target] {
        take_time(transaction).await.map_err(&failed)?;
    }
    let all = tables(&source).await?;
    let theirs = tables(&target).await?;
    empty(&target, &theirs).await?;
    let mut copied = Vec::new();
    for table in &all {
        let there = theirs.iter().find(|there| there.is_like(table));
        let there = there.ok_or_else(|| CopyError::Strange(table.name.clone()))?;
        let failed = CopyError::at(&table.name);
        let sent = send(&source, table, &target, there).await.map_err(&failed)?;
        let arrived = digest(&target, there).await.map_err(&failed)?;
        if sent != arrived {
            return Err(CopyError::Differs(table.name.clone()));
        }
        copied.push(CopiedTable { name: table.name.clone(), rows: sent.rows() });
    }
    number_on(&target).await.map_err(&failed)?;
    target.commit().await.map_err(&failed)?;
    Ok(copied)
}

/// Lets a transaction rest for as long as the other database works.
async fn take_time(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    if ConnectionTrait::get_database_backend(transaction) == sea_orm::DbBackend::Postgres {
        let rest = "SET LOCAL idle_in_transaction_session_timeout = 0";
        transaction.execute_unprepared(rest).await?;
    }
    Ok(())
}

/// Whether every step of the schema was applied, and none that is not known.
async fn is_current(connection: &DatabaseConnection) -> Result<bool, DbErr> {
    match Migrator::get_migration_with_status_read_only(connection).await {
        Ok(steps) => Ok(steps.iter().all(|step| step.status() == MigrationStatus::Applied)),
        // What a newer version applied is a file that is missing here.
        Err(DbErr::Custom(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the tables in a target that has none. One that has them is taken if nobody ever used it:
/// an attempt before this one may have ended early.
async fn prepare(target: &DatabaseConnection) -> Result<(), CopyError> {
    let failed = CopyError::at("the schema");
    let applied = Migrator::get_migration_with_status_read_only(target).await;
    let applied = match applied {
        Err(DbErr::Custom(_)) => return Err(CopyError::NotEmpty),
        applied => applied.map_err(&failed)?,
    };
    if applied.iter().all(|step| step.status() == MigrationStatus::Pending) {
        if !tables(target).await?.is_empty() {
            return Err(CopyError::NotEmpty);
        }
        return Migrator::up(target, None).await.map_err(failed);
    }
    let used = crate::installation::is_used(target).await;
    let used = used.map_err(|source| CopyError::Database { table: "the target".into(), source })?;
    let unfinished = applied.iter().any(|step| step.status() == MigrationStatus::Pending);
    if used || unfinished { Err(CopyError::NotEmpty) } else { Ok(()) }
}

/// Removes what the schema itself brings along: it comes again with the source's rows.
async fn empty(target: &DatabaseTransaction, tables: &[Table]) -> Result<(), CopyError> {
    for table in tables.iter().rev() {
        let all = Query::delete().from_table(table.name.clone()).take();
        target.execute(&all).await.map_err(CopyError::at(&table.name))?;
    }
    Ok(())
}

/// Copies a table and says what was in it.
async fn send(
    source: &DatabaseTransaction,
    table: &Table,
    target: &DatabaseTransaction,
    there: &Table,
) -> Result<Digest, DbErr> {
    let mut digest = Digest::default();
    let mut batch = Batch::of(there);
    let mut rows = source.stream(&table.select()).await?;
    while let Some(row) = rows.try_next().await? {
        let row = table.read(&row)?;
        digest.take(&row);
        if let Some(full) = batch.push(row)? {
            target.execute(&full).await?;
        }
    }
    if let Some(rest) = batch.rest()? {
        target.execute(&rest).await?;
    }
    Ok(digest)
}

/// Says what is in a table.
async fn digest(connection: &DatabaseTransaction, table: &Table) -> Result<Digest, DbErr> {
    let mut digest = Digest::default();
    let mut rows = connection.stream(&table.select()).await?;
    while let Some(row) = rows.try_next().await? {
        digest.take(&table.read(&row)?);
    }
    Ok(digest)
}
