//! What the log needs from outside.

use async_trait::async_trait;
use muster_kernel::{Author, CustomerId, Page, PageRequest, StorageError, Timestamp};
use uuid::Uuid;

use crate::{Entry, Head, Link, Mac};

/// Which entries a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only what this actor did.
    pub actor_id: Option<Uuid>,
    /// Only this action, or with a dot at its end all that begin so.
    pub action: Option<String>,
    /// Only what was done to this kind of thing.
    pub resource_kind: Option<String>,
    /// Only what was done to this thing.
    pub resource_id: Option<Uuid>,
    /// Only what was done to things of this customer.
    pub customer_id: Option<CustomerId>,
    /// Only what was done at this instant or later.
    pub from: Option<Timestamp>,
    /// Only what was done before this instant.
    pub to: Option<Timestamp>,
}

/// The log as it is kept. Entries are appended by the repositories, each in the transaction of
/// the change that it tells of.
#[async_trait]
pub trait AuditLog: Send + Sync + std::fmt::Debug {
    /// The entries that pass `filter`, the newest first.
    async fn list(
        &self,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<Entry>, StorageError>;

    /// The head and its seal.
    async fn head(&self) -> Result<(Head, Mac), StorageError>;

    /// The links from `from` to `through`, both included, in order, at most `limit`.
    async fn links(&self, from: u64, through: u64, limit: u64) -> Result<Vec<Link>, StorageError>;

    /// Lets go of at most `limit` of the oldest entries, all from before `before`, and enters
    /// that; answers with how many. The newest entry always stays.
    async fn prune(
        &self,
        before: Timestamp,
        limit: u64,
        author: &Author,
        now: Timestamp,
    ) -> Result<u64, StorageError>;
}
