//! What people do with the log.

use std::sync::Arc;

use chrono::TimeDelta;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt, try_unfold};
use muster_kernel::{Author, Clock, Page, PageRequest, Permit, StorageError, act};

use crate::{AuditFilter, AuditLog, Broken, ChainKey, Entry, Head, Verifier};

/// How many entries are read, or let go, at a time.
const BATCH: u64 = 1000;

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What came of verifying the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Where the log begins and ends; keep it elsewhere to find a database that was put back.
    pub head: Head,
    /// How many entries were checked, or what is wrong with the first that is not right.
    pub outcome: Result<u64, Broken>,
}

/// What people do with the log.
#[derive(Debug, Clone)]
pub struct Audit {
    log: Arc<dyn AuditLog>,
    key: ChainKey,
    clock: Arc<dyn Clock>,
}

impl Audit {
    /// Made of its ports.
    pub fn new(log: Arc<dyn AuditLog>, key: ChainKey, clock: Arc<dyn Clock>) -> Self {
        Self { log, key, clock }
    }

    /// A page of entries, the newest first.
    ///
    /// # Errors
    /// [`AuditError::Storage`].
    pub async fn list(
        &self,
        _: &Permit<act::ReadAudit>,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<Entry>, AuditError> {
        Ok(self.log.list(filter, page).await?)
    }

    /// Goes along the whole chain, as it is now.
    ///
    /// # Errors
    /// [`AuditError::Storage`].
    pub async fn verify(&self, _: &Permit<act::ReadAudit>) -> Result<Report, AuditError> {
        loop {
            let (head, seal) = self.log.head().await?;
            let outcome = self.go_along(head, &seal).await?;
            // Entries that were let go meanwhile look like missing ones: once more, then.
            let moved = self.log.head().await?.0.first != head.first;
            if outcome.is_ok() || !moved {
                return Ok(Report { head, outcome });
            }
        }
    }

    async fn go_along(
        &self,
        head: Head,
        seal: &crate::Mac,
    ) -> Result<Result<u64, Broken>, StorageError> {
        let mut verifier = match Verifier::new(&self.key, head, seal) {
            Ok(verifier) => verifier,
            Err(broken) => return Ok(Err(broken)),
        };
        // What stands before the beginning or behind the end does not belong there.
        let mut from = 0;
        loop {
            let links = self.log.links(from, u64::MAX, BATCH).await?;
            let Some(last) = links.last().map(|link| link.entry.seq) else { break };
            for link in &links {
                // What was appended since the head was read is for the next time.
                if link.entry.seq > head.last && self.log.head().await?.0.last >= link.entry.seq {
                    return Ok(verifier.finish());
                }
                if let Err(broken) = verifier.check(link) {
                    return Ok(Err(broken));
                }
            }
            from = last + 1;
        }
        Ok(verifier.finish())
    }

    /// Every entry that is kept now, the oldest first.
    ///
    /// # Errors
    /// [`AuditError::Storage`], and the stream's items likewise.
    pub async fn export(
        &self,
        _: &Permit<act::ReadAudit>,
    ) -> Result<BoxStream<'static, Result<crate::Link, StorageError>>, AuditError> {
        let (head, _) = self.log.head().await?;
        let log = Arc::clone(&self.log);
        let batches = try_unfold(head.first, move |from| {
            let log = Arc::clone(&log);
            async move {
                let links = log.links(from, head.last, BATCH).await?;
                let next = links.last().map(|link| link.entry.seq + 1);
                Ok::<_, StorageError>(next.map(|next| (links, next)))
            }
        });
        let links = batches.map_ok(|links| futures_util::stream::iter(links.into_iter().map(Ok)));
        Ok(links.try_flatten().boxed())
    }

    /// Lets go of what is older than `keep`; answers with how many entries that were.
    ///
    /// # Errors
    /// [`AuditError::Storage`].
    pub async fn prune(&self, keep: TimeDelta) -> Result<u64, AuditError> {
        let now = self.clock.now();
        let mut gone = 0;
        loop {
            let batch = self.log.prune(now - keep, BATCH, &Author::system(), now).await?;
            gone += batch;
            if batch < BATCH {
                return Ok(gone);
            }
        }
    }
}
