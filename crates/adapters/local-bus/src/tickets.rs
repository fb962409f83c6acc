//! Tickets.

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;
use muster_identity::TicketStore;
use muster_kernel::{SessionId, StorageError, Timestamp, TokenHash};
use parking_lot::Mutex;

/// Tickets within one process.
#[derive(Default)]
pub struct LocalTickets(Mutex<HashMap<TokenHash, (SessionId, Timestamp)>>);

impl fmt::Debug for LocalTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalTickets({})", self.0.lock().len())
    }
}

#[async_trait]
impl TicketStore for LocalTickets {
    async fn put(
        &self,
        ticket: TokenHash,
        session: SessionId,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let mut tickets = self.0.lock();
        tickets.retain(|_, (_, end)| now < *end);
        tickets.insert(ticket, (session, expires_at));
        Ok(())
    }

    async fn take(
        &self,
        ticket: TokenHash,
        now: Timestamp,
    ) -> Result<Option<SessionId>, StorageError> {
        let taken = self.0.lock().remove(&ticket);
        Ok(taken.filter(|(_, end)| now < *end).map(|(session, _)| session))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tickets_keep_the_contract() {
        muster_identity::testing::ticket_contract(&LocalTickets::default()).await;
    }
}
