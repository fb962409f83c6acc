//! Agents of older products. They show a credential of their customer in every request, or none
//! where an admin lets a network in, and say themselves which of its machines they are.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_kernel::{
    AgentId, Author, Clock, CustomerId, Dialect, DialectPolicy, Entropy, Secret, StorageError,
    Timestamp, TokenHash, TokenKind,
};
use parking_lot::Mutex;

use crate::enrolment::{Credential, EnrolError};
use crate::ports::{Admission, Enrol, EnrolCandidate};
use crate::{Field, InvalidRegistration, Registration, RegistrationRequest};

/// For how long it is remembered from where agents are let in that show nothing.
const REMEMBERED_FOR: TimeDelta = TimeDelta::seconds(5);
/// The longest name, in characters.
const MAX_NAME: usize = 150;

/// Customers, and what they allow.
type Networks = Vec<(CustomerId, DialectPolicy)>;
/// The same, as they were when.
type Remembered = Option<(Timestamp, Arc<Networks>)>;

/// An agent of an older product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speaker {
    /// Who it is here.
    pub agent_id: AgentId,
    /// Whose machine it is.
    pub customer_id: CustomerId,
    /// What it speaks.
    pub dialect: Dialect,
}

/// Finds agents of older products.
#[async_trait]
pub trait Speakers: Send + Sync + std::fmt::Debug {
    /// The customer's agent that speaks this and goes by `name`: by its id here, or by the one that it
    /// had in its product. With a token, only one that this enrollment token let in.
    async fn find(
        &self,
        customer: CustomerId,
        token: Option<TokenHash>,
        dialect: Dialect,
        name: &str,
    ) -> Result<Option<Speaker>, StorageError>;
}

/// Knows what customers allow agents of older products.
#[async_trait]
pub trait DialectPolicies: Send + Sync + std::fmt::Debug {
    /// What this customer allows; nothing when it is gone.
    async fn of_customer(&self, customer: CustomerId) -> Result<DialectPolicy, StorageError>;

    /// The customer that has this enrollment token, unless it was revoked, and what it allows. A
    /// token that is used up still stands for the agents that it let in.
    async fn of_token(
        &self,
        token: TokenHash,
    ) -> Result<Option<(CustomerId, DialectPolicy)>, StorageError>;

    /// The customers that let agents in without a credential, from somewhere.
    async fn with_networks(&self) -> Result<Vec<(CustomerId, DialectPolicy)>, StorageError>;
}

/// Why an agent of an older product is not let in.
#[derive(Debug, thiserror::Error)]
pub enum LegacyError {
    /// It shows nothing, and comes from nowhere in particular.
    #[error(
        "agents of older products show a customer's key (sk_…) or an enrollment token (et_…) as \
         Authorization: Bearer, as X-API-Key, or as the password of Authorization: Basic; without \
         one they are let in from the networks that an admin names with PUT /customers/{{id}} and \
         legacy_agents_without_credentials"
    )]
    NoCredential,
    /// Its customer does not allow what it speaks.
    #[error(
        "agents of {} are not allowed here; an admin allows them with PUT /customers/{{id}} and \
         allowed_dialects: [\"{}\"]",
        .0.product(), .0.as_str()
    )]
    NotAllowed(Dialect),
    /// There is no such agent, it is another's, or it does not speak this.
    #[error("there is no such agent of an older product, or it is not yours")]
    NotFound,
    /// What it says of itself breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidRegistration),
    /// It is not let in.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
}

impl LegacyError {
    /// Whether the storage failed: asking again may help.
    pub const fn is_storage(&self) -> bool {
        matches!(self, Self::Enrol(EnrolError::Storage(_)))
    }

    /// How the storage failed.
    ///
    /// # Errors
    /// The error itself when it is about something else.
    pub fn into_storage(self) -> Result<StorageError, Self> {
        match self {
            Self::Enrol(EnrolError::Storage(error)) => Ok(error),
            other => Err(other),
        }
    }
}

impl From<StorageError> for LegacyError {
    fn from(error: StorageError) -> Self {
        Self::Enrol(error.into())
    }
}

/// Lets agents of older products in.
#[derive(Debug, Clone)]
pub struct Legacy {
    speakers: Arc<dyn Speakers>,
    policies: Arc<dyn DialectPolicies>,
    enrol: Arc<dyn Enrol>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    networks: Arc<Mutex<Remembered>>,
}

impl Legacy {
    /// Made of its ports.
    pub fn new(
        speakers: Arc<dyn Speakers>,
        policies: Arc<dyn DialectPolicies>,
        enrol: Arc<dyn Enrol>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { speakers, policies, enrol, clock, entropy, networks: Arc::default() }
    }

    /// What somebody without a credential has instead: that they come from where one customer lets
    /// agents of this dialect in. The closest network counts; where two customers name the same,
    /// neither does.
    ///
    /// # Errors
    /// [`LegacyError::NoCredential`].
    pub async fn vouch_for_network(
        &self,
        author: Author,
        dialect: Dialect,
    ) -> Result<Credential, LegacyError> {
        let address = author.address.ok_or(LegacyError::NoCredential)?;
        let known = self.networks().await?;
        let customer_id = closest(&known, dialect, address).ok_or(LegacyError::NoCredential)?;
        Ok(Credential::Network { customer_id, author })
    }

