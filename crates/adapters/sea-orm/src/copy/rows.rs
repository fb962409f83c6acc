//! Rows on their way: so many at a time, and what they come to.

use sea_orm::sea_query::{Expr, InsertStatement, Query};
use sea_orm::{DbErr, Value};
use sha2::{Digest as _, Sha256};

use super::tables::Table;

/// How many values one statement has at most: SQLite takes 32,766.
const MAX_VALUES: usize = 30_000;
/// How many bytes of values are held at a time.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What the rows of a table come to, in whatever order they are read: how many they are, and the
/// sum of their hashes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    rows: u64,
    sum: [u128; 2],
}

impl Digest {
    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn take(&mut self, row: &[Value]) {
        let mut hash = Sha256::new();
        for value in row {
            // What kind it is goes in too, and its length, so that no two rows read alike.
            let (kind, bytes) = plain(value);
            hash.update([kind]);
            hash.update(bytes.len().to_be_bytes());
            hash.update(bytes);
        }
        let hash: [u8; 32] = hash.finalize().into();
        for (sum, half) in self.sum.iter_mut().zip(hash.chunks_exact(16)) {
            let half = half.try_into().map_or(0, u128::from_be_bytes);
            *sum = sum.wrapping_add(half);
        }
        self.rows += 1;
    }
}

/// The bytes of a value, the same from every database.
fn plain(value: &Value) -> (u8, Vec<u8>) {
    match value {
        Value::Uuid(Some(uuid)) => (1, uuid.as_bytes().to_vec()),
        Value::String(Some(text)) => (2, text.as_bytes().to_vec()),
        Value::Bytes(Some(bytes)) => (3, bytes.clone()),
        Value::Bool(Some(is)) => (4, vec![u8::from(*is)]),
        Value::BigInt(Some(number)) => (5, number.to_be_bytes().to_vec()),
        Value::Double(Some(number)) => (6, number.to_be_bytes().to_vec()),
        // Nothing else is read: it is null.
        _ => (0, Vec::new()),
    }
}

/// Rows of a table that are written at a time.
#[derive(Debug)]
pub(super) struct Batch<'t> {
    table: &'t Table,
    rows: Vec<Vec<Value>>,
    bytes: usize,
}

impl<'t> Batch<'t> {
    pub(super) const fn of(table: &'t Table) -> Self {
        Self { table, rows: Vec::new(), bytes: 0 }
    }

    /// Takes one more row; answers with what is to be written when there are enough.
    pub(super) fn push(&mut self, row: Vec<Value>) -> Result<Option<InsertStatement>, DbErr> {
        self.bytes += row.iter().map(|value| plain(value).1.len()).sum::<usize>();
        let columns = row.len();
        self.rows.push(row);
        let full = (self.rows.len() + 1) * columns > MAX_VALUES || self.bytes >= MAX_BYTES;
        if full { self.rest() } else { Ok(None) }
    }

    /// What is left to be written, if there is something.
    pub(super) fn rest(&mut self) -> Result<Option<InsertStatement>, DbErr> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let mut insert = Query::insert();
        insert.into_table(self.table.name.clone()).columns(self.table.columns());
        for row in self.rows.drain(..) {
            let values = row.into_iter().map(Expr::from);
            insert.values(values).map_err(|error| DbErr::Custom(error.to_string()))?;
        }
        self.bytes = 0;
        Ok(Some(insert))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::String(Some(text.into()))
    }

    #[test]
    fn rows_come_to_the_same_in_any_order_and_to_another_when_one_is_changed() {
        let digest = |rows: &[Vec<Value>]| {
            let mut digest = Digest::default();
            for row in rows {
                digest.take(row);
            }
            digest
        };
        let (one, two) = (vec![text("a"), text("bc")], vec![text("ab"), text("c")]);
        assert_eq!(digest(&[one.clone(), two.clone()]), digest(&[two.clone(), one.clone()]));
        assert_ne!(digest(std::slice::from_ref(&one)), digest(std::slice::from_ref(&two)));
        assert_ne!(digest(&[one.clone(), one]), digest(&[two.clone(), two]));
        assert_ne!(digest(&[vec![text("")]]), digest(&[vec![Value::String(None)]]));
    }
}
