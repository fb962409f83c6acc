//! How long histories are kept.

use std::sync::Arc;

use chrono::TimeDelta;
use muster_kernel::{Clock, StorageError};

use super::ScheduleCourses;

/// How many entries are let go of at a time: other writes go on in between.
const AT_ONCE: u64 = 1000;

/// Lets go of what histories of schedules told long ago.
#[derive(Debug, Clone)]
pub struct HistoryRetention {
    courses: Arc<dyn ScheduleCourses>,
    clock: Arc<dyn Clock>,
}

impl HistoryRetention {
    /// Made of its ports.
    pub fn new(courses: Arc<dyn ScheduleCourses>, clock: Arc<dyn Clock>) -> Self {
        Self { courses, clock }
    }

    /// Lets go of what was noted longer ago than `keep`; answers with how many entries that were.
    ///
    /// # Errors
    /// When the storage fails; what is gone by then stays so.
    pub async fn run(&self, keep: TimeDelta) -> Result<u64, StorageError> {
        let before = self.clock.now() - keep;
        let mut gone = 0;
        loop {
            let batch = self.courses.forget(before, AT_ONCE).await?;
            gone += batch;
            if batch < AT_ONCE {
                return Ok(gone);
            }
        }
    }
}
