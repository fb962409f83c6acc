//! What groups need from outside.

use std::collections::BTreeSet;

use async_trait::async_trait;
use muster_kernel::{
    AgentId, Author, CustomerId, GroupId, Page, PageRequest, StorageError, TenantScope, Timestamp,
};

use super::Group;

/// Why a group could not be written.
#[derive(Debug, thiserror::Error)]
pub enum GroupWriteError {
    /// Another one of the same owner has that name.
    #[error("another group of the same owner has that name")]
    NameTaken,
    /// Somebody changed it since it was read, or removed it.
    #[error("the group was changed since it was read")]
    Stale,
    /// Its customer was deleted meanwhile.
    #[error("there is no such customer, or it is not yours")]
    NoCustomer,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Which groups a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupFilter {
    /// Only this customer's own.
    pub customer_id: Option<CustomerId>,
    /// Only those whose name contains this, upper and lower case alike.
    pub q: Option<String>,
}

/// How the members of a group change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// These come in.
    Add(BTreeSet<AgentId>),
    /// These go.
    Remove(BTreeSet<AgentId>),
    /// These are all there are from now on.
    Replace(BTreeSet<AgentId>),
}

/// What came of a change of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MembersChanged {
    pub added: u64,
    pub removed: u64,
    /// How many there are now.
    pub total: u64,
}

/// The groups. Those in a scope are those of its customers and those of all customers. One that was
/// removed is found by none of these methods, nobody is in it any more, and its name is free.
/// Every write enters in the audit log what it did, and who, in the same transaction.
#[async_trait]
pub trait GroupRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new one, if its customer is still there.
    async fn create(&self, group: Group, author: &Author) -> Result<(), GroupWriteError>;

    /// The group `id`, if it lies in `scope`.
    async fn find(&self, scope: &TenantScope, id: GroupId) -> Result<Option<Group>, StorageError>;

    /// Those in `scope` that pass `filter`, in the order of their names.
    async fn list(
        &self,
        scope: &TenantScope,
        filter: &GroupFilter,
        page: &PageRequest,
    ) -> Result<Page<Group>, StorageError>;

    /// Makes `after` of `before`, if that is still how it is.
    async fn update(
        &self,
        before: &Group,
        after: Group,
        author: &Author,
    ) -> Result<(), GroupWriteError>;

    /// Removes `group` and lets its members out, if that is still how it is.
    async fn remove(
        &self,
        group: &Group,
        author: &Author,
        now: Timestamp,
    ) -> Result<(), GroupWriteError>;

    /// Changes who was put into a group, if it is still there. Machines that are gone, or that
    /// another customer has than the group, do not come in.
    async fn change_members(
        &self,
        group: &Group,
        change: MemberChange,
        author: &Author,
        now: Timestamp,
    ) -> Result<MembersChanged, GroupWriteError>;
}
