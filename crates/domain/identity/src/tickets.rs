//! Tickets: what a page in a browser shows where it can't send a header.

use chrono::TimeDelta;
use muster_kernel::{Permit, Secret, SessionId, TokenKind, act};

use crate::Identity;
use crate::sessions::SessionError;

/// How long a ticket waits to be used.
pub const TICKET_LIFETIME: TimeDelta = TimeDelta::seconds(30);

impl Identity {
    /// A ticket that opens one event stream or WebSocket in the asker's name.
    ///
    /// # Errors
    /// [`SessionError::Storage`].
    pub async fn ticket(
        &self,
        permit: &Permit<act::UseOwnAccount>,
    ) -> Result<Secret, SessionError> {
        let (_, session) = permit.person()?;
        let ticket = Secret::draw(TokenKind::Ticket, &*self.ports.entropy);
        let now = self.ports.clock.now();
        self.ports.tickets.put(ticket.hash(), session, now + TICKET_LIFETIME, now).await?;
        Ok(ticket)
    }

    /// Whose session this ticket opens something for, this once.
    ///
    /// # Errors
    /// [`SessionError::Invalid`] when it was used, is too old or never was.
    pub async fn redeem_ticket(&self, ticket: &Secret) -> Result<SessionId, SessionError> {
        let session = self.ports.tickets.take(ticket.hash(), self.ports.clock.now()).await?;
        let session = session.ok_or(SessionError::Invalid)?;
        self.still(session).await?;
        Ok(session)
    }
}
