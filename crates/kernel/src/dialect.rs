//! What agents of older products speak, and who lets them in.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The language of an older product's agents. Muster's own agents speak none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Dialect {
    /// `DexAgents`.
    #[serde(rename = "dexagents")]
    DexAgents,
    /// Remote Agent Manager.
    #[serde(rename = "remote-agent-manager")]
    RemoteAgentManager,
    /// `DeployFlow` Fleet.
    #[serde(rename = "deployflow")]
    DeployFlow,
}

/// Something that Muster's own agents do and those of an older product don't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// They keep no journal: what is handed to them may be lost with them, and is therefore handed
    /// over at most once.
    Journal,
    /// They tell their output when the command has ended.
    Streaming,
    /// They can't be told to end a command.
    Cancel,
    /// They obey whoever answers at the server's address.
    SignedOrders,
}

impl Lack {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Streaming => "streaming",
            Self::Cancel => "cancel",
            Self::SignedOrders => "signed_orders",
        }
    }
}

impl Dialect {
    /// Every dialect.
    pub const ALL: &[Self] = &[Self::DexAgents, Self::RemoteAgentManager, Self::DeployFlow];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DexAgents => "dexagents",
            Self::RemoteAgentManager => "remote-agent-manager",
            Self::DeployFlow => "deployflow",
        }
    }

    /// Reads what [`Dialect::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dialect| dialect.as_str() == text)
    }

    /// What people call the product.
    pub const fn product(self) -> &'static str {
        match self {
            Self::DexAgents => "DexAgents",
            Self::RemoteAgentManager => "Remote Agent Manager",
            Self::DeployFlow => "DeployFlow Fleet",
        }
    }

    /// What its agents don't do.
    pub const fn lacks(self) -> &'static [Lack] {
        match self {
            Self::DexAgents | Self::RemoteAgentManager | Self::DeployFlow => {
                &[Lack::Journal, Lack::Streaming, Lack::Cancel, Lack::SignedOrders]
            }
        }
    }
}

/// What a customer allows agents of older products; nothing unless an admin has said otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DialectPolicy {
    /// What its agents may speak beside Muster's own protocol.
    pub allowed: BTreeSet<Dialect>,
    /// From where those are let in that have no credential to show.
    pub without_credentials: Vec<IpNet>,
}

impl DialectPolicy {
    /// How closely the customer names `address` as one from which agents of this dialect come
    /// without a credential: the length of the longest prefix; `None` when it does not.
    pub fn closeness(&self, dialect: Dialect, address: IpAddr) -> Option<u8> {
        let address = address.to_canonical();
        let known = self.without_credentials.iter().filter(|network| network.contains(&address));
        known.map(IpNet::prefix_len).max().filter(|_| self.allowed.contains(&dialect))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_reads_back_and_has_one_name_everywhere() {
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::parse(dialect.as_str()), Some(*dialect));
            assert_eq!(serde_json::to_value(dialect).unwrap(), dialect.as_str());
        }
    }

    #[test]
    fn only_an_allowed_dialect_comes_without_a_credential_and_only_from_named_networks() {
        let policy = DialectPolicy {
            allowed: [Dialect::DexAgents].into(),
            without_credentials: vec![
                "10.0.0.0/8".parse().unwrap(),
                "10.1.0.0/16".parse().unwrap(),
            ],
        };
        let close = |dialect, address: &str| policy.closeness(dialect, address.parse().unwrap());
        assert_eq!(close(Dialect::DexAgents, "10.2.0.1"), Some(8));
        assert_eq!(close(Dialect::DexAgents, "::ffff:10.1.0.1"), Some(16));
        assert_eq!(close(Dialect::DexAgents, "192.0.2.1"), None);
        assert_eq!(close(Dialect::DeployFlow, "10.1.0.1"), None);
    }
}
