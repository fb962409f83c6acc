//! How connections are opened, and what holds for each of them.

use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DbErr, SqlxPostgresConnector, Statement,
};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection, Executor};

use crate::DatabaseUrl;

/// How long a caller waits for a connection, and SQLite for another process that writes.
const WAIT: Duration = Duration::from_secs(5);
/// How long a first connection to a server may take.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// A connection that lay idle for longer is asked whether it still stands before it is used.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// The oldest PostgreSQL that is tested, as servers number themselves.
const OLDEST_SERVER: u32 = 130_000;

/// What holds in every session, whatever the server's own settings say: commits are durable, a
/// process that froze or vanished loses its transaction within seconds, and others wait longer
/// than that for their turn. `docs/decisions/0015-one-writer-on-postgresql.md` says more.
const SESSION: &str = "
    SET synchronous_commit = on;
    SET default_transaction_isolation = 'read committed';
    SET idle_in_transaction_session_timeout = '5s';
    SET lock_timeout = '10s';
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = '20s';
";

/// What the connections of a pool are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// One connection that writes.
    Write,
    /// So many that read.
    Read(u32),
}

impl Purpose {
    const fn connections(self) -> u32 {
        match self {
            Self::Write => 1,
            Self::Read(connections) => connections,
        }
    }
}

/// Opens a pool of connections.
pub(crate) async fn open(url: &DatabaseUrl, purpose: Purpose) -> Result<DatabaseConnection, DbErr> {
    match url {
        DatabaseUrl::Sqlite(url) => open_sqlite(url, purpose).await,
        DatabaseUrl::Postgres(url) => open_postgres(url, purpose).await,
    }
}

async fn open_sqlite(url: &str, purpose: Purpose) -> Result<DatabaseConnection, DbErr> {
    let writes = purpose == Purpose::Write;
    let mut options = ConnectOptions::new(url);
    options.map_sqlx_sqlite_opts(move |options| {
        options
            .create_if_missing(writes)
            .pragma("journal_mode", "WAL")
            // What was promised survives a power cut.
            .pragma("synchronous", "FULL")
            .pragma("foreign_keys", "ON")
            .pragma("temp_store", "MEMORY")
            .pragma("query_only", if writes { "OFF" } else { "ON" })
            .busy_timeout(WAIT)
            .statement_cache_capacity(256)
    });
    options.max_connections(purpose.connections()).min_connections(1).sqlx_logging(false);
    options.test_before_acquire(false);
    sea_orm::Database::connect(options).await
}

/// Not by SeaORM's own way of connecting: its traces have the URL in them, and the password.
async fn open_postgres(url: &str, purpose: Purpose) -> Result<DatabaseConnection, DbErr> {
    let options = postgres_options(url)?;
    check_server(&options).await?;
    let read_only = if purpose == Purpose::Write { "off" } else { "on" };
    let session = format!("{SESSION}SET default_transaction_read_only = {read_only};");
    let pool = PgPoolOptions::new()
        .max_connections(purpose.connections())
        .min_connections(1)
        .acquire_timeout(WAIT)
        .test_before_acquire(false)
        .before_acquire(|connection, since| {
            async move {
                if since.idle_for > TRUSTED_FOR {
                    connection.ping().await?;
                }
                Ok(true)
            }
            .boxed()
        })
        .after_connect(move |connection, _| {
            let session = session.clone();
            async move {
                connection.execute(sqlx::AssertSqlSafe(session)).await?;
                Ok(())
            }
            .boxed()
        });
    let pool = pool.connect_with(options).await.map_err(sea_error)?;
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

fn postgres_options(url: &str) -> Result<PgConnectOptions, DbErr> {
    let options: PgConnectOptions = url.parse().map_err(sea_error)?;
    Ok(options.disable_statement_logging().statement_cache_capacity(256))
}

/// Whether there is a server, and one that Muster works with. A pool would say no more than that
/// it waited in vain.
async fn check_server(options: &PgConnectOptions) -> Result<(), DbErr> {
    let connecting = tokio::time::timeout(FIRST_ANSWER, PgConnection::connect_with(options));
    let connection = connecting.await.map_err(|_| {
        DbErr::Custom(format!("the server did not answer within {} s", FIRST_ANSWER.as_secs()))
    })?;
    let connection = connection.map_err(sea_error)?;
    let version = connection.server_version_num().unwrap_or_default();
    connection.close().await.map_err(sea_error)?;
    refuse_old(version)
}

fn refuse_old(version: u32) -> Result<(), DbErr> {
    if version >= OLDEST_SERVER {
        return Ok(());
    }
    Err(DbErr::Custom(format!(
        "the server is PostgreSQL {}; {} or newer is needed",
        version / 10_000,
        OLDEST_SERVER / 10_000
    )))
}

fn sea_error(error: sqlx::Error) -> DbErr {
    DbErr::Conn(sea_orm::RuntimeErr::SqlxError(error.into()))
}

/// Whether Muster's tables are there already.
pub(crate) async fn has_tables(url: &DatabaseUrl) -> Result<bool, DbErr> {
    match url {
        // A file that somebody made for it is none yet.
        DatabaseUrl::Sqlite(_) => Ok(url
            .file()
            .and_then(|path| std::fs::metadata(path).ok())
            .is_some_and(|file| file.len() > 0)),
        DatabaseUrl::Postgres(address) => {
            let connection = open_postgres(address, Purpose::Read(1)).await?;
            let backend = connection.get_database_backend();
            let sql = "SELECT to_regclass('users') IS NOT NULL";
            let row = connection.query_one_raw(Statement::from_string(backend, sql)).await?;
            connection.close().await?;
            row.map_or(Ok(false), |row| row.try_get_by_index(0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_told_with_what_is_needed() {
        let refusal = refuse_old(120_022).unwrap_err().to_string();
        assert!(refusal.contains("PostgreSQL 12") && refusal.contains("13 or newer"), "{refusal}");
        assert!(refuse_old(130_000).is_ok());
    }
}
