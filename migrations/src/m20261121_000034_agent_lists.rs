//! What lists of many agents are sorted and found by: tags in a table of their own, host names in
//! lower case, an index for each order, for one customer and for all.

use std::collections::BTreeSet;

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, text, text_null, uuid};
use sea_orm_migration::sea_orm::DatabaseBackend;
use sea_orm_migration::sea_orm::prelude::Uuid;

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

const AGENTS: &str = "agents";
const TAGS: &str = "agent_tags";
/// How many agents are worked on at a time.
const AT_ONCE: u64 = 500;

/// Indexes of agents that are there, and their columns.
const INDEXES: [(&str, &[&str]); 11] = [
    ("agents_by_created_at", &["created_at", "id"]),
    ("agents_by_name", &["canonical_hostname", "id"]),
    ("agents_by_last_seen", &["last_seen", "id"]),
    ("agents_by_version", &["version", "id"]),
    ("agents_by_os_type", &["os_type", "id"]),
    ("agents_by_customer", &["customer_id", "id"]),
    ("agents_of_customer_by_created_at", &["customer_id", "created_at", "id"]),
    ("agents_of_customer_by_name", &["customer_id", "canonical_hostname", "id"]),
    // Holds all that counting looks at, so that it needs no row of the table.
    (
        "agents_of_customer_by_last_seen",
        &[
            "customer_id",
            "last_seen",
            "id",
            "os_type",
            "version",
            "canonical_hostname",
            "deleted_at",
        ],
    ),
    ("agents_of_customer_by_version", &["customer_id", "version", "id"]),
    ("agents_of_customer_by_os_type", &["customer_id", "os_type", "id"]),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // What is not known is 0 or empty: nothing that lists are sorted by is null.
        let seen = big_integer("seen").default(0).take();
        replace(manager, "last_seen", seen, "COALESCE(last_seen, 0)").await?;
        let program = by_bytes(manager, text("program").default("").take());
        replace(manager, "version", program, "COALESCE(version, '')").await?;
        let name = by_bytes(manager, text("canonical_hostname").default("").take());
        add(manager, name).await?;
        run(manager, "UPDATE agents SET canonical_hostname = lower(hostname)").await?;
        create_tags(manager).await?;
        while_some(manager, tags_to_rows).await?;
        alter(manager, Table::alter().table(AGENTS).drop_column("tags").take()).await?;
        for (name, columns) in INDEXES {
            let mut index = Index::create();
            index.name(name).table(AGENTS).and_where(Expr::col("deleted_at").is_null());
            for column in columns {
                index.col(*column);
            }
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, _) in INDEXES {
            manager.drop_index(Index::drop().name(name).table(AGENTS).to_owned()).await?;
        }
        add(manager, text("tags").default("[]").take()).await?;
        while_some(manager, rows_to_tags).await?;
        manager.drop_table(Table::drop().table(TAGS).take()).await?;
        let drop = Table::alter().table(AGENTS).drop_column("canonical_hostname").take();
        alter(manager, drop).await?;
        let program = text_null("program");
        replace(manager, "version", program, "NULLIF(version, '')").await?;
        let seen = big_integer_null("seen");
        replace(manager, "last_seen", seen, "NULLIF(last_seen, 0)").await
    }
}

/// The column, sorted by its bytes on every database.
fn by_bytes(manager: &SchemaManager<'_>, mut column: ColumnDef) -> ColumnDef {
    if manager.get_database_backend() == DatabaseBackend::Postgres {
        column.extra("COLLATE \"C\"");
    }
    column
}

async fn alter(manager: &SchemaManager<'_>, change: TableAlterStatement) -> Result<(), DbErr> {
    manager.alter_table(change).await
}

async fn add(manager: &SchemaManager<'_>, column: ColumnDef) -> Result<(), DbErr> {
    alter(manager, Table::alter().table(AGENTS).add_column(column).take()).await
}

