//! How a machine becomes an agent.

use std::sync::Arc;

use muster_kernel::{AgentId, Clock, Entropy, Secret, StorageError, TokenHash, TokenKind};

use crate::Registration;
use crate::ports::{Enrol, EnrolCandidate};

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
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
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

    /// Lets the machine in that shows `enrollment_token`. With an idempotency key the same
    /// request again has the same answer.
    ///
    /// # Errors
    /// [`EnrolError`] says what is wrong with the token.
    pub async fn register(
        &self,
        enrollment_token: &Secret,
        registration: Registration,
        idempotency_key: Option<&str>,
    ) -> Result<Enrolled, EnrolError> {
        let enrollment_token = enrollment_token.hash();
        let agent_token = match idempotency_key {
            Some(attempt) => Secret::from_bytes(
                TokenKind::Agent,
                &self.keys.agent_token(enrollment_token, attempt),
            ),
            None => Secret::draw(TokenKind::Agent, &*self.entropy),
        };
        let candidate = EnrolCandidate {
            id: AgentId::new(&*self.clock, &*self.entropy),
            registration,
            agent_token: agent_token.hash(),
            now: self.clock.now(),
        };
        let agent_id = self.enrol.enrol(enrollment_token, candidate).await?;
        Ok(Enrolled { agent_id, agent_token, server_key: self.keys.server_key() })
    }
}
