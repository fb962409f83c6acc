//! What the library needs from outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use muster_agents::OsType;
use muster_kernel::{
    Author, CustomerId, Page, PageRequest, StorageError, TenantScope, Timestamp, VersionId,
};

use super::{Item, Version};
use crate::ShellType;

/// Why a thing of the library could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LibraryWriteError {
    /// Another one of the same owner has that name.
    #[error("another one of the same owner has that name")]
    NameTaken,
    /// Somebody changed it since it was read, or removed it.
    #[error("it was changed since it was read")]
    Stale,
    /// Its customer was deleted meanwhile.
    #[error("there is no such customer, or it is not yours")]
    NoCustomer,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LibraryFilter {
    /// Only this customer's own.
    pub customer_id: Option<CustomerId>,
    /// Only those whose name contains this, upper and lower case alike.
    pub q: Option<String>,
    /// Only those that this program reads.
    pub shell_type: Option<ShellType>,
    /// Only those that are made for these systems.
    pub target_os_type: Option<OsType>,
    /// Only those under this category.
    pub category: Option<String>,
    /// Only those with this tag.
    pub tag: Option<String>,
}

/// The scripts, or the saved commands. Those in a scope are those of its customers and those that
/// are shared. One that was removed is found by none of these methods, and its name is free; its
/// versions stay for the commands that ran them. Every write enters in the audit log what it did,
/// and who, in the same transaction.
#[async_trait]
pub trait LibraryRepository<I>: Send + Sync + std::fmt::Debug {
    /// Keeps a new one with the text of its version, if its customer is still there.
    async fn create(
        &self,
        item: Item<I>,
        text: Arc<str>,
        author: &Author,
    ) -> Result<(), LibraryWriteError>;

    /// The one with this id, if it lies in `scope`.
    async fn find(&self, scope: &TenantScope, id: I) -> Result<Option<Item<I>>, StorageError>;

    /// Those in `scope` that pass `filter`, in the order of their names.
    async fn list(
        &self,
        scope: &TenantScope,
        filter: &LibraryFilter,
        page: &PageRequest,
    ) -> Result<Page<Item<I>>, StorageError>;

    /// Makes `after`, with a version that is new, of `before`, if that is still how it is.
    async fn append(
        &self,
        before: &Item<I>,
        after: Item<I>,
        text: Arc<str>,
        author: &Author,
    ) -> Result<(), LibraryWriteError>;

    /// Removes `item`, if that is still how it is.
    async fn remove(
        &self,
        item: &Item<I>,
        author: &Author,
        now: Timestamp,
    ) -> Result<(), LibraryWriteError>;

    /// The versions of the one with this id, the newest first.
    async fn versions(&self, id: I, page: &PageRequest) -> Result<Page<Version>, StorageError>;

    /// Its version of this number.
    async fn version(&self, id: I, number: u32) -> Result<Option<Version>, StorageError>;
}

/// The texts of all versions.
#[async_trait]
pub trait ScriptTexts: Send + Sync + std::fmt::Debug {
    /// The text of a version; `None` when it is gone.
    async fn text(&self, version: VersionId) -> Result<Option<Arc<str>>, StorageError>;

    /// The texts of these versions, as far as they are known.
    async fn texts(
        &self,
        versions: &[VersionId],
    ) -> Result<BTreeMap<VersionId, Arc<str>>, StorageError> {
        let mut texts = BTreeMap::new();
        for version in versions {
            texts.extend(self.text(*version).await?.map(|text| (*version, text)));
        }
        Ok(texts)
    }
}
