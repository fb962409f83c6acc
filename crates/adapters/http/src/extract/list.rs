//! Lists: how a page is asked for and answered.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use muster_kernel::page::{DEFAULT_LIMIT, MAX_LIMIT};
use muster_kernel::{Cursor, Page, PageRequest, ProblemCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Problem;

/// Query parameters; what can't be read is named.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let pairs = form_urlencoded::parse(request.query_string().as_bytes());
        let deserializer = serde_urlencoded::Deserializer::new(pairs);
        ready(serde_path_to_error::deserialize(deserializer).map(Self).map_err(|error| {
            let detail =
                format!("the query parameter {} can't be used: {}", error.path(), error.inner());
            Problem::new(ProblemCode::Malformed, detail)
        }))
    }
}

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// How many items, 1 to 500; 50 unless given.
    limit: Option<u16>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

impl TryFrom<PageQuery> for PageRequest {
    type Error = Problem;

    fn try_from(query: PageQuery) -> Result<Self, Problem> {
        let malformed = |detail: String| Problem::new(ProblemCode::Malformed, detail);
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(malformed(format!("limit: 1 to {MAX_LIMIT} is expected")));
        }
        let cursor = query.cursor.as_deref().map(Cursor::decode).transpose();
        Ok(Self::new(limit, cursor.map_err(|error| malformed(format!("cursor: {error}")))?))
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListAnswer<T> {
    /// The items of this page.
    items: Vec<T>,
    /// Where the next page begins; null on the last.
    next_cursor: Option<String>,
    /// How many items the whole list has.
    total: u64,
}

impl<T> ListAnswer<T> {
    /// A list that is answered as a whole.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        let total = u64::try_from(items.len()).unwrap_or(u64::MAX);
        Self { items, next_cursor: None, total }
    }

    pub(crate) fn of<U>(page: Page<U>, change: impl FnMut(U) -> T) -> Self {
        let page = page.map(change);
        Self {
            items: page.items,
            next_cursor: page.next_cursor.map(|cursor| cursor.encode()),
            total: page.total,
        }
    }
}
