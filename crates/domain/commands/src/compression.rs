//! How output is kept when it is old.

use std::sync::Arc;

use chrono::TimeDelta;
use muster_kernel::{Clock, StorageError};

use crate::ports::OutputCompression;

/// How many pieces are compressed at a time, each of some 64 KiB: other writes go on in between,
/// and no more than these are in memory.
const AT_ONCE: u64 = 100;

/// Compresses old output.
#[derive(Debug, Clone)]
pub struct Compression {
    output: Arc<dyn OutputCompression>,
    clock: Arc<dyn Clock>,
}

impl Compression {
    /// Made of its ports.
    pub fn new(output: Arc<dyn OutputCompression>, clock: Arc<dyn Clock>) -> Self {
        Self { output, clock }
    }

    /// Compresses the output of commands that were given longer ago than `after`; answers with how
    /// many pieces it looked at. It may be dropped at any time and goes on where it was.
    ///
    /// # Errors
    /// When the storage fails; what is compressed by then stays so.
    pub async fn run(&self, after: TimeDelta) -> Result<u64, StorageError> {
        let before = self.clock.now() - after;
        let mut looked_at = 0;
        loop {
            let batch = self.output.compress(before, AT_ONCE).await?;
            looked_at += batch;
            if batch < AT_ONCE {
                return Ok(looked_at);
            }
        }
    }
}