async fn run(manager: &SchemaManager<'_>, statement: &str) -> Result<(), DbErr> {
    manager.get_connection().execute_unprepared(statement).await.map(|_| ())
}

/// Puts `column` in the place of the one called `name`, with `value` of each row in it.
async fn replace(
    manager: &SchemaManager<'_>,
    name: &'static str,
    column: ColumnDef,
    value: &str,
) -> Result<(), DbErr> {
    let new = column.get_column_name().clone();
    add(manager, column).await?;
    run(manager, &format!("UPDATE agents SET {new} = {value}")).await?;
    alter(manager, Table::alter().table(AGENTS).drop_column(name).take()).await?;
    alter(manager, Table::alter().table(AGENTS).rename_column(new, name).take()).await
}

async fn create_tags(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut of_agent = ForeignKey::create()
        .from(TAGS, "agent_id")
        .to(AGENTS, "id")
        .on_delete(ForeignKeyAction::Cascade)
        .take();
    let table = Table::create()
        .table(TAGS)
        .col(uuid("agent_id"))
        .col(text("tag"))
        .primary_key(Index::create().col("agent_id").col("tag"))
        .foreign_key(&mut of_agent)
        .take();
    manager.create_table(table).await?;
    let mut by_tag = Index::create();
    by_tag.name("agent_tags_by_tag").table(TAGS).col("tag").col("agent_id");
    manager.create_index(by_tag).await
}

/// Does `work` with some agents after the other, until there are none left.
async fn while_some(
    manager: &SchemaManager<'_>,
    work: impl AsyncFn(&SchemaManager<'_>, Uuid, Option<String>) -> Result<(), DbErr>,
) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    let mut last = Uuid::nil();
    loop {
        let some = Query::select()
            .columns(["id", "tags"])
            .from(AGENTS)
            .and_where(Expr::col("deleted_at").is_null())
            .and_where(Expr::col("id").gt(last))
            .order_by("id", Order::Asc)
            .limit(AT_ONCE)
            .take();
        let rows = manager.get_connection().query_all_raw(backend.build(&some)).await?;
        for row in &rows {
            last = row.try_get("", "id")?;
            work(manager, last, row.try_get("", "tags")?).await?;
        }
        if rows.is_empty() {
            return Ok(());
        }
    }
}

async fn tags_to_rows(
    manager: &SchemaManager<'_>,
    id: Uuid,
    tags: Option<String>,
) -> Result<(), DbErr> {
    let tags = tags.unwrap_or_default();
    let tags: BTreeSet<String> = serde_json::from_str(&tags)
        .map_err(|error| DbErr::Custom(format!("agents.tags: {error}")))?;
    let backend = manager.get_database_backend();
    for tag in tags {
        let row = Query::insert()
            .into_table(TAGS)
            .columns(["agent_id", "tag"])
            .values_panic([id.into(), tag.into()])
            .take();
        manager.get_connection().execute_raw(backend.build(&row)).await?;
    }
    Ok(())
}

async fn rows_to_tags(
    manager: &SchemaManager<'_>,
    id: Uuid,
    _: Option<String>,
) -> Result<(), DbErr> {
    let (backend, connection) = (manager.get_database_backend(), manager.get_connection());
    let of_agent = Query::select()
        .column("tag")
        .from(TAGS)
        .and_where(Expr::col("agent_id").eq(id))
        .order_by("tag", Order::Asc)
        .take();
    let rows = connection.query_all_raw(backend.build(&of_agent)).await?;
    let tags: BTreeSet<String> =
        rows.iter().map(|row| row.try_get("", "tag")).collect::<Result<_, _>>()?;
    let text = serde_json::to_string(&tags).map_err(|error| DbErr::Custom(error.to_string()))?;
    let back =
        Query::update().table(AGENTS).value("tags", text).and_where(Expr::col("id").eq(id)).take();
    connection.execute_raw(backend.build(&back)).await.map(|_| ())
}
