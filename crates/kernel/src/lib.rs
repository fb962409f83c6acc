//! What every domain of Muster shares, and nothing that only one of them needs.
//!
//! - [`ids`]: one newtype per entity, from one registry
//! - [`time`] and [`entropy`]: the two ports through which time and randomness come in
//! - [`access`]: who asks ([`Principal`]), for what ([`Action`]), on whose ground ([`Resource`])
//! - [`page`]: keyset pages with an opaque cursor
//! - [`secret`]: opaque tokens, shown once and kept as a hash
//! - [`storage`]: how a repository says that it can't
//! - [`problem`]: the stable codes that name what went wrong
//!
//! A new entity gets its id in [`ids`]; a new thing one may do gets its [`Action`], and the
//! compiler then leads to every place that has to decide about it.

pub mod access;
pub mod entropy;
pub mod ids;
pub mod page;
pub mod problem;
pub mod secret;
pub mod storage;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;

pub use access::{Action, Denied, Principal, Resource, Role, TenantScope};
pub use entropy::Entropy;
pub use ids::{AgentId, CommandId, ConnectionId, CustomerId, EnrollmentTokenId, SessionId, UserId};
pub use page::{Cursor, Page, PageRequest};
pub use problem::ProblemCode;
pub use secret::{Secret, TokenHash, TokenKind};
pub use storage::StorageError;
pub use time::{Clock, Timestamp};
