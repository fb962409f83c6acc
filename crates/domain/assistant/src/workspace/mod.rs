//! What people set up to work with assistants: the assistants themselves, and projects.
//!
//! Both are kept alike: each belongs to a customer or to all of them, and has a version that counts its
//! changes. What a kind says beside that is its [`Body`].

mod assistant;
mod project;
mod usecase;

use std::fmt;

use async_trait::async_trait;
use muster_kernel::{
    AssistantId, Audited, Author, Clock, CustomerId, Entropy, Page, PageRequest, Place, ProjectId,
    StorageError, TenantScope, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

pub use assistant::{AssistantBody, Role};
pub use project::ProjectBody;
pub(crate) use usecase::owner;
pub use usecase::{Change, Kept, Workspace, WorkspaceError, WorkspacePorts};

/// The longest name, in characters.
const MAX_NAME: usize = 200;
/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 4000;

/// A field that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct InvalidEntry {
    /// Which.
    pub field: &'static str,
    /// What is expected there.
    pub rule: &'static str,
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

entry_ids! { AssistantId, ProjectId }

/// What an entry says beside its name and owner.
pub trait Body:
    fmt::Debug + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// What the audit log and the database call it.
    const KIND: &'static str;
    /// What the audit log calls its creation, change and removal.
    const DEEDS: [&'static str; 3];
    /// Whether one that belongs to no customer is there for all of them; else only those who work
    /// for all customers see it.
    const SHARED: bool;
    /// What names it.
    type Id: EntryId;

    /// The same without what does not matter, if it keeps the rules.
    ///
    /// # Errors
    /// [`InvalidEntry`] names the field.
    fn check(self) -> Result<Self, InvalidEntry>;

    /// What the audit log shows of it: an object.
    fn facts(&self) -> Value;
}

/// An assistant or a project.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<B: Body> {
    /// Its id.
    pub id: B::Id,
    /// Whose it is; `None` when it is no single customer's. That never changes.
    pub customer_id: Option<CustomerId>,
    /// What people call it.
    pub name: String,
    /// What it says.
    pub body: B,
    /// The first is 1, after each change one more.
    pub version: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
}

impl<B: Body> Entry<B> {
    /// Whether somebody with this scope sees it.
    pub fn is_seen_in(&self, scope: &TenantScope) -> bool {
        match self.customer_id {
            Some(customer) => scope.contains(customer),
            None => B::SHARED || *scope == TenantScope::All,
        }
    }

    fn check(self) -> Result<Self, InvalidEntry> {
        Ok(Self { name: line("name", &self.name)?, body: self.body.check()?, ..self })
    }
}

impl<B: Body> Audited for Entry<B> {
    fn place(&self) -> Place {
        Place { kind: B::KIND, id: self.id.uuid(), customer_id: self.customer_id }
    }

    fn facts(&self) -> Value {
        let mut facts = json!({ "name": self.name, "version": self.version });
        if let (Value::Object(facts), Value::Object(body)) = (&mut facts, self.body.facts()) {
            facts.extend(body);
        }
        facts
    }
}

/// Why an entry could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
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

/// The entries of one kind; in a scope are those that [`Entry::is_seen_in`] it. Every write enters in
/// the audit log what it did, and who, in the same transaction.
#[async_trait]
pub trait EntryRepository<B: Body>: Send + Sync + fmt::Debug {
    /// Keeps a new one, if its customer is still there.
    async fn create(&self, entry: Entry<B>, author: &Author) -> Result<(), WriteError>;

    /// The one with this id, if it lies in `scope`.
    async fn find(&self, scope: &TenantScope, id: B::Id) -> Result<Option<Entry<B>>, StorageError>;

    /// Those in `scope`, in the order of their creation.
    async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<Entry<B>>, StorageError>;

    /// Makes `after` of the one that has its id, if that still has the version `before`.
    async fn replace(
        &self,
        before: u32,
        after: Entry<B>,
        author: &Author,
    ) -> Result<(), WriteError>;

    /// Removes the one with this id, if it still has the version `before`. The conversations of a
    /// project go with it.
    async fn remove(
        &self,
        id: B::Id,
        before: u32,
        author: &Author,
        now: Timestamp,
    ) -> Result<(), WriteError>;
}

/// A text of one line that says something.
fn line(field: &'static str, text: &str) -> Result<String, InvalidEntry> {
    let text = text.trim();
    let length = text.chars().count();
    if (1..=MAX_NAME).contains(&length) && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(InvalidEntry { field, rule: "1 to 200 printable characters" })
}

/// A text of any number of lines, without what no eye sees; `None` when it says nothing.
fn prose(field: &'static str, text: Option<String>) -> Result<Option<String>, InvalidEntry> {
    let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r');
    match &text {
        Some(it) if it.chars().count() > MAX_DESCRIPTION || it.chars().any(odd) => {
            Err(InvalidEntry { field, rule: "at most 4000 printable characters" })
        }
        _ => Ok(text),
    }
}
