//! What every domain of Muster shares, and nothing that only one of them needs.
//!
//! - [`ids`]: one newtype per entity, from one registry
//! - [`time`] and [`entropy`]: the two ports through which time and randomness come in
//! - [`access`]: who asks ([`Principal`]), for what ([`Action`]), and the proof that they may
//!   ([`Permit`])
//! - [`audit`]: what a change says of itself to the audit log
//! - [`limits`]: how much a principal may ask for
//! - [`DangerPolicy`]: what it takes to run something dangerous
//! - [`Dialect`]: what agents of older products speak, and which customers let them in
//! - [`events`]: what happens, told to whoever listens now
//! - [`leadership`]: work that one of several nodes does for all
//! - [`page`]: keyset pages with an opaque cursor
//! - [`secret`]: opaque tokens, shown once and kept as a hash
//! - [`tags`]: words that people sort things by
//! - [`vault`]: secrets that have to be read again
//! - [`windows`] and [`Zone`]: times of the week, by the clocks of a place
//! - [`TRACES`]: spans for a collector
//! - [`storage`]: how a repository says that it can't
//! - [`problem`]: the stable codes that name what went wrong
//!
//! A new entity gets its id in [`ids`]; a new thing one may do gets its [`Action`], and the
//! compiler then leads to every place that has to decide about it.

pub mod access;
pub mod audit;
mod danger;
mod dialect;
pub mod entropy;
pub mod events;
pub mod ids;
pub mod leadership;
pub mod limits;
pub mod page;
pub mod problem;
pub mod secret;
pub mod storage;
pub mod tags;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
mod traces;
pub mod vault;
pub mod windows;
mod zone;

pub use access::{
    Act, Action, Actor, Author, Denied, KeyScope, Permit, Principal, Role, TenantScope, act,
};
pub use audit::{Audited, Deed, Place};
pub use danger::DangerPolicy;
pub use dialect::{Dialect, DialectPolicy, Lack};
pub use entropy::Entropy;
pub use ids::{
    AgentId, AlertChannelId, AlertId, AlertRuleId, ApiKeyId, ApprovalId, AssistantId, ChatId,
    CommandId, ComplianceCheckId, ConnectionId, CustomerId, DataKeyId, DeliveryId,
    EnrollmentTokenId, FiringId, GroupId, MaintenanceWindowId, NodeId, OsImageId, ProfileId,
    ProjectId, ProposalId, RolloutId, RunId, SavedCommandId, ScheduleId, ScriptId, SessionId,
    SoftwareId, TaskId, TurnId, UserId, VersionId,
};
pub use limits::Plan;
pub use page::{Cursor, InvalidCursor, Page, PageRequest};
pub use problem::ProblemCode;
pub use secret::{Secret, TokenHash, TokenKind};
pub use storage::StorageError;
pub use tags::{InvalidTags, Tags};
pub use time::{Clock, Timestamp};
pub use traces::TRACES;
pub use vault::{Sealed, Vault};
pub use zone::Zone;
