//! What identity needs from outside.

use async_trait::async_trait;
use muster_kernel::{
    Author, Page, PageRequest, Role, Secret, SessionId, StorageError, Timestamp, TokenHash, UserId,
};

use crate::second_factor::SecondFactor;
use crate::session::{RotateError, Session};
use crate::user::{Email, LastAdmin, User, UserChange, UserStatus, Username};

/// Why a user could not be written.
#[derive(Debug, thiserror::Error)]
pub enum UserWriteError {
    /// Somebody else has that user name or e-mail address, or that account at a provider.
    #[error("somebody else has that user name or e-mail address")]
    Taken,
    /// There would be no admin left.
    #[error(transparent)]
    LastAdmin(#[from] LastAdmin),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Which users a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// Only those.
    pub status: Option<UserStatus>,
    /// Only those.
    pub role: Option<Role>,
    /// Only those whose user name, e-mail address or full name contains this, upper and lower
    /// case alike.
    pub q: Option<String>,
}

/// Which sessions of a user outlive a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All.
    All,
    /// Only this one.
    Only(SessionId),
    /// None.
    None,
}

/// The users. Every write enters in the audit log what it did, and who, in the same transaction.
#[async_trait]
pub trait UserRepository: Send + Sync + std::fmt::Debug {
    /// Whether there is no user at all.
    async fn is_empty(&self) -> Result<bool, StorageError>;

    /// Keeps `user` if there is no user at all yet, and says whether it did; of two callers at
    /// the same time only one succeeds.
    async fn create_first(&self, user: User, author: &Author) -> Result<bool, StorageError>;

    /// Keeps a new user.
    async fn create(&self, user: User, author: &Author) -> Result<(), UserWriteError>;

    /// The user `id`.
    async fn find(&self, id: UserId) -> Result<Option<User>, StorageError>;

    /// Who signs in with this name.
    async fn find_by_username(&self, name: &Username) -> Result<Option<User>, StorageError>;

    /// Who signs in with this address.
    async fn find_by_email(&self, email: &Email) -> Result<Option<User>, StorageError>;

    /// The users that pass `filter`, in the order of their creation.
    async fn list(
        &self,
        filter: &UserFilter,
        page: &PageRequest,
    ) -> Result<Page<User>, StorageError>;

