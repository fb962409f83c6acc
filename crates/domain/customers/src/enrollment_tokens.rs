//! What people do with enrollment tokens.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_kernel::{
    Clock, CustomerId, EnrollmentTokenId, Entropy, GroupId, Page, PageRequest, Permit, Secret,
    Tags, Timestamp, TokenKind, act,
};

use crate::ports::{CustomerRepository, EnrollmentTokenRepository, Once, Stored, TokenDeriver};
use crate::{CustomersError, EnrollmentToken, InvalidCustomer, Name};

/// A wish for an enrollment token.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of EnrollmentToken")]
pub struct NewToken {
    pub customer_id: CustomerId,
    pub name: Name,
    pub expires_at: Option<Timestamp>,
    pub max_uses: Option<u32>,
    pub tags: Tags,
    pub group_ids: BTreeSet<GroupId>,
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

    /// Makes a token for a customer in the asker's scope. With `once` the same request again has the same
    /// answer, secret and all.
    ///
    /// # Errors
    /// [`CustomersError::NotFound`] for the customer, [`CustomersError::Invalid`],
    /// [`CustomersError::KeyReused`].
    pub async fn create(
        &self,
        permit: &Permit<act::ManageEnrollmentTokens>,
        wish: NewToken,
        once: Option<Once>,
    ) -> Result<Minted, CustomersError> {
        let now = self.clock.now();
        let (by, _) = permit.person()?;
        if wish.expires_at.is_some_and(|end| end <= now) {
            let rule = "an instant in the future is expected";
            return Err(InvalidCustomer { field: "expires_at", rule }.into());
        }
        if wish.max_uses == Some(0) {
            let rule = "at least 1 is expected, or null for any number";
            return Err(InvalidCustomer { field: "max_uses", rule }.into());
        }
        let customer = self.customers.find(permit.scope(), wish.customer_id).await?;
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
            tags: wish.tags,
            group_ids: wish.group_ids,
            revoked_at: None,
        };
        match self.tokens.create(token.clone(), once, permit.author()).await? {
            Stored::New => Ok(Minted { token, secret }),
            Stored::Known(token) => Ok(Minted { token, secret }),
            Stored::Conflict => Err(CustomersError::KeyReused),
            Stored::NoCustomer => Err(CustomersError::NotFound),
        }
    }

    /// One token.
    ///
    /// # Errors
    /// [`CustomersError::TokenNotFound`] when it does not lie in the asker's scope.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadEnrollmentTokens>,
        id: EnrollmentTokenId,
    ) -> Result<EnrollmentToken, CustomersError> {
        self.tokens.find(permit.scope(), id).await?.ok_or(CustomersError::TokenNotFound)
    }

    /// A page of tokens, the newest first.
    ///
    /// # Errors
    /// [`CustomersError::Storage`].
    pub async fn list(
        &self,
        permit: &Permit<act::ReadEnrollmentTokens>,
        page: &PageRequest,
    ) -> Result<Page<EnrollmentToken>, CustomersError> {
        Ok(self.tokens.list(permit.scope(), page).await?)
    }

    /// Revokes a token: it lets nobody in any more.
    ///
    /// # Errors
    /// [`CustomersError::TokenNotFound`] when it does not lie in the asker's scope.
    pub async fn revoke(
        &self,
        permit: &Permit<act::ManageEnrollmentTokens>,
        id: EnrollmentTokenId,
    ) -> Result<(), CustomersError> {
        let (scope, author) = (permit.scope(), permit.author());
        if self.tokens.revoke(scope, id, author, self.clock.now()).await? {
            Ok(())
        } else {
            Err(CustomersError::TokenNotFound)
        }
    }
}
