//! Who does something, and from where, as the audit log says it.

use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use crate::{AgentId, ApiKeyId, EnrollmentTokenId, UserId};

/// Who does something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Muster itself.
    System,
    /// Somebody who has not said who they are.
    Anonymous,
    /// A person.
    User {
        /// Who.
        id: UserId,
        /// What they sign in with.
        name: Arc<str>,
    },
    /// A program with a customer's key.
    ApiKey {
        /// Which key.
        id: ApiKeyId,
        /// What the key is called.
        name: Arc<str>,
    },
    /// A managed machine.
    Agent(AgentId),
    /// A machine that enrols.
    EnrollmentToken(EnrollmentTokenId),
}

impl Actor {
    /// The name of the kind in the API and the database.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Anonymous => "anonymous",
            Self::User { .. } => "user",
            Self::ApiKey { .. } => "api_key",
            Self::Agent(_) => "agent",
            Self::EnrollmentToken(_) => "enrollment_token",
        }
    }

    /// Which one of its kind.
    pub const fn id(&self) -> Option<Uuid> {
        match self {
            Self::System | Self::Anonymous => None,
            Self::User { id, .. } => Some(id.as_uuid()),
            Self::ApiKey { id, .. } => Some(id.as_uuid()),
            Self::Agent(id) => Some(id.as_uuid()),
            Self::EnrollmentToken(id) => Some(id.as_uuid()),
        }
    }

    /// What people call it.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::User { name, .. } | Self::ApiKey { name, .. } => Some(name),
            Self::System | Self::Anonymous | Self::Agent(_) | Self::EnrollmentToken(_) => None,
        }
    }
}

/// Who does something, from where, by which request: every write takes one, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Who.
    pub actor: Actor,
    /// From which address, as far as the proxies in front can be trusted.
    pub address: Option<IpAddr>,
    /// By which request, as the server's log names it.
    pub request_id: Option<Arc<str>>,
}

impl Author {
    /// Muster itself.
    pub const fn system() -> Self {
        Self { actor: Actor::System, address: None, request_id: None }
    }

    /// The same request, done by `actor`.
    #[must_use]
    pub fn as_actor(&self, actor: Actor) -> Self {
        Self { actor, ..self.clone() }
    }
}
