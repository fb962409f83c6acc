//! Signing in, staying signed in, signing out.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use muster_kernel::{
    Clock, Entropy, Principal, Role, Secret, SessionId, StorageError, Timestamp, TokenKind, UserId,
};

use crate::attempts::Attempts;
use crate::looks::Looks;
use crate::ports::{AccessTokens, Claims, PasswordHasher, SessionRepository, UserRepository};
use crate::session::{RotateError, SESSION_LIFETIME, Session};
use crate::user::{Email, Password, User, UserStatus, Username};

/// How long an access token is good.
pub const ACCESS_TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(30);
/// How many characters of a login are looked at: more than any name or address has.
const MAX_LOGIN: usize = 320;

/// Too many failures; the name is locked for this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many failed attempts; try again later")]
pub struct Locked(pub TimeDelta);

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The name or the password is wrong; which of them is nobody's business.
    #[error("the user name or the password is wrong")]
    WrongCredentials,
    /// The account waits for an admin's approval.
    #[error("the account waits for an admin's approval")]
    Pending,
    /// The account is switched off.
    #[error("the account is switched off; ask an admin")]
    Disabled,
    /// Too many failures.
    #[error(transparent)]
    Locked(#[from] Locked),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a token is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Unknown, expired, used or revoked.
    #[error("the token is unknown, expired or revoked; sign in again")]
    Invalid,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Somebody is signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// What opens the API, for [`ACCESS_TOKEN_LIFETIME`].
    pub access_token: Secret,
    /// What renews the session, once.
    pub refresh_token: Secret,
}

/// The ports of [`Identity`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct IdentityPorts {
    pub users: Arc<dyn UserRepository>,
    pub sessions: Arc<dyn SessionRepository>,
    pub passwords: Arc<dyn PasswordHasher>,
    pub access_tokens: Arc<dyn AccessTokens>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// Signs people in and out.
#[derive(Debug)]
pub struct Identity {
    ports: IdentityPorts,
    attempts: Attempts,
    looks: Looks,
}

impl Identity {
    /// Made of its ports.
    pub fn new(ports: IdentityPorts) -> Self {
        Self { ports, attempts: Attempts::default(), looks: Looks::default() }
    }

