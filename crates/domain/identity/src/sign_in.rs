//! Signing in.

use std::net::IpAddr;

use chrono::TimeDelta;
use muster_kernel::{
    Act, Actor, Author, Permit, Secret, SessionId, StorageError, Timestamp, TokenKind, UserId,
};

use crate::Identity;
use crate::session::{SESSION_LIFETIME, Session};
use crate::user::{Email, User, UserStatus, Username};

/// How many characters of a login are looked at: more than any name or address has.
const MAX_LOGIN: usize = 320;
/// How many characters of what a program calls itself are kept.
const MAX_USER_AGENT: usize = 200;

/// Too many failures; for this long no attempt is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many failed attempts; try again later")]
pub struct Locked(pub TimeDelta);

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The name, the password or the code is wrong; which of them is nobody's business.
    #[error("the user name, the password or the code is wrong")]
    WrongCredentials,
    /// The password is right, and a code is needed as well.
    #[error("this account has a second factor: send totp_code, or a recovery code, as well")]
    CodeRequired,
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

/// An attempt to sign in.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// A user name or an e-mail address.
    pub login: String,
    /// The password.
    pub password: Secret,
    /// A code of the second factor, or a recovery code.
    pub code: Option<Secret>,
    /// What the program calls itself.
    pub user_agent: Option<String>,
    /// From where, by which request.
    pub author: Author,
}

/// Somebody is signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// What opens the API, for [`ACCESS_TOKEN_LIFETIME`](crate::ACCESS_TOKEN_LIFETIME).
    pub access_token: Secret,
    /// What renews the session, once.
    pub refresh_token: Secret,
}

/// Under what the failures from an address count: whoever has one IPv6 address has 2^64.
fn neighbourhood(address: Option<IpAddr>) -> String {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(v6)) => format!("{:x}/64", v6.to_bits() >> 64),
        Some(v4) => v4.to_string(),
        None => "nowhere".to_owned(),
    }
}

impl Identity {
    /// Signs in whoever has this name or address and this password.
    ///
    /// # Errors
    /// [`SignInError`]; an unknown name gets the same answer in the same time as a wrong password.
    pub async fn sign_in(&self, attempt: Attempt) -> Result<SignedIn, SignInError> {
        let now = self.ports.clock.now();
        let address = neighbourhood(attempt.author.address);
        let from = self.by_address.begin(&address, now).map_err(locked("an address"))?;
        let login: String = attempt.login.trim().chars().take(MAX_LOGIN).collect();
        let user = self.find_by_login(&login.to_lowercase()).await?;
        // By the account, however it is called: a name and an address are one account.
        let account =
            user.as_ref().map_or_else(|| format!("?{}", login.to_lowercase()), counted_as);
        self.by_account.begin(&account, now).map_err(locked("an account"))?;
        let hash = user.as_ref().and_then(|user| user.password_hash.clone());
        let right = self.ports.passwords.verify(attempt.password, hash).await;
        let known = user.as_ref().map(|user| user.id.to_string());
        let Some(user) = user.filter(|_| right) else {
            // Never the name that was typed: people type passwords there.
            tracing::warn!(user.id = known, "a wrong password");
            return Err(SignInError::WrongCredentials);
        };
        let author = attempt.author.as_actor(actor(&user));
        self.by_account.succeeded(&account);
        if user.has_second_factor {
            let Some(code) = attempt.code else {
                self.by_address.take_back(&address, from);
                return Err(SignInError::CodeRequired);
            };
            if !self.code_is_good(user.id, &code, &author, now).await? {
                return Err(SignInError::WrongCredentials);
            }
        }
        self.by_address.take_back(&address, from);
        self.open(user, attempt.user_agent, &author, now).await
    }

    /// Opens a session for somebody who has proved who they are.
    pub(crate) async fn open(
        &self,
        user: User,
        user_agent: Option<String>,
        author: &Author,
        now: Timestamp,
    ) -> Result<SignedIn, SignInError> {
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
            confirmed_at: now,
            address: author.address.map(|address| address.to_canonical().to_string()),
            user_agent: user_agent.map(|text| text.chars().take(MAX_USER_AGENT).collect()),
            refresh_token: refresh_token.hash(),
        };
        let access_token = self.issue(&user, session.id, now);
        self.ports.sessions.create(session, author).await?;
        Ok(SignedIn { user, access_token, refresh_token })
    }

    /// Whether somebody who is signed in knows their password, or has their second factor.
    pub(crate) async fn proves<A: Act>(
        &self,
        user: &User,
        password: Option<Secret>,
        code: Option<Secret>,
        permit: &Permit<A>,
    ) -> Result<bool, SignInError> {
        let now = self.ports.clock.now();
        match (password, code) {
            (Some(password), _) => {
                let (_, session) = permit.person().map_err(|_| SignInError::WrongCredentials)?;
                let session = session.to_string();
                self.by_session.begin(&session, now).map_err(locked("a session"))?;
                let hash = user.password_hash.clone();
                let good = self.ports.passwords.verify(password, hash).await;
                if good {
                    self.by_session.succeeded(&session);
                } else {
                    tracing::warn!(user.id = %user.id, "a wrong password in a session");
                }
                Ok(good)
            }
            (None, Some(code)) => {
                Ok(self.code_is_good(user.id, &code, permit.author(), now).await?)
            }
            (None, None) => Ok(false),
        }
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

    /// Whether `code` is one that the user's device shows now, or a recovery code; it is used up.
    pub(crate) async fn code_is_good(
        &self,
        user: UserId,
        code: &Secret,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, SignInError> {
        let account = user.to_string();
        let begun = self.by_code.begin(&account, now).map_err(locked("a second factor"))?;
        let answer = self.uses_code(user, code, author, now).await;
        if answer.is_err() {
            // Nobody can say whether it was wrong.
            self.by_code.take_back(&account, begun);
        }
        let good = answer?;
        if good {
            self.by_code.succeeded(&account);
        } else {
            tracing::warn!(user.id = account, "a wrong code of a second factor");
        }
        Ok(good)
    }

    async fn uses_code(
        &self,
        user: UserId,
        code: &Secret,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let Some(factor) = self.ports.factors.find_factor(user).await? else { return Ok(false) };
        let place = factor_place(user);
        let secret = self.ports.vault.open(&place, &factor.secret).await?;
        let typed = code.expose().trim();
        if let Some(step) = secret.and_then(|secret| self.ports.codes.step_of(&secret, typed, now))
        {
            return self.ports.factors.use_step(user, step).await;
        }
        let code = crate::second_factor::canonical_recovery_code(typed).hash();
        self.ports.factors.use_recovery_code(user, code, author, now).await
    }
}

/// Tells the log that somebody fails too often.
fn locked(what: &'static str) -> impl FnOnce(TimeDelta) -> SignInError {
    move |wait| {
        tracing::warn!(seconds = wait.num_seconds(), "{what} is locked after too many failures");
        SignInError::Locked(Locked(wait))
    }
}

/// Under what the failures with an account count: a new password begins anew.
fn counted_as(user: &User) -> String {
    let hash = user.password_hash.as_deref().unwrap_or_default();
    format!("{}/{}", user.id, hash.get(hash.len().saturating_sub(8)..).unwrap_or_default())
}

/// What the secret of a second factor is sealed for.
pub(crate) fn factor_place(user: UserId) -> String {
    format!("second_factors/{user}")
}

/// The user as the audit log names them.
pub(crate) fn actor(user: &User) -> Actor {
    Actor::User { id: user.id, name: user.username.as_str().into() }
}
