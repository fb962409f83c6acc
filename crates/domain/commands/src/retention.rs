//! How long commands are kept.

use std::sync::Arc;

use chrono::TimeDelta;
use muster_kernel::{Author, Clock, StorageError};

use crate::ports::CommandRetention;

/// How many commands are let go of at a time, each with up to some 32 MiB of output: other writes go
/// on in between.
const AT_ONCE: u64 = 20;

/// Lets go of old commands.
#[derive(Debug, Clone)]
pub struct Retention {
    commands: Arc<dyn CommandRetention>,
    clock: Arc<dyn Clock>,
}

impl Retention {
    /// Made of its ports.
    pub fn new(commands: Arc<dyn CommandRetention>, clock: Arc<dyn Clock>) -> Self {
        Self { commands, clock }
    }

    /// Lets go of what ended longer ago than `keep`; answers with how many commands that were.
    ///
    /// # Errors
    /// When the storage fails; what is gone by then stays so.
    pub async fn run(&self, keep: TimeDelta) -> Result<u64, StorageError> {
        let now = self.clock.now();
        let mut gone = 0;
        loop {
            let batch = self.commands.forget(now - keep, AT_ONCE, &Author::system(), now).await?;
            gone += batch;
            if batch < AT_ONCE {
                return Ok(gone);
            }
        }
    }
}