    /// Changes the user `id` by [`User::changed`], ends the sessions that are not kept, enters it
    /// all as `action` and answers with what the user then is; `None` if there is none.
    async fn update(
        &self,
        id: UserId,
        change: UserChange,
        keep: Keep,
        action: &'static str,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<User>, UserWriteError>;

    /// Removes the user `id`, if [`User::removable`], with all sessions; says whether there was
    /// one.
    async fn remove(
        &self,
        id: UserId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, UserWriteError>;

    /// Whose account at an identity provider this is.
    async fn find_by_sign_on(
        &self,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<User>, StorageError>;

    /// Keeps a new user and whose account at an identity provider they are: both or neither.
    async fn create_signed_on(
        &self,
        user: User,
        issuer: &str,
        subject: &str,
        author: &Author,
    ) -> Result<(), UserWriteError>;
}

/// The sessions. What people do with them is entered in the audit log.
#[async_trait]
pub trait SessionRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new session.
    async fn create(&self, session: Session, author: &Author) -> Result<(), StorageError>;

    /// The session `id`.
    async fn find(&self, id: SessionId) -> Result<Option<Session>, StorageError>;

    /// The user's sessions that are live at `now`, the newest first.
    async fn live(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StorageError>;

    /// Renews the session that `presented` renews or once renewed, by [`Session::rotate`], in one
    /// transaction, and answers with it and what came of it; `None` for a token that never was.
    /// That a session ends because a token was reused is entered.
    async fn rotate(
        &self,
        presented: TokenHash,
        next: TokenHash,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<(Session, Result<(), RotateError>)>, StorageError>;

    /// Keeps that the session's user has shown their password or second factor again.
    async fn confirm(&self, id: SessionId, now: Timestamp) -> Result<(), StorageError>;

    /// Ends the user's session `id`; says whether it was one of theirs and live.
    async fn end(
        &self,
        user: UserId,
        id: SessionId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Ends the user's sessions that are not kept; says how many.
    async fn end_all(
        &self,
        user: UserId,
        keep: Keep,
        author: &Author,
        now: Timestamp,
    ) -> Result<u64, StorageError>;

    /// Lets go of the sessions that ended, or were not renewed, before `before`; says how many.
    async fn forget(&self, before: Timestamp) -> Result<u64, StorageError>;
}

/// The second factors. Every write but [`use_step`](Self::use_step) enters in the audit log.
#[async_trait]
pub trait SecondFactorRepository: Send + Sync + std::fmt::Debug {
    /// The user's.
    async fn find_factor(&self, user: UserId) -> Result<Option<SecondFactor>, StorageError>;

    /// Keeps a factor in the place of the user's last one, if it [may take
    /// it](SecondFactor::may_replace); says whether it did.
    async fn keep_factor(
        &self,
        factor: SecondFactor,
        action: &'static str,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Applies [`SecondFactor::use_step`]; of two callers with the same step one succeeds.
    async fn use_step(&self, user: UserId, step: u64) -> Result<bool, StorageError>;

    /// Applies [`SecondFactor::use_recovery_code`]; of two callers with one code one succeeds.
    async fn use_recovery_code(
        &self,
        user: UserId,
        code: TokenHash,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Removes the user's; says whether there was one.
    async fn remove_factor(
        &self,
        user: UserId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;
}

/// Codes that a device shows, by RFC 6238: six digits, half a minute each.
pub trait OneTimeCodes: Send + Sync + std::fmt::Debug {
    /// Draws a secret, in base32.
    fn draw(&self) -> Secret;

    /// The `otpauth://` URI by which a device takes the secret in.
    fn uri(&self, secret: &Secret, account: &str) -> Option<Secret>;

    /// The time step of which `code` is, if it is the one of `now` or next to it.
    fn step_of(&self, secret: &Secret, code: &str, now: Timestamp) -> Option<u64>;
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

/// Single-use tickets. What can't be found was used, or never was.
#[async_trait]
pub trait TicketStore: Send + Sync + std::fmt::Debug {
    /// Keeps a ticket of this session until `expires_at`.
    async fn put(
        &self,
        ticket: TokenHash,
        session: SessionId,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StorageError>;

    /// Takes a ticket out: of two callers one gets it.
    async fn take(
        &self,
        ticket: TokenHash,
        now: Timestamp,
    ) -> Result<Option<SessionId>, StorageError>;
}

/// Who has to have a second factor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Requirement {
    /// Nobody.
    #[default]
    Nobody,
    /// Admins.
    Admins,
    /// Everybody.
    Everybody,
}

impl Requirement {
    /// The name in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Admins => "admins",
            Self::Everybody => "everybody",
        }
    }

    /// Reads what [`Requirement::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Nobody, Self::Admins, Self::Everybody].into_iter().find(|it| it.as_str() == text)
    }

    /// Whether it is required of somebody with this role.
    pub fn includes(self, role: Role) -> bool {
        match self {
            Self::Nobody => false,
            Self::Admins => role == Role::Admin,
            Self::Everybody => true,
        }
    }
}

/// What this installation allows, as its settings say at the moment.
pub trait AccountPolicy: Send + Sync + std::fmt::Debug {
    /// Whether people may register by themselves, to be approved by an admin.
    fn registration_is_open(&self) -> bool;

    /// Who has to have a second factor.
    fn second_factor(&self) -> Requirement;

    /// Whether somebody whom the identity provider vouches for, and nobody knows yet, is
    /// registered.
    fn provider_registers(&self) -> bool;
}