    /// Creates the first user, an admin with the name `admin`, if there is no user at all. The
    /// password is the one given, or drawn and handed back, to be shown once.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn ensure_first_admin(
        &self,
        given: Option<Password>,
    ) -> Result<Option<Secret>, StorageError> {
        // A look first: to hash a password for nothing would cost every start a quarter second.
        if !self.ports.users.is_empty().await? {
            return Ok(None);
        }
        let drawn = given.is_none().then(|| self.draw_password());
        let password = given.map(|given| given.secret().clone()).or_else(|| drawn.clone());
        let Some(password) = password else { return Ok(None) };
        let Ok(username) = Username::parse("admin") else { return Ok(None) };
        let admin = User {
            id: UserId::new(&*self.ports.clock, &*self.ports.entropy),
            username,
            email: None,
            full_name: None,
            role: Role::Admin,
            status: UserStatus::Active,
            customers: BTreeSet::new(),
            password_hash: self.ports.passwords.hash(password).await,
            created_at: self.ports.clock.now(),
        };
        let created = self.ports.users.create_first(admin).await?;
        Ok(if created { drawn } else { None })
    }

    /// Signs in whoever has this name or address and this password.
    ///
    /// # Errors
    /// [`SignInError`]; an unknown name gets the same answer in the same time as a wrong password.
    pub async fn sign_in(&self, login: &str, password: Secret) -> Result<SignedIn, SignInError> {
        let now = self.ports.clock.now();
        let canonical = login.trim().chars().take(MAX_LOGIN).collect::<String>().to_lowercase();
        self.attempts.begin(&canonical, now).map_err(Locked)?;
        let user = self.find_by_login(&canonical).await?;
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let right = self.ports.passwords.verify(password, hash).await;
        let Some(user) = user.filter(|_| right) else {
            return Err(SignInError::WrongCredentials);
        };
        self.attempts.succeeded(&canonical);
        match user.status {
            UserStatus::Active => {}
            UserStatus::Pending => return Err(SignInError::Pending),
            UserStatus::Disabled => return Err(SignInError::Disabled),
        }
        let refresh_token = Secret::draw(TokenKind::Refresh, &*self.ports.entropy);
        let session = Session {
            id: SessionId::new(&*self.ports.clock, &*self.ports.entropy),
            user_id: user.id,
            created_at: now,
            renewed_at: now,
            expires_at: now + SESSION_LIFETIME,
            ended_at: None,
            refresh_token: refresh_token.hash(),
        };
        let access_token = self.issue(&user, session.id, now);
        self.ports.sessions.create(session).await?;
        Ok(SignedIn { user, access_token, refresh_token })
    }

    /// Renews a session: a new pair of tokens for a refresh token that was not used yet.
    ///
    /// # Errors
    /// [`SessionError::Invalid`]; a token that was used before ends the whole session.
    pub async fn refresh(&self, refresh_token: &Secret) -> Result<SignedIn, SessionError> {
        let now = self.ports.clock.now();
        let next = Secret::draw(TokenKind::Refresh, &*self.ports.entropy);
        let rotated = self.ports.sessions.rotate(refresh_token.hash(), next.hash(), now).await?;
        let (session, outcome) = rotated.ok_or(SessionError::Invalid)?;
        if let Err(error) = outcome {
            self.looks.end(session.id);
            if error == RotateError::Reused {
                tracing::warn!(
                    session.id = %session.id,
                    user.id = %session.user_id,
                    "a used refresh token was shown; the session is ended"
                );
            }
            return Err(SessionError::Invalid);
        }
        let user = self.ports.users.find(session.user_id).await?;
        let user =
            user.filter(|user| user.status == UserStatus::Active).ok_or(SessionError::Invalid)?;
        let access_token = self.issue(&user, session.id, now);
        Ok(SignedIn { user, access_token, refresh_token: next })
    }

    /// Who shows this access token. Signing out and a change of role or status count after five
    /// seconds at the latest, signing out through this process at once.
    ///
    /// # Errors
    /// [`SessionError::Invalid`].
    pub async fn authenticate(&self, access_token: &Secret) -> Result<Principal, SessionError> {
        let now = self.ports.clock.now();
        let claims = self.ports.access_tokens.verify(access_token, now);
        let claims = claims.ok_or(SessionError::Invalid)?;
        if let Some(principal) = self.looks.recent(claims.session_id, now) {
            return Ok(principal);
        }
        let look = self.looks.begin();
        let session = self.ports.sessions.find(claims.session_id).await?;
        let session =
            session.filter(|session| session.is_live(now)).ok_or(SessionError::Invalid)?;
        let user = self.ports.users.find(session.user_id).await?;
        let user = user
            .filter(|user| user.status == UserStatus::Active && user.id == claims.user_id)
            .ok_or(SessionError::Invalid)?;
        let principal = Principal::User {
            user_id: user.id,
            session_id: session.id,
            role: user.role,
            tenants: user.tenants(),
        };
        self.looks.keep(look, session.id, now, principal.clone());
        Ok(principal)
    }

    /// Ends a session: its tokens open nothing any more.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn sign_out(&self, session_id: SessionId) -> Result<(), StorageError> {
        self.ports.sessions.end(session_id, self.ports.clock.now()).await?;
        // After the write: whoever looks from now on sees that it has ended.
        self.looks.end(session_id);
        Ok(())
    }

    /// One user.
    ///
    /// # Errors
    /// [`SessionError::Invalid`] when there is no such user any more.
    pub async fn user(&self, id: UserId) -> Result<User, SessionError> {
        self.ports.users.find(id).await?.ok_or(SessionError::Invalid)
    }

    async fn find_by_login(&self, login: &str) -> Result<Option<User>, StorageError> {
        if let Ok(email) = Email::parse(login) {
            return self.ports.users.find_by_email(&email).await;
        }
        match Username::parse(login) {
            Ok(name) => self.ports.users.find_by_username(&name).await,
            Err(_) => Ok(None),
        }
    }

    fn issue(&self, user: &User, session_id: SessionId, now: Timestamp) -> Secret {
        let expires_at = now + ACCESS_TOKEN_LIFETIME;
        let (user_id, role) = (user.id, user.role);
        let claims = Claims { user_id, session_id, role, issued_at: now, expires_at };
        self.ports.access_tokens.issue(&claims)
    }

    /// 120 random bits in 24 characters that nobody confuses with each other.
    fn draw_password(&self) -> Secret {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut bytes = [0_u8; 24];
        self.ports.entropy.fill(&mut bytes);
        let letter = |byte: u8| ALPHABET.get(usize::from(byte % 32)).map(|byte| char::from(*byte));
        Secret::from_text(bytes.into_iter().filter_map(letter).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, world};

    async fn signed_in(world: &World) -> SignedIn {
        world.identity.sign_in("admin", world.password.clone()).await.unwrap()
    }

    #[tokio::test]
    async fn the_first_admin_is_created_once_with_a_password_that_works() {
        let world = world().await;
        assert_eq!(world.password.expose().len(), 24);
        assert!(world.identity.ensure_first_admin(None).await.unwrap().is_none());
        let principal =
            world.identity.authenticate(&signed_in(&world).await.access_token).await.unwrap();
        assert!(matches!(principal, Principal::User { role: Role::Admin, .. }));
    }

    #[tokio::test]
    async fn a_wrong_password_and_an_unknown_name_get_the_same_answer() {
        let world = world().await;
        for login in ["admin", "nobody", "nobody@example.org", "not a name", ""] {
            let answer = world.identity.sign_in(login, Secret::from_text("wrong")).await;
            assert!(matches!(answer, Err(SignInError::WrongCredentials)), "{login}");
        }
        assert_eq!(world.hasher_calls(), 1 + 5, "every attempt costs a hash");
    }

    #[tokio::test]
    async fn no_spelling_of_a_name_evades_the_lock() {
        let world = world().await;
        for login in ["admin", " admin", "ADMIN", "Admin ", "aDmin"] {
            let _ = world.identity.sign_in(login, Secret::from_text("wrong")).await;
        }
        let answer = world.identity.sign_in("admin", world.password.clone()).await;
        assert!(matches!(answer, Err(SignInError::Locked(_))));
        world.clock.advance(TimeDelta::minutes(15));
        signed_in(&world).await;
    }

    #[tokio::test]
    async fn guesses_at_the_same_time_are_no_more_than_one_after_the_other() {
        let world = world().await;
        let before = world.hasher_calls();
        let guess = || world.identity.sign_in("admin", Secret::from_text("wrong"));
        let _ = tokio::join!(guess(), guess(), guess(), guess(), guess(), guess(), guess());
        assert_eq!(world.hasher_calls() - before, 5);
    }

    #[tokio::test]
    async fn a_refresh_token_works_once_and_its_second_use_ends_the_session() {
        let world = world().await;
        let first = signed_in(&world).await;
        let second = world.identity.refresh(&first.refresh_token).await.unwrap();
        world.identity.authenticate(&second.access_token).await.unwrap();
        let stolen = world.identity.refresh(&first.refresh_token).await;
        assert!(matches!(stolen, Err(SessionError::Invalid)));
        for token in [&first.access_token, &second.access_token] {
            let answer = world.identity.authenticate(token).await;
            assert!(matches!(answer, Err(SessionError::Invalid)));
        }
        assert!(world.identity.refresh(&second.refresh_token).await.is_err());
    }

    #[tokio::test]
    async fn signing_out_ends_the_access_token_at_once() {
        let world = world().await;
        let tokens = signed_in(&world).await;
        let principal = world.identity.authenticate(&tokens.access_token).await.unwrap();
        let Principal::User { session_id, .. } = principal else { panic!("not a user") };
        world.identity.sign_out(session_id).await.unwrap();
        assert!(world.identity.authenticate(&tokens.access_token).await.is_err());
        assert!(world.identity.refresh(&tokens.refresh_token).await.is_err());
    }

    #[tokio::test]
    async fn an_access_token_expires() {
        let world = world().await;
        let tokens = signed_in(&world).await;
        world.clock.advance(ACCESS_TOKEN_LIFETIME);
        assert!(world.identity.authenticate(&tokens.access_token).await.is_err());
        assert!(world.identity.refresh(&tokens.refresh_token).await.is_ok());
    }
}
