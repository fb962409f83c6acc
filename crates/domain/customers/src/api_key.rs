//! A customer's key.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use muster_kernel::{ApiKeyId, CustomerId, KeyScope, Timestamp, TokenHash, UserId};

use crate::Name;

/// Whether a key still opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum KeyState {
    Active,
    Expired,
    Revoked,
}

impl KeyState {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// A customer's key. The secret itself is shown once, at its creation, and kept as a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose it is.
    pub customer_id: CustomerId,
    /// What it is for.
    pub name: Name,
    /// The hash of the secret.
    pub hash: TokenHash,
    /// The last characters of the secret, by which people recognise it.
    pub hint: String,
    /// What it may be used for.
    pub scopes: BTreeSet<KeyScope>,
    /// From where; from everywhere when there are none.
    pub allowed: Vec<IpNet>,
    /// Whether it is the one that `generate-api-key` replaces.
    pub is_default: bool,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    pub created_at: Timestamp,
    /// From this instant on it opens nothing.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl ApiKey {
    /// Whether it opens anything at `now`.
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.revoked_at.is_some() {
            KeyState::Revoked
        } else if self.expires_at.is_some_and(|end| now >= end) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }

    /// Whether it opens anything to somebody at `address` at `now`. From nowhere in particular
    /// only a key comes that may come from everywhere.
    pub fn admits(&self, address: Option<IpAddr>, now: Timestamp) -> bool {
        let from_there = || {
            // An IPv4 address may come in the form of IPv6, if the listener takes both.
            let address = address.map(|address| address.to_canonical());
            self.allowed.iter().any(|network| address.is_some_and(|ip| network.contains(&ip)))
        };
        self.state(now) == KeyState::Active && (self.allowed.is_empty() || from_there())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::api_key;
    use chrono::TimeDelta;
    use muster_kernel::Clock;
    use muster_kernel::testing::FakeClock;

    #[test]
    fn a_key_opens_until_it_expires_or_is_revoked() {
        let now = FakeClock::default().now();
        let key = ApiKey { expires_at: Some(now), ..api_key(1) };
        assert!(key.admits(None, now - TimeDelta::microseconds(1)));
        assert!(!key.admits(None, now));
        assert!(!ApiKey { revoked_at: Some(now), ..api_key(1) }.admits(None, now));
    }

    #[test]
    fn a_key_with_networks_opens_from_them_only() {
        let now = FakeClock::default().now();
        let allowed = vec!["10.1.0.0/16".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let key = ApiKey { allowed, ..api_key(1) };
        let from = |address: &str| key.admits(Some(address.parse().unwrap()), now);
        for inside in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"] {
            assert!(from(inside), "{inside}");
        }
        for outside in ["10.2.0.1", "2001:db9::1", "127.0.0.1"] {
            assert!(!from(outside), "{outside}");
        }
        assert!(!key.admits(None, now));
    }
}
