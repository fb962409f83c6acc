//! What people do with their own account.

use muster_kernel::{Actor, Author, Denied, Permit, Secret, StorageError, act};

use crate::Identity;
use crate::ports::{Keep, UserWriteError};
use crate::sign_in::{Locked, SignInError};
use crate::user::{Email, InvalidUser, LastAdmin, Password, User, UserChange, Username};

/// Why something could not be done with one's own account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Nobody registers by themselves here.
    #[error("registration is closed here; an admin opens it with the setting registration_open")]
    Closed,
    /// Somebody else has that name or address.
    #[error("somebody else has that user name or e-mail address")]
    Taken,
    /// The password is not the present one.
    #[error("the present password is wrong")]
    WrongPassword,
    /// Too many failures.
    #[error(transparent)]
    Locked(#[from] Locked),
    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidUser),
    /// There is no such user any more.
    #[error("there is no such user any more")]
    Gone,
    /// There would be no admin left.
    #[error(transparent)]
    LastAdmin(#[from] LastAdmin),
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<UserWriteError> for AccountError {
    fn from(error: UserWriteError) -> Self {
        match error {
            UserWriteError::Taken => Self::Taken,
            UserWriteError::LastAdmin(error) => error.into(),
            UserWriteError::Storage(error) => error.into(),
        }
    }
}

/// A wish for an account.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of User")]
pub struct NewAccount {
    pub username: Username,
    pub email: Option<Email>,
    pub full_name: Option<String>,
    pub password: Password,
}

/// A change to one's own profile; what is `None` stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are those of User")]
pub struct ProfileChange {
    pub email: Option<Option<Email>>,
    pub full_name: Option<Option<String>>,
}

impl Identity {
    /// Registers somebody, who can sign in once an admin has approved.
    ///
    /// # Errors
    /// [`AccountError::Closed`], [`AccountError::Taken`].
    pub async fn register(&self, wish: NewAccount, author: &Author) -> Result<User, AccountError> {
        if !self.ports.policy.registration_is_open() {
            return Err(AccountError::Closed);
        }
        let user = User {
            email: wish.email,
            full_name: wish.full_name,
            password_hash: Some(self.ports.passwords.hash(wish.password.secret().clone()).await),
            ..self.new_user(wish.username)
        };
        self.ports.users.create(user.clone(), &author.as_actor(Actor::Anonymous)).await?;
        Ok(user)
    }

    /// The asker.
    ///
    /// # Errors
    /// [`AccountError::Gone`].
    pub async fn me(&self, permit: &Permit<act::UseOwnAccount>) -> Result<User, AccountError> {
        let (user, _) = permit.person()?;
        self.ports.users.find(user).await?.ok_or(AccountError::Gone)
    }

    /// Changes the asker's profile.
    ///
    /// # Errors
    /// [`AccountError::Taken`] for the address.
    pub async fn change_profile(
        &self,
        permit: &Permit<act::UseOwnAccount>,
        change: ProfileChange,
    ) -> Result<User, AccountError> {
        let (user, _) = permit.person()?;
        let ProfileChange { email, full_name } = change;
        let change = UserChange { email, full_name, ..UserChange::default() };
        let (author, now) = (permit.author(), self.ports.clock.now());
        let users = &self.ports.users;
        let changed = users.update(user, change, Keep::All, "user.update", author, now).await?;
        changed.ok_or(AccountError::Gone)
    }

    /// Changes the asker's password and ends all of their other sessions.
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`], [`AccountError::Locked`].
    pub async fn change_password(
        &self,
        permit: &Permit<act::SecureOwnAccount>,
        current: Secret,
        new: Password,
    ) -> Result<(), AccountError> {
        let (id, session) = permit.person()?;
        let user = self.ports.users.find(id).await?.ok_or(AccountError::Gone)?;
        match self.proves(&user, Some(current), None, permit).await {
            Ok(true) => {}
            Err(SignInError::Locked(locked)) => return Err(locked.into()),
            Err(SignInError::Storage(error)) => return Err(error.into()),
            Ok(false) | Err(_) => return Err(AccountError::WrongPassword),
        }
        let hash = self.ports.passwords.hash(new.secret().clone()).await;
        let change = UserChange { password_hash: Some(hash), ..UserChange::default() };
        let (author, now) = (permit.author(), self.ports.clock.now());
        let keep = Keep::Only(session);
        let users = &self.ports.users;
        let changed = users.update(id, change, keep, "user.change_password", author, now).await?;
        self.looks.forget_all();
        changed.map(|_| ()).ok_or(AccountError::Gone)
    }
}
