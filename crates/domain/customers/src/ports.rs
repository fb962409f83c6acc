//! What customers need from outside.

use async_trait::async_trait;
use muster_kernel::{
    ApiKeyId, Author, CustomerId, EnrollmentTokenId, Page, PageRequest, Plan, StorageError,
    TenantScope, Timestamp, TokenHash,
};

use crate::{ApiKey, Customer, CustomerChange, EnrollmentToken};

/// Why a customer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum CustomerWriteError {
    /// Another customer has that name.
    #[error("another customer has that name")]
    NameTaken,
    /// It still has agents.
    #[error("the customer still has agents")]
    HasAgents,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The customers. A deleted one is found by none of these methods; what refers to it stays. Every
/// write enters in the audit log what it did, and who, in the same transaction.
#[async_trait]
pub trait CustomerRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new customer.
    async fn create(&self, customer: Customer, author: &Author) -> Result<(), CustomerWriteError>;

    /// The customer `id`, if it lies in `scope`.
    async fn find(
        &self,
        scope: &TenantScope,
        id: CustomerId,
    ) -> Result<Option<Customer>, StorageError>;

    /// The customers in `scope` in the order of their creation; with `q`, those whose name
    /// contains it, upper and lower case alike.
    async fn list(
        &self,
        scope: &TenantScope,
        q: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Customer>, StorageError>;

    /// Changes the customer `id` and answers with what it then is; `None` if there is none.
    async fn update(
        &self,
        id: CustomerId,
        change: CustomerChange,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<Customer>, CustomerWriteError>;

    /// Removes the customer `id`, its keys, enrollment tokens and schedules and what it has in the
    /// library; with `cascade` its agents as well, else it is refused while it has any. Says
    /// whether there was one.
    async fn delete(
        &self,
        id: CustomerId,
        cascade: bool,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, CustomerWriteError>;
}

/// Names a request, so that the same one again has the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Whose key it is and for what.
    pub scope: String,
    /// The `Idempotency-Key`.
    pub key: String,
    /// The SHA-256 of what was asked.
    pub fingerprint: [u8; 32],
}

/// What came of keeping a new token or key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored<T> {
    /// It is kept.
    New,
    /// The same request came before; this is what it made.
    Known(T),
    /// The key came before with another request.
    Conflict,
    /// Its customer was deleted meanwhile.
    NoCustomer,
}

/// The enrollment tokens. Every write enters in the audit log what it did, and who.
#[async_trait]
pub trait EnrollmentTokenRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new token, if its customer is still there.
    async fn create(
        &self,
        token: EnrollmentToken,
        once: Option<Once>,
        author: &Author,
    ) -> Result<Stored<EnrollmentToken>, StorageError>;

    /// The token `id`, if it lies in `scope`.
    async fn find(
        &self,
        scope: &TenantScope,
        id: EnrollmentTokenId,
    ) -> Result<Option<EnrollmentToken>, StorageError>;

    /// The tokens in `scope`, the newest first.
    async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<EnrollmentToken>, StorageError>;

    /// Revokes the token `id`; says whether there was one in `scope`.
    async fn revoke(
        &self,
        scope: &TenantScope,
        id: EnrollmentTokenId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;
}

/// The keys of customers. Every write but [`ApiKeyRepository::record_used`] enters in the audit
/// log what it did, and who.
#[async_trait]
pub trait ApiKeyRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new key, if its customer is still there. A default key takes the place of the
    /// customer's last one, which is revoked in the same transaction.
    async fn create(
        &self,
        key: ApiKey,
        once: Option<Once>,
        author: &Author,
    ) -> Result<Stored<ApiKey>, StorageError>;

    /// The key with this hash and its customer's plan, if the customer is still there.
    async fn find_by_hash(&self, hash: TokenHash) -> Result<Option<(ApiKey, Plan)>, StorageError>;

    /// The key `id` and the plan of its customer, if that is there.
    async fn find(&self, id: ApiKeyId) -> Result<Option<(ApiKey, Plan)>, StorageError>;

    /// The customer's keys, the newest first.
    async fn list(
        &self,
        customer: CustomerId,
        page: &PageRequest,
    ) -> Result<Page<ApiKey>, StorageError>;

    /// The customer's default key, unless it was revoked.
    async fn find_default(&self, customer: CustomerId) -> Result<Option<ApiKey>, StorageError>;

    /// Revokes the customer's key `id`; says whether there was one that was not revoked yet.
    async fn revoke(
        &self,
        customer: CustomerId,
        id: ApiKeyId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Keeps when keys were last used, in one write.
    async fn record_used(&self, used: Vec<(ApiKeyId, Timestamp)>) -> Result<(), StorageError>;
}

/// Makes the secret of a token from the request that asks for it: the same request always has the
/// same secret, so that it can be answered again without being kept.
pub trait TokenDeriver: Send + Sync + std::fmt::Debug {
    /// 32 bytes that follow from the server's own secret and these texts.
    fn derive(&self, scope: &str, key: &str) -> [u8; 32];
}
