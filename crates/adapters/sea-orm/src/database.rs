//! The connections: one that writes, as many that read as there is use for.

use std::str::FromStr;

use futures_util::future::{BoxFuture, FutureExt};
use muster_audit::ChainKey;
use muster_kernel::Timestamp;
use muster_migrations::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr};

use crate::DatabaseError;
use crate::audit::Trail;
use crate::columns::micros;
use crate::writer::Writer;
use crate::{idempotency, installation};

/// How many reads are answered at a time.
const READERS: u32 = 4;

/// Where the database is.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file: `sqlite://PATH`.
    Sqlite(String),
    /// A server: `postgres://…`.
    Postgres(String),
}

impl DatabaseUrl {
    /// Whether it is known that there is a database.
    pub fn is_there(&self) -> bool {
        match self {
            Self::Sqlite(url) => url
                .strip_prefix("sqlite://")
                .and_then(|rest| rest.split('?').next())
                .and_then(|path| std::fs::metadata(path).ok())
                // A file that somebody made for it is none yet.
                .is_some_and(|file| file.len() > 0),
            Self::Postgres(_) => false,
        }
    }
}

/// The text is no address of a database that Muster works with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sqlite://PATH or postgres://USER@HOST/NAME is expected")]
pub struct InvalidDatabaseUrl;

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        match text.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(text.to_owned())),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.to_owned())),
            _ => Err(InvalidDatabaseUrl),
        }
    }
}

/// The password in a URL is nobody's business.
impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite(url) => url,
            Self::Postgres(_) => "postgres://…",
        })
    }
}

/// The database of one Muster process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    readers: DatabaseConnection,
    write_connection: DatabaseConnection,
    writer: Writer,
    trail: Trail,
}

impl Database {
    /// Connects and starts the writing task; `key` chains the audit log. The schema is left as it is: see
    /// [`Database::migrate`].
    ///
    /// # Errors
    /// When the file can't be opened or created, or the server doesn't answer.
    pub async fn connect(url: &DatabaseUrl, key: ChainKey) -> Result<Self, DatabaseError> {
        let failed = |error| DatabaseError::new("connecting to the database", error);
        // The writer first: it creates the file that the readers open.
        let write_connection = open(url, 1, false).await.map_err(failed)?;
        let readers = open(url, READERS, true).await.map_err(failed)?;
        let writer = Writer::start(write_connection.clone());
        Ok(Self { readers, write_connection, writer, trail: Trail::new(key) })
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// When a step fails; the steps before it stay.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        let failed = |error| DatabaseError::new("migrating the database", error);
        Migrator::up(&self.write_connection, None).await.map_err(failed)
    }

    /// Claims the database for this key, if nobody has yet, and begins its audit log; says whether
    /// it is this key's. Whoever is told that it is not had better not write to it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim(&self) -> Result<bool, DatabaseError> {
        let trail = self.trail();
        self.write(move |transaction| {
            async move { installation::claim(transaction, &trail).await }.boxed()
        })
        .await
    }

    /// Whether the database is this key's, or nobody's yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn is_ours(&self) -> Result<bool, DatabaseError> {
        let ours = installation::is_ours(&self.readers, self.trail.key_check()).await?;
        Ok(ours.unwrap_or(true))
    }

    /// The connection for schema work, which nothing else may use at the same time.
    pub const fn schema_connection(&self) -> &DatabaseConnection {
        &self.write_connection
    }

    /// For queries. What is read is what was committed when the query began.
    pub const fn reader(&self) -> &DatabaseConnection {
        &self.readers
    }

    /// The audit log, for within [`Database::write`].
    pub(crate) fn trail(&self) -> Trail {
        self.trail.clone()
    }

    /// Does `work` in a write transaction and answers after the durable commit. An error of the
    /// work undoes all that it wrote. Work is done in the order of the calls, many to a commit.
    pub fn write<T, E, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, W>
    where
        W: for<'t> FnOnce(&'t DatabaseTransaction) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.writer.write(work)
    }

    /// Forgets the idempotency keys of requests that came before `before`; says how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_requests(&self, before: Timestamp) -> Result<u64, DatabaseError> {
        let before = micros(before);
        self.write(move |transaction| {
            async move { idempotency::forget(transaction, before).await }.boxed()
        })
        .await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        let failed = |error| DatabaseError::new("asking the database for a sign of life", error);
        self.readers.execute_unprepared("SELECT 1").await.map(|_| ()).map_err(failed)
    }
}

