//! What admins do with users.

use std::collections::BTreeSet;

use muster_kernel::{
    Author, CustomerId, Denied, Page, PageRequest, Permit, Role, Secret, StorageError, UserId, act,
};

use crate::Identity;
use crate::ports::{Keep, UserFilter, UserWriteError};
use crate::user::{LastAdmin, User, UserChange, UserStatus, Username};

/// Why something could not be done with a user.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no such user.
    #[error("there is no such user")]
    NotFound,
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

impl From<UserWriteError> for UserError {
    fn from(error: UserWriteError) -> Self {
        match error {
            // Only a new name or address can be taken, and none of these writes one.
            UserWriteError::Taken => Self::NotFound,
            UserWriteError::LastAdmin(error) => error.into(),
            UserWriteError::Storage(error) => error.into(),
        }
    }
}

impl Identity {
    /// Lets somebody in again who has lost their password or device: draws a password, to be
    /// shown once, takes their second factor away and ends their sessions. It is for a program on
    /// the server's own machine, whose user could do all that to the database anyway.
    ///
    /// # Errors
    /// [`UserError::NotFound`].
    pub async fn recover(&self, name: &Username) -> Result<Secret, UserError> {
        let (author, now) = (Author::system(), self.ports.clock.now());
        let user = self.ports.users.find_by_username(name).await?.ok_or(UserError::NotFound)?;
        let password = self.draw_password();
        let hash = self.ports.passwords.hash(password.clone()).await;
        self.ports.factors.remove_factor(user.id, &author, now).await?;
        let change = UserChange { password_hash: Some(hash), ..UserChange::default() };
        let users = &self.ports.users;
        let changed =
            users.update(user.id, change, Keep::None, "user.recover", &author, now).await?;
        self.looks.forget_all();
        changed.map(|_| password).ok_or(UserError::NotFound)
    }

    /// A page of users, in the order of their creation.
    ///
    /// # Errors
    /// [`UserError::Storage`].
    pub async fn users(
        &self,
        _: &Permit<act::ReadUsers>,
        filter: &UserFilter,
        page: &PageRequest,
    ) -> Result<Page<User>, UserError> {
        Ok(self.ports.users.list(filter, page).await?)
    }

    /// One user.
    ///
    /// # Errors
    /// [`UserError::NotFound`].
    pub async fn user(&self, _: &Permit<act::ReadUsers>, id: UserId) -> Result<User, UserError> {
        self.ports.users.find(id).await?.ok_or(UserError::NotFound)
    }

    /// Lets a user in who waits for it, or who was switched off.
    ///
    /// # Errors
    /// [`UserError::NotFound`].
    pub async fn approve(
        &self,
        permit: &Permit<act::ManageUsers>,
        id: UserId,
    ) -> Result<User, UserError> {
        let change = UserChange { status: Some(UserStatus::Active), ..UserChange::default() };
        self.change(permit, id, change, Keep::All, "user.approve").await
    }

    /// Turns a user away, who is signed out everywhere.
    ///
    /// # Errors
    /// [`UserError::NotFound`], [`UserError::LastAdmin`].
    pub async fn reject(
        &self,
        permit: &Permit<act::ManageUsers>,
        id: UserId,
    ) -> Result<User, UserError> {
        let change = UserChange { status: Some(UserStatus::Disabled), ..UserChange::default() };
        self.change(permit, id, change, Keep::None, "user.reject").await
    }

    /// Gives a user another role.
    ///
    /// # Errors
    /// [`UserError::NotFound`], [`UserError::LastAdmin`].
    pub async fn set_role(
        &self,
        permit: &Permit<act::ManageUsers>,
        id: UserId,
        role: Role,
    ) -> Result<User, UserError> {
        let change = UserChange { role: Some(role), ..UserChange::default() };
        self.change(permit, id, change, Keep::All, "user.set_role").await
    }

    /// Says which customers a user belongs to; to all, when there are none.
    ///
    /// # Errors
    /// [`UserError::NotFound`].
    pub async fn set_customers(
        &self,
        permit: &Permit<act::ManageUsers>,
        id: UserId,
        customers: BTreeSet<CustomerId>,
    ) -> Result<User, UserError> {
        let change = UserChange { customers: Some(customers), ..UserChange::default() };
        self.change(permit, id, change, Keep::All, "user.set_customers").await
    }

    /// Removes a user for ever, who is signed out everywhere.
    ///
    /// # Errors
    /// [`UserError::NotFound`], [`UserError::LastAdmin`].
    pub async fn remove_user(
        &self,
        permit: &Permit<act::ManageUsers>,
        id: UserId,
    ) -> Result<(), UserError> {
        let now = self.ports.clock.now();
        let removed = self.ports.users.remove(id, permit.author(), now).await?;
        self.looks.forget_all();
        if removed { Ok(()) } else { Err(UserError::NotFound) }
    }

    async fn change(
        &self,
        permit: &Permit<act::ManageUsers>,
        id: UserId,
        change: UserChange,
        keep: Keep,
        action: &'static str,
    ) -> Result<User, UserError> {
        let (author, now) = (permit.author(), self.ports.clock.now());
        let changed = self.ports.users.update(id, change, keep, action, author, now).await?;
        // After the write: whoever looks from now on sees the change.
        self.looks.forget_all();
        changed.ok_or(UserError::NotFound)
    }
}
