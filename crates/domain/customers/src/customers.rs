//! What people do with customers.

use std::sync::Arc;

use muster_kernel::{
    Act, Clock, CustomerId, DangerPolicy, Denied, DialectPolicy, Entropy, Page, PageRequest,
    Permit, Plan, StorageError, act,
};

use crate::ports::{CustomerRepository, CustomerWriteError};
use crate::{Customer, CustomerChange, InvalidCustomer, Name};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum CustomersError {
    /// There is no such customer, or it is not the asker's.
    #[error("there is no such customer, or it is not yours")]
    NotFound,
    /// There is no such enrollment token, or it is not the asker's.
    #[error("there is no such enrollment token, or it is not yours")]
    TokenNotFound,
    /// There is no such key, or it was revoked.
    #[error("there is no such key, or it was revoked")]
    KeyNotFound,
    /// The customer has no key.
    #[error("the customer has no key; POST …/generate-api-key makes one")]
    NoKey,
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidCustomer),
    /// The idempotency key came before with another request.
    #[error("this idempotency key was used for another request; take a new one")]
    KeyReused,
    /// The customer could not be written.
    #[error(transparent)]
    Write(#[from] CustomerWriteError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What people do with customers.
#[derive(Debug, Clone)]
pub struct Customers {
    repository: Arc<dyn CustomerRepository>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Customers {
    /// Made of its ports.
    pub fn new(
        repository: Arc<dyn CustomerRepository>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { repository, clock, entropy }
    }

    /// Creates a customer.
    ///
    /// # Errors
    /// [`CustomerWriteError::NameTaken`].
    pub async fn create(
        &self,
        permit: &Permit<act::ManageCustomers>,
        name: Name,
        address: Option<String>,
        plan: Plan,
        dangerous_commands: DangerPolicy,
    ) -> Result<Customer, CustomersError> {
        let now = self.clock.now();
        let customer = Customer {
            id: CustomerId::new(&*self.clock, &*self.entropy),
            name,
            address,
            plan,
            dangerous_commands,
            dialects: DialectPolicy::default(),
            created_at: now,
            updated_at: now,
        };
        self.repository.create(customer.clone(), permit.author()).await?;
        Ok(customer)
    }

    /// One customer.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`] when it does not lie in the asker's scope.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadCustomers>,
        id: CustomerId,
    ) -> Result<Customer, CustomersError> {
        self.repository.find(permit.scope(), id).await?.ok_or(CustomersError::NotFound)
    }

    /// That there is such a customer for whoever may do `A`.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`] when it does not lie in the asker's scope.
    pub async fn require<A: Act>(
        &self,
        permit: &Permit<A>,
        id: CustomerId,
    ) -> Result<(), CustomersError> {
        let customer = self.repository.find(permit.scope(), id).await?;
        customer.map(|_| ()).ok_or(CustomersError::NotFound)
    }

    /// The customer that a key is of.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`] when it was deleted.
    pub async fn own(
        &self,
        permit: &Permit<act::ReadOwnCustomer>,
        id: CustomerId,
    ) -> Result<Customer, CustomersError> {
        self.repository.find(permit.scope(), id).await?.ok_or(CustomersError::NotFound)
    }

    /// A page of customers.
    ///
    /// # Errors
    /// [`CustomersError::Storage`].
    pub async fn list(
        &self,
        permit: &Permit<act::ReadCustomers>,
        q: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Customer>, CustomersError> {
        Ok(self.repository.list(permit.scope(), q, page).await?)
    }

    /// Changes a customer.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`], [`CustomerWriteError::NameTaken`].
    pub async fn update(
        &self,
        permit: &Permit<act::ManageCustomers>,
        id: CustomerId,
        change: CustomerChange,
    ) -> Result<Customer, CustomersError> {
        let now = self.clock.now();
        let changed = self.repository.update(id, change, permit.author(), now).await?;
        changed.ok_or(CustomersError::NotFound)
    }

    /// Removes a customer.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`], [`CustomerWriteError::HasAgents`].
    pub async fn delete(
        &self,
        permit: &Permit<act::ManageCustomers>,
        id: CustomerId,
        cascade: bool,
    ) -> Result<(), CustomersError> {
        let now = self.clock.now();
        if self.repository.delete(id, cascade, permit.author(), now).await? {
            Ok(())
        } else {
            Err(CustomersError::NotFound)
        }
    }
}
