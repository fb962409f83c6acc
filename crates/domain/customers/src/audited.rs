//! What the audit log shows of customers, keys and tokens.

use ipnet::IpNet;
use muster_kernel::{Audited, KeyScope, Place};
use serde_json::{Value, json};

use crate::{ApiKey, Customer, EnrollmentToken};

fn networks(networks: &[IpNet]) -> Vec<String> {
    networks.iter().map(ToString::to_string).collect()
}

impl Audited for Customer {
    fn place(&self) -> Place {
        Place { kind: "customer", id: self.id.as_uuid(), customer_id: Some(self.id) }
    }

    fn facts(&self) -> Value {
        json!({
            "name": self.name.as_str(),
            "address": self.address,
            "plan": self.plan.as_str(),
            "dangerous_commands": self.dangerous_commands.as_str(),
            "allowed_dialects": self.dialects.allowed,
            "legacy_agents_without_credentials": networks(&self.dialects.without_credentials),
        })
    }
}

impl Audited for ApiKey {
    fn place(&self) -> Place {
        let customer_id = Some(self.customer_id);
        Place { kind: "api_key", id: self.id.as_uuid(), customer_id }
    }

    fn facts(&self) -> Value {
        json!({
            "name": self.name.as_str(),
            "hint": self.hint,
            "scopes": self.scopes.iter().copied().map(KeyScope::as_str).collect::<Vec<_>>(),
            "allowed_addresses": networks(&self.allowed),
            "expires_at": self.expires_at,
            "revoked_at": self.revoked_at,
        })
    }
}

impl Audited for EnrollmentToken {
    fn place(&self) -> Place {
        let customer_id = Some(self.customer_id);
        Place { kind: "enrollment_token", id: self.id.as_uuid(), customer_id }
    }

    fn facts(&self) -> Value {
        json!({
            "name": self.name.as_str(),
            "expires_at": self.expires_at,
            "max_uses": self.max_uses,
            "tags": self.tags,
            "group_ids": self.group_ids,
            "revoked_at": self.revoked_at,
        })
    }
}
