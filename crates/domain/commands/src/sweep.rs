//! What time does to commands.

use std::sync::Arc;

use futures_util::future::try_join_all;
use muster_kernel::{Clock, StorageError};

use crate::ports::{CommandArchive, Due, Entry};
use crate::{AgentChannel, Event};

/// How many commands one sweep ends at most.
const AT_ONCE: usize = 500;

/// Ends commands that no agent will end.
#[derive(Debug, Clone)]
pub struct Sweep {
    channel: AgentChannel,
    archive: Arc<dyn CommandArchive>,
    clock: Arc<dyn Clock>,
}

impl Sweep {
    /// Made of its ports.
    pub fn new(
        channel: AgentChannel,
        archive: Arc<dyn CommandArchive>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { channel, archive, clock }
    }

    /// Ends what is due and says whether there may be more.
    ///
    /// # Errors
    /// When the storage fails; what was not ended is ended by the next sweep.
    pub async fn run(&self) -> Result<bool, StorageError> {
        let at = self.clock.now();
        let due = self.archive.due(at, AT_ONCE).await?;
        let endings = due.iter().map(|(agent_id, id, reason)| {
            let event = match reason {
                Due::Expired => Event::Expired { at },
                Due::AgentRemoved => Event::AgentRemoved { at },
                Due::Unheard => Event::Unheard { at },
            };
            self.channel.record(*agent_id, *id, Entry::Event(event))
        });
        try_join_all(endings.collect::<Vec<_>>()).await?;
        Ok(due.len() == AT_ONCE)
    }
}
