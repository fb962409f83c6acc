//! What people do with the catalog.

use std::sync::Arc;

use muster_kernel::{
    Clock, CustomerId, Denied, Entropy, Page, PageRequest, Permit, Sealed, StorageError,
    TenantScope, act,
};

use super::{Body, CatalogFilter, CatalogRepository, Entry, EntryId, WriteError};
use crate::Invalid;

/// Why something could not be done with the catalog.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// There is no such thing, or it is not the asker's.
    #[error("there is no such {0}, or it is not yours")]
    NotFound(&'static str),
    /// It is shared with all, and whoever asks works for some only.
    #[error("it is shared with every customer: only who works for all of them may change it")]
    Shared,
    /// It is not the version any more that the asker knows.
    #[error("it was changed since you read it; read it again")]
    Stale,
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The ports of a [`Catalog`].
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct CatalogPorts<B: Body> {
    pub entries: Arc<dyn CatalogRepository<B>>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

impl<B: Body> Clone for CatalogPorts<B> {
    fn clone(&self) -> Self {
        let (clock, entropy) = (Arc::clone(&self.clock), Arc::clone(&self.entropy));
        Self { entries: Arc::clone(&self.entries), clock, entropy }
    }
}

/// A change to an entry; what is `None` stays, and `Some(None)` removes what there is.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of Entry")]
pub struct Change<B> {
    pub name: Option<String>,
    pub description: Option<Option<String>>,
    pub body: Option<B>,
}

/// What people do with the entries of one kind; cheap to clone.
#[derive(Debug)]
pub struct Catalog<B: Body>(CatalogPorts<B>);

impl<B: Body> Clone for Catalog<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: Body> Catalog<B> {
    /// Made of its ports.
    pub const fn new(ports: CatalogPorts<B>) -> Self {
        Self(ports)
    }

    /// Keeps a new one. Whoever works for all customers and names none shares it with all of them;
    /// whoever works for one alone keeps it for that one.
    ///
    /// # Errors
    /// [`CatalogError::Denied`] for another's customer, [`WriteError::NameTaken`].
    pub async fn create(
        &self,
        permit: &Permit<act::ManageProfiles>,
        customer: Option<CustomerId>,
        name: String,
        description: Option<String>,
        body: B,
    ) -> Result<Entry<B>, CatalogError> {
        let id = self.draw();
        let owner = owner(permit, customer)?;
        self.create_as(permit, id, owner, (name, description), body, None).await
    }

    /// The same under an id that was [drawn](Catalog::draw) before, with secrets.
    pub(crate) async fn create_as(
        &self,
        permit: &Permit<act::ManageProfiles>,
        id: B::Id,
        customer_id: Option<CustomerId>,
        (name, description): (String, Option<String>),
        body: B,
        secrets: Option<Sealed>,
    ) -> Result<Entry<B>, CatalogError> {
        let now = self.0.clock.now();
        let (created_at, updated_at, version) = (now, now, 1);
        let entry = Entry {
            id,
            customer_id,
            name,
            description,
            body,
            secrets,
            version,
            created_at,
            updated_at,
        }
        .check()?;
        self.0.entries.create(entry.clone(), permit.author()).await?;
        Ok(entry)
    }

    /// A new id.
    pub(crate) fn draw(&self) -> B::Id {
        B::Id::draw(&*self.0.clock, &*self.0.entropy)
    }

    /// One.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when the asker may not see it.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadProfiles>,
        id: B::Id,
    ) -> Result<Entry<B>, CatalogError> {
        self.find(permit.scope(), id).await
    }

    /// One in this scope.
    pub(crate) async fn find(
        &self,
        scope: &TenantScope,
        id: B::Id,
    ) -> Result<Entry<B>, CatalogError> {
        let found = self.0.entries.find(scope, id).await?;
        found.ok_or(CatalogError::NotFound(B::KIND.words()))
    }

    /// The one of an owner with this name.
    pub(crate) async fn named(
        &self,
        owner: Option<CustomerId>,
        name: &str,
    ) -> Result<Option<Entry<B>>, StorageError> {
        self.0.entries.named(owner, name.trim()).await
    }

    /// A page of them.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub async fn list(
        &self,
        permit: &Permit<act::ReadProfiles>,
        filter: &CatalogFilter,
        page: &PageRequest,
    ) -> Result<Page<Entry<B>>, CatalogError> {
        Ok(self.0.entries.list(permit.scope(), filter, page).await?)
    }

    /// Changes one; a change that changes nothing makes no version. With `expected`, only if that
    /// is its version; without, a change that comes at the same time as another's is made to what
    /// came of that.
    ///
    /// # Errors
    /// [`CatalogError::Shared`], [`CatalogError::Stale`], [`WriteError::NameTaken`].
    pub async fn change(
        &self,
        permit: &Permit<act::ManageProfiles>,
        id: B::Id,
        expected: Option<u32>,
        change: &Change<B>,
    ) -> Result<Entry<B>, CatalogError> {
        self.edit(permit, id, expected, async |entry: Entry<B>| {
            let Change { name, description, body } = change.clone();
            Ok::<_, CatalogError>(Entry {
                name: name.unwrap_or(entry.name),
                description: description.unwrap_or(entry.description),
                body: body.unwrap_or(entry.body),
                ..entry
            })
        })
        .await
    }

    /// The same, by whatever `edit` makes of it.
    pub(crate) async fn edit<E: From<CatalogError>>(
        &self,
        permit: &Permit<act::ManageProfiles>,
        id: B::Id,
        expected: Option<u32>,
        edit: impl AsyncFn(Entry<B>) -> Result<Entry<B>, E>,
    ) -> Result<Entry<B>, E> {
        loop {
            let before = self.changeable(permit, id, expected).await?;
            let after = edit(before.clone()).await?.check().map_err(CatalogError::from)?;
            if after.says_what(&before) {
                return Ok(before);
            }
            let version = before.version.saturating_add(1);
            let after = Entry { version, updated_at: self.0.clock.now(), ..after };
            match self.0.entries.replace(before.version, after.clone(), permit.author()).await {
                Err(WriteError::Stale) if expected.is_none() => {}
                Err(WriteError::Stale) => return Err(CatalogError::Stale.into()),
                written => {
                    return written.map(|()| after).map_err(|it| CatalogError::from(it).into());
                }
            }
        }
    }

    /// Removes one. What was made of it goes on, and its name is free.
    ///
    /// # Errors
    /// Those of [`Catalog::change`].
    pub async fn delete(
        &self,
        permit: &Permit<act::ManageProfiles>,
        id: B::Id,
        expected: Option<u32>,
    ) -> Result<(), CatalogError> {
        loop {
            let entry = self.changeable(permit, id, expected).await?;
            let now = self.0.clock.now();
            match self.0.entries.remove(id, entry.version, permit.author(), now).await {
                Err(WriteError::Stale) if expected.is_none() => {}
                Err(WriteError::Stale) => return Err(CatalogError::Stale),
                removed => return Ok(removed?),
            }
        }
    }

    /// One that the asker may change.
    async fn changeable(
        &self,
        permit: &Permit<act::ManageProfiles>,
        id: B::Id,
        expected: Option<u32>,
    ) -> Result<Entry<B>, CatalogError> {
        let entry = self.find(permit.scope(), id).await?;
        if entry.customer_id.is_none() && *permit.scope() != TenantScope::All {
            return Err(CatalogError::Shared);
        }
        if expected.is_some_and(|expected| expected != entry.version) {
            return Err(CatalogError::Stale);
        }
        Ok(entry)
    }
}

/// Whose a new thing is.
pub(crate) fn owner(
    permit: &Permit<act::ManageProfiles>,
    customer: Option<CustomerId>,
) -> Result<Option<CustomerId>, CatalogError> {
    if let Some(customer) = customer {
        permit.of(customer)?;
        return Ok(Some(customer));
    }
    let TenantScope::Customers(customers) = permit.scope() else { return Ok(None) };
    let mut customers = customers.iter();
    match (customers.next(), customers.next()) {
        (Some(only), None) => Ok(Some(*only)),
        _ => Err(Invalid::new("/customer_id", "say which of your customers' it is").into()),
    }
}