    /// Whether whoever shows this credential may speak `dialect`.
    ///
    /// # Errors
    /// [`LegacyError::Enrol`] when the credential is good for nothing.
    pub async fn allows(
        &self,
        credential: &Credential,
        dialect: Dialect,
    ) -> Result<bool, LegacyError> {
        Ok(self.standing(credential).await?.1.allowed.contains(&dialect))
    }

    /// The agent that shows this credential, speaks `dialect` and goes by `name`; `None` when nobody
    /// does yet.
    ///
    /// # Errors
    /// [`LegacyError::NotAllowed`] when its customer does not allow what it speaks (any more).
    pub async fn recognise(
        &self,
        credential: &Credential,
        dialect: Dialect,
        name: &str,
    ) -> Result<Option<Speaker>, LegacyError> {
        let (customer_id, policy) = self.standing(credential).await?;
        if !policy.allowed.contains(&dialect) {
            return Err(LegacyError::NotAllowed(dialect));
        }
        let Ok(name) = parsed(name) else { return Ok(None) };
        let token = match credential.admission()? {
            Admission::Token(token) => Some(token),
            Admission::Customer(_) => None,
        };
        Ok(self.speakers.find(customer_id, token, dialect, name).await?)
    }

    /// Makes a machine an agent that speaks `dialect`. It goes by `name` from now on, or where it
    /// has none, by the id that it gets.
    ///
    /// # Errors
    /// [`LegacyError`] says why it is not let in.
    pub async fn admit(
        &self,
        credential: &Credential,
        dialect: Dialect,
        name: Option<&str>,
        request: RegistrationRequest,
    ) -> Result<Speaker, LegacyError> {
        let (customer_id, policy) = self.standing(credential).await?;
        if !policy.allowed.contains(&dialect) {
            return Err(LegacyError::NotAllowed(dialect));
        }
        let name = name.map(parsed).transpose()?;
        let unsaid = request.os_type.is_none() && request.os.is_none();
        let registration = Registration::try_from(RegistrationRequest {
            os_type: request.os_type.or_else(|| unsaid.then(|| usual_system(dialect)).flatten()),
            machine_id: name.map(|name| dialect_name(dialect, name)),
            dialect: Some(dialect),
            ..request
        })?;
        let candidate = EnrolCandidate {
            id: AgentId::new(&*self.clock, &*self.entropy),
            registration,
            // Nobody is told it: what it shows is its customer's.
            agent_token: Secret::draw(TokenKind::Agent, &*self.entropy).hash(),
            now: self.clock.now(),
            author: credential.author(),
        };
        let agent_id = self.enrol.enrol(credential.admission()?, candidate).await?;
        Ok(Speaker { agent_id, customer_id, dialect })
    }

    /// Whose credential it is, and what that customer allows.
    async fn standing(
        &self,
        credential: &Credential,
    ) -> Result<(CustomerId, DialectPolicy), LegacyError> {
        match credential.admission()? {
            Admission::Customer(customer) => {
                Ok((customer, self.policies.of_customer(customer).await?))
            }
            Admission::Token(token) => self.of_token(token).await,
        }
    }

    /// The customers that let agents in without a credential, as they were a moment ago.
    async fn networks(&self) -> Result<Arc<Networks>, LegacyError> {
        let now = self.clock.now();
        let known = self.networks.lock().clone();
        if let Some((_, known)) = known.filter(|(at, _)| now - *at < REMEMBERED_FOR) {
            return Ok(known);
        }
        let fresh = Arc::new(self.policies.with_networks().await?);
        *self.networks.lock() = Some((now, Arc::clone(&fresh)));
        Ok(fresh)
    }

    async fn of_token(&self, token: TokenHash) -> Result<(CustomerId, DialectPolicy), LegacyError> {
        let known = self.policies.of_token(token).await?;
        known.ok_or(LegacyError::Enrol(EnrolError::TokenInvalid))
    }
}

/// The operating system of agents that don't say theirs.
fn usual_system(dialect: Dialect) -> Option<String> {
    match dialect {
        Dialect::DexAgents | Dialect::DeployFlow => Some("windows".into()),
        Dialect::RemoteAgentManager => None,
    }
}

/// A name as it is kept.
fn parsed(name: &str) -> Result<&str, InvalidRegistration> {
    let name = name.trim();
    let good =
        (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    let rule = "an id of 1 to 150 printable characters is expected";
    good.then_some(name).ok_or(InvalidRegistration { field: Field::MachineId, rule })
}

/// What tells a machine from others that had the id `name` in the older product.
pub fn dialect_name(dialect: Dialect, name: &str) -> String {
    format!("{}:{name}", dialect.as_str())
}

/// The one customer that names `address` most closely.
fn closest(
    known: &[(CustomerId, DialectPolicy)],
    dialect: Dialect,
    address: IpAddr,
) -> Option<CustomerId> {
    let closeness = |policy: &DialectPolicy| policy.closeness(dialect, address);
    let closest = known.iter().filter_map(|(_, policy)| closeness(policy)).max()?;
    let mut named = known.iter().filter(|(_, policy)| closeness(policy) == Some(closest));
    let (customer, _) = named.next()?;
    named.next().is_none().then_some(*customer)
}

#[cfg(test)]
mod tests;
