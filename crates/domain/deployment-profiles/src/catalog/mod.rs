//! What is kept to be applied: profiles, software, OS images.
//!
//! They are kept alike: each belongs to a customer or is shared with all, has a name that no other
//! one of its owner has, and a version that counts its changes. What a kind says beside that is its
//! [`Body`].

mod usecase;

use std::fmt;

use async_trait::async_trait;
use muster_agents::OsType;
use muster_kernel::{
    Audited, Author, Clock, CustomerId, Entropy, OsImageId, Page, PageRequest, Place, ProfileId,
    Sealed, SoftwareId, StorageError, TenantScope, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Invalid;
use crate::invalid::{line, prose};

pub(crate) use usecase::owner;
pub use usecase::{Catalog, CatalogError, CatalogPorts, Change};

/// The longest name, in characters.
pub(crate) const MAX_NAME: usize = 200;
/// The longest description, in characters.
pub(crate) const MAX_DESCRIPTION: usize = 4000;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A profile.
    Profile,
    /// A piece of software.
    Software,
    /// An OS image.
    OsImage,
}

impl Kind {
    /// The name in the database and the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Software => "software",
            Self::OsImage => "os_image",
        }
    }

    /// What people call it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Software => "software item",
            Self::OsImage => "OS image",
        }
    }

    /// What the audit log calls its creation, change and removal.
    pub const fn deeds(self) -> [&'static str; 3] {
        match self {
            Self::Profile => ["profile.create", "profile.update", "profile.delete"],
            Self::Software => ["software.create", "software.update", "software.delete"],
            Self::OsImage => ["os_image.create", "os_image.update", "os_image.delete"],
        }
    }
}

/// The id of an entry, which says what it is.
pub trait EntryId: Copy + Ord + fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// Makes a new one.
    fn draw(clock: &dyn Clock, entropy: &dyn Entropy) -> Self;

    /// The one that `uuid` stands for.
    fn of_uuid(uuid: Uuid) -> Self;

    /// The plain UUID.
    fn uuid(self) -> Uuid;
}

macro_rules! entry_ids {
    ($($name:ident),+) => {$(
        impl EntryId for $name {
            fn draw(clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
                Self::new(clock, entropy)
            }

            fn of_uuid(uuid: Uuid) -> Self {
                Self::from_uuid(uuid)
            }

            fn uuid(self) -> Uuid {
                self.as_uuid()
            }
        }
    )+};
}

entry_ids! { ProfileId, SoftwareId, OsImageId }

/// What an entry says beside its name and owner.
pub trait Body:
    fmt::Debug + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// What it is.
    const KIND: Kind;
    /// What names it.
    type Id: EntryId;

    /// The systems that it is for; any when `None`.
    fn os_type(&self) -> Option<OsType> {
        None
    }

    /// Whether it is only there to be copied.
    fn is_template(&self) -> bool {
        false
    }

    /// What the audit log shows of it: an object without secrets.
    fn facts(&self) -> Value;
}

/// Something that is kept to be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<B: Body> {
    /// Its id.
    pub id: B::Id,
    /// Whose it is; `None` when it is shared with all. That never changes.
    pub customer_id: Option<CustomerId>,
    /// What people call it. No two of an owner's have the same name, upper and lower case alike.
    pub name: String,
    /// What it is good for.
    pub description: Option<String>,
    /// What it says.
    pub body: B,
    /// What it says in confidence: a JSON object of names and values, sealed for
    /// [`Entry::secrets_place`].
    pub secrets: Option<Sealed>,
    /// The first is 1, after each change one more.
    pub version: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
}

impl<B: Body> Entry<B> {
    /// Where the secrets of the entry `id` are sealed for.
    pub fn secrets_place(id: B::Id) -> String {
        format!("catalog_entries/{id}/secrets")
    }

    /// Checks name and description.
    pub(crate) fn check(self) -> Result<Self, Invalid> {
        Ok(Self {
            name: line("/name", &self.name, MAX_NAME)?,
            description: prose("/description", self.description, MAX_DESCRIPTION)?,
            ..self
        })
    }

    /// Whether `other` says the same, whenever it was written.
    pub(crate) fn says_what(&self, other: &Self) -> bool {
        self.name == other.name
            && self.description == other.description
            && self.body == other.body
            && self.secrets == other.secrets
    }
}

impl<B: Body> Audited for Entry<B> {
    fn place(&self) -> Place {
        Place { kind: B::KIND.as_str(), id: self.id.uuid(), customer_id: self.customer_id }
    }

    fn facts(&self) -> Value {
        let mut facts = json!({
            "name": self.name, "description": self.description, "version": self.version,
        });
        if let (Value::Object(facts), Value::Object(body)) = (&mut facts, self.body.facts()) {
            facts.extend(body);
        }
        facts
    }
}

/// Which entries a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CatalogFilter {
    /// Only this customer's own.
    pub customer_id: Option<CustomerId>,
    /// Only those whose name contains this, upper and lower case alike.
    pub q: Option<String>,
    /// Only those for these systems.
    pub os_type: Option<OsType>,
    /// Only those that are there to be copied, or only the others.
    pub is_template: Option<bool>,
}

/// Why an entry could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another one of the same owner has that name.
    #[error("another one of the same owner has that name")]
    NameTaken,
    /// Somebody changed it since it was read, or removed it.
    #[error("it was changed since it was read")]
    Stale,
    /// Its customer was deleted meanwhile.
    #[error("there is no such customer, or it is not yours")]
    NoCustomer,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The entries of one kind. Those in a scope are those of its customers and those that are shared.
/// Every write enters in the audit log what it did, and who, in the same transaction.
#[async_trait]
pub trait CatalogRepository<B: Body>: Send + Sync + fmt::Debug {
    /// Keeps a new one, if its customer is still there.
    async fn create(&self, entry: Entry<B>, author: &Author) -> Result<(), WriteError>;

    /// The one with this id, if it lies in `scope`.
    async fn find(&self, scope: &TenantScope, id: B::Id) -> Result<Option<Entry<B>>, StorageError>;

    /// The one of this owner with this name, upper and lower case alike.
    async fn named(
        &self,
        owner: Option<CustomerId>,
        name: &str,
    ) -> Result<Option<Entry<B>>, StorageError>;

    /// Those in `scope` that pass `filter`, in the order of their creation.
    async fn list(
        &self,
        scope: &TenantScope,
        filter: &CatalogFilter,
        page: &PageRequest,
    ) -> Result<Page<Entry<B>>, StorageError>;

    /// Makes `after` of the one that has its id, if that still has the version `before`.
    async fn replace(
        &self,
        before: u32,
        after: Entry<B>,
        author: &Author,
    ) -> Result<(), WriteError>;

    /// Removes the one with this id, if it still has the version `before`.
    async fn remove(
        &self,
        id: B::Id,
        before: u32,
        author: &Author,
        now: Timestamp,
    ) -> Result<(), WriteError>;
}
