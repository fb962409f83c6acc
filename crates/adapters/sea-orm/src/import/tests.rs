//! Tests of reading what another program wrote.

use std::path::PathBuf;

use sea_orm::ConnectionTrait;

use super::*;
use crate::InvalidDatabaseUrl;
use crate::testing::{fresh_file, fresh_postgresql, fresh_postgresql_empty, on_sqlite};

const USERS: &str = "CREATE TABLE users (username TEXT, email TEXT, password_hash TEXT, \
     is_active BOOLEAN DEFAULT TRUE); \
     INSERT INTO users (username, is_active) VALUES ('ann', TRUE), ('bob', FALSE), ('carl', NULL)";

/// A database that these statements made.
async fn made(place: &str, statements: &[&str]) -> ImportSource {
    let address =
        if place.starts_with("sqlite") { format!("{place}?mode=rwc") } else { place.into() };
    let connection = sea_orm::Database::connect(address).await.unwrap();
    for statement in statements {
        connection.execute_unprepared(statement).await.unwrap();
    }
    connection.close().await.unwrap();
    place.parse().unwrap()
}

#[test]
fn an_address_is_read_as_the_older_products_write_it() {
    let files = |text: &str| match text.parse() {
        Ok(ImportSource::File(files)) => files,
        other => panic!("{text}: {other:?}"),
    };
    let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    assert_eq!(files("sqlite:///./data/dexagents.db"), paths(&["./data/dexagents.db"]));
    assert_eq!(files("sqlite:////srv/dexagents.db"), paths(&["/srv/dexagents.db"]));
    assert_eq!(files("sqlite:///srv/d.db"), paths(&["srv/d.db", "/srv/d.db"]));
    assert_eq!(files("sqlite+aiosqlite://d.db?timeout=5"), paths(&["d.db"]));
    let server = "postgresql+asyncpg://u:p@h/d".parse::<ImportSource>();
    assert_eq!(server, Ok(ImportSource::Server("postgresql://u:p@h/d".parse().unwrap())));
    for text in ["mysql://u@h/d", "dexagents.db", "sqlite://", "sqlite:////"] {
        assert_eq!(text.parse::<ImportSource>(), Err(InvalidDatabaseUrl::Scheme), "{text}");
    }
}

#[tokio::test]
async fn agents_and_users_are_read_from_either_kind_of_database() {
    for (place, json) in [(fresh_file(), "TEXT"), (fresh_postgresql_empty().await, "JSONB")] {
        let agents = format!(
            "CREATE TABLE agents (id TEXT PRIMARY KEY, hostname TEXT NOT NULL, ip TEXT, os TEXT, \
             version TEXT, tags {json}, last_seen TIMESTAMP)"
        );
        let rows = "INSERT INTO agents VALUES ('a', 'WIN-A', '10.0.0.1', 'Windows 11', '1.0', \
             '[\"x\"]', '2025-08-02 10:30:00'), ('b', 'WIN-B', NULL, NULL, NULL, NULL, NULL)";
        let source = made(&place, &[&agents, rows, USERS]).await;
        let data = read_dexagents(&source).await.unwrap();
        let [Ok(a), Ok(b)] = &*data.agents else { panic!("{:?}", data.agents) };
        assert_eq!((&*a.id, &*a.hostname, a.tags.as_deref()), ("a", "WIN-A", Some("[\"x\"]")));
        assert_eq!(a.last_seen.as_deref(), Some("2025-08-02 10:30:00"));
        let nothing = DexAgent { id: "b".into(), hostname: "WIN-B".into(), ..Default::default() };
        assert_eq!(b, &nothing);
        let active: Vec<_> = data.users.iter().flatten().map(|user| user.is_active).collect();
        assert_eq!(active, [true, false, true], "who has no mark is active");
    }
}

#[tokio::test]
async fn columns_and_tables_that_are_missing_are_done_without() {
    let table = "CREATE TABLE agents (id INTEGER, hostname TEXT)";
    let source = made(&fresh_file(), &[table, "INSERT INTO agents VALUES (7, NULL)"]).await;
    let data = read_dexagents(&source).await.unwrap();
    assert_eq!(data.agents, [Ok(DexAgent { id: "7".into(), ..DexAgent::default() })]);
    assert!(data.users.is_empty());
}

#[tokio::test]
async fn a_row_that_is_no_text_is_told_and_the_others_are_read() {
    let rows = "INSERT INTO agents VALUES ('a', CAST(x'ff' AS TEXT)), ('b', 'WIN-B')";
    let source = made(&fresh_file(), &["CREATE TABLE agents (id TEXT, hostname TEXT)", rows]).await;
    let data = read_dexagents(&source).await.unwrap();
    let unreadable = Unreadable { table: "agents", row: 1, column: "hostname" };
    assert_eq!(data.agents[0], Err(unreadable));
    assert_eq!(data.agents[1].as_ref().unwrap().hostname, "WIN-B");
}

#[tokio::test]
async fn the_source_is_only_read() {
    let place = fresh_file();
    let source = made(&place, &["CREATE TABLE agents (id TEXT, hostname TEXT)"]).await;
    let (connection, _) = source.open().await.unwrap();
    assert!(connection.execute_unprepared("DELETE FROM agents").await.is_err());
}

#[tokio::test]
async fn another_programs_database_is_refused() {
    let refusal = async |source: &ImportSource| read_dexagents(source).await.unwrap_err();
    let missing = "sqlite:////nowhere/dexagents.db".parse().unwrap();
    assert!(matches!(refusal(&missing).await, ImportError::NoFile(_)));
    for table in ["things (id TEXT)", "agents (agent_id TEXT, hostname TEXT)"] {
        let source = made(&fresh_file(), &[&format!("CREATE TABLE {table}")]).await;
        assert!(matches!(refusal(&source).await, ImportError::Foreign { .. }), "{table}");
    }
    let place = fresh_file();
    let path = PathBuf::from(place.strip_prefix("sqlite://").unwrap());
    std::fs::write(path, "hardly a database of anybody's, and long enough to look at").unwrap();
    let refused = refusal(&place.parse().unwrap()).await;
    assert!(matches!(refused, ImportError::Database { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_database_of_musters_own_is_refused() {
    let own = fresh_postgresql().await;
    let refused = read_dexagents(&own.parse().unwrap()).await;
    assert!(matches!(refused, Err(ImportError::Own(_))), "{refused:?}");
    let database = on_sqlite().await;
    let name = "SELECT file FROM pragma_database_list WHERE name = 'main'";
    let name = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, name);
    let row = database.reader().query_one_raw(name).await.unwrap().unwrap();
    let path: String = row.try_get_by_index(0).unwrap();
    let refused = read_dexagents(&format!("sqlite:///{path}").parse().unwrap()).await;
    assert!(matches!(refused, Err(ImportError::Own(_))), "{refused:?}");
}
