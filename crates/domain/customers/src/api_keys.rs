//! What people do with customers' keys, and how a key is recognised.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use chrono::TimeDelta;
use ipnet::IpNet;
use muster_kernel::{
    ApiKeyId, Clock, CustomerId, Entropy, KeyScope, Page, PageRequest, Permit, Plan, Principal,
    Secret, StorageError, TenantScope, Timestamp, TokenKind, UserId, act,
};
use parking_lot::Mutex;

use crate::api_key::KeyState;
use crate::ports::{ApiKeyRepository, CustomerRepository, Once, Stored, TokenDeriver};
use crate::{ApiKey, CustomersError, InvalidCustomer, Name};

/// How precisely it is kept when a key was last used.
const USE_IS_WRITTEN_EVERY: TimeDelta = TimeDelta::minutes(1);
/// The last characters of a key that may be shown: of 43, they leave more than 230 bits unknown.
const HINT: usize = 4;

/// A wish for a key.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of ApiKey")]
pub struct NewKey {
    pub customer_id: CustomerId,
    pub name: Name,
    pub scopes: BTreeSet<KeyScope>,
    pub allowed: Vec<IpNet>,
    pub expires_at: Option<Timestamp>,
}

/// A new key with its secret.
#[derive(Debug, Clone)]
pub struct MintedKey {
    /// What is kept.
    pub key: ApiKey,
    /// What is shown, this once.
    pub secret: Secret,
}

/// What is known of a customer's default key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DefaultKey {
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// What people do with customers' keys.
#[derive(Debug)]
pub struct ApiKeys {
    keys: Arc<dyn ApiKeyRepository>,
    customers: Arc<dyn CustomerRepository>,
    deriver: Arc<dyn TokenDeriver>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Uses that are not written yet.
    used: Mutex<HashMap<ApiKeyId, Timestamp>>,
}

impl ApiKeys {
    /// Made of its ports.
    pub fn new(
        keys: Arc<dyn ApiKeyRepository>,
        customers: Arc<dyn CustomerRepository>,
        deriver: Arc<dyn TokenDeriver>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { keys, customers, deriver, clock, entropy, used: Mutex::default() }
    }

    /// Makes a key with a name, scopes, networks and an end.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`] for the customer, [`CustomersError::Invalid`],
    /// [`CustomersError::KeyReused`].
    pub async fn create(
        &self,
        permit: &Permit<act::ManageApiKeys>,
        wish: NewKey,
        once: Option<Once>,
    ) -> Result<MintedKey, CustomersError> {
        if wish.scopes.is_empty() {
            let rule = "at least one scope is expected: a key without any opens nothing";
            return Err(InvalidCustomer { field: "scopes", rule }.into());
        }
        if wish.expires_at.is_some_and(|end| end <= self.clock.now()) {
            let rule = "an instant in the future is expected";
            return Err(InvalidCustomer { field: "expires_at", rule }.into());
        }
        self.mint(permit, wish, false, once).await
    }

    /// Makes the customer's default key, which may be used for everything that a key may; the one
    /// before it opens nothing any more.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`], [`CustomersError::KeyReused`].
    pub async fn generate_default(
        &self,
        permit: &Permit<act::ManageApiKeys>,
        customer_id: CustomerId,
        once: Option<Once>,
    ) -> Result<MintedKey, CustomersError> {
        let scopes = KeyScope::ALL.iter().copied().collect();
        let name = Name::parse("default")?;
        let wish = NewKey { customer_id, name, scopes, allowed: Vec::new(), expires_at: None };
        self.mint(permit, wish, true, once).await
    }

    /// Makes a key for one download of a configuration file, with which agents enrol and nothing
    /// else is done. The customer has to have a default key.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`], [`CustomersError::NoKey`].
    pub async fn for_download(
        &self,
        permit: &Permit<act::ManageApiKeys>,
        customer_id: CustomerId,
    ) -> Result<MintedKey, CustomersError> {
        self.require(permit.scope(), customer_id).await?;
        if self.keys.find_default(customer_id).await?.is_none() {
            return Err(CustomersError::NoKey);
        }
        let name = Name::parse(&format!("download {}", self.clock.now().format("%F %T")))?;
        let scopes = BTreeSet::from([KeyScope::AgentsEnrol]);
        let wish = NewKey { customer_id, name, scopes, allowed: Vec::new(), expires_at: None };
        self.mint(permit, wish, false, None).await
    }

    /// The customer's keys, the newest first.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`] for the customer.
    pub async fn list(
        &self,
        permit: &Permit<act::ReadApiKeys>,
        customer_id: CustomerId,
        page: &PageRequest,
    ) -> Result<Page<ApiKey>, CustomersError> {
        self.require(permit.scope(), customer_id).await?;
        let page = self.keys.list(customer_id, page).await?;
        Ok(page.map(|key| ApiKey { last_used_at: self.last_used(&key), ..key }))
    }

    /// What is known of the customer's default key; `None` when it has none.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`] for the customer.
    pub async fn default_key(
        &self,
        permit: &Permit<act::ReadApiKeys>,
        customer_id: CustomerId,
    ) -> Result<Option<DefaultKey>, CustomersError> {
        self.require(permit.scope(), customer_id).await?;
        let key = self.keys.find_default(customer_id).await?;
        Ok(key.map(|key| DefaultKey {
            created_at: Some(key.created_at),
            last_used_at: self.last_used(&key),
        }))
    }

