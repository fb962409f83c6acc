//! What identity needs from outside.

use async_trait::async_trait;
use muster_kernel::{Role, Secret, SessionId, StorageError, Timestamp, TokenHash, UserId};

use crate::session::{RotateError, Session};
use crate::user::{Email, User, Username};

/// The users.
#[async_trait]
pub trait UserRepository: Send + Sync + std::fmt::Debug {
    /// Whether there is no user at all.
    async fn is_empty(&self) -> Result<bool, StorageError>;

    /// Keeps `user` if there is no user at all yet, and says whether it did; of two callers at
    /// the same time only one succeeds.
    async fn create_first(&self, user: User) -> Result<bool, StorageError>;

    /// The user `id`.
    async fn find(&self, id: UserId) -> Result<Option<User>, StorageError>;

    /// Who signs in with this name.
    async fn find_by_username(&self, name: &Username) -> Result<Option<User>, StorageError>;

    /// Who signs in with this address.
    async fn find_by_email(&self, email: &Email) -> Result<Option<User>, StorageError>;
}

/// The sessions.
#[async_trait]
pub trait SessionRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new session.
    async fn create(&self, session: Session) -> Result<(), StorageError>;

    /// The session `id`.
    async fn find(&self, id: SessionId) -> Result<Option<Session>, StorageError>;

    /// Renews the session that `presented` renews or once renewed, by [`Session::rotate`], in one
    /// transaction, and answers with it and what came of it; `None` for a token that never was.
    async fn rotate(
        &self,
        presented: TokenHash,
        next: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(Session, Result<(), RotateError>)>, StorageError>;

    /// Ends the session `id`.
    async fn end(&self, id: SessionId, now: Timestamp) -> Result<(), StorageError>;
}

/// Hashes passwords, a few at a time.
#[async_trait]
pub trait PasswordHasher: Send + Sync + std::fmt::Debug {
    /// The hash of a password.
    async fn hash(&self, password: Secret) -> String;

    /// Whether `password` has the hash `hash`. Without a hash the answer is no, and MUST take as
    /// long as with one, so that nobody learns by time which names exist.
    async fn verify(&self, password: Secret, hash: Option<String>) -> bool;
}

/// What an access token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Claims {
    pub user_id: UserId,
    pub session_id: SessionId,
    pub role: Role,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Signs access tokens and reads them back.
pub trait AccessTokens: Send + Sync + std::fmt::Debug {
    /// A token that says `claims`.
    fn issue(&self, claims: &Claims) -> Secret;

    /// What `token` says, if it is ours and good at `now`.
    fn verify(&self, token: &Secret, now: Timestamp) -> Option<Claims>;
}
