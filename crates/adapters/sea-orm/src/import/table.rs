//! A table whose columns nobody promised.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, QueryResult, Statement};

const SQLITE_COLUMNS: &str = "SELECT name FROM pragma_table_info(?)";
// Not by the information schema, which hides what somebody may not read.
const POSTGRES_COLUMNS: &str = "SELECT attname::text FROM pg_attribute \
     WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";

/// A row that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {row} of {table}: what is in {column} is no text")]
pub struct Unreadable {
    /// In which table.
    pub table: &'static str,
    /// Which row, from 1 on, by the first column that is read.
    pub row: usize,
    /// Where it fails.
    pub column: &'static str,
}

/// What is in a row, by column; what is null is not there.
#[derive(Debug, Default)]
pub(super) struct Texts(BTreeMap<&'static str, String>);

impl Texts {
    /// What is in this column.
    pub(super) fn take(&mut self, column: &str) -> Option<String> {
        self.0.remove(column)
    }
}

/// A table and its columns.
#[derive(Debug)]
pub(super) struct Table {
    name: &'static str,
    columns: BTreeSet<String>,
}

impl Table {
    /// The table of this name, if there is one.
    pub(super) async fn find(
        connection: &DatabaseConnection,
        name: &'static str,
    ) -> Result<Option<Self>, DbErr> {
        let backend = connection.get_database_backend();
        let sql = match backend {
            DbBackend::Sqlite => SQLITE_COLUMNS,
            _ => POSTGRES_COLUMNS,
        };
        let columns = Statement::from_sql_and_values(backend, sql, [name.into()]);
        let columns = connection.query_all_raw(columns).await?;
        let columns: Result<BTreeSet<String>, DbErr> =
            columns.iter().map(|row| row.try_get_by_index(0)).collect();
        Ok(Some(Self { name, columns: columns? }).filter(|table| !table.columns.is_empty()))
    }

    /// Whether it has all of these columns.
    pub(super) fn has(&self, columns: &[&str]) -> bool {
        columns.iter().all(|column| self.columns.contains(*column))
    }

    /// All rows: of the columns that are `wanted`, what is in those that there are, as text. They
    /// come in the order of the first.
    pub(super) async fn read(
        &self,
        connection: &DatabaseConnection,
        wanted: &[&'static str],
    ) -> Result<Vec<Result<Texts, Unreadable>>, DbErr> {
        let there: Vec<_> = wanted.iter().copied().filter(|column| self.has(&[*column])).collect();
        let selected: Vec<_> =
            there.iter().map(|column| format!("CAST(\"{column}\" AS TEXT)")).collect();
        let sql = format!("SELECT {} FROM \"{}\" ORDER BY 1", selected.join(", "), self.name);
        let rows = Statement::from_string(connection.get_database_backend(), sql);
        let rows = connection.query_all_raw(rows).await?;
        let numbered = (1..).zip(&rows);
        Ok(numbered
            .map(|(row, found)| {
                let unreadable = |column| Unreadable { table: self.name, row, column };
                texts(found, &there).map_err(unreadable)
            })
            .collect())
    }
}

/// What is in these columns of a row; or which of them can't be read.
fn texts(row: &QueryResult, columns: &[&'static str]) -> Result<Texts, &'static str> {
    let mut found = Texts::default();
    for (index, column) in columns.iter().copied().enumerate() {
        let text: Option<String> = row.try_get_by_index(index).map_err(|_| column)?;
        if let Some(text) = text {
            found.0.insert(column, text);
        }
    }
    Ok(found)
}
