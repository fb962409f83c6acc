//! Work that is seen through.

use muster_kernel::StorageError;
use tracing::Instrument;

/// Begins `work` at once and sees it through, also when nobody waits for it any more: a client that
/// hangs up in the middle takes back nothing that is durable, so what follows from it must not be
/// left undone. The future answers with what came of it. What is logged and traced belongs to whoever
/// asked.
///
/// # Errors
/// When the work panics.
pub(crate) fn through<T, W>(
    work: W,
) -> impl Future<Output = Result<T, StorageError>> + Send + use<T, W>
where
    T: Send + 'static,
    W: Future<Output = T> + Send + 'static,
{
    let begun = tokio::spawn(work.in_current_span());
    async move { begun.await.map_err(StorageError::new) }
}
