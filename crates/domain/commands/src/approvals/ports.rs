//! What approvals need from outside.

use async_trait::async_trait;
use muster_kernel::{ApprovalId, Author, Page, PageRequest, StorageError, TenantScope, Timestamp};

use super::approval::{Approval, ApprovalEvent, ApprovalStatus};
use crate::Once;

/// What came of handing in a request that has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is durable, and waits.
    New,
    /// The same request came before, and made this.
    Known(ApprovalId),
    /// The key came before with another request.
    Conflict,
}

/// Which approvals a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApprovalFilter {
    /// Only those that are this far.
    pub status: Option<ApprovalStatus>,
}

/// Keeps approvals. One lies in a scope when all customers on whose machines it would run do.
#[async_trait]
pub trait ApprovalRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new one and enters it in the audit log.
    async fn create(
        &self,
        approval: Approval,
        once: Option<Once>,
        author: &Author,
    ) -> Result<Kept, StorageError>;

    /// The approval `id`, if it lies in `scope`.
    async fn find(
        &self,
        scope: &TenantScope,
        id: ApprovalId,
    ) -> Result<Option<Approval>, StorageError>;

    /// The approvals in `scope` that pass `filter` at the instant `now`, the newest first.
    async fn list(
        &self,
        scope: &TenantScope,
        filter: ApprovalFilter,
        now: Timestamp,
        page: &PageRequest,
    ) -> Result<Page<Approval>, StorageError>;

    /// Does what `event` says by [`Approval::apply`] and enters it in the audit log, so that of
    /// two who decide at once one comes first; answers with the approval after it and whether it
    /// changed, `None` when there is no such approval.
    async fn change(
        &self,
        id: ApprovalId,
        event: ApprovalEvent,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<(Approval, bool)>, StorageError>;
}
