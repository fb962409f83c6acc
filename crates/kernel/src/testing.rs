//! A clock that stands still, randomness that repeats and a vault that hides nothing, for tests.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use parking_lot::Mutex;

use crate::events::{Channel, Event, EventBus, From as Since, Heard, Listener};
use crate::{
    Act, Author, Clock, Entropy, Permit, Principal, Role, Sealed, Secret, SessionId, StorageError,
    TenantScope, Timestamp, UserId, Vault,
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
}
