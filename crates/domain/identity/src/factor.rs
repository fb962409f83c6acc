//! Setting up a second factor and taking it away.

use muster_kernel::{Denied, Permit, Secret, StorageError, act};

use crate::Identity;
use crate::second_factor::{SecondFactor, draw_recovery_codes};
use crate::sign_in::{Locked, SignInError, factor_place};
use crate::user::User;

/// Why something could not be done with a second factor.
#[derive(Debug, thiserror::Error)]
pub enum FactorError {
    /// The password or the code is wrong.
    #[error("the password or the code is wrong")]
    Wrong,
    /// There is one already.
    #[error("there is a second factor already; remove it first")]
    Present,
    /// There is none, or none to confirm.
    #[error("there is no second factor; POST /auth/totp begins to set one up")]
    Absent,
    /// Too many failures.
    #[error(transparent)]
    Locked(#[from] Locked),
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<SignInError> for FactorError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Locked(locked) => locked.into(),
            SignInError::Storage(error) => error.into(),
            SignInError::WrongCredentials
            | SignInError::CodeRequired
            | SignInError::Pending
            | SignInError::Disabled => Self::Wrong,
        }
    }
}

/// What a device needs to become somebody's second factor.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The secret, in base32, to be typed in.
    pub secret: Secret,
    /// The same as an `otpauth://` URI, to be shown as a QR code.
    pub uri: Secret,
}

impl Identity {
    /// Begins to set up a second factor: nobody is asked for it before it was confirmed.
    ///
    /// # Errors
    /// [`FactorError::Wrong`] for the password, [`FactorError::Present`].
    pub async fn begin_second_factor(
        &self,
        permit: &Permit<act::SecureOwnAccount>,
        password: Option<Secret>,
    ) -> Result<Enrolment, FactorError> {
        let user = self.asker(permit).await?;
        if user.has_second_factor {
            return Err(FactorError::Present);
        }
        // Who signs in elsewhere has no password to show.
        if user.password_hash.is_some() && !self.proves(&user, password, None, permit).await? {
            return Err(FactorError::Wrong);
        }
        let secret = self.ports.codes.draw();
        let uri = self.ports.codes.uri(&secret, user.username.as_str());
        let uri = uri.ok_or(FactorError::Absent)?;
        let factor = SecondFactor {
            user_id: user.id,
            secret: self.ports.vault.seal(&factor_place(user.id), &secret).await?,
            confirmed_at: None,
            last_step: 0,
            recovery_codes: std::collections::BTreeSet::new(),
        };
        let (author, now) = (permit.author(), self.ports.clock.now());
        if !self.ports.factors.keep_factor(factor, "second_factor.begin", author, now).await? {
            return Err(FactorError::Present);
        }
        Ok(Enrolment { secret, uri })
    }

    /// Confirms that the device shows the right codes; from now on one is needed to sign in.
    /// Answers with recovery codes, each good once, for when the device is lost.
    ///
    /// # Errors
    /// [`FactorError::Wrong`], [`FactorError::Absent`], [`FactorError::Present`].
    pub async fn confirm_second_factor(
        &self,
        permit: &Permit<act::SecureOwnAccount>,
        code: &Secret,
    ) -> Result<Vec<Secret>, FactorError> {
        let user = self.asker(permit).await?;
        if user.has_second_factor {
            return Err(FactorError::Present);
        }
        let (author, now) = (permit.author(), self.ports.clock.now());
        let account = user.id.to_string();
        self.by_code.begin(&account, now).map_err(Locked)?;
        let factor = self.ports.factors.find_factor(user.id).await?;
        let mut factor = factor.ok_or(FactorError::Absent)?;
        let secret = self.ports.vault.open(&factor_place(user.id), &factor.secret).await?;
        let secret = secret.ok_or(FactorError::Absent)?;
        let step = self.ports.codes.step_of(&secret, code.expose().trim(), now);
        if !step.is_some_and(|step| factor.use_step(step)) {
            return Err(FactorError::Wrong);
        }
        self.by_code.succeeded(&account);
        let codes = draw_recovery_codes(&*self.ports.entropy);
        factor.confirmed_at = Some(now);
        factor.recovery_codes = codes.iter().map(Secret::hash).collect();
        let action = "second_factor.confirm";
        if !self.ports.factors.keep_factor(factor, action, author, now).await? {
            return Err(FactorError::Present);
        }
        self.looks.forget_all();
        Ok(codes)
    }

    /// Takes the second factor away, for one of its codes or a recovery code: with the password
    /// alone, whoever stole it could.
    ///
    /// # Errors
    /// [`FactorError::Wrong`], [`FactorError::Absent`].
    pub async fn remove_second_factor(
        &self,
        permit: &Permit<act::SecureOwnAccount>,
        code: Secret,
    ) -> Result<(), FactorError> {
        let user = self.asker(permit).await?;
        if !user.has_second_factor {
            return Err(FactorError::Absent);
        }
        if !self.proves(&user, None, Some(code), permit).await? {
            return Err(FactorError::Wrong);
        }
        let now = self.ports.clock.now();
        let removed = self.ports.factors.remove_factor(user.id, permit.author(), now).await?;
        self.looks.forget_all();
        if removed { Ok(()) } else { Err(FactorError::Absent) }
    }

    async fn asker(&self, permit: &Permit<act::SecureOwnAccount>) -> Result<User, FactorError> {
        let (id, _) = permit.person()?;
        self.ports.users.find(id).await?.ok_or(FactorError::Denied(Denied::Forbidden))
    }
}
