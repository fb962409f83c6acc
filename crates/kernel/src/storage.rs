//! What a domain learns when its storage fails: that it failed. The cause is for the log.

use std::error::Error;
use std::sync::Arc;

/// A repository could not do what it was asked; nothing of it was done.
///
/// One failed commit answers many callers, so the cause is shared.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the storage is not available")]
pub struct StorageError {
    #[source]
    source: Arc<dyn Error + Send + Sync>,
}

impl StorageError {
    /// Wraps an adapter's own error.
    pub fn new(source: impl Error + Send + Sync + 'static) -> Self {
        Self { source: Arc::new(source) }
    }
}
