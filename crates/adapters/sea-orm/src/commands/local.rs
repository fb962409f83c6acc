//! Entries about what ran on the server itself.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_commands::local::LocalTrail;
use muster_kernel::{Author, Deed, StorageError, Timestamp};

use super::SeaCommands;

#[async_trait]
impl LocalTrail for SeaCommands {
    async fn enter(&self, author: &Author, at: Timestamp, deed: Deed) -> Result<(), StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { trail.enter(transaction, &author, at, deed).await }.boxed()
        });
        Ok(write.await?)
    }
}
