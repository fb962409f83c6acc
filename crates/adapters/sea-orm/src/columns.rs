//! How values of the domain are kept in columns.
//!
//! Times are microseconds since 1970 in a `BIGINT`: the same on every database, exact, and sorted
//! by any index; `docs/decisions/0003-times-as-integers.md` says more.

use chrono::DateTime;
use muster_kernel::{TenantScope, Timestamp};
use sea_orm::sea_query::{Expr, ExprTrait, IntoColumnRef, SelectStatement};
use sea_orm::{ColumnTrait, Condition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::DatabaseError;

/// The column value of an instant.
pub(crate) const fn micros(at: Timestamp) -> i64 {
    at.timestamp_micros()
}

/// The instant in a column; `place` names table and column.
pub(crate) fn timestamp(micros: i64, place: &'static str) -> Result<Timestamp, DatabaseError> {
    DateTime::from_timestamp_micros(micros).ok_or(DatabaseError::bad_row(place))
}

/// The instant in a column that may be empty.
pub(crate) fn maybe_timestamp(
    micros: Option<i64>,
    place: &'static str,
) -> Result<Option<Timestamp>, DatabaseError> {
    micros.map(|micros| timestamp(micros, place)).transpose()
}

/// The column value of a count; counts beyond 2^63 don't occur.
pub(crate) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The count in a column.
pub(crate) fn from_count(value: i64, place: &'static str) -> Result<u64, DatabaseError> {
    u64::try_from(value).map_err(|_| DatabaseError::bad_row(place))
}

/// The JSON text of `value`. Only maps with keys that are not text can't be written, and none of
/// the domain's types has one.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The value in a JSON column.
pub(crate) fn from_json<T: DeserializeOwned>(
    text: &str,
    place: &'static str,
) -> Result<T, DatabaseError> {
    serde_json::from_str(text).map_err(|_| DatabaseError::bad_row(place))
}

/// The condition that a row belongs to a customer in `scope`.
pub(crate) fn scoped(customer_id: impl ColumnTrait, scope: &TenantScope) -> Condition {
    match scope {
        TenantScope::All => Condition::all(),
        TenantScope::Customers(ids) => {
            Condition::all().add(customer_id.is_in(ids.iter().map(|id| id.as_uuid())))
        }
    }
}

/// The condition that all of a row's owners are customers in `scope`: `owners` selects them by the
/// column `customer_id`.
pub(crate) fn all_scoped(
    customer_id: impl IntoColumnRef,
    mut owners: SelectStatement,
    scope: &TenantScope,
) -> Condition {
    match scope {
        TenantScope::All => Condition::all(),
        TenantScope::Customers(ids) => {
            let foreign = Expr::col(customer_id).is_not_in(ids.iter().map(|id| id.as_uuid()));
            Condition::all().add(Expr::exists(owners.and_where(foreign).take()).not())
        }
    }
}

/// The `LIKE` pattern, escaped by backslashes, of texts that contain `text` as it is.
pub(crate) fn contains(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        escaped(c, &mut pattern);
    }
    pattern.push('%');
    pattern
}

/// Puts a character behind a `LIKE` pattern that stands for itself.
pub(crate) fn escaped(c: char, pattern: &mut String) {
    if matches!(c, '%' | '_' | '\\') {
        pattern.push('\\');
    }
    pattern.push(c);
}
