//! A clock that stands still, randomness that repeats and a vault that hides nothing, for tests.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use parking_lot::Mutex;

use crate::events::{Channel, Event, EventBus, From as Since, Heard, Listener};
use crate::leadership::{Leaderships, Lease};
use crate::limits::{Allowance, Kind, RateLimiter};
use crate::{
    Act, Author, Clock, Entropy, NodeId, Permit, Principal, Role, Sealed, Secret, SessionId,
    StorageError, TenantScope, Timestamp, UserId, Vault,
};

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct FakeClock(Mutex<Timestamp>);

impl FakeClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves the clock by `by`, which may be negative.
    pub fn advance(&self, by: TimeDelta) {
        *self.0.lock() += by;
    }
}

impl Default for FakeClock {
    fn default() -> Self {
        Self::at(DateTime::from_timestamp_nanos(1_767_225_600_000_000_000))
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.0.lock()
    }
}

/// The same bytes in every run of a test (`SplitMix64`).
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    /// A source whose whole sequence follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock();
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = *state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^= word >> 31;
            chunk.copy_from_slice(word.to_le_bytes().get(..chunk.len()).unwrap_or_default());
        }
    }
}

/// A vault that hides nothing, but keeps places apart.
#[derive(Debug, Default)]
pub struct FakeVault;

#[async_trait]
impl Vault for FakeVault {
    async fn seal(&self, place: &str, secret: &Secret) -> Result<Sealed, StorageError> {
        Ok(Sealed(format!("{place}={}", secret.expose()).into_bytes()))
    }

    async fn open(&self, place: &str, sealed: &Sealed) -> Result<Option<Secret>, StorageError> {
        let text = String::from_utf8_lossy(&sealed.0).into_owned();
        let secret = text.strip_prefix(place).and_then(|rest| rest.strip_prefix('='));
        Ok(secret.map(Secret::from_text))
    }
}

/// A permission for `A` as the person `seed`, in every customer's scope.
///
/// # Panics
/// When `A` is not for people.
pub fn permit<A: Act>(seed: u64) -> Permit<A> {
    permit_in(seed, TenantScope::All)
}

/// A permission for `A` as the person `seed`, an operator, or the admin of everything.
///
/// # Panics
/// When `A` is not for them.
#[expect(clippy::expect_used, reason = "a test ends where it fails")]
pub fn permit_in<A: Act>(seed: u64, tenants: TenantScope) -> Permit<A> {
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(seed));
    let role = if tenants == TenantScope::All { Role::Admin } else { Role::Operator };
    let principal = Principal::User {
        user_id: UserId::new(&clock, &entropy),
        name: "ann".into(),
        session_id: SessionId::new(&clock, &entropy),
        role,
        tenants,
        confirmed: true,
        lacks_second_factor: false,
    };
    Permit::ask(principal, &Author::system()).expect("the role allows it")
}

/// A bus with nobody on it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SilentBus;

impl EventBus for SilentBus {
    fn tell(&self, _: Channel, _: Event) {}

    fn close(&self, _: Channel) {}

    fn listen(&self, _: Channel, _: Since<'_>) -> Box<dyn Listener> {
        Box::new(Self)
    }
}

#[async_trait]
impl Listener for SilentBus {
    async fn next(&mut self) -> Heard {
        Heard::Over
    }

    fn behind(&self) -> u64 {
        0
    }
}

/// Leases in memory.
#[derive(Debug, Default)]
pub struct FakeLeaderships(Mutex<HashMap<String, Lease>>);

#[async_trait]
impl Leaderships for FakeLeaderships {
    async fn lease(&self, name: &str) -> Result<Option<Lease>, StorageError> {
        Ok(self.0.lock().get(name).copied())
    }

    async fn take(
        &self,
        name: &str,
        seen: Option<Lease>,
        next: Option<Lease>,
    ) -> Result<bool, StorageError> {
        let mut leases = self.0.lock();
        let same = leases.get(name).copied() == seen;
        if same {
            match next {
                Some(next) => drop(leases.insert(name.to_owned(), next)),
                None => drop(leases.remove(name)),
            }
        }
        Ok(same)
    }
}

/// The contract of [`Leaderships`].
///
/// # Panics
/// When it is broken.
#[expect(clippy::unwrap_used, reason = "a test ends where it fails")]
pub async fn leaderships_contract(leaderships: &dyn Leaderships) {
    let clock = FakeClock::default();
    let [one, other] = [1, 2].map(|seed| {
        let node = NodeId::new(&clock, &SeededEntropy::new(seed));
        Lease { node, until: clock.now() }
    });
    let renewed = Lease { until: clock.now() + TimeDelta::microseconds(1), ..one };
    let take = async |seen, next| leaderships.take("a", seen, next).await.unwrap();
    assert_eq!(leaderships.lease("a").await.unwrap(), None);
    assert!(take(None, Some(one)).await);
    assert!(!take(None, Some(other)).await, "somebody was faster");
    assert_eq!(leaderships.lease("a").await.unwrap(), Some(one));
    assert_eq!(leaderships.lease("b").await.unwrap(), None, "each name has its own");
    assert!(take(Some(one), Some(renewed)).await);
    assert!(!take(Some(one), Some(other)).await, "it was renewed");
    assert!(take(Some(renewed), Some(other)).await);
    assert!(!take(Some(renewed), None).await, "it is another's");
    assert!(take(Some(other), None).await);
    assert!(!take(Some(other), Some(one)).await, "it was given up");
    assert_eq!(leaderships.lease("a").await.unwrap(), None);
}

/// The contract of [`RateLimiter`], for one that counts nobody's requests yet.
///
/// # Panics
/// When it is broken.
pub async fn limiter_contract(limiter: &dyn RateLimiter) {
    for taken in 1..=60 {
        let allowance = limiter.count("ann", Kind::General, 60).await;
        assert_eq!(allowance.limit, 60);
        assert_eq!(allowance.retry_after, None, "a minute's worth may come at once");
        // What came back while the test ran counts as well.
        assert!((60 - taken..=62 - taken).contains(&allowance.remaining), "{allowance:?}");
        assert!(allowance.reset <= taken, "{allowance:?}");
    }
    while limiter.count("ann", Kind::General, 60).await.retry_after.is_none() {}
    let refused = limiter.count("ann", Kind::General, 60).await;
    assert_eq!(refused, Allowance { limit: 60, remaining: 0, reset: 60, retry_after: Some(1) });
    assert_eq!(limiter.count("bob", Kind::General, 60).await.retry_after, None);
    for _ in 0..2 {
        assert_eq!(limiter.count("ann", Kind::Auth, 2).await.retry_after, None);
    }
    assert_eq!(limiter.count("ann", Kind::Auth, 2).await.retry_after, Some(30));
    let never = limiter.count("ann", Kind::General, 0).await;
    assert_eq!(never, Allowance { limit: 0, remaining: 0, reset: 60, retry_after: Some(60) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fake_keeps_the_contract_of_leaderships() {
        leaderships_contract(&FakeLeaderships::default()).await;
    }
}
