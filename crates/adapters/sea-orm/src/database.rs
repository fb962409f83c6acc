//! The connections: one that writes, as many that read as there is use for.

use futures_util::future::{BoxFuture, FutureExt};
use muster_audit::ChainKey;
use muster_kernel::Timestamp;
use muster_migrations::{MigrationStatus, Migrator, MigratorTrait};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, TransactionTrait,
};

use crate::audit::Trail;
use crate::columns::micros;
use crate::connection::{Purpose, has_tables, open};
use crate::writer::{Writer, take_turn};
use crate::{DatabaseError, DatabaseUrl, idempotency, installation};

/// How many reads a file answers at a time, and a server, unless somebody says otherwise.
const FILE_READERS: u32 = 4;
const SERVER_READERS: u32 = 8;

/// The database of one Muster process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    readers: DatabaseConnection,
    write_connection: DatabaseConnection,
    writer: Writer,
    trail: Trail,
}

impl Database {
    /// Connects and starts the writing task; `readers` is how many reads are answered at a time,
    /// if not as many as suit most, and `key` chains the audit log. The schema is left as it is:
    /// see [`Database::migrate`].
    ///
    /// # Errors
    /// When the file can't be opened or created, the server doesn't answer or is too old.
    pub async fn connect(
        url: &DatabaseUrl,
        readers: Option<u32>,
        key: ChainKey,
    ) -> Result<Self, DatabaseError> {
        let failed = |error| DatabaseError::new("connecting to the database", error);
        let usual = if url.is_postgres() { SERVER_READERS } else { FILE_READERS };
        // The writer first: it creates the file that the readers open.
        let write_connection = open(url, Purpose::Write).await.map_err(failed)?;
        let readers = Purpose::Read(readers.unwrap_or(usual));
        let readers = open(url, readers).await.map_err(failed)?;
        let writer = Writer::start(write_connection.clone());
        Ok(Self { readers, write_connection, writer, trail: Trail::new(key) })
    }

    /// Whether there is a database already, which was made under some key.
    ///
    /// # Errors
    /// When a server is meant that doesn't answer.
    pub async fn is_there(url: &DatabaseUrl) -> Result<bool, DatabaseError> {
        let failed = |error| DatabaseError::new("connecting to the database", error);
        has_tables(url).await.map_err(failed)
    }

