//! What handlers take from a request.

mod body;
mod caller;
mod idempotency;
mod json;
mod list;
mod older;
mod path;
mod precondition;
mod source;
mod yaml;

pub(crate) use caller::{Caller, Enroller, May, MayListen, check_origin, wants_events};
pub(crate) use idempotency::IdempotencyKey;
pub(crate) use json::{Body, Json, finite, nul_in, null_as_default, pointer, some};
pub(crate) use list::{ListAnswer, PageQuery, Query};
pub use older::Presented;
pub(crate) use older::{CommandsOf, Older, Reporting, is_unversioned, name_in};
pub(crate) use path::{AgentIn, ConnectionIn, Id, Number, TaskIn};
pub(crate) use precondition::{IfMatch, etag};
pub(crate) use source::Stranger;
pub use source::{client_address, network};
pub(crate) use yaml::Yaml;
