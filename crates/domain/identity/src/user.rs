//! A person who signs in.

use std::collections::BTreeSet;

use muster_kernel::{CustomerId, Role, Secret, TenantScope, Timestamp, UserId};

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
    /// What their password's hash is.
    pub password_hash: String,
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
}