    /// Brings the schema up to date. Of several processes that start at once, one does it.
    ///
    /// # Errors
    /// When a step fails. On PostgreSQL everything is as before then, on SQLite the steps before
    /// it stay.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        self.change_schema(None).await
    }

    /// Undoes the last `steps` steps of the schema.
    ///
    /// # Errors
    /// As for [`Database::migrate`].
    pub async fn undo_migrations(&self, steps: u32) -> Result<(), DatabaseError> {
        self.change_schema(Some(steps)).await
    }

    /// Does the steps that are missing, or undoes so many.
    async fn change_schema(&self, undo: Option<u32>) -> Result<(), DatabaseError> {
        let failed = |error| DatabaseError::new("migrating the database", error);
        let connection = &self.write_connection;
        if connection.get_database_backend() == DbBackend::Sqlite {
            let changed = match undo {
                None => Migrator::up(connection, None).await,
                Some(_) => Migrator::down(connection, undo).await,
            };
            return changed.map_err(failed);
        }
        let transaction = connection.begin().await.map_err(failed)?;
        // Another process may be at it, for as long as it takes.
        transaction.execute_unprepared("SET LOCAL lock_timeout = 0").await.map_err(failed)?;
        take_turn(&transaction).await.map_err(failed)?;
        let changed = match undo {
            None => Migrator::up(&transaction, None).await,
            Some(_) => Migrator::down(&transaction, undo).await,
        };
        changed.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// The steps of the schema, in order, each with whether it was applied.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn migrations(&self) -> Result<Vec<(String, bool)>, DatabaseError> {
        let failed = |error| DatabaseError::new("reading the steps of the schema", error);
        let steps = Migrator::get_migration_with_status_read_only(&self.readers).await;
        let steps = steps.map_err(failed)?.into_iter();
        Ok(steps
            .map(|step| (step.name().to_owned(), step.status() == MigrationStatus::Applied))
            .collect())
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

    /// How many connections for queries there are, and how many of them are in use.
    pub fn readers(&self) -> (u32, u32) {
        let usage = |size: u32, idle: usize| {
            (size, size.saturating_sub(u32::try_from(idle).unwrap_or(u32::MAX)))
        };
        if self.readers.get_database_backend() == DbBackend::Postgres {
            let pool = self.readers.get_postgres_connection_pool();
            usage(pool.size(), pool.num_idle())
        } else {
            let pool = self.readers.get_sqlite_connection_pool();
            usage(pool.size(), pool.num_idle())
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_kernel::testing::FakeClock;
    use muster_kernel::{Author, Clock};
    use sea_orm::Statement;

    use super::*;
    use crate::SeaAudit;
    use crate::testing::{
        CHAIN_KEY, agents, connected, deployed, fresh_postgresql, fresh_postgresql_empty, grouped,
        led, measured, on_each_database, on_postgresql, open_database, planned, watched,
    };

    on_each_database!(
        every_migration_can_be_undone_with_data_in_the_tables_and_done_again,
        a_write_that_fails_undoes_its_own_and_nobody_elses,
    );

    async fn every_migration_can_be_undone_with_data_in_the_tables_and_done_again(
        database: Database,
    ) {
        let [(agent, customer), _] = agents(&database).await;
        grouped(&database, Some(customer), [agent]).await;
        connected(&database, agent).await;
        planned(&database).await;
        led(&database).await;
        measured(&database).await;
        watched(&database).await;
        deployed(&database, (agent, customer)).await;
        let all = database.migrations().await.unwrap();
        assert!(all.iter().all(|(_, applied)| *applied));
        database.undo_migrations(u32::try_from(all.len()).unwrap()).await.unwrap();
        assert!(database.migrations().await.unwrap().iter().all(|(_, applied)| !applied));
        database.migrate().await.unwrap();
        agents(&database).await;
    }

    async fn read(connection: &DatabaseConnection, sql: &str) -> String {
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let row = connection.query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    /// Enters so many deeds in the audit log, one after the other.
    async fn enter(database: &Database, number: u64) -> Result<(), DatabaseError> {
        for n in 0..number {
            let (trail, deed) = (database.trail(), muster_audit::testing::deed(n));
            let now = FakeClock::default().now();
            let entered = database.write(move |transaction| {
                async move { trail.enter(transaction, &Author::system(), now, deed).await }.boxed()
            });
            entered.await?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn postgresql_is_asked_for_durable_commits_whatever_it_does_by_itself() {
        let database = on_postgresql().await;
        let show = "SHOW synchronous_commit";
        assert_eq!(read(database.schema_connection(), show).await, "on");
        let write = "DELETE FROM users";
        assert!(database.reader().execute_unprepared(write).await.is_err(), "readers only read");
    }

    #[tokio::test]
    async fn processes_that_start_at_once_on_postgresql_make_the_tables_once() {
        let url = fresh_postgresql_empty().await;
        let start = async || {
            let database = open_database(&url).await;
            database.migrate().await.unwrap();
            database.claim().await.unwrap()
        };
        assert_eq!(tokio::join!(start(), start(), start()), (true, true, true));
    }

    #[tokio::test]
    async fn writers_of_several_processes_on_postgresql_make_one_chain() {
        let url = fresh_postgresql().await;
        let (one, other) = (open_database(&url).await, open_database(&url).await);
        one.claim().await.unwrap();
        let (first, second) = tokio::join!(enter(&one, 50), enter(&other, 50));
        first.and(second).unwrap();
        let (log, clock) = (Arc::new(SeaAudit::new(one)), Arc::new(FakeClock::default()));
        let audit = muster_audit::Audit::new(log, CHAIN_KEY, clock);
        let report = audit.verify(&muster_kernel::testing::permit(1)).await.unwrap();
        assert!(report.outcome.is_ok());
    }

    #[tokio::test]
    async fn a_process_that_freezes_on_postgresql_keeps_others_waiting_for_seconds() {
        let url = fresh_postgresql().await;
        let (frozen, other) = (open_database(&url).await, open_database(&url).await);
        frozen.claim().await.unwrap();
        let transaction = frozen.schema_connection().begin().await.unwrap();
        take_turn(&transaction).await.unwrap();
        let begun = std::time::Instant::now();
        enter(&other, 1).await.unwrap();
        assert!((1..10).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        assert!(transaction.commit().await.is_err(), "what it was about to write is undone");
        enter(&frozen, 1).await.unwrap();
    }

    async fn a_write_that_fails_undoes_its_own_and_nobody_elses(database: Database) {
        let write = |key: &'static str, then: &'static str| {
            database.write(move |transaction| {
                async move {
                    let id = sea_orm::prelude::Uuid::nil();
                    idempotency::remember(transaction, "scope", key, &[0; 32], id, 1).await?;
                    transaction.execute_unprepared(then).await?;
                    Ok::<_, DatabaseError>(())
                }
                .boxed()
            })
        };
        let (good, bad, late) = tokio::join!(
            write("good", "SELECT 1"),
            write("bad", "INSERT INTO nowhere VALUES (1)"),
            write("late", "SELECT 1"),
        );
        assert!(good.is_ok() && bad.is_err() && late.is_ok());
        let mut kept = idempotency::keys(&database).await;
        kept.sort();
        assert_eq!(kept, ["good", "late"]);
    }
}
