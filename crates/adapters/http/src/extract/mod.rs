//! What handlers take from a request.

mod caller;
mod idempotency;
mod json;
mod list;
mod path;

pub(crate) use caller::{Caller, Enroller};
pub(crate) use idempotency::IdempotencyKey;
pub(crate) use json::Json;
pub(crate) use list::{ListAnswer, PageQuery, Query};
pub(crate) use path::Id;