async fn open(
    url: &DatabaseUrl,
    connections: u32,
    read_only: bool,
) -> Result<DatabaseConnection, DbErr> {
    let mut options = match url {
        DatabaseUrl::Sqlite(url) => {
            let mut options = ConnectOptions::new(url);
            options.map_sqlx_sqlite_opts(move |options| {
                options
                    .create_if_missing(!read_only)
                    .pragma("journal_mode", "WAL")
                    // What was promised survives a power cut.
                    .pragma("synchronous", "FULL")
                    .pragma("foreign_keys", "ON")
                    .pragma("temp_store", "MEMORY")
                    .pragma("query_only", if read_only { "ON" } else { "OFF" })
                    .busy_timeout(std::time::Duration::from_secs(5))
                    .statement_cache_capacity(256)
            });
            options
        }
        DatabaseUrl::Postgres(url) => ConnectOptions::new(url),
    };
    options.max_connections(connections).min_connections(1).sqlx_logging(false);
    options.test_before_acquire(matches!(url, DatabaseUrl::Postgres(_)));
    sea_orm::Database::connect(options).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{agents, database, grouped, planned};

    #[tokio::test]
    async fn every_migration_can_be_undone_with_data_in_the_tables_and_done_again() {
        let database = database().await;
        let [(agent, customer), _] = agents(&database).await;
        grouped(&database, Some(customer), [agent]).await;
        planned(&database).await;
        let connection = database.schema_connection();
        Migrator::down(connection, None).await.unwrap();
        assert!(Migrator::get_applied_migrations(connection).await.unwrap().is_empty());
        database.migrate().await.unwrap();
        agents(&database).await;
    }

    #[tokio::test]
    async fn a_write_that_fails_undoes_its_own_and_nobody_elses() {
        let database = database().await;
        let write = |sql: &'static str| {
            database.write(move |transaction| {
                Box::pin(async move {
                    transaction
                        .execute_unprepared(
                            "INSERT INTO idempotency_keys VALUES ('s', 'x', x'00', x'00', 1)",
                        )
                        .await?;
                    transaction.execute_unprepared(sql).await?;
                    transaction
                        .execute_unprepared("DELETE FROM idempotency_keys WHERE key = 'x'")
                        .await?;
                    Ok::<_, DatabaseError>(())
                })
            })
        };
        let insert = |key: char| match key {
            'a' => "INSERT INTO idempotency_keys VALUES ('s', 'a', x'00', x'00', 1)",
            _ => "INSERT INTO nowhere VALUES (1)",
        };
        let (good, bad, late) =
            tokio::join!(write(insert('a')), write(insert('b')), write("SELECT 1"));
        assert!(good.is_ok() && bad.is_err() && late.is_ok());
        let left = database
            .reader()
            .query_one_raw(sea_orm::Statement::from_string(
                sea_orm::DatabaseBackend::Sqlite,
                "SELECT group_concat(key) FROM idempotency_keys",
            ))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(left.try_get_by_index::<String>(0).unwrap(), "a");
    }

    #[test]
    fn an_address_of_another_kind_of_database_is_refused() {
        for text in ["mysql://x", "muster.db", "sqlite://", ""] {
            assert_eq!(text.parse::<DatabaseUrl>(), Err(InvalidDatabaseUrl), "{text}");
        }
        let secret: DatabaseUrl = "postgres://u:secret@h/d".parse().unwrap();
        assert!(!format!("{secret:?}").contains("secret"));
    }
}
