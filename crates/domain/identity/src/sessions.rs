//! Staying signed in, and signing out.

use muster_kernel::{
    Author, Denied, Permit, Principal, Secret, SessionId, StorageError, TokenKind, UserId, act,
};

use crate::Identity;
use crate::ports::Keep;
use crate::session::{RotateError, SESSION_LIFETIME, Session};
use crate::sign_in::{SignInError, SignedIn};
use crate::user::{User, UserStatus};

/// Why a token is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Unknown, expired, used or revoked.
    #[error("the token is unknown, expired or revoked; sign in again")]
    Invalid,
    /// There is no such session, or it is not the asker's.
    #[error("there is no such session, or it is not yours")]
    NotFound,
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Identity {
    /// Renews a session: a new pair of tokens for a refresh token that was not used yet.
    ///
    /// # Errors
    /// [`SessionError::Invalid`]; a token that was used before ends the whole session.
    pub async fn refresh(
        &self,
        refresh_token: &Secret,
        author: &Author,
    ) -> Result<SignedIn, SessionError> {
        let now = self.ports.clock.now();
        let next = Secret::draw(TokenKind::Refresh, &*self.ports.entropy);
        let presented = refresh_token.hash();
        let rotated = self.ports.sessions.rotate(presented, next.hash(), author, now).await?;
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
        let user = self.active(session.user_id).await?;
        let access_token = self.issue(&user, session.id, now);
        Ok(SignedIn { user, access_token, refresh_token: next })
    }

    /// Who shows this access token. Signing out and a change of role or status count after three
    /// seconds at the latest, through this process at once.
    ///
    /// # Errors
    /// [`SessionError::Invalid`].
    pub async fn authenticate(&self, access_token: &Secret) -> Result<Principal, SessionError> {
        let now = self.ports.clock.now();
        let claims = self.ports.access_tokens.verify(access_token, now);
        let claims = claims.ok_or(SessionError::Invalid)?;
        self.principal(claims.session_id, Some(claims.user_id)).await
    }

    /// Who they are now whose session this is: what goes on for long asks again and again.
    ///
    /// # Errors
    /// [`SessionError::Invalid`] when the session is over.
    pub async fn still(&self, session: SessionId) -> Result<Principal, SessionError> {
        self.principal(session, None).await
    }

    async fn principal(
        &self,
        id: SessionId,
        claimed: Option<UserId>,
    ) -> Result<Principal, SessionError> {
        let now = self.ports.clock.now();
        if let Some(principal) = self.looks.recent(id, now) {
            return Ok(principal);
        }
        let look = self.looks.begin();
        let session = self.ports.sessions.find(id).await?;
        let session = session
            .filter(|session| session.is_live(now))
            .filter(|session| claimed.is_none_or(|claimed| session.user_id == claimed))
            .ok_or(SessionError::Invalid)?;
        let user = self.active(session.user_id).await?;
        let required = self.ports.policy.second_factor().includes(user.role);
        let principal = Principal::User {
            user_id: user.id,
            name: user.username.as_str().into(),
            session_id: session.id,
            role: user.role,
            tenants: user.tenants(),
            confirmed: session.is_confirmed(now),
            lacks_second_factor: required && !user.has_second_factor,
        };
        self.looks.keep(look, session.id, now, principal.clone());
        Ok(principal)
    }

    async fn active(&self, id: UserId) -> Result<User, SessionError> {
        let user = self.ports.users.find(id).await?;
        user.filter(|user| user.status == UserStatus::Active).ok_or(SessionError::Invalid)
    }

    /// The asker's live sessions, the newest first.
    ///
    /// # Errors
    /// [`SessionError::Storage`].
    pub async fn sessions(
        &self,
        permit: &Permit<act::UseOwnAccount>,
    ) -> Result<Vec<Session>, SessionError> {
        let (user, _) = permit.person()?;
        Ok(self.ports.sessions.live(user, self.ports.clock.now()).await?)
    }

    /// Ends the asker's session `id`, this one or another: its tokens open nothing any more.
    ///
    /// # Errors
    /// [`SessionError::NotFound`] when it is not a live one of theirs.
    pub async fn end_session(
        &self,
        permit: &Permit<act::UseOwnAccount>,
        id: SessionId,
    ) -> Result<(), SessionError> {
        let (user, _) = permit.person()?;
        let now = self.ports.clock.now();
        let ended = self.ports.sessions.end(user, id, permit.author(), now).await?;
        // After the write: whoever looks from now on sees that it has ended.
        self.looks.end(id);
        if ended { Ok(()) } else { Err(SessionError::NotFound) }
    }

    /// Ends all of the asker's sessions, or all but this one.
    ///
    /// # Errors
    /// [`SessionError::Storage`].
    pub async fn end_sessions(
        &self,
        permit: &Permit<act::UseOwnAccount>,
        others_only: bool,
    ) -> Result<u64, SessionError> {
        let (user, session) = permit.person()?;
        let keep = if others_only { Keep::Only(session) } else { Keep::None };
        let now = self.ports.clock.now();
        let ended = self.ports.sessions.end_all(user, keep, permit.author(), now).await?;
        self.looks.forget_all();
        Ok(ended)
    }

    /// Signs the asker out.
    ///
    /// # Errors
    /// [`SessionError::Storage`].
    pub async fn sign_out(&self, permit: &Permit<act::UseOwnAccount>) -> Result<(), SessionError> {
        let (_, session) = permit.person()?;
        self.end_session(permit, session).await
    }

    /// Takes the asker's password, or a code of their second factor, as a fresh proof that it is
    /// still they who sit there.
    ///
    /// # Errors
    /// [`SignInError::WrongCredentials`], [`SignInError::Locked`].
    pub async fn confirm(
        &self,
        permit: &Permit<act::UseOwnAccount>,
        password: Option<Secret>,
        code: Option<Secret>,
    ) -> Result<(), SignInError> {
        let wrong = |_| SignInError::WrongCredentials;
        let (user, session) = permit.person().map_err(wrong)?;
        let user = self.ports.users.find(user).await?.ok_or(SignInError::WrongCredentials)?;
        if !self.proves(&user, password, code, permit).await? {
            return Err(SignInError::WrongCredentials);
        }
        self.ports.sessions.confirm(session, self.ports.clock.now()).await?;
        self.looks.end(session);
        Ok(())
    }

    /// Lets go of sessions that have been over for a month; what people did in them is in the
    /// audit log.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn forget_sessions(&self) -> Result<u64, StorageError> {
        self.ports.sessions.forget(self.ports.clock.now() - SESSION_LIFETIME).await
    }
}
