//! What a command writes, as far as it is kept.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinHandle;

/// The beginning of one stream.
#[derive(Debug, Default)]
struct Kept {
    bytes: BytesMut,
    truncated: bool,
}

/// One stream of a command, read to its end in a task of its own.
#[derive(Debug)]
pub(crate) struct Stream {
    kept: Arc<Mutex<Kept>>,
    pub(crate) task: JoinHandle<()>,
}

impl Stream {
    /// Begins to read; keeps `limit` bytes and lets the rest pass, so that nobody is held up by a
    /// full pipe.
    pub(crate) fn read(mut pipe: impl AsyncRead + Send + Unpin + 'static, limit: usize) -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let keep = Arc::clone(&kept);
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                let bytes = buffer.get(..read).unwrap_or_default();
                let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
                let room = limit.saturating_sub(kept.bytes.len());
                kept.truncated |= bytes.len() > room;
                kept.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            }
        });
        Self { kept, task }
    }

    /// What is kept so far, and whether there was more. Nothing is read any more.
    pub(crate) fn take(&self) -> (Bytes, bool) {
        self.task.abort();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut kept.bytes).freeze(), kept.truncated)
    }
}

/// Who no longer waits for the output does not read it either.
impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_is_kept_than_the_limit_and_everything_is_read() {
        for (limit, truncated) in [(10, true), (100_000, false)] {
            let text = vec![b'x'; 100_000];
            let mut stream = Stream::read(std::io::Cursor::new(text), limit);
            (&mut stream.task).await.unwrap();
            let (bytes, more) = stream.take();
            assert_eq!((bytes.len(), more), (limit, truncated));
        }
    }
}
