//! What settings need from outside.

use async_trait::async_trait;
use muster_kernel::{Author, DataKeyId, Deed, Sealed, StorageError, Timestamp, Vault};

use crate::Key;

/// What is kept of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// As it is.
    Plain(String),
    /// Sealed for [`Key::place`].
    Sealed(Sealed),
}

/// A setting that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingRow {
    /// Which.
    pub key: Key,
    /// To what.
    pub value: Stored,
    /// When.
    pub updated_at: Timestamp,
}

/// A change to a setting: to a value, or back to its default.
#[derive(Debug, Clone)]
pub struct SettingChange {
    /// Which.
    pub key: Key,
    /// To what; to its default when `None`.
    pub value: Option<Stored>,
    /// What is entered in the audit log.
    pub deed: Deed,
}

/// The settings that were set.
#[async_trait]
pub trait SettingRepository: Send + Sync + std::fmt::Debug {
    /// All of them.
    async fn all(&self) -> Result<Vec<SettingRow>, StorageError>;

    /// Makes all of the changes or none, and enters them in the audit log.
    async fn change(
        &self,
        changes: Vec<SettingChange>,
        author: &Author,
        now: Timestamp,
    ) -> Result<(), StorageError>;
}

/// A data key, encrypted by the master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Which.
    pub id: DataKeyId,
    /// The key, as only the holder of the master key reads it.
    pub wrapped: Sealed,
    /// Since when; the newest seals, all of them open.
    pub created_at: Timestamp,
}

/// The data keys.
#[async_trait]
pub trait DataKeyRepository: Send + Sync + std::fmt::Debug {
    /// All of them, the oldest first.
    async fn data_keys(&self) -> Result<Vec<WrappedKey>, StorageError>;

    /// Keeps another one and enters it in the audit log; with `only_first`, if there is none yet.
    async fn add_data_key(
        &self,
        key: WrappedKey,
        only_first: bool,
        author: &Author,
    ) -> Result<(), StorageError>;
}

/// Everything that is kept sealed, wherever.
#[async_trait]
pub trait SealedRows: Send + Sync + std::fmt::Debug {
    /// All of it, with the places that it is sealed for.
    async fn sealed(&self) -> Result<Vec<(String, Sealed)>, StorageError>;

    /// Puts `new` where `old` is, if that is still so; says whether it was.
    async fn reseal(&self, place: &str, old: &Sealed, new: &Sealed) -> Result<bool, StorageError>;
}

/// A vault whose key can be replaced.
#[async_trait]
pub trait KeyRing: Vault {
    /// From now on seals with a new key; the old ones still open.
    async fn rotate(&self, author: &Author) -> Result<(), StorageError>;
}
