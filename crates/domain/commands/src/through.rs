//! Work that is seen through.

use muster_kernel::StorageError;

/// Sees `work` through, also when nobody waits for it any more: a client that hangs up in the middle
/// takes back nothing that is durable, so what follows from it must not be left undone.
///
/// # Errors
/// When the work panics.
pub(crate) async fn through<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::spawn(work).await.map_err(StorageError::new)
}
