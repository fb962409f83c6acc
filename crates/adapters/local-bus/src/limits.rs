//! Rate limits: the generic cell rate algorithm, as the `governor` crate has it. A minute's worth
//! may come at once, and comes back evenly.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use dashmap::DashMap;
use governor::clock::{Clock, MonotonicClock, Reference};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use muster_kernel::limits::{Allowance, Kind};

/// After so many requests, those are forgotten whose allowance is whole again.
const FORGET_EVERY: usize = 4096;

type Who = (Kind, String);
type Limiter<C> = RateLimiter<Who, DashMapStateStore<Who>, C, StateInformationMiddleware>;

/// Counts requests within one process.
pub struct LocalLimiter<C: Clock = MonotonicClock> {
    clock: C,
    /// One for each number of requests a minute.
    limiters: DashMap<NonZeroU32, Arc<Limiter<C>>>,
    counted: AtomicUsize,
}

impl<C: Clock> fmt::Debug for LocalLimiter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLimiter").field("quotas", &self.limiters.len()).finish_non_exhaustive()
    }
}

impl Default for LocalLimiter {
    fn default() -> Self {
        Self::new(MonotonicClock)
    }
}

impl<C: Clock + Clone> LocalLimiter<C> {
    fn new(clock: C) -> Self {
        Self { clock, limiters: DashMap::new(), counted: AtomicUsize::new(0) }
    }

    fn limiter(&self, per_minute: NonZeroU32) -> Arc<Limiter<C>> {
        let made = || {
            let quota = Quota::per_minute(per_minute);
            Arc::new(RateLimiter::dashmap_with_clock(quota, self.clock.clone()).with_middleware())
        };
        Arc::clone(&self.limiters.entry(per_minute).or_insert_with(made))
    }

    fn forget(&self) {
        if self.counted.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            for limiter in &self.limiters {
                limiter.retain_recent();
            }
        }
    }

    fn take(&self, who: &str, kind: Kind, per_minute: u32) -> Allowance {
        let Some(quota) = NonZeroU32::new(per_minute) else {
            return Allowance { limit: 0, remaining: 0, reset: 60, retry_after: Some(60) };
        };
        self.forget();
        let (remaining, retry_after) = match self.limiter(quota).check_key(&(kind, who.to_owned()))
        {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(refused) => {
                let wait = refused.wait_time_from(self.clock.now());
                (0, Some(u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(60).max(1)))
            }
        };
        let used = u64::from(per_minute.saturating_sub(remaining));
        let reset = (used * 60).div_ceil(u64::from(per_minute));
        Allowance {
            limit: per_minute,
            remaining,
            reset: u32::try_from(reset).unwrap_or(60),
            retry_after,
        }
    }
}

#[async_trait]
impl<C> muster_kernel::limits::RateLimiter for LocalLimiter<C>
where
    C: Clock + Clone + Send + Sync,
    C::Instant: Reference + Send + Sync,
{
    async fn count(&self, who: &str, kind: Kind, per_minute: u32) -> Allowance {
        self.take(who, kind, per_minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use std::time::Duration;

    #[test]
    fn a_minutes_worth_may_come_at_once_and_comes_back_evenly() {
        let clock = FakeRelativeClock::default();
        let limiter = LocalLimiter::new(clock.clone());
        for taken in 1..=60 {
            let allowance = limiter.take("ann", Kind::General, 60);
            let expected =
                Allowance { limit: 60, remaining: 60 - taken, reset: taken, retry_after: None };
            assert_eq!(allowance, expected);
        }
        let refused = limiter.take("ann", Kind::General, 60);
        assert_eq!(refused, Allowance { limit: 60, remaining: 0, reset: 60, retry_after: Some(1) });
        clock.advance(Duration::from_secs(2));
        assert_eq!(limiter.take("ann", Kind::General, 60).remaining, 1);
        assert_eq!(limiter.take("ann", Kind::General, 60).retry_after, None);
        assert_eq!(limiter.take("ann", Kind::General, 60).retry_after, Some(1));
    }

    #[test]
    fn nobody_uses_up_what_is_another_ones_or_of_another_kind() {
        let limiter = LocalLimiter::new(FakeRelativeClock::default());
        for _ in 0..5 {
            limiter.take("ann", Kind::Auth, 2);
        }
        assert_eq!(limiter.take("bob", Kind::Auth, 2).retry_after, None);
        assert_eq!(limiter.take("ann", Kind::General, 2).retry_after, None);
        assert_eq!(limiter.take("ann", Kind::Auth, 2).retry_after, Some(30));
    }

    #[test]
    fn who_has_not_come_for_a_minute_is_forgotten() {
        let clock = FakeRelativeClock::default();
        let limiter = LocalLimiter::new(clock.clone());
        for who in 0..FORGET_EVERY - 1 {
            limiter.take(&who.to_string(), Kind::General, 60);
        }
        clock.advance(Duration::from_mins(2));
        limiter.take("last", Kind::General, 60);
        assert_eq!(limiter.limiter(NonZeroU32::new(60).unwrap()).len(), 1);
    }
    #[tokio::test]
    async fn the_limiter_keeps_the_contract() {
        muster_kernel::testing::limiter_contract(&LocalLimiter::default()).await;
    }
}
