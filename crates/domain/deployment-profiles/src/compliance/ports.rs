//! What compliance needs from outside.

use async_trait::async_trait;
use muster_kernel::{
    Author, ComplianceCheckId, Page, PageRequest, ProfileId, RolloutId, StorageError, TenantScope,
    Timestamp,
};

use super::{ComplianceCheck, Standing, StandingStatus};

/// Which machines a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StandingFilter {
    /// Only those that stand so.
    pub status: Option<StandingStatus>,
}

/// How many machines stand how to a profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of StandingStatus")]
pub struct StandingCounts {
    pub compliant: u64,
    pub drifted: u64,
    pub unknown: u64,
}

/// Keeps checks, and how machines stand. A machine's standing is written by
/// [`RolloutRepository::advance`](crate::rollouts::RolloutRepository::advance), and is gone with its
/// machine or profile.
#[async_trait]
pub trait ComplianceRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new check and enters it in the audit log; says whether its customer is there.
    async fn create(&self, check: ComplianceCheck, author: &Author) -> Result<bool, StorageError>;

    /// The check `id`, if it lies in `scope`.
    async fn find(
        &self,
        scope: &TenantScope,
        id: ComplianceCheckId,
    ) -> Result<Option<ComplianceCheck>, StorageError>;

    /// The checks in `scope`, in the order of their creation.
    async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<ComplianceCheck>, StorageError>;

    /// Keeps what a check says now, and enters it in the audit log; says whether it is there.
    async fn replace(
        &self,
        check: ComplianceCheck,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Removes a check in `scope`; says whether it was there.
    async fn delete(
        &self,
        scope: &TenantScope,
        id: ComplianceCheckId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// The checks that are due at `now`, at most `limit`.
    async fn due(&self, now: Timestamp, limit: u64) -> Result<Vec<ComplianceCheck>, StorageError>;

    /// Keeps what somebody had a check begin, beside what it begins by itself.
    async fn began(&self, id: ComplianceCheckId, rollout: RolloutId) -> Result<(), StorageError>;

    /// Keeps what came of a check that was due at `due`, and when it is due next, unless it was
    /// changed meanwhile.
    async fn settle(
        &self,
        id: ComplianceCheckId,
        due: Timestamp,
        next_at: Option<Timestamp>,
        began: Result<RolloutId, String>,
    ) -> Result<(), StorageError>;

    /// How machines in `scope` stand to a profile, in the order of their ids, and how many stand
    /// how.
    async fn standings(
        &self,
        scope: &TenantScope,
        profile: ProfileId,
        filter: &StandingFilter,
        page: &PageRequest,
    ) -> Result<(Page<Standing>, StandingCounts), StorageError>;
}
