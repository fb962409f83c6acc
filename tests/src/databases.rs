//! The databases of servers under test: a file each, or with `MUSTER_TEST_DATABASE=postgres` a
//! database each on the server that `MUSTER_TEST_POSTGRES` names.

use std::path::Path;

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement,
};

use crate::Server;

/// The URL of a database of its own for an installation in `folder`.
pub(crate) async fn fresh(folder: &Path) -> String {
    match std::env::var("MUSTER_TEST_DATABASE").as_deref() {
        Err(_) | Ok("sqlite") => in_folder(folder),
        Ok("postgres") => fresh_postgres().await,
        Ok(other) => panic!("MUSTER_TEST_DATABASE: sqlite or postgres is expected, not {other}"),
    }
}

/// The URL of the SQLite database that a server makes in `folder` when it is told nothing.
pub(crate) fn in_folder(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("data").join("muster.db").display())
}

/// The URL of an empty PostgreSQL database; it goes with its server.
///
/// # Panics
/// When there is no server for tests.
pub async fn fresh_postgres() -> String {
    let server = std::env::var("MUSTER_TEST_POSTGRES").expect(
        "MUSTER_TEST_POSTGRES is not set: run `make test`, or \
         `scripts/with-services cargo nextest run`",
    );
    let admin = Database::connect(&server).await.unwrap();
    let name = Statement::from_string(DbBackend::Postgres, "SELECT 'test_' || gen_random_uuid()");
    let name: String =
        admin.query_one_raw(name).await.unwrap().unwrap().try_get_by_index(0).unwrap();
    admin.execute_unprepared(&format!("CREATE DATABASE \"{name}\"")).await.unwrap();
    let (place, parameters) = server.split_once('?').unwrap_or((&server, ""));
    let (host, _) = place.rsplit_once('/').unwrap();
    format!("{host}/{name}?{parameters}")
}

impl Server {
    /// A way to its database past it.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn database(&self) -> DatabaseConnection {
        let mut options = ConnectOptions::new(self.database_url());
        // One, so that what is set for it holds for all that follows.
        options.max_connections(1);
        Database::connect(options).await.unwrap()
    }

    /// Runs statements on its database; answers with how many rows the last one changed.
    ///
    /// # Panics
    /// When that does not work.
    pub async fn sql(&self, statements: &str) -> u64 {
        let database = self.database().await;
        let done = database.execute_unprepared(statements).await.unwrap();
        database.close().await.unwrap();
        done.rows_affected()
    }

    /// Everything that it keeps, by place: the files in its data folder, and the rows of a
    /// database that is elsewhere.
    ///
    /// # Panics
    /// When something can't be read.
    pub async fn kept(&self) -> Vec<(String, Vec<u8>)> {
        let mut kept = files(&self.data_dir());
        if self.database_url().starts_with("postgres") {
            kept.extend(tables(&self.database().await).await);
        }
        kept
    }
}

/// Every file beneath a folder, with what is in it.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

/// Every row of every table. What is bytes there, PostgreSQL shows as text where it is text.
async fn tables(database: &DatabaseConnection) -> Vec<(String, Vec<u8>)> {
    let all = async |sql: String| {
        let rows = Statement::from_string(DbBackend::Postgres, sql);
        let rows = database.query_all_raw(rows).await.unwrap();
        rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap()).collect::<Vec<_>>()
    };
    let tables = "SELECT table_name::text FROM information_schema.tables \
                  WHERE table_schema = 'public'";
    database.execute_unprepared("SET bytea_output = 'escape'").await.unwrap();
    let mut found = Vec::new();
    for table in all(tables.to_owned()).await {
        let rows = all(format!("SELECT t::text FROM \"{table}\" AS t")).await;
        found.push((table, rows.join("\n").into_bytes()));
    }
    found
}
