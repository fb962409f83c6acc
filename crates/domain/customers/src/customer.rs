//! A tenant.

use muster_kernel::{CustomerId, DangerPolicy, Plan, Timestamp};

/// What breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct InvalidCustomer {
    /// The field's name in the API.
    pub field: &'static str,
    /// What is expected there.
    pub rule: &'static str,
}

/// A name: 1 to 200 printable characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// Takes a name without the space around it.
    ///
    /// # Errors
    /// [`InvalidCustomer`] when it is empty, too long or not printable.
    pub fn parse(text: &str) -> Result<Self, InvalidCustomer> {
        let text = text.trim();
        let length = text.chars().count();
        if !(1..=200).contains(&length) || text.chars().any(char::is_control) {
            let rule = "1 to 200 printable characters are expected";
            return Err(InvalidCustomer { field: "name", rule });
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A tenant: whose machines these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// Its id.
    pub id: CustomerId,
    /// What people call it; no two customers are called the same, upper and lower case alike.
    pub name: Name,
    /// Where it is.
    pub address: Option<String>,
    /// How much it may ask for.
    pub plan: Plan,
    /// What it takes to run something dangerous on its machines.
    pub dangerous_commands: DangerPolicy,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A change to a customer; what is `None` stays, and an empty address removes the one there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of Customer")]
pub struct CustomerChange {
    pub name: Option<Name>,
    pub address: Option<String>,
    pub plan: Option<Plan>,
    pub dangerous_commands: Option<DangerPolicy>,
}

impl Customer {
    /// The customer after a change.
    #[must_use]
    pub fn changed(mut self, change: CustomerChange, now: Timestamp) -> Self {
        self.name = change.name.unwrap_or(self.name);
        if let Some(address) = change.address {
            self.address = Some(address).filter(|address| !address.is_empty());
        }
        self.plan = change.plan.unwrap_or(self.plan);
        self.dangerous_commands = change.dangerous_commands.unwrap_or(self.dangerous_commands);
        self.updated_at = now;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_printable_and_not_empty() {
        assert_eq!(Name::parse("  Acme ").unwrap().as_str(), "Acme");
        for text in ["", "   ", "a\nb", &"x".repeat(201)] {
            assert!(Name::parse(text).is_err(), "{text:?}");
        }
    }
}
