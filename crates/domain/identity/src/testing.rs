//! Users, sessions and passwords in memory, and the contracts that their repositories keep.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use async_trait::async_trait;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    Clock, CustomerId, Role, Secret, SessionId, StorageError, Timestamp, TokenHash, TokenKind,
    UserId,
};
use parking_lot::Mutex;

use crate::{
    AccessTokens, Claims, Email, Identity, IdentityPorts, PasswordHasher, RotateError,
    SESSION_LIFETIME, Session, SessionRepository, User, UserRepository, UserStatus, Username,
};

/// Users and sessions in memory.
#[derive(Debug, Default)]
pub struct FakeIdentity {
    users: Mutex<Vec<User>>,
    sessions: Mutex<HashMap<SessionId, Session>>,
    tokens: Mutex<HashMap<TokenHash, SessionId>>,
}

#[async_trait]
impl UserRepository for FakeIdentity {
    async fn is_empty(&self) -> Result<bool, StorageError> {
        Ok(self.users.lock().is_empty())
    }

    async fn create_first(&self, user: User) -> Result<bool, StorageError> {
        let mut users = self.users.lock();
        let first = users.is_empty();
        if first {
            users.push(user);
        }
        Ok(first)
    }

    async fn find(&self, id: UserId) -> Result<Option<User>, StorageError> {
        Ok(self.users.lock().iter().find(|user| user.id == id).cloned())
    }

    async fn find_by_username(&self, name: &Username) -> Result<Option<User>, StorageError> {
        Ok(self.users.lock().iter().find(|user| user.username == *name).cloned())
    }

    async fn find_by_email(&self, email: &Email) -> Result<Option<User>, StorageError> {
        Ok(self.users.lock().iter().find(|user| user.email.as_ref() == Some(email)).cloned())
    }
}

#[async_trait]
impl SessionRepository for FakeIdentity {
    async fn create(&self, session: Session) -> Result<(), StorageError> {
        self.tokens.lock().insert(session.refresh_token, session.id);
        self.sessions.lock().insert(session.id, session);
        Ok(())
    }

    async fn find(&self, id: SessionId) -> Result<Option<Session>, StorageError> {
        Ok(self.sessions.lock().get(&id).cloned())
    }

    async fn rotate(
        &self,
        presented: TokenHash,
        next: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(Session, Result<(), RotateError>)>, StorageError> {
        let mut tokens = self.tokens.lock();
        let mut sessions = self.sessions.lock();
        let Some(session) = tokens.get(&presented).and_then(|id| sessions.get_mut(id)) else {
            return Ok(None);
        };
        let outcome = session.rotate(presented, next, now);
        if outcome.is_ok() {
            tokens.insert(next, session.id);
        }
        Ok(Some((session.clone(), outcome)))
    }

    async fn end(&self, id: SessionId, now: Timestamp) -> Result<(), StorageError> {
        if let Some(session) = self.sessions.lock().get_mut(&id) {
            session.ended_at.get_or_insert(now);
        }
        Ok(())
    }
}

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
    pub clock: Arc<FakeClock>,
    pub password: Secret,
    hasher: Arc<FakeHasher>,
}

impl World {
    /// How often a password was hashed.
    pub fn hasher_calls(&self) -> usize {
        self.hasher.0.load(Ordering::Relaxed)
    }
}

/// An installation that was just started for the first time.
///
/// # Panics
/// Never: nothing in it can fail.
pub async fn world() -> World {
    let (store, clock) = (Arc::new(FakeIdentity::default()), Arc::new(FakeClock::default()));
    let hasher = Arc::new(FakeHasher::default());
    let identity = Identity::new(IdentityPorts {
        users: store.clone(),
        sessions: store,
        passwords: hasher.clone(),
        access_tokens: Arc::new(FakeAccessTokens::default()),
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(9)),
    });
    let password = identity.ensure_first_admin(None).await.unwrap().expect("there was nobody");
    World { identity, clock, password, hasher }
}

/// The contracts of [`UserRepository`] and [`SessionRepository`], on an empty one.
///
/// # Panics
/// When the repository breaks them.
pub async fn contract<R: UserRepository + SessionRepository>(repository: &R) {
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(21));
    let now = clock.now();
    let user = User {
        id: UserId::new(&clock, &entropy),
        username: Username::parse("ann").unwrap(),
        email: Some(Email::parse("ann@example.org").unwrap()),
        full_name: Some("Ann".into()),
        role: Role::Operator,
        status: UserStatus::Active,
        customers: BTreeSet::from([CustomerId::new(&clock, &entropy)]),
        password_hash: "h".into(),
        created_at: now,
    };
    assert!(repository.is_empty().await.unwrap());
    assert!(repository.create_first(user.clone()).await.unwrap());
    assert!(!repository.is_empty().await.unwrap());
    let second = User { id: UserId::new(&clock, &entropy), ..user.clone() };
    assert!(!repository.create_first(second).await.unwrap(), "there is a first one already");
    assert_eq!(UserRepository::find(repository, user.id).await.unwrap(), Some(user.clone()));
    let by_name = repository.find_by_username(&user.username).await.unwrap();
    let by_email = repository.find_by_email(user.email.as_ref().unwrap()).await.unwrap();
    assert_eq!((by_name, by_email), (Some(user.clone()), Some(user.clone())));
    let nobody = Username::parse("nobody").unwrap();
    assert_eq!(repository.find_by_username(&nobody).await.unwrap(), None);

    let token = || Secret::draw(TokenKind::Refresh, &entropy).hash();
    let (first, second, third) = (token(), token(), token());
    let session = Session {
        id: SessionId::new(&clock, &entropy),
        user_id: user.id,
        created_at: now,
        renewed_at: now,
        expires_at: now + SESSION_LIFETIME,
        ended_at: None,
        refresh_token: first,
    };
    repository.create(session.clone()).await.unwrap();
    let find = async || SessionRepository::find(repository, session.id).await.unwrap().unwrap();
    assert_eq!(find().await, session);
    assert_eq!(repository.rotate(third, second, now).await.unwrap(), None, "never a token");
    let (renewed, outcome) = repository.rotate(first, second, now).await.unwrap().unwrap();
    assert_eq!((renewed.refresh_token, outcome), (second, Ok(())));
    let (_, outcome) = repository.rotate(first, third, now).await.unwrap().unwrap();
    assert_eq!(outcome, Err(RotateError::Reused));
    assert_eq!(find().await.ended_at, Some(now), "a used token ends the session");
    let (_, outcome) = repository.rotate(second, third, now).await.unwrap().unwrap();
    assert_eq!(outcome, Err(RotateError::Over));

    let other = Session { id: SessionId::new(&clock, &entropy), refresh_token: third, ..session };
    repository.create(other.clone()).await.unwrap();
    repository.end(other.id, now).await.unwrap();
    let ended = SessionRepository::find(repository, other.id).await.unwrap().unwrap();
    assert_eq!(ended.ended_at, Some(now));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fake_keeps_the_contract() {
        contract(&FakeIdentity::default()).await;
    }
}
