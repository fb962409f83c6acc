//! Signing in with an account that an identity provider keeps.

use chrono::{DateTime, TimeDelta};
use muster_kernel::{Actor, Author, Sealed, Secret, StorageError, Timestamp};

use crate::Identity;
use crate::ports::UserWriteError;
use crate::sign_in::{SignInError, SignedIn, actor};
use crate::sign_on::{Identified, PendingSignOn, SignOnError};
use crate::user::{Email, User, Username, full_name};

/// How long somebody may take at the provider.
pub const SIGN_ON_WITHIN: TimeDelta = TimeDelta::minutes(10);
/// What is remembered in the browser is sealed for it.
const PLACE: &str = "sign_on";
/// How many names are tried for somebody whose own is taken.
const NAMES: usize = 20;

/// Why nobody is signed in by a provider.
#[derive(Debug, thiserror::Error)]
pub enum SignOnFailure {
    /// The browser was not sent away from here, or too long ago.
    #[error("this sign-on was not begun here, or too long ago; begin again at /auth/oidc/login")]
    NotBegun,
    /// The provider vouches for somebody whom nobody knows here.
    #[error(
        "you have no account here; an admin lets new ones in with the setting oidc_registers_users"
    )]
    Unknown,
    /// The provider does not vouch for anybody.
    #[error(transparent)]
    Provider(#[from] SignOnError),
    /// The account may not sign in.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Identity {
    /// Where to send a browser to sign in, and what it has to bring back.
    ///
    /// # Errors
    /// [`SignOnFailure::Provider`].
    pub async fn begin_sign_on(&self) -> Result<(String, Sealed), SignOnFailure> {
        let start = self.ports.sign_on.begin().await?;
        let begun_at = self.ports.clock.now().timestamp().to_string();
        let [state, nonce, verifier] = start.pending.parts();
        let text = Secret::from_text([&begun_at, state, nonce, verifier].join("\n"));
        Ok((start.url, self.ports.vault.seal(PLACE, &text).await?))
    }

    /// Signs in whoever comes back from the provider. Somebody new is registered, where the
    /// policy says so, and waits for an admin's approval like everybody.
    ///
    /// Nobody is recognised by an e-mail address: anybody may write any address into their own
    /// profile here. And no second factor is asked for: that is the provider's to do.
    ///
    /// # Errors
    /// [`SignOnFailure`].
    pub async fn finish_sign_on(
        &self,
        code: &str,
        state: &str,
        brought: &Sealed,
        user_agent: Option<String>,
        author: &Author,
    ) -> Result<SignedIn, SignOnFailure> {
        let now = self.ports.clock.now();
        let text = self.ports.vault.open(PLACE, brought).await?;
        let pending = text.and_then(|text| pending(&text, now)).ok_or(SignOnFailure::NotBegun)?;
        let who = self.ports.sign_on.finish(code, state, &pending).await?;
        let users = &self.ports.users;
        let user = match users.find_by_sign_on(&who.issuer, &who.subject).await? {
            Some(user) => user,
            None if self.ports.policy.provider_registers() => {
                self.register_known(who, author).await?
            }
            None => return Err(SignOnFailure::Unknown),
        };
        let author = author.as_actor(actor(&user));
        Ok(self.open(user, user_agent, &author, now).await?)
    }

    async fn register_known(
        &self,
        who: Identified,
        author: &Author,
    ) -> Result<User, SignOnFailure> {
        let author = author.as_actor(Actor::Anonymous);
        let email = who.email.as_deref().filter(|_| who.email_verified);
        let mut user = User {
            email: email.and_then(|text| Email::parse(text).ok()),
            full_name: who.full_name.as_deref().and_then(|text| full_name(text).ok().flatten()),
            ..self.new_user(self.name_for(&who, 0))
        };
        let mut names = 1..=NAMES;
        loop {
            let Identified { issuer, subject, .. } = &who;
            let users = &self.ports.users;
            match users.create_signed_on(user.clone(), issuer, subject, &author).await {
                Ok(()) => return Ok(user),
                // The same person may have come back in two windows.
                Err(UserWriteError::Taken)
                    if let Some(user) = users.find_by_sign_on(issuer, subject).await? =>
                {
                    return Ok(user);
                }
                // First without the address, which may be what is taken, then with other names.
                Err(UserWriteError::Taken) if user.email.is_some() => user.email = None,
                Err(UserWriteError::Taken) => {
                    let name = names.next().map(|attempt| self.name_for(&who, attempt));
                    user.username = name.ok_or(SignOnFailure::Unknown)?;
                }
                Err(UserWriteError::LastAdmin(_)) => return Err(SignOnFailure::Unknown),
                Err(UserWriteError::Storage(error)) => return Err(error.into()),
            }
        }
    }

    /// The name that they would like, as far as it is one; from the second attempt on with
    /// something at its end.
    fn name_for(&self, who: &Identified, attempt: usize) -> Username {
        let wish = who.username.as_deref().or(who.email.as_deref()).unwrap_or_default();
        let wish = wish.split('@').next().unwrap_or_default();
        let allowed = |c: &char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
        let wish: String = wish.chars().filter(allowed).take(50).collect();
        let wish = if wish.is_empty() { "user".to_owned() } else { wish };
        let name = match attempt {
            0 => wish,
            1..10 => format!("{wish}-{}", attempt + 1),
            _ => {
                let mut random = [0; 4];
                self.ports.entropy.fill(&mut random);
                format!("{wish}-{:08x}", u32::from_be_bytes(random))
            }
        };
        Username::parse(&name).unwrap_or_else(|_| Username::somebody())
    }
}

/// What a browser was sent away with, unless that is too long ago.
fn pending(text: &Secret, now: Timestamp) -> Option<PendingSignOn> {
    let mut parts = text.expose().split('\n');
    let begun_at = DateTime::from_timestamp(parts.next()?.parse().ok()?, 0)?;
    let pending = PendingSignOn::from_parts(parts.next()?, parts.next()?, parts.next()?);
    (now - begun_at < SIGN_ON_WITHIN).then_some(pending)
}