    /// Revokes a key: it opens nothing any more, at once.
    ///
    /// # Errors
    /// [`CustomersError::KeyNotFound`].
    pub async fn revoke(
        &self,
        permit: &Permit<act::ManageApiKeys>,
        customer_id: CustomerId,
        id: ApiKeyId,
    ) -> Result<(), CustomersError> {
        let now = self.clock.now();
        if self.keys.revoke(customer_id, id, permit.author(), now).await? {
            Ok(())
        } else {
            Err(CustomersError::KeyNotFound)
        }
    }

    /// Revokes the customer's default key.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`] for the customer, [`CustomersError::NoKey`].
    pub async fn revoke_default(
        &self,
        permit: &Permit<act::ManageApiKeys>,
        customer_id: CustomerId,
    ) -> Result<(), CustomersError> {
        self.require(permit.scope(), customer_id).await?;
        let key = self.keys.find_default(customer_id).await?.ok_or(CustomersError::NoKey)?;
        self.revoke(permit, customer_id, key.id).await
    }

    /// Who shows this key from this address; nobody when it opens nothing there.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn authenticate(
        &self,
        secret: &Secret,
        address: Option<IpAddr>,
    ) -> Result<Option<Principal>, StorageError> {
        let now = self.clock.now();
        let found = self.keys.find_by_hash(secret.hash()).await?;
        let Some((key, plan)) = found.filter(|(key, _)| key.admits(address, now)) else {
            return Ok(None);
        };
        self.note_use(&key, now);
        Ok(Some(principal(key, plan)))
    }

    /// Who has the key `id`, for what they asked to be done in their absence; nobody when it opens
    /// nothing any more.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn absent(&self, id: ApiKeyId) -> Result<Option<Principal>, StorageError> {
        let now = self.clock.now();
        let found = self.keys.find(id).await?;
        Ok(found
            .filter(|(key, _)| key.state(now) == KeyState::Active)
            .map(|(key, plan)| principal(key, plan)))
    }

    /// Writes when keys were last used, as far as that is not written yet.
    ///
    /// # Errors
    /// When the storage fails; the uses are kept for the next time.
    pub async fn write_last_used(&self) -> Result<(), StorageError> {
        let used: Vec<_> = self.used.lock().drain().collect();
        if used.is_empty() {
            return Ok(());
        }
        let written = self.keys.record_used(used.clone()).await;
        if written.is_err() {
            let mut waiting = self.used.lock();
            for (id, at) in used {
                waiting.entry(id).or_insert(at);
            }
        }
        written
    }

    fn note_use(&self, key: &ApiKey, now: Timestamp) {
        let stale = key.last_used_at.is_none_or(|last| now - last >= USE_IS_WRITTEN_EVERY);
        if stale {
            self.used.lock().entry(key.id).or_insert(now);
        }
    }

    fn last_used(&self, key: &ApiKey) -> Option<Timestamp> {
        key.last_used_at.max(self.used.lock().get(&key.id).copied())
    }

    async fn require(&self, scope: &TenantScope, id: CustomerId) -> Result<(), CustomersError> {
        let customer = self.customers.find(scope, id).await?;
        customer.map(|_| ()).ok_or(CustomersError::NotFound)
    }

    async fn mint(
        &self,
        permit: &Permit<act::ManageApiKeys>,
        wish: NewKey,
        is_default: bool,
        once: Option<Once>,
    ) -> Result<MintedKey, CustomersError> {
        let (created_by, _): (UserId, _) = permit.person()?;
        self.require(permit.scope(), wish.customer_id).await?;
        let secret = match &once {
            Some(once) => {
                Secret::from_bytes(TokenKind::ApiKey, &self.deriver.derive(&once.scope, &once.key))
            }
            None => Secret::draw(TokenKind::ApiKey, &*self.entropy),
        };
        let shown = secret.expose();
        let key = ApiKey {
            id: ApiKeyId::new(&*self.clock, &*self.entropy),
            customer_id: wish.customer_id,
            name: wish.name,
            hash: secret.hash(),
            hint: shown.get(shown.len().saturating_sub(HINT)..).unwrap_or_default().to_owned(),
            scopes: wish.scopes,
            allowed: wish.allowed,
            is_default,
            created_by,
            created_at: self.clock.now(),
            expires_at: wish.expires_at.map(muster_kernel::time::to_micros),
            last_used_at: None,
            revoked_at: None,
        };
        match self.keys.create(key.clone(), once, permit.author()).await? {
            Stored::New => Ok(MintedKey { key, secret }),
            Stored::Known(key) => Ok(MintedKey { key, secret }),
            Stored::Conflict => Err(CustomersError::KeyReused),
            Stored::NoCustomer => Err(CustomersError::NotFound),
        }
    }
}
fn principal(key: ApiKey, plan: Plan) -> Principal {
    Principal::ApiKey {
        key_id: key.id,
        name: key.name.as_str().into(),
        customer_id: key.customer_id,
        scopes: key.scopes,
        plan,
    }
}
