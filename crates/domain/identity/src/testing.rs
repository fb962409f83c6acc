//! Users, sessions and passwords in memory, and the contracts that their repositories keep.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use async_trait::async_trait;
use muster_kernel::testing::{FakeClock, FakeVault, SeededEntropy};
use muster_kernel::{Act, Author, Clock, CustomerId, Permit, Role, Secret, Timestamp, UserId};
use parking_lot::Mutex;

use crate::{
    AccessTokens, Attempt, Claims, Email, Identity, IdentityPorts, PasswordHasher, SignInError,
    SignedIn, User, UserStatus, Username,
};

mod contract;

pub use contract::{contract, ticket_contract};

mod fakes;

pub use fakes::{FakeCodes, FakeIdentity, FakePolicy, FakeProvider};

/// Passwords that are their own hashes; it counts the calls.
#[derive(Debug, Default)]
pub struct FakeHasher(AtomicUsize);

#[async_trait]
impl PasswordHasher for FakeHasher {
    async fn hash(&self, password: Secret) -> String {
        self.0.fetch_add(1, Ordering::Relaxed);
        password.expose().to_owned()
    }

    async fn verify(&self, password: Secret, hash: Option<String>) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        // As with a real one, others get on while it works.
        let mut waited = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        hash.is_some_and(|hash| hash == password.expose())
    }
}

/// Access tokens that are remembered instead of signed.
#[derive(Debug, Default)]
pub struct FakeAccessTokens(Mutex<Vec<Claims>>);

impl AccessTokens for FakeAccessTokens {
    fn issue(&self, claims: &Claims) -> Secret {
        let mut issued = self.0.lock();
        issued.push(*claims);
        Secret::from_text((issued.len() - 1).to_string())
    }

    fn verify(&self, token: &Secret, now: Timestamp) -> Option<Claims> {
        let number: usize = token.expose().parse().ok()?;
        self.0.lock().get(number).copied().filter(|claims| now < claims.expires_at)
    }
}

/// An installation with its first admin, in memory.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct World {
    pub identity: Identity,
    pub policy: Arc<FakePolicy>,
    pub clock: Arc<FakeClock>,
    pub password: Secret,
    hasher: Arc<FakeHasher>,
}

impl World {
    /// How often a password was hashed.
    pub fn hasher_calls(&self) -> usize {
        self.hasher.0.load(Ordering::Relaxed)
    }

    /// Tries to sign in from nowhere in particular.
    ///
    /// # Errors
    /// Those of [`Identity::sign_in`].
    pub async fn try_sign_in(
        &self,
        login: &str,
        password: &Secret,
        code: Option<Secret>,
    ) -> Result<SignedIn, SignInError> {
        let attempt = Attempt {
            login: login.to_owned(),
            password: password.clone(),
            code,
            user_agent: Some("curl".into()),
            author: Author::system(),
        };
        self.identity.sign_in(attempt).await
    }

    /// What the holder of an access token may.
    ///
    /// # Panics
    /// When it is not good, or does not allow it.
    pub async fn permit<A: Act>(&self, tokens: &SignedIn) -> Permit<A> {
        let principal = self.identity.authenticate(&tokens.access_token).await.unwrap();
        Permit::ask(principal, &Author::system()).unwrap()
    }
}

/// An installation that was just started for the first time.
///
/// # Panics
/// Never: nothing in it can fail.
pub async fn world() -> World {
    let (store, clock) = (Arc::new(FakeIdentity::default()), Arc::new(FakeClock::default()));
    let (hasher, policy) = (Arc::new(FakeHasher::default()), Arc::new(FakePolicy::default()));
    let identity = Identity::new(IdentityPorts {
        users: store.clone(),
        sessions: store.clone(),
        factors: store.clone(),
        passwords: hasher.clone(),
        codes: Arc::new(FakeCodes),
        vault: Arc::new(FakeVault),
        access_tokens: Arc::new(FakeAccessTokens::default()),
        tickets: store,
        policy: policy.clone(),
        sign_on: Arc::new(FakeProvider),
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(9)),
    });
    let password = identity.ensure_first_admin(None).await.unwrap().expect("there was nobody");
    World { identity, policy, clock, password, hasher }
}

/// An active operator; the same `seed` makes the same one.
///
/// # Panics
/// Never: the example keeps the rules.
pub fn user(seed: u64) -> User {
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(seed.wrapping_add(1 << 20)));
    User {
        id: UserId::new(&clock, &entropy),
        username: Username::parse(&format!("ann{seed}")).unwrap(),
        email: Some(Email::parse(&format!("ann{seed}@example.org")).unwrap()),
        full_name: Some(format!("Ann {seed}")),
        role: Role::Operator,
        status: UserStatus::Active,
        customers: BTreeSet::from([CustomerId::new(&clock, &entropy)]),
        password_hash: Some("h".into()),
        has_second_factor: false,
        created_at: clock.now(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fake_keeps_the_contract() {
        contract(&FakeIdentity::default()).await;
    }
}
