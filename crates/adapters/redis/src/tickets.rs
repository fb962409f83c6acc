//! Tickets over all nodes. Each is kept in one place, in Redis or, when that is lost, by the node
//! that made it: so it opens one thing only, whatever fails.

use std::sync::Arc;

use async_trait::async_trait;
use muster_identity::TicketStore;
use muster_kernel::{SessionId, StorageError, Timestamp, TokenHash};
use redis::{ExistenceCheck, RedisError, SetExpiry, SetOptions};

use crate::link::Redis;
use crate::scripts::TAKE;

/// Tickets over all nodes.
#[derive(Debug)]
pub struct RedisTickets {
    redis: Redis,
    local: Arc<dyn TicketStore>,
}

impl RedisTickets {
    /// By this link, else by `local`.
    pub fn new(redis: &Redis, local: Arc<dyn TicketStore>) -> Self {
        Self { redis: redis.clone(), local }
    }

    fn key(&self, ticket: TokenHash) -> Vec<u8> {
        [self.redis.name("ticket:").as_bytes(), ticket.as_bytes()].concat()
    }
}

#[async_trait]
impl TicketStore for RedisTickets {
    async fn put(
        &self,
        ticket: TokenHash,
        session: SessionId,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let Some(mut connection) = self.redis.connection() else {
            return self.local.put(ticket, session, expires_at, now).await;
        };
        let lives = u64::try_from((expires_at - now).num_milliseconds()).unwrap_or(0).max(1);
        let options = SetOptions::default()
            .conditional_set(ExistenceCheck::NX)
            .with_expiration(SetExpiry::PX(lives));
        let value = format!("{session} {}", expires_at.timestamp_micros());
        // Whether it was kept when no answer came is not known, so it is not kept here as well.
        redis::AsyncCommands::set_options(&mut connection, self.key(ticket), value, options)
            .await
            .map_err(|error: RedisError| StorageError::new(error))
    }

    async fn take(
        &self,
        ticket: TokenHash,
        now: Timestamp,
    ) -> Result<Option<SessionId>, StorageError> {
        if let Some(mut connection) = self.redis.connection() {
            let call = TAKE.key(self.key(ticket));
            if let Ok(Some(value)) = call.invoke_async::<Option<String>>(&mut connection).await {
                return Ok(read(&value, now));
            }
        }
        self.local.take(ticket, now).await
    }
}

/// Whose ticket that is, unless it is too old.
fn read(value: &str, now: Timestamp) -> Option<SessionId> {
    let (session, end) = value.split_once(' ')?;
    let end = end.parse::<i64>().ok()?;
    (now.timestamp_micros() < end).then(|| session.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{RedisServer, join, up};
    use muster_identity::testing::{FakeIdentity, ticket_contract};

    #[tokio::test]
    async fn tickets_keep_the_contract_with_redis_and_without() {
        let mut server = RedisServer::start();
        let redis = server.node(1);
        let tickets = RedisTickets::new(&redis, Arc::new(FakeIdentity::default()));
        ticket_contract(&tickets).await;
        let _joined = join(&redis).await;
        ticket_contract(&tickets).await;
        server.kill();
        up(&redis, false).await;
        ticket_contract(&tickets).await;
    }
}
