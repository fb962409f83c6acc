//! A tenant.

use std::collections::BTreeSet;

use ipnet::IpNet;
use muster_kernel::{CustomerId, DangerPolicy, Dialect, DialectPolicy, Plan, Timestamp};

/// How many networks a customer names at most.
const MAX_NETWORKS: usize = 64;

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

/// Networks that were named: at most 64, and none of them is the whole world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Takes networks from which agents of older products need no credential.
    ///
    /// # Errors
    /// [`InvalidCustomer`] when there are too many, or one of them names no network.
    pub fn parse(networks: Vec<IpNet>) -> Result<Self, InvalidCustomer> {
        let invalid =
            |rule| Err(InvalidCustomer { field: "legacy_agents_without_credentials", rule });
        if networks.len() > MAX_NETWORKS {
            return invalid("at most 64 networks are expected");
        }
        if networks.iter().any(|network| network.prefix_len() == 0) {
            return invalid("networks of your own are expected: everybody is in this one");
        }
        Ok(Self(networks))
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
    /// What it allows agents of older products.
    pub dialects: DialectPolicy,
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
    pub allowed_dialects: Option<BTreeSet<Dialect>>,
    pub without_credentials: Option<Networks>,
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
        self.dialects.allowed = change.allowed_dialects.unwrap_or(self.dialects.allowed);
        if let Some(Networks(networks)) = change.without_credentials {
            self.dialects.without_credentials = networks;
        }
        self.updated_at = now;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_opens_the_door_to_the_whole_world() {
        let networks = |text: &[&str]| text.iter().map(|text| text.parse().unwrap()).collect();
        assert!(Networks::parse(networks(&["10.0.0.0/8", "fd00::/8"])).is_ok());
        for text in ["0.0.0.0/0", "::/0"] {
            assert!(Networks::parse(networks(&["10.0.0.0/8", text])).is_err(), "{text}");
        }
        assert!(Networks::parse(vec!["10.0.0.0/8".parse().unwrap(); 65]).is_err());
    }

    #[test]
    fn a_name_is_printable_and_not_empty() {
        assert_eq!(Name::parse("  Acme ").unwrap().as_str(), "Acme");
        for text in ["", "   ", "a\nb", &"x".repeat(201)] {
            assert!(Name::parse(text).is_err(), "{text:?}");
        }
    }
}
