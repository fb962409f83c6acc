//! Replacing the data key.

use std::sync::Arc;

use muster_kernel::{Author, StorageError};

use crate::ports::{KeyRing, SealedRows};

/// Replaces the data key and seals everything anew.
#[derive(Debug, Clone)]
pub struct Rotation {
    ring: Arc<dyn KeyRing>,
    rows: Arc<dyn SealedRows>,
}

impl Rotation {
    /// Made of its ports.
    pub fn new(ring: Arc<dyn KeyRing>, rows: Arc<dyn SealedRows>) -> Self {
        Self { ring, rows }
    }

    /// Draws a new data key and seals with it whatever is sealed; says how many secrets that were,
    /// and how many could not be opened, which stay as they are. Whoever reads meanwhile can read:
    /// the old keys still open.
    ///
    /// # Errors
    /// When the storage fails; what was sealed anew until then stays so.
    pub async fn run(&self, author: &Author) -> Result<(usize, usize), StorageError> {
        self.ring.rotate(author).await?;
        let (mut done, mut failed) = (0, 0);
        for (place, old) in self.rows.sealed().await? {
            let Some(secret) = self.ring.open(&place, &old).await? else {
                failed += 1;
                continue;
            };
            let new = self.ring.seal(&place, &secret).await?;
            // Somebody who changed it meanwhile has sealed it themselves.
            if self.rows.reseal(&place, &old, &new).await? {
                done += 1;
            }
        }
        Ok((done, failed))
    }
}
