//! Which tables a database has, as the database itself says.

use std::collections::BTreeMap;

use sea_orm::sea_query::{Query, SelectStatement};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, TryGetable, Value};

use super::CopyError;

/// Where migrations are remembered: each database has done its own.
const MIGRATIONS: &str = "seaql_migrations";

// Virtual tables and what they are kept in are indexes: triggers fill them.
const SQLITE_COLUMNS: &str = "SELECT t.name, c.name, lower(c.type) \
     FROM pragma_table_list AS t JOIN pragma_table_info(t.name) AS c \
     WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite%'";
const SQLITE_REFERENCES: &str = "SELECT t.name, f.\"table\", '' \
     FROM sqlite_schema AS t JOIN pragma_foreign_key_list(t.name) AS f WHERE t.type = 'table'";
const POSTGRES_COLUMNS: &str = "SELECT c.table_name::text, c.column_name::text, c.data_type::text \
     FROM information_schema.columns AS c \
     JOIN information_schema.tables AS t USING (table_schema, table_name) \
     WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'";
const POSTGRES_REFERENCES: &str = "SELECT t.relname::text, r.relname::text, '' \
     FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.conrelid \
     JOIN pg_class AS r ON r.oid = c.confrelid \
     WHERE c.contype = 'f' AND c.connamespace = current_schema()::regnamespace";

const POSTGRES_NUMBERED: &str = "SELECT table_name::text, column_name::text, '' \
     FROM information_schema.columns WHERE table_schema = current_schema() \
     AND (is_identity = 'YES' OR column_default LIKE 'nextval(%')";

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uuid,
    Text,
    Bytes,
    Boolean,
    Small,
    Integer,
    Big,
    Single,
    Double,
}

impl Kind {
    /// The kind that a database calls so.
    fn of(name: &str, database: DbBackend) -> Option<Self> {
        let (bare, _) = name.split_once('(').unwrap_or((name, ""));
        let kind = match bare {
            "uuid" | "uuid_text" => Self::Uuid,
            "text" | "varchar" | "character varying" => Self::Text,
            "blob" | "bytea" | "binary" | "varbinary_blob" => Self::Bytes,
            "boolean" => Self::Boolean,
            "smallint" => Self::Small,
            "integer" => Self::Integer,
            "bigint" => Self::Big,
            "float" | "real" => Self::Single,
            "double" | "double precision" => Self::Double,
            _ => return None,
        };
        // SQLite keeps numbers as wide as they come.
        Some(if database == DbBackend::Sqlite { kind.widest() } else { kind })
    }

    /// The kind that holds the same and more.
    const fn widest(self) -> Self {
        match self {
            Self::Small | Self::Integer => Self::Big,
            Self::Single => Self::Double,
            wide => wide,
        }
    }

    /// The value in a column of this kind, in the widest kind that holds it.
    fn read(self, row: &QueryResult, index: usize) -> Result<Value, DbErr> {
        fn get<T: TryGetable>(row: &QueryResult, index: usize) -> Result<Option<T>, DbErr> {
            row.try_get_by_index(index)
        }
        Ok(match self {
            Self::Uuid => Value::Uuid(get(row, index)?),
            Self::Text => Value::String(get(row, index)?),
            Self::Bytes => Value::Bytes(get(row, index)?),
            Self::Boolean => Value::Bool(get(row, index)?),
            Self::Small => Value::BigInt(get::<i16>(row, index)?.map(i64::from)),
            Self::Integer => Value::BigInt(get::<i32>(row, index)?.map(i64::from)),
            Self::Big => Value::BigInt(get(row, index)?),
            Self::Single => Value::Double(get::<f32>(row, index)?.map(f64::from)),
            Self::Double => Value::Double(get(row, index)?),
        })
    }
}

/// A table and its columns, by name.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) name: String,
    columns: Vec<(String, Kind)>,
}

impl Table {
    /// Whether another database's table has the same columns, of kinds that hold the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let widest = |table: &Self| -> Vec<_> {
            table.columns.iter().map(|(name, kind)| (name.clone(), kind.widest())).collect()
        };
        self.name == other.name && widest(self) == widest(other)
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = String> {
        self.columns.iter().map(|(name, _)| name.clone())
    }

    /// All of its rows.
    pub(super) fn select(&self) -> SelectStatement {
        Query::select().columns(self.columns()).from(self.name.clone()).take()
    }

    /// A row of [`Table::select`].
    pub(super) fn read(&self, row: &QueryResult) -> Result<Vec<Value>, DbErr> {
        let kinds = self.columns.iter().enumerate();
        kinds.map(|(index, (_, kind))| kind.read(row, index)).collect()
    }
}

/// Has numbers that the database gives to rows go on behind those that there are.
pub(super) async fn number_on(connection: &impl ConnectionTrait) -> Result<(), DbErr> {
    // SQLite goes by the rows themselves.
    if connection.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    for (table, column, _) in triples(connection, POSTGRES_NUMBERED).await? {
        let go_on = format!(
            "SELECT setval(pg_get_serial_sequence('\"{table}\"', '{column}'), \
             (SELECT coalesce(max(\"{column}\"), 0) + 1 FROM \"{table}\"), false)"
        );
        connection.execute_unprepared(&go_on).await?;
    }
    Ok(())
}

/// The tables, each behind those that it refers to.
pub(super) async fn tables(connection: &impl ConnectionTrait) -> Result<Vec<Table>, CopyError> {
    let database = connection.get_database_backend();
    let (columns, references) = match database {
        DbBackend::Sqlite => (SQLITE_COLUMNS, SQLITE_REFERENCES),
        _ => (POSTGRES_COLUMNS, POSTGRES_REFERENCES),
    };
    let failed = CopyError::at("the list of tables");
    let mut found: BTreeMap<String, Table> = BTreeMap::new();
    for (table, column, kind) in triples(connection, columns).await.map_err(&failed)? {
        if table == MIGRATIONS {
            continue;
        }
        let known = Kind::of(&kind, database)
            .ok_or_else(|| CopyError::Strange(format!("{table}.{column} ({kind})")))?;
        let new = || Table { name: table.clone(), columns: Vec::new() };
        found.entry(table.clone()).or_insert_with(new).columns.push((column, known));
    }
    // Each database sorts in its own way.
    for table in found.values_mut() {
        table.columns.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let references = triples(connection, references).await.map_err(&failed)?;
    Ok(in_order(found, &references))
}

fn in_order(
    mut waiting: BTreeMap<String, Table>,
    references: &[(String, String, String)],
) -> Vec<Table> {
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_free = |table: &str| {
            references
                .iter()
                .filter(|(from, to, _)| from == table && to != table)
                .all(|(_, to, _)| !waiting.contains_key(to))
        };
        let free: Vec<String> = waiting.keys().filter(|table| is_free(table)).cloned().collect();
        // Tables that refer to each other could be filled in no order: they come as they are, and
        // the database says which row it minds.
        let next = if free.is_empty() { waiting.keys().cloned().collect() } else { free };
        ordered.extend(next.iter().filter_map(|table| waiting.remove(table)));
    }
    ordered
}

async fn triples(
    connection: &impl ConnectionTrait,
    sql: &str,
) -> Result<Vec<(String, String, String)>, DbErr> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all_raw(statement).await?;
    let text = |row: &QueryResult, index| row.try_get_by_index::<String>(index);
    rows.iter().map(|row| Ok((text(row, 0)?, text(row, 1)?, text(row, 2)?))).collect()
}
