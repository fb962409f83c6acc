//! Secrets that have to be read again, and so can't be kept as a hash.

use async_trait::async_trait;

use crate::{Secret, StorageError};

/// A secret as rows keep it: nobody reads it without the key, nor in another place.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealed(…)")
    }
}

/// Seals secrets and opens them again.
#[async_trait]
pub trait Vault: Send + Sync + std::fmt::Debug {
    /// Seals `secret` for `place`, which names table and row.
    async fn seal(&self, place: &str, secret: &Secret) -> Result<Sealed, StorageError>;

    /// Opens what was sealed for `place`; `None` when it was sealed elsewhere, or by another key.
    async fn open(&self, place: &str, sealed: &Sealed) -> Result<Option<Secret>, StorageError>;
}
