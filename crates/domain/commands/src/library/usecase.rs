//! What people do with the library.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_kernel::{
    Clock, CustomerId, Denied, Entropy, Page, PageRequest, Permit, SavedCommandId, ScriptId,
    StorageError, TenantScope, VersionId, act,
};

use super::draft::check_note;
use super::item::Writing;
use super::{
    Change, Draft, Field, InvalidItem, Item, ItemId, LibraryFilter, LibraryRepository,
    LibraryWriteError, Opened, ScriptTexts, Version, unified_diff,
};
use crate::SafetyLevel;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// There is no such thing, or it is not the asker's.
    #[error("there is no such thing in the library, or it is not yours")]
    NotFound,
    /// It has no version of that number.
    #[error("there is no version of that number")]
    NoVersion,
    /// It is shared with all, and whoever asks works for some only.
    #[error("it is shared with every customer: only who works for all of them may change it")]
    Shared,
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidItem),
    /// It is not the version any more that the asker knows.
    #[error("it was changed since you read it; read it again")]
    Stale,
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] LibraryWriteError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What the library is made of.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct LibraryPorts<I> {
    pub items: Arc<dyn LibraryRepository<I>>,
    pub texts: Arc<dyn ScriptTexts>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// What people do with scripts, or with saved commands.
#[derive(Debug)]
pub struct Library<I>(LibraryPorts<I>);

/// What people do with scripts.
pub type Scripts = Library<ScriptId>;
/// What people do with saved commands.
pub type SavedCommands = Library<SavedCommandId>;

impl<I: ItemId> Library<I> {
    /// Made of its ports.
    pub const fn new(ports: LibraryPorts<I>) -> Self {
        Self(ports)
    }

    /// Keeps a draft. Whoever works for all customers and names none shares it with all of them;
    /// whoever works for one alone keeps it for that one.
    ///
    /// # Errors
    /// [`LibraryError::Denied`] for another's customer, [`LibraryWriteError::NameTaken`].
    pub async fn create(
        &self,
        permit: &Permit<act::ManageScripts>,
        customer: Option<CustomerId>,
        draft: Draft,
        note: Option<String>,
    ) -> Result<Opened<I>, LibraryError> {
        let customer_id = owner(permit, customer)?;
        let note = check_note(note)?;
        let writing = self.writing(permit, note, assess(&draft).await);
        let item = Item {
            id: I::draw(&*self.0.clock, &*self.0.entropy),
            customer_id,
            created_at: writing.now,
            version: Version::first(&draft, writing),
        };
        let text = Arc::clone(draft.text());
        self.0.items.create(item.clone(), Arc::clone(&text), permit.author()).await?;
        Ok(Opened { item, text })
    }

    /// One, with its text.
    ///
    /// # Errors
    /// [`LibraryError::NotFound`] when the asker may not see it.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadScripts>,
        id: I,
    ) -> Result<Opened<I>, LibraryError> {
        self.for_run(permit.scope(), id).await?.ok_or(LibraryError::NotFound)
    }

    /// One as it is now, with its text, for whatever runs it in this scope.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn for_run(
        &self,
        scope: &TenantScope,
        id: I,
    ) -> Result<Option<Opened<I>>, StorageError> {
        let Some(item) = self.0.items.find(scope, id).await? else { return Ok(None) };
        let text = self.0.texts.text(item.version.id).await?;
        Ok(text.map(|text| Opened { item, text }))
    }

    /// A page of them, without their texts.
    ///
    /// # Errors
    /// [`LibraryError::Storage`].
    pub async fn list(
        &self,
        permit: &Permit<act::ReadScripts>,
        filter: &LibraryFilter,
        page: &PageRequest,
    ) -> Result<Page<Item<I>>, LibraryError> {
        Ok(self.0.items.list(permit.scope(), filter, page).await?)
    }

    /// The texts of a page of them.
    ///
    /// # Errors
    /// [`LibraryError::Storage`].
    pub async fn texts(
        &self,
        items: &[Item<I>],
    ) -> Result<BTreeMap<VersionId, Arc<str>>, LibraryError> {
        let versions: Vec<_> = items.iter().map(|item| item.version.id).collect();
        Ok(self.0.texts.texts(&versions).await?)
    }

    /// Changes one; a change that changes nothing makes no version. With `expected`, only if that
    /// is its version; without, a change that comes at the same time as another's is made to what
    /// came of that.
    ///
    /// # Errors
    /// [`LibraryError::Shared`], [`LibraryError::Stale`], [`LibraryWriteError::NameTaken`].
    pub async fn change(
        &self,
        permit: &Permit<act::ManageScripts>,
        id: I,
        expected: Option<u32>,
        change: Change,
        note: Option<String>,
    ) -> Result<Opened<I>, LibraryError> {
        let note = check_note(note)?;
        loop {
            let before = self.changeable(permit, id, expected).await?;
            let draft = Draft::of(I::KIND, &before.item.version, &before.text);
            let draft = draft.changed(change.clone())?;
            match self.write(permit, before, draft, note.clone()).await {
                Err(LibraryWriteError::Stale) if expected.is_none() => {}
                Err(LibraryWriteError::Stale) => return Err(LibraryError::Stale),
                written => return Ok(written?),
            }
        }
    }

    /// Makes one say again what it said in the version of this number.
    ///
    /// # Errors
    /// Those of [`Library::change`], and [`LibraryError::NoVersion`].
    pub async fn restore(
        &self,
        permit: &Permit<act::ManageScripts>,
        id: I,
        number: u32,
        expected: Option<u32>,
    ) -> Result<Opened<I>, LibraryError> {
        self.changeable(permit, id, expected).await?;
        let (version, text) = self.version_with_text(id, number).await?;
        let about = version.about;
        let change = Change {
            name: Some(about.name),
            description: Some(about.description),
            category: Some(about.category),
            tags: Some(about.tags),
            target_os_type: Some(about.target_os_type),
            shell_type: Some(about.shell_type),
            parameters: Some(about.parameters),
            text: Some(text),
        };
        let note = Some(format!("version {number} restored"));
        self.change(permit, id, expected, change, note).await
    }

    /// Removes one. What runs it goes on, and its name is free.
    ///
    /// # Errors
    /// Those of [`Library::change`].
    pub async fn delete(
        &self,
        permit: &Permit<act::ManageScripts>,
        id: I,
        expected: Option<u32>,
    ) -> Result<(), LibraryError> {
        loop {
            let item = self.changeable(permit, id, expected).await?.item;
            let now = self.0.clock.now();
            match self.0.items.remove(&item, permit.author(), now).await {
                Err(LibraryWriteError::Stale) if expected.is_none() => {}
                Err(LibraryWriteError::Stale) => return Err(LibraryError::Stale),
                removed => return Ok(removed?),
            }
        }
    }

    /// A page of the versions of one, the newest first.
    ///
    /// # Errors
    /// [`LibraryError::NotFound`] when the asker may not see it.
    pub async fn versions(
        &self,
        permit: &Permit<act::ReadScripts>,
        id: I,
        page: &PageRequest,
    ) -> Result<Page<Version>, LibraryError> {
        self.require(permit.scope(), id).await?;
        Ok(self.0.items.versions(id, page).await?)
    }

    /// The version of one of this number, its text, and how that differs from the version before.
    ///
    /// # Errors
    /// [`LibraryError::NotFound`] when the asker may not see it, [`LibraryError::NoVersion`].
    pub async fn version(
        &self,
        permit: &Permit<act::ReadScripts>,
        id: I,
        number: u32,
    ) -> Result<(Version, Arc<str>, String), LibraryError> {
        self.require(permit.scope(), id).await?;
        let (version, text) = self.version_with_text(id, number).await?;
        let before = match number.checked_sub(1) {
            None | Some(0) => Arc::from(""),
            Some(before) => self.version_with_text(id, before).await?.1,
        };
        let name = |number: u32| format!("version {number}");
        let old = (name(number.saturating_sub(1)), before);
        let diff = diff(old, (name(number), Arc::clone(&text))).await;
        Ok((version, text, diff))
    }

    async fn version_with_text(
        &self,
        id: I,
        number: u32,
    ) -> Result<(Version, Arc<str>), LibraryError> {
        let version = self.0.items.version(id, number).await?.ok_or(LibraryError::NoVersion)?;
        let text = self.0.texts.text(version.id).await?.ok_or(LibraryError::NoVersion)?;
        Ok((version, text))
    }

    async fn require(&self, scope: &TenantScope, id: I) -> Result<Item<I>, LibraryError> {
        self.0.items.find(scope, id).await?.ok_or(LibraryError::NotFound)
    }

    /// One that the asker may change.
    async fn changeable(
        &self,
        permit: &Permit<act::ManageScripts>,
        id: I,
        expected: Option<u32>,
    ) -> Result<Opened<I>, LibraryError> {
        let opened = self.for_run(permit.scope(), id).await?.ok_or(LibraryError::NotFound)?;
        if opened.item.customer_id.is_none() && *permit.scope() != TenantScope::All {
            return Err(LibraryError::Shared);
        }
        if expected.is_some_and(|expected| expected != opened.item.version.number) {
            return Err(LibraryError::Stale);
        }
        Ok(opened)
    }

    async fn write(
        &self,
        permit: &Permit<act::ManageScripts>,
        before: Opened<I>,
        draft: Draft,
        note: Option<String>,
    ) -> Result<Opened<I>, LibraryWriteError> {
        let changes = before.item.version.differs_in(&draft);
        if changes.is_empty() {
            return Ok(before);
        }
        let reads_another = [Field::Text, Field::ShellType].iter().any(|it| changes.contains(it));
        let level =
            if reads_another { assess(&draft).await } else { before.item.version.safety_level };
        let version = before.item.version.next(&draft, self.writing(permit, note, level));
        let item = Item { version, ..before.item.clone() };
        let text = Arc::clone(draft.text());
        let (after, author) = (item.clone(), permit.author());
        self.0.items.append(&before.item, after, Arc::clone(&text), author).await?;
        Ok(Opened { item, text })
    }

    fn writing(
        &self,
        permit: &Permit<act::ManageScripts>,
        note: Option<String>,
        safety_level: SafetyLevel,
    ) -> Writing {
        let (clock, entropy) = (&*self.0.clock, &*self.0.entropy);
        let id = VersionId::new(clock, entropy);
        Writing { id, author: permit.actor().clone(), now: clock.now(), note, safety_level }
    }
}

/// How dangerous a draft is. The longest text takes a good part of a second, during which nobody
/// else has to wait.
async fn assess(draft: &Draft) -> SafetyLevel {
    let draft = draft.clone();
    let level = tokio::task::spawn_blocking(move || draft.assess().level).await;
    // What nobody could look at is not taken for safe.
    level.unwrap_or(SafetyLevel::Dangerous)
}

/// The difference between two versions' texts, looked for likewise.
async fn diff(old: (String, Arc<str>), new: (String, Arc<str>)) -> String {
    let look = move || unified_diff((&old.0, &old.1), (&new.0, &new.1));
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// Whose a new thing is.
fn owner(
    permit: &Permit<act::ManageScripts>,
    customer: Option<CustomerId>,
) -> Result<Option<CustomerId>, LibraryError> {
    if let Some(customer) = customer {
        permit.of(customer)?;
        return Ok(Some(customer));
    }
    let TenantScope::Customers(customers) = permit.scope() else { return Ok(None) };
    let mut customers = customers.iter();
    match (customers.next(), customers.next()) {
        (Some(only), None) => Ok(Some(*only)),
        _ => Err(InvalidItem::new(Field::CustomerId, "say which of your customers' it is").into()),
    }
}
