//! What agents are searched by, with an index that finds three characters or more anywhere.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{text, uuid};
use sea_orm_migration::sea_orm::DatabaseBackend;

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

const TABLE: &str = "agent_texts";

const FILL: &str = "INSERT INTO agent_texts (agent_id, text) \
    SELECT id, lower(hostname || '\n' || coalesce(ip_address, '') || '\n' || coalesce(os, '') \
        || '\n' || coalesce(notes, '')) \
    FROM agents WHERE deleted_at IS NULL";

/// The index of SQLite, and what keeps it current with each statement.
const SQLITE: [&str; 5] = [
    "CREATE VIRTUAL TABLE agent_texts_index USING fts5 \
     (text, content='agent_texts', content_rowid='number', tokenize='trigram')",
    "CREATE TRIGGER agent_texts_added AFTER INSERT ON agent_texts BEGIN \
     INSERT INTO agent_texts_index (rowid, text) VALUES (new.number, new.text); END",
    "CREATE TRIGGER agent_texts_removed AFTER DELETE ON agent_texts BEGIN \
     INSERT INTO agent_texts_index (agent_texts_index, rowid, text) \
     VALUES ('delete', old.number, old.text); END",
    "CREATE TRIGGER agent_texts_changed AFTER UPDATE ON agent_texts BEGIN \
     INSERT INTO agent_texts_index (agent_texts_index, rowid, text) \
     VALUES ('delete', old.number, old.text); \
     INSERT INTO agent_texts_index (rowid, text) VALUES (new.number, new.text); END",
    FILL,
];

const POSTGRES: [&str; 2] =
    ["CREATE INDEX agent_texts_index ON agent_texts USING gin (text gin_trgm_ops)", FILL];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut of_agent = ForeignKey::create()
            .from(TABLE, "agent_id")
            .to("agents", "id")
            .on_delete(ForeignKeyAction::Cascade)
            .take();
        let table = Table::create()
            .table(TABLE)
            .col(ColumnDef::new("number").big_integer().auto_increment().primary_key())
            .col(uuid("agent_id").unique_key())
            .col(text("text"))
            .foreign_key(&mut of_agent)
            .take();
        manager.create_table(table).await?;
        let connection = manager.get_connection();
        let statements = match manager.get_database_backend() {
            DatabaseBackend::Postgres => {
                let extension = "CREATE EXTENSION IF NOT EXISTS pg_trgm";
                connection.execute_unprepared(extension).await.map_err(|error| refused(&error))?;
                &POSTGRES[..]
            }
            _ => &SQLITE[..],
        };
        for statement in statements {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DatabaseBackend::Postgres {
            let connection = manager.get_connection();
            connection.execute_unprepared("DROP TABLE agent_texts_index").await?;
            for name in ["added", "removed", "changed"] {
                let drop = format!("DROP TRIGGER agent_texts_{name}");
                connection.execute_unprepared(&drop).await?;
            }
        }
        manager.drop_table(Table::drop().table(TABLE).take()).await
    }
}

fn refused(error: &DbErr) -> DbErr {
    DbErr::Custom(format!(
        "searching agents needs the extension pg_trgm, which PostgreSQL did not let Muster create \
         ({error}). Install it with PostgreSQL's contrib package if it is missing; then run, as the \
         database's owner or a superuser and in Muster's database, CREATE EXTENSION pg_trgm; and \
         start Muster again"
    ))
}
