//! How long alerts are kept.

use std::sync::Arc;

use chrono::TimeDelta;
use muster_kernel::{Clock, StorageError};

use crate::DeliveryRepository;

/// How many alerts are let go of at a time: other writes go on in between.
const AT_ONCE: u64 = 500;

/// Lets go of old alerts.
#[derive(Debug, Clone)]
pub struct Retention {
    deliveries: Arc<dyn DeliveryRepository>,
    clock: Arc<dyn Clock>,
}

impl Retention {
    /// Made of its ports.
    pub fn new(deliveries: Arc<dyn DeliveryRepository>, clock: Arc<dyn Clock>) -> Self {
        Self { deliveries, clock }
    }

    /// Lets go of what was over longer ago than `keep`; answers with how many alerts that were.
    ///
    /// # Errors
    /// When the storage fails; what is gone by then stays so.
    pub async fn run(&self, keep: TimeDelta) -> Result<u64, StorageError> {
        let before = self.clock.now() - keep;
        let mut gone = 0;
        loop {
            let forgotten = self.deliveries.forget(before, AT_ONCE).await?;
            gone += forgotten.alerts;
            if !forgotten.more {
                return Ok(gone);
            }
        }
    }
}
