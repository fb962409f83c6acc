//! What people do with customers and enrollment tokens.

use std::sync::Arc;

use muster_kernel::{
    Clock, CustomerId, EnrollmentTokenId, Entropy, Page, PageRequest, Secret, StorageError,
    TenantScope, Timestamp, TokenKind, UserId,
};

use crate::ports::{
    CustomerRepository, CustomerWriteError, EnrollmentTokenRepository, Once, Stored, TokenDeriver,
};
use crate::{Customer, CustomerChange, EnrollmentToken, InvalidCustomer, Name};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum CustomersError {
    /// There is no such customer, or it is not the asker's.
    #[error("there is no such customer, or it is not yours")]
    NotFound,
    /// There is no such enrollment token, or it is not the asker's.
    #[error("there is no such enrollment token, or it is not yours")]
    TokenNotFound,
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
        name: Name,
        address: Option<String>,
    ) -> Result<Customer, CustomersError> {
        let now = self.clock.now();
        let id = CustomerId::new(&*self.clock, &*self.entropy);
        let customer = Customer { id, name, address, created_at: now, updated_at: now };
        self.repository.create(customer.clone()).await?;
        Ok(customer)
    }

    /// One customer.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`] when it does not lie in `scope`.
    pub async fn get(
        &self,
        scope: &TenantScope,
        id: CustomerId,
    ) -> Result<Customer, CustomersError> {
        self.repository.find(scope, id).await?.ok_or(CustomersError::NotFound)
    }

    /// A page of customers.
    ///
    /// # Errors
    /// [`CustomersError::Storage`].
    pub async fn list(
        &self,
        scope: &TenantScope,
        q: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Customer>, CustomersError> {
        Ok(self.repository.list(scope, q, page).await?)
    }

    /// Changes a customer.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`], [`CustomerWriteError::NameTaken`].
    pub async fn update(
        &self,
        id: CustomerId,
        change: CustomerChange,
    ) -> Result<Customer, CustomersError> {
        let changed = self.repository.update(id, change, self.clock.now()).await?;
        changed.ok_or(CustomersError::NotFound)
    }

    /// Removes a customer.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`], [`CustomerWriteError::HasAgents`].
    pub async fn delete(&self, id: CustomerId, cascade: bool) -> Result<(), CustomersError> {
        if self.repository.delete(id, cascade, self.clock.now()).await? {
            Ok(())
        } else {
            Err(CustomersError::NotFound)
        }
    }
}

/// A wish for an enrollment token.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of EnrollmentToken")]
pub struct NewToken {
    pub customer_id: CustomerId,
    pub name: Name,
    pub expires_at: Option<Timestamp>,
    pub max_uses: Option<u32>,
}

/// A new enrollment token with its secret.
#[derive(Debug, Clone)]
pub struct Minted {
    /// What is kept.
    pub token: EnrollmentToken,
    /// What is shown, this once.
    pub secret: Secret,
}

/// What people do with enrollment tokens.
#[derive(Debug, Clone)]
pub struct EnrollmentTokens {
    tokens: Arc<dyn EnrollmentTokenRepository>,
    customers: Arc<dyn CustomerRepository>,
    deriver: Arc<dyn TokenDeriver>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl EnrollmentTokens {
    /// Made of its ports.
    pub fn new(
        tokens: Arc<dyn EnrollmentTokenRepository>,
        customers: Arc<dyn CustomerRepository>,
        deriver: Arc<dyn TokenDeriver>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { tokens, customers, deriver, clock, entropy }
    }

    /// Makes a token for a customer in `scope`. With `once` the same request again has the same
    /// answer, secret and all.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`] for the customer, [`CustomersError::Invalid`],
    /// [`CustomersError::KeyReused`].
    pub async fn create(
        &self,
        scope: &TenantScope,
        by: UserId,
        wish: NewToken,
        once: Option<Once>,
    ) -> Result<Minted, CustomersError> {
        let now = self.clock.now();
        if wish.expires_at.is_some_and(|end| end <= now) {
            let rule = "an instant in the future is expected";
            return Err(InvalidCustomer { field: "expires_at", rule }.into());
        }
        if wish.max_uses == Some(0) {
            let rule = "at least 1 is expected, or null for any number";
            return Err(InvalidCustomer { field: "max_uses", rule }.into());
        }
        let customer = self.customers.find(scope, wish.customer_id).await?;
        customer.ok_or(CustomersError::NotFound)?;
        let secret = match &once {
            Some(once) => Secret::from_bytes(
                TokenKind::Enrollment,
                &self.deriver.derive(&once.scope, &once.key),
            ),
            None => Secret::draw(TokenKind::Enrollment, &*self.entropy),
        };
        let token = EnrollmentToken {
            id: EnrollmentTokenId::new(&*self.clock, &*self.entropy),
            customer_id: wish.customer_id,
            name: wish.name,
            hash: secret.hash(),
            created_by: by,
            created_at: now,
            expires_at: wish.expires_at.map(muster_kernel::time::to_micros),
            max_uses: wish.max_uses,
            uses: 0,
            revoked_at: None,
        };
        match self.tokens.create(token.clone(), once).await? {
            Stored::New => Ok(Minted { token, secret }),
            Stored::Known(token) => Ok(Minted { token, secret }),
            Stored::Conflict => Err(CustomersError::KeyReused),
            Stored::NoCustomer => Err(CustomersError::NotFound),
        }
    }

    /// One token.
    ///
    /// # Errors
    /// [`CustomersError::TokenNotFound`] when it does not lie in `scope`.
    pub async fn get(
        &self,
        scope: &TenantScope,
        id: EnrollmentTokenId,
    ) -> Result<EnrollmentToken, CustomersError> {
        self.tokens.find(scope, id).await?.ok_or(CustomersError::TokenNotFound)
    }

    /// A page of tokens, the newest first.
    ///
    /// # Errors
    /// [`CustomersError::Storage`].
    pub async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<EnrollmentToken>, CustomersError> {
        Ok(self.tokens.list(scope, page).await?)
    }

    /// Revokes a token: it lets nobody in any more.
    ///
    /// # Errors
    /// [`CustomersError::TokenNotFound`] when it does not lie in `scope`.
    pub async fn revoke(
        &self,
        scope: &TenantScope,
        id: EnrollmentTokenId,
    ) -> Result<(), CustomersError> {
        if self.tokens.revoke(scope, id, self.clock.now()).await? {
            Ok(())
        } else {
            Err(CustomersError::TokenNotFound)
        }
    }
}
