//! How a machine becomes an agent.

use std::sync::Arc;

use muster_kernel::{
    Actor, AgentId, Author, Clock, CustomerId, Entropy, Permit, Principal, Secret, StorageError,
    TokenHash, TokenKind, act,
};

use crate::Registration;
use crate::ports::{Admission, Enrol, EnrolCandidate};

/// Why a machine is not let in.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// There is no such enrollment token, or it was revoked.
    #[error("the enrollment token is unknown or revoked; ask for a new one")]
    TokenInvalid,
    /// The enrollment token's time is over.
    #[error("the enrollment token has expired; ask for a new one")]
    TokenExpired,
    /// The enrollment token was used as often as it may.
    #[error("the enrollment token was used as often as it may; ask for a new one")]
    TokenUsedUp,
    /// The machine is one that another token let in, which is still good.
    #[error(
        "another enrollment token let this machine in; show that one, or have it revoked first"
    )]
    Taken,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What a machine shows to be let in.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An enrollment token, and from where it comes.
    Token(Secret, Author),
    /// A customer's key that allows it.
    Key(Permit<act::EnrolAgents>),
    /// Nothing: it comes from a network from which its customer lets agents of older products in.
    Network {
        /// Whose network it is.
        customer_id: CustomerId,
        /// From where it comes.
        author: Author,
    },
}

impl Credential {
    pub(crate) fn admission(&self) -> Result<Admission, EnrolError> {
        match self {
            Self::Token(token, _) => Ok(Admission::Token(token.hash())),
            Self::Key(permit) => match permit.principal() {
                Principal::ApiKey { customer_id, .. } => Ok(Admission::Customer(*customer_id)),
                Principal::User { .. } | Principal::Agent { .. } => Err(EnrolError::TokenInvalid),
            },
            Self::Network { customer_id, .. } => Ok(Admission::Customer(*customer_id)),
        }
    }

    pub(crate) fn author(&self) -> Author {
        match self {
            Self::Token(_, author) | Self::Network { author, .. } => {
                author.as_actor(Actor::Anonymous)
            }
            Self::Key(permit) => permit.author().clone(),
        }
    }

    /// What attempts with this credential have in common.
    fn family(&self) -> TokenHash {
        match self {
            Self::Token(token, _) => token.hash(),
            Self::Key(permit) => {
                let id = permit.actor().id().map(|id| id.to_string()).unwrap_or_default();
                Secret::from_text(id).hash()
            }
            Self::Network { customer_id, .. } => Secret::from_text(customer_id.to_string()).hash(),
        }
    }
}

/// What a machine gets when it is let in.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// Who it is from now on.
    pub agent_id: AgentId,
    /// What it proves that by; this is the only time it is shown.
    pub agent_token: Secret,
    /// The key whose orders it obeys: Ed25519, base64.
    pub server_key: String,
}

/// Turns an attempt to enrol into an agent token: the same attempt always into the same token,
/// so that a machine that lost the answer can ask again, and nobody else can guess it.
pub trait MachineKey: Send + Sync + std::fmt::Debug {
    /// 32 bytes that follow from the server's secret, the enrollment token and the attempt's key.
    fn agent_token(&self, enrollment_token: TokenHash, attempt: &str) -> [u8; 32];

    /// The public key that agents pin: Ed25519, base64.
    fn server_key(&self) -> String;
}

/// Lets machines in.
#[derive(Debug, Clone)]
pub struct Enrolment {
    enrol: Arc<dyn Enrol>,
    keys: Arc<dyn MachineKey>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Enrolment {
    /// Made of its ports.
    pub fn new(
        enrol: Arc<dyn Enrol>,
        keys: Arc<dyn MachineKey>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { enrol, keys, clock, entropy }
    }

    /// Lets the machine in that shows `credential`. With an idempotency key the same
    /// request again has the same answer.
    ///
    /// # Errors
    /// [`EnrolError`] says what is wrong with the token.
    pub async fn register(
        &self,
        credential: &Credential,
        registration: Registration,
        idempotency_key: Option<&str>,
    ) -> Result<Enrolled, EnrolError> {
        let agent_token = match idempotency_key {
            Some(attempt) => Secret::from_bytes(
                TokenKind::Agent,
                &self.keys.agent_token(credential.family(), attempt),
            ),
            None => Secret::draw(TokenKind::Agent, &*self.entropy),
        };
        let candidate = EnrolCandidate {
            id: AgentId::new(&*self.clock, &*self.entropy),
            registration,
            agent_token: agent_token.hash(),
            now: self.clock.now(),
            author: credential.author(),
        };
        let agent_id = self.enrol.enrol(credential.admission()?, candidate).await?;
        Ok(Enrolled { agent_id, agent_token, server_key: self.keys.server_key() })
    }
}
