//! Assistants and projects in memory, and the contract that every repository of them keeps.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    Author, Clock, Cursor, CustomerId, Page, PageRequest, StorageError, TenantScope, Timestamp,
};
use parking_lot::Mutex;
use uuid::Uuid;

use super::page_of;
use crate::workspace::{Body, Entry, EntryId, EntryRepository, WriteError};

/// An entry; the same `seed` makes the same one, greater seeds make later ones.
pub fn entry<B: Body>(seed: u64, customer_id: Option<CustomerId>, body: B) -> Entry<B> {
    let at = FakeClock::default().now() + TimeDelta::milliseconds(i64::try_from(seed).unwrap_or(0));
    Entry {
        id: B::Id::draw(&FakeClock::at(at), &SeededEntropy::new(seed)),
        customer_id,
        name: format!("thing {seed}"),
        body,
        version: 1,
        created_at: at,
        updated_at: at,
    }
}

/// Entries in memory.
#[derive(Debug)]
pub struct FakeEntries<B: Body> {
    customers: Option<Vec<CustomerId>>,
    entries: Mutex<BTreeMap<B::Id, Entry<B>>>,
}

impl<B: Body> Default for FakeEntries<B> {
    fn default() -> Self {
        Self { customers: None, entries: Mutex::default() }
    }
}

impl<B: Body> FakeEntries<B> {
    /// In a house with these customers alone.
    pub fn new(customers: &[CustomerId]) -> Self {
        Self { customers: Some(customers.to_vec()), ..Self::default() }
    }

    /// Keeps one.
    pub fn put(&self, entry: Entry<B>) {
        self.entries.lock().insert(entry.id, entry);
    }
}

#[async_trait]
impl<B: Body> EntryRepository<B> for FakeEntries<B> {
    async fn create(&self, entry: Entry<B>, _: &Author) -> Result<(), WriteError> {
        let there = |id| self.customers.as_ref().is_none_or(|all| all.contains(&id));
        if entry.customer_id.is_some_and(|id| !there(id)) {
            return Err(WriteError::NoCustomer);
        }
        self.put(entry);
        Ok(())
    }

    async fn find(&self, scope: &TenantScope, id: B::Id) -> Result<Option<Entry<B>>, StorageError> {
        Ok(self.entries.lock().get(&id).filter(|it| it.is_seen_in(scope)).cloned())
    }

    async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<Entry<B>>, StorageError> {
        let entries = self.entries.lock();
        let rows: Vec<_> = entries.values().filter(|it| it.is_seen_in(scope)).cloned().collect();
        Ok(page_of(&rows, page, |row| Cursor::after(row.id.uuid())))
    }

    async fn replace(&self, before: u32, after: Entry<B>, _: &Author) -> Result<(), WriteError> {
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(&after.id).filter(|it| it.version == before);
        *entry.ok_or(WriteError::Stale)? = after;
        Ok(())
    }

    async fn remove(
        &self,
        id: B::Id,
        before: u32,
        _: &Author,
        _: Timestamp,
    ) -> Result<(), WriteError> {
        let mut entries = self.entries.lock();
        if entries.get(&id).is_none_or(|it| it.version != before) {
            return Err(WriteError::Stale);
        }
        entries.remove(&id);
        Ok(())
    }
}

/// The contract of [`EntryRepository`], for one that has none yet, in a house with two customers.
///
/// # Panics
/// When it is broken.
pub async fn entries_contract<B: Body>(
    entries: &dyn EntryRepository<B>,
    [mine, theirs]: [CustomerId; 2],
    [body, other_body]: [B; 2],
) {
    let author = Author::system();
    let own = entry(1, Some(mine), body.clone());
    let other = entry(2, Some(theirs), body.clone());
    let nobodys = entry(3, None, other_body.clone());
    for entry in [&own, &other, &nobodys] {
        entries.create(entry.clone(), &author).await.unwrap();
    }
    let homeless = entry(4, Some(CustomerId::from_uuid(Uuid::nil())), body);
    let refused = entries.create(homeless, &author).await;
    assert!(matches!(refused, Err(WriteError::NoCustomer)), "{refused:?}");

    let scope = TenantScope::one(mine);
    let find = async |scope: &TenantScope, entry: &Entry<B>| {
        entries.find(scope, entry.id).await.unwrap().as_ref() == Some(entry)
    };
    assert!(find(&scope, &own).await && !find(&scope, &other).await);
    assert!(find(&TenantScope::All, &other).await && find(&TenantScope::All, &nobodys).await);
    assert_eq!(find(&scope, &nobodys).await, B::SHARED);
    let names = async |scope: &TenantScope, page: &PageRequest| {
        let page = entries.list(scope, page).await.unwrap();
        (page.items.into_iter().map(|it| it.name).collect::<Vec<_>>(), page.next_cursor)
    };
    let (first, next) = names(&TenantScope::All, &PageRequest::new(2, None)).await;
    let (rest, end) = names(&TenantScope::All, &PageRequest::new(2, next)).await;
    assert_eq!(
        (first, rest),
        (vec![own.name.clone(), other.name.clone()], vec![nobodys.name.clone()])
    );
    assert_eq!(end, None);
    let seen = names(&scope, &PageRequest::default()).await.0.len();
    assert_eq!(seen, if B::SHARED { 2 } else { 1 });

    let after = Entry { name: "new".to_owned(), body: other_body, version: 2, ..own.clone() };
    entries.replace(1, after.clone(), &author).await.unwrap();
    let late = entries.replace(1, after.clone(), &author).await;
    assert!(matches!(late, Err(WriteError::Stale)), "{late:?}");
    assert!(find(&scope, &after).await);
    let now = own.created_at;
    let late = entries.remove(own.id, 1, &author, now).await;
    assert!(matches!(late, Err(WriteError::Stale)), "{late:?}");
    entries.remove(own.id, 2, &author, now).await.unwrap();
    assert!(!find(&TenantScope::All, &after).await);
}
