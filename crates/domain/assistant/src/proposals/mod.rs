//! What assistants propose to run. A [`Proposal`] is a record and runs nothing; a person who may run it
//! approves it with [`Proposals`], and it begins under that person's name and by the rules for
//! theirs, once. What can become of a proposal is decided by [`Proposal::apply`] and nowhere else.

mod bench;
mod draft;
mod proposal;
mod usecase;

use async_trait::async_trait;
use muster_kernel::{
    Author, ChatId, Page, PageRequest, ProjectId, ProposalId, StorageError, TenantScope, Timestamp,
};

pub use bench::{Bench, RunsBench, Weighed};
pub(crate) use draft::{Draft, Drafted, Verdict};
pub use proposal::{
    Outcome, Proposal, ProposalEvent, ProposalState, ProposalStatus, Source, WAITS_FOR,
};
pub(crate) use usecase::Place;
pub use usecase::{Proposals, ProposalsError, ProposalsPorts};

/// Which proposals a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProposalFilter {
    /// Only those that are this far.
    pub status: Option<ProposalStatus>,
    /// Only those of this conversation.
    pub chat_id: Option<ChatId>,
    /// Only those of this project.
    pub project_id: Option<ProjectId>,
}

/// Keeps proposals. One lies in a scope when all customers on whose machines it would run do.
#[async_trait]
pub trait ProposalRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new one and enters it in the audit log. The one that it takes the place of, if that
    /// belongs to the same conversation and still waits, is superseded in the same transaction.
    async fn create(
        &self,
        proposal: Proposal,
        replaces: Option<ProposalId>,
        author: &Author,
    ) -> Result<(), StorageError>;

    /// The proposal `id`, if it lies in `scope`.
    async fn find(
        &self,
        scope: &TenantScope,
        id: ProposalId,
    ) -> Result<Option<Proposal>, StorageError>;

    /// The proposals in `scope` that pass `filter` at the instant `now`, the newest first.
    async fn list(
        &self,
        scope: &TenantScope,
        filter: ProposalFilter,
        now: Timestamp,
        page: &PageRequest,
    ) -> Result<Page<Proposal>, StorageError>;

    /// Does what `event` says by [`Proposal::apply`] and enters it in the audit log, so that of two
    /// who decide at once one comes first; answers with the proposal after it and whether it changed,
    /// `None` when there is no such proposal.
    async fn change(
        &self,
        id: ProposalId,
        event: ProposalEvent,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<(Proposal, bool)>, StorageError>;
}
