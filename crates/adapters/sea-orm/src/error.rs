//! What can go wrong between Muster and its database.

use std::sync::Arc;

use muster_kernel::StorageError;
use sea_orm::DbErr;

/// The database did not do what it was asked.
///
/// One failed commit answers many callers, so the cause is shared.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing} failed")]
pub struct DatabaseError {
    doing: &'static str,
    #[source]
    source: Arc<DbErr>,
}

impl DatabaseError {
    /// `doing` says what was being done, such as "reading an agent".
    pub fn new(doing: &'static str, source: DbErr) -> Self {
        Self { doing, source: Arc::new(source) }
    }

    /// A row holds what no version of Muster wrote; `place` names table and column.
    pub fn bad_row(place: &'static str) -> Self {
        Self::new("reading a row", DbErr::Type(format!("{place} holds an impossible value")))
    }

    /// Whether a unique index refused the row.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self.source.sql_err(), Some(sea_orm::SqlErr::UniqueConstraintViolation(_)))
    }
}

impl From<DbErr> for DatabaseError {
    fn from(source: DbErr) -> Self {
        Self::new("a database statement", source)
    }
}

impl From<DatabaseError> for StorageError {
    fn from(error: DatabaseError) -> Self {
        Self::new(error)
    }
}
