//! A person who signs in.

use std::collections::BTreeSet;

use muster_kernel::{Audited, CustomerId, Place, Role, Secret, TenantScope, Timestamp, UserId};
use serde_json::{Value, json};

/// What breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct InvalidUser {
    /// The field's name in the API.
    pub field: &'static str,
    /// What is expected there.
    pub rule: &'static str,
}

/// The one form of a name to sign in with: without the space around it, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Username(String);

impl Username {
    /// Takes a name as people type it.
    ///
    /// # Errors
    /// [`InvalidUser`] when it is empty, too long or holds other characters than it may.
    pub fn parse(text: &str) -> Result<Self, InvalidUser> {
        let name = text.trim().to_lowercase();
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !(1..=64).contains(&name.chars().count()) || !name.chars().all(allowed) {
            let rule = "1 to 64 letters, digits, dots, underscores and hyphens are expected";
            return Err(InvalidUser { field: "username", rule });
        }
        Ok(Self(name))
    }

    /// The name of somebody whose own can't be one.
    pub(crate) fn somebody() -> Self {
        Self("user".to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The one form of an e-mail address: in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// Takes an address as people type it. Whether it exists only a message to it can tell.
    ///
    /// # Errors
    /// [`InvalidUser`] when it does not look like one.
    pub fn parse(text: &str) -> Result<Self, InvalidUser> {
        let address = text.trim().to_lowercase();
        let looks_right = address.len() <= 254
            && !address.chars().any(|c| c.is_whitespace() || c.is_control())
            && address
                .split_once('@')
                .is_some_and(|(name, domain)| !name.is_empty() && domain.contains('.'));
        if !looks_right {
            let rule = "an e-mail address such as ann@example.org is expected";
            return Err(InvalidUser { field: "email", rule });
        }
        Ok(Self(address))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A new password: 8 to 72 bytes. bcrypt reads no more; a longer one is refused, not cut.
#[derive(Debug, Clone)]
pub struct Password(Secret);

impl Password {
    /// Takes a password.
    ///
    /// # Errors
    /// [`InvalidUser`] when it is too short or too long.
    pub fn parse(secret: Secret) -> Result<Self, InvalidUser> {
        if !(8..=72).contains(&secret.expose().len()) {
            let rule = "8 to 72 bytes are expected";
            return Err(InvalidUser { field: "password", rule });
        }
        Ok(Self(secret))
    }

    /// The password.
    pub const fn secret(&self) -> &Secret {
        &self.0
    }
}

/// Whether a user may sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UserStatus {
    /// Yes.
    Active,
    /// Not before an admin approves.
    Pending,
    /// No more.
    Disabled,
}

impl UserStatus {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Disabled => "disabled",
        }
    }

    /// Reads what [`UserStatus::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Pending, Self::Disabled]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

/// A person who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// What they sign in with.
    pub username: Username,
    /// What they may sign in with as well.
    pub email: Option<Email>,
    /// What people call them.
    pub full_name: Option<String>,
    /// What they are.
    pub role: Role,
    /// Whether they may sign in.
    pub status: UserStatus,
    /// The customers they belong to; all, when there are none.
    pub customers: BTreeSet<CustomerId>,
    /// What their password's hash is; those who sign in elsewhere have none.
    pub password_hash: Option<String>,
    /// Whether they have a second factor.
    pub has_second_factor: bool,
    /// When they were created.
    pub created_at: Timestamp,
}

impl User {
    /// Whose data they may see.
    pub fn tenants(&self) -> TenantScope {
        if self.customers.is_empty() || self.role == Role::Admin {
            TenantScope::All
        } else {
            TenantScope::Customers(self.customers.clone())
        }
    }
}

/// What people call somebody: at most 200 printable characters; nothing when it is empty.
///
/// # Errors
/// [`InvalidUser`] when it is too long or not printable.
pub fn full_name(text: &str) -> Result<Option<String>, InvalidUser> {
    let text = text.trim();
    if text.chars().count() > 200 || text.chars().any(char::is_control) {
        let rule = "at most 200 printable characters are expected";
        return Err(InvalidUser { field: "full_name", rule });
    }
    Ok(if text.is_empty() { None } else { Some(text.to_owned()) })
}

/// A change to a user; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of User")]
pub struct UserChange {
    pub email: Option<Option<Email>>,
    pub full_name: Option<Option<String>>,
    pub role: Option<Role>,
    pub status: Option<UserStatus>,
    pub customers: Option<BTreeSet<CustomerId>>,
    pub password_hash: Option<String>,
}

/// There would be no admin left who can sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is the last active admin; make somebody else an admin first")]
pub struct LastAdmin;

impl User {
    /// Whether they are an admin who can sign in.
    pub fn is_active_admin(&self) -> bool {
        self.role == Role::Admin && self.status == UserStatus::Active
    }

