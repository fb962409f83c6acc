//! An answer that comes bit by bit, held to what can be read, in time and of a size.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use muster_assistant::ModelError;
use serde::de::IgnoredAny;

use crate::Fate;

/// The longest line.
const MAX_LINE: usize = 1024 * 1024;
/// How much may come, in bytes.
const MAX_TOTAL: usize = 16 * 1024 * 1024;

struct Guard<S> {
    body: S,
    /// What has no end of line yet.
    rest: Vec<u8>,
    total: usize,
    idle: Duration,
    fate: Fate,
}

/// The lines of a body. One that can't be read ends it, and so does silence; why, `fate` says.
pub(crate) fn guard<S>(
    body: S,
    idle: Duration,
    fate: Fate,
) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static
where
    S: Stream<Item = reqwest::Result<Bytes>> + Send + Unpin + 'static,
{
    let guard = Guard { body, rest: Vec::new(), total: 0, idle, fate };
    stream::unfold(Some(guard), |guard| async move {
        let mut guard = guard?;
        match guard.next().await {
            Ok(Some(lines)) => Some((Ok(lines), Some(guard))),
            Ok(None) => None,
            Err(error) => {
                *guard.fate.lock() = Some(error);
                Some((Err(io::Error::from(io::ErrorKind::InvalidData)), None))
            }
        }
    })
}

impl<S: Stream<Item = reqwest::Result<Bytes>> + Unpin> Guard<S> {
    /// The next whole lines.
    async fn next(&mut self) -> Result<Option<Bytes>, ModelError> {
        loop {
            let chunk = tokio::time::timeout(self.idle, self.body.next()).await;
            let chunk = match chunk.map_err(|_| ModelError::Timeout)? {
                Some(chunk) => chunk.map_err(|_| ModelError::CutOff)?,
                None if self.rest.is_empty() => return Ok(None),
                None => return Err(ModelError::CutOff),
            };
            self.total = self.total.saturating_add(chunk.len());
            self.rest.extend_from_slice(&chunk);
            if self.total > MAX_TOTAL || self.rest.len() > MAX_LINE {
                return Err(ModelError::Malformed);
            }
            let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { continue };
            let rest = self.rest.split_off(end + 1);
            let lines = std::mem::replace(&mut self.rest, rest);
            if lines.split(|byte| *byte == b'\n').all(is_readable) {
                return Ok(Some(lines.into()));
            }
            return Err(ModelError::Malformed);
        }
    }
}

/// Whether a line is no data, or data that are JSON.
fn is_readable(line: &[u8]) -> bool {
    let Ok(line) = str::from_utf8(line) else { return false };
    match line.trim_end().strip_prefix("data:").map(str::trim) {
        Some("[DONE]" | "") | None => true,
        Some(data) => serde_json::from_str::<IgnoredAny>(data).is_ok(),
    }
}
