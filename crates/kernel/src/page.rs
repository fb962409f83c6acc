//! Keyset pages: a page starts after the last row of the one before, however many rows came or
//! went in between.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How many rows a page has when nobody says.
pub const DEFAULT_LIMIT: u16 = 50;
/// How many rows a page may have.
pub const MAX_LIMIT: u16 = 500;

/// Where a page begins: after the row with this id, under this sort key.
///
/// Clients see opaque text and hand it back; its form may change with its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    #[serde(rename = "v")]
    version: u8,
    /// The id of the last row seen.
    #[serde(rename = "i")]
    pub id: Uuid,
    /// The value of the sort column in that row; `None` when rows are sorted by id.
    #[serde(rename = "k", skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// What the list is sorted by, where clients choose; a cursor is good for that order alone.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none", default)]
    pub sort: Option<String>,
}

const VERSION: u8 = 1;
/// The longest key that a cursor of ours has, in bytes.
const MAX_KEY: usize = 1024;

/// The text given is no cursor that this version of Muster made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this list: use next_cursor as it was answered, or leave it out")]
pub struct InvalidCursor;

impl Cursor {
    /// The cursor behind the row `id` in a list sorted by id.
    pub const fn after(id: Uuid) -> Self {
        Self { version: VERSION, id, key: None, sort: None }
    }

    /// The cursor behind the row `id`, whose sort column holds `key`.
    pub const fn after_key(id: Uuid, key: String) -> Self {
        Self { version: VERSION, id, key: Some(key), sort: None }
    }

    /// The cursor behind the row `id`, whose sort column holds `key`, in a list that its client
    /// wants in the order `sort`.
    pub const fn in_order(sort: String, id: Uuid, key: String) -> Self {
        Self { version: VERSION, id, key: Some(key), sort: Some(sort) }
    }

    /// The text that a client hands back.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads what [`Cursor::encode`] wrote.
    ///
    /// # Errors
    /// [`InvalidCursor`] for anything else.
    pub fn decode(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let cursor: Self = serde_json::from_slice(&bytes).map_err(|_| InvalidCursor)?;
        let key = cursor.key.as_deref().unwrap_or_default();
        let is_text = key.len() <= MAX_KEY && !key.contains('\0');
        if cursor.version == VERSION && is_text { Ok(cursor) } else { Err(InvalidCursor) }
    }
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    limit: u16,
    /// Where to begin; `None` at the first row.
    pub cursor: Option<Cursor>,
}

impl PageRequest {
    /// A page of at most `limit` rows (1 to [`MAX_LIMIT`], else the nearest of the two).
    pub fn new(limit: u16, cursor: Option<Cursor>) -> Self {
        Self { limit: limit.clamp(1, MAX_LIMIT), cursor }
    }

    /// How many rows the page may have.
    pub const fn limit(&self) -> u16 {
        self.limit
    }
}

impl Default for PageRequest {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT, None)
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in the list's order.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last.
    pub next_cursor: Option<Cursor>,
    /// How many rows the whole list has.
    pub total: u64,
}

impl<T> Page<T> {
    /// Makes a page from `rows`, of which one more than `request` allows was fetched if there is
    /// a next page; `cursor` tells where a page behind a row begins.
    pub fn from_rows(
        mut rows: Vec<T>,
        request: &PageRequest,
        total: u64,
        cursor: impl Fn(&T) -> Cursor,
    ) -> Self {
        let limit = usize::from(request.limit());
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = if more { rows.last().map(cursor) } else { None };
        Self { items: rows, next_cursor, total }
    }

    /// The same page with each row turned into something else.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            next_cursor: self.next_cursor,
            total: self.total,
        }
    }

    /// The same where that may fail.
    ///
    /// # Errors
    /// The first that comes up.
    pub fn try_map<U, E>(self, change: impl FnMut(T) -> Result<U, E>) -> Result<Page<U>, E> {
        let Self { items, next_cursor, total } = self;
        let items = items.into_iter().map(change).collect::<Result<_, E>>()?;
        Ok(Page { items, next_cursor, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_way_through_a_client() {
        let cursor = Cursor::after_key(Uuid::from_u128(9), "web-01".into());
        assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
    }

    #[test]
    fn a_cursor_of_another_version_or_making_is_refused() {
        let foreign =
            URL_SAFE_NO_PAD.encode(r#"{"v":9,"i":"00000000-0000-0000-0000-000000000000"}"#);
        for text in [foreign.as_str(), "", "%%%", "bm90IGpzb24"] {
            assert_eq!(Cursor::decode(text), Err(InvalidCursor));
        }
    }

    #[test]
    fn the_last_page_has_no_next_one() {
        let request = PageRequest::new(2, None);
        let behind = |n: &u128| Cursor::after(Uuid::from_u128(*n));
        assert_eq!(Page::from_rows(vec![1, 2], &request, 2, behind).next_cursor, None);
        let page = Page::from_rows(vec![1, 2, 3], &request, 3, behind);
        assert_eq!(page.items, [1, 2]);
        assert_eq!(page.next_cursor, Some(behind(&2)));
    }
}