    /// The user after a change; `other_admins` is how many active admins there are besides.
    ///
    /// # Errors
    /// [`LastAdmin`].
    pub fn changed(mut self, change: UserChange, other_admins: u64) -> Result<Self, LastAdmin> {
        let was_admin = self.is_active_admin();
        self.email = change.email.unwrap_or(self.email);
        self.full_name = change.full_name.unwrap_or(self.full_name);
        self.role = change.role.unwrap_or(self.role);
        self.status = change.status.unwrap_or(self.status);
        self.customers = change.customers.unwrap_or(self.customers);
        self.password_hash = change.password_hash.or(self.password_hash);
        if was_admin && !self.is_active_admin() && other_admins == 0 {
            return Err(LastAdmin);
        }
        Ok(self)
    }

    /// That the user may be removed.
    ///
    /// # Errors
    /// [`LastAdmin`].
    pub fn removable(&self, other_admins: u64) -> Result<(), LastAdmin> {
        if self.is_active_admin() && other_admins == 0 { Err(LastAdmin) } else { Ok(()) }
    }
}

impl Audited for User {
    fn place(&self) -> Place {
        Place { kind: "user", id: self.id.as_uuid(), customer_id: None }
    }

    fn facts(&self) -> Value {
        json!({
            "username": self.username.as_str(),
            "email": self.email.as_ref().map(Email::as_str),
            "full_name": self.full_name,
            "role": self.role.as_str(),
            "status": self.status.as_str(),
            "customer_ids": self.customers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_name_is_the_same_name() {
        assert_eq!(Username::parse(" Ann.B ").unwrap(), Username::parse("ann.b").unwrap());
        for text in ["", " ", "a b", "a\0", "ann@example.org", &"x".repeat(65)] {
            assert!(Username::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_has_a_name_and_a_domain() {
        assert_eq!(Email::parse("Ann@Example.org").unwrap().as_str(), "ann@example.org");
        for text in ["", "ann", "@example.org", "ann@host", "a b@example.org"] {
            assert!(Email::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_password_too_long_for_bcrypt_is_refused_rather_than_cut() {
        let password = |length: usize| Password::parse(Secret::from_text("x".repeat(length)));
        assert!(password(7).is_err() && password(73).is_err());
        assert!(password(8).is_ok() && password(72).is_ok());
    }

    use crate::testing::user;
    use proptest::prelude::*;

    fn change() -> impl Strategy<Value = UserChange> {
        let role = proptest::sample::select(vec![Role::Admin, Role::Operator, Role::Viewer]);
        let status = proptest::sample::select(vec![UserStatus::Active, UserStatus::Disabled]);
        (proptest::option::of(role), proptest::option::of(status))
            .prop_map(|(role, status)| UserChange { role, status, ..UserChange::default() })
    }

    proptest! {
        #[test]
        fn whatever_is_changed_or_removed_an_active_admin_stays(
            steps in proptest::collection::vec((0_usize..3, change(), any::<bool>()), 0..40),
        ) {
            let mut users: Vec<_> = (0..3).map(|n| User { role: Role::Admin, ..user(n) }).collect();
            for (index, change, remove) in steps {
                let Some(user) = users.get(index).cloned() else { continue };
                let others = users.iter().filter(|other| other.id != user.id);
                let others = others.filter(|other| other.is_active_admin()).count();
                let others = u64::try_from(others).unwrap();
                if remove && user.removable(others).is_ok() {
                    users.remove(index);
                } else if let Ok(changed) = user.changed(change, others) {
                    users[index] = changed;
                }
                prop_assert!(users.iter().any(User::is_active_admin));
            }
        }
    }
}
