//! Rate limits over all nodes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_kernel::limits::{Allowance, Kind, RateLimiter};

use crate::link::Redis;
use crate::scripts::COUNT;

/// How long a request waits for Redis before it is counted here.
const PATIENCE: Duration = Duration::from_millis(200);

/// Counts requests over all nodes, and those of this one while Redis is lost.
#[derive(Debug)]
pub struct RedisLimiter {
    redis: Redis,
    local: Arc<dyn RateLimiter>,
}

impl RedisLimiter {
    /// By this link, else by `local`.
    pub fn new(redis: &Redis, local: Arc<dyn RateLimiter>) -> Self {
        Self { redis: redis.clone(), local }
    }

    async fn count_there(&self, who: &str, kind: Kind, per_minute: u32) -> Option<Allowance> {
        let mut connection = self.redis.connection()?;
        let kind = match kind {
            Kind::General => "general",
            Kind::Auth => "auth",
        };
        let mut call = COUNT.key(self.redis.name(&format!("limit:{kind}:{per_minute}:{who}")));
        let counted = call.arg(per_minute).invoke_async::<(u8, u32, u64)>(&mut connection);
        let (refused, remaining, wait) =
            tokio::time::timeout(PATIENCE, counted).await.ok()?.ok()?;
        let used = u64::from(per_minute.saturating_sub(remaining));
        let reset = (used * 60).div_ceil(u64::from(per_minute));
        let retry_after = u32::try_from(wait.div_ceil(1000)).unwrap_or(60).max(1);
        Some(Allowance {
            limit: per_minute,
            remaining,
            reset: u32::try_from(reset).unwrap_or(60),
            retry_after: (refused == 1).then_some(retry_after),
        })
    }
}

#[async_trait]
impl RateLimiter for RedisLimiter {
    async fn count(&self, who: &str, kind: Kind, per_minute: u32) -> Allowance {
        if per_minute > 0
            && let Some(allowance) = self.count_there(who, kind, per_minute).await
        {
            return allowance;
        }
        self.local.count(who, kind, per_minute).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{RedisServer, join, up};
    use muster_kernel::testing::limiter_contract;

    /// Lets everybody do everything.
    #[derive(Debug)]
    struct Lenient;

    #[async_trait]
    impl RateLimiter for Lenient {
        async fn count(&self, _: &str, _: Kind, per_minute: u32) -> Allowance {
            let reset = 60;
            let retry_after = (per_minute == 0).then_some(60);
            Allowance { limit: per_minute, remaining: 0, reset, retry_after }
        }
    }

    #[tokio::test]
    async fn all_nodes_count_together_and_each_for_itself_while_redis_is_lost() {
        let mut server = RedisServer::start();
        let (one, other) = (server.node(1), server.node(2));
        let limiters = [&one, &other].map(|redis| RedisLimiter::new(redis, Arc::new(Lenient)));
        let _joined = (join(&one).await, join(&other).await);
        limiter_contract(&limiters[0]).await;
        let there = limiters[1].count("ann", Kind::Auth, 2).await;
        assert_eq!(there.retry_after, Some(30));
        server.kill();
        up(&other, false).await;
        assert_eq!(limiters[1].count("ann", Kind::Auth, 2).await.retry_after, None);
    }
}
