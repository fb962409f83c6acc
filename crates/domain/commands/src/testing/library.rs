//! A library in memory, and the contract that every library keeps.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_agents::OsType;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    Actor, Author, Clock, Cursor, CustomerId, Page, PageRequest, StorageError, Tags, TenantScope,
    Timestamp, UserId, VersionId,
};
use parking_lot::Mutex;

use crate::library::{
    About, Field, Item, ItemId, LibraryFilter, LibraryRepository, LibraryWriteError, Parameter,
    ParameterKind, ScriptTexts, Version,
};
use crate::{SafetyLevel, ShellType};

#[derive(Debug)]
struct Rows<I> {
    items: BTreeMap<I, Item<I>>,
    versions: Vec<(I, Version, Arc<str>)>,
}

/// A library in memory.
#[derive(Debug)]
pub struct FakeLibrary<I> {
    customers: Vec<CustomerId>,
    rows: Mutex<Rows<I>>,
}

impl<I: ItemId> FakeLibrary<I> {
    /// An empty one, for these customers.
    pub fn new(customers: &[CustomerId]) -> Self {
        let rows = Rows { items: BTreeMap::new(), versions: Vec::new() };
        Self { customers: customers.to_vec(), rows: Mutex::new(rows) }
    }
}

fn canonical(name: &str) -> String {
    name.to_lowercase()
}

fn is_taken<I: ItemId>(rows: &Rows<I>, item: &Item<I>) -> bool {
    let name = canonical(&item.version.about.name);
    rows.items.values().any(|other| {
        other.id != item.id
            && other.customer_id == item.customer_id
            && canonical(&other.version.about.name) == name
    })
}

fn is_visible<I>(scope: &TenantScope, item: &Item<I>) -> bool {
    item.customer_id.is_none_or(|customer| scope.contains(customer))
}

fn passes<I>(filter: &LibraryFilter, item: &Item<I>) -> bool {
    let About { name, category, tags, target_os_type, shell_type, .. } = &item.version.about;
    filter.customer_id.is_none_or(|customer| item.customer_id == Some(customer))
        && filter.q.as_ref().is_none_or(|q| canonical(name).contains(&canonical(q)))
        && filter.shell_type.is_none_or(|shell| shell == *shell_type)
        && filter.target_os_type.is_none_or(|target| Some(target) == *target_os_type)
        && filter.category.as_ref().is_none_or(|wanted| Some(wanted) == category.as_ref())
        && filter.tag.as_ref().is_none_or(|tag| tags.iter().any(|it| it == tag))
}

#[async_trait]
impl<I: ItemId> LibraryRepository<I> for FakeLibrary<I> {
    async fn create(
        &self,
        item: Item<I>,
        text: Arc<str>,
        _: &Author,
    ) -> Result<(), LibraryWriteError> {
        let mut rows = self.rows.lock();
        if item.customer_id.is_some_and(|customer| !self.customers.contains(&customer)) {
            return Err(LibraryWriteError::NoCustomer);
        }
        if is_taken(&rows, &item) {
            return Err(LibraryWriteError::NameTaken);
        }
        rows.versions.push((item.id, item.version.clone(), text));
        rows.items.insert(item.id, item);
        Ok(())
    }

    async fn find(&self, scope: &TenantScope, id: I) -> Result<Option<Item<I>>, StorageError> {
        let item = self.rows.lock().items.get(&id).cloned();
        Ok(item.filter(|item| is_visible(scope, item)))
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &LibraryFilter,
        page: &PageRequest,
    ) -> Result<Page<Item<I>>, StorageError> {
        let place = |item: &Item<I>| (canonical(&item.version.about.name), item.id.uuid());
        let rows = self.rows.lock();
        let passing = rows.items.values().filter(|it| is_visible(scope, it) && passes(filter, it));
        let mut items: Vec<_> = passing.cloned().collect();
        items.sort_by_key(place);
        let total = u64::try_from(items.len()).unwrap();
        if let Some(Cursor { id, key: Some(key), .. }) = &page.cursor {
            items.retain(|item| place(item) > (key.clone(), *id));
        }
        Ok(Page::from_rows(items, page, total, |item| {
            let (name, id) = place(item);
            Cursor::after_key(id, name)
        }))
    }

    async fn append(
        &self,
        before: &Item<I>,
        after: Item<I>,
        text: Arc<str>,
        _: &Author,
    ) -> Result<(), LibraryWriteError> {
        let mut rows = self.rows.lock();
        let current = rows.items.get(&before.id).map(|item| item.version.id);
        if current != Some(before.version.id) {
            return Err(LibraryWriteError::Stale);
        }
        if is_taken(&rows, &after) {
            return Err(LibraryWriteError::NameTaken);
        }
        rows.versions.push((after.id, after.version.clone(), text));
        rows.items.insert(after.id, after);
        Ok(())
    }

    async fn remove(
        &self,
        item: &Item<I>,
        _: &Author,
        _: Timestamp,
    ) -> Result<(), LibraryWriteError> {
        let mut rows = self.rows.lock();
        let current = rows.items.get(&item.id).map(|item| item.version.id);
        if current != Some(item.version.id) {
            return Err(LibraryWriteError::Stale);
        }
        rows.items.remove(&item.id);
        Ok(())
    }

    async fn versions(&self, id: I, page: &PageRequest) -> Result<Page<Version>, StorageError> {
        let rows = self.rows.lock();
        let of_it = rows.versions.iter().rev().filter(|(item, ..)| *item == id);
        let mut versions: Vec<_> = of_it.map(|(_, version, _)| version.clone()).collect();
        let total = u64::try_from(versions.len()).unwrap();
        if let Some(cursor) = &page.cursor {
            let before = cursor.key.as_ref().unwrap().parse().unwrap();
            versions.retain(|version| version.number < before);
        }
        Ok(Page::from_rows(versions, page, total, |version| {
            Cursor::after_key(version.id.as_uuid(), version.number.to_string())
        }))
    }

    async fn version(&self, id: I, number: u32) -> Result<Option<Version>, StorageError> {
        let rows = self.rows.lock();
        let found = rows.versions.iter().find(|(item, it, _)| *item == id && it.number == number);
        Ok(found.map(|(_, version, _)| version.clone()))
    }
}

#[async_trait]
impl<I: ItemId> ScriptTexts for FakeLibrary<I> {
    async fn text(&self, version: VersionId) -> Result<Option<Arc<str>>, StorageError> {
        Ok(self.texts(&[version]).await?.remove(&version))
    }

    async fn texts(
        &self,
        versions: &[VersionId],
    ) -> Result<BTreeMap<VersionId, Arc<str>>, StorageError> {
        let rows = self.rows.lock();
        let wanted = rows.versions.iter().filter(|(_, version, _)| versions.contains(&version.id));
        Ok(wanted.map(|(_, version, text)| (version.id, Arc::clone(text))).collect())
    }
}

/// A thing of the library with everything in it; the same `seed` makes the same one.
///
/// # Panics
/// Never: its tag keeps the rules.
pub fn item<I: ItemId>(seed: u64, customer_id: Option<CustomerId>) -> Item<I> {
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(seed.wrapping_add(1 << 34)));
    let number =
        ParameterKind::Number { min: Some(0.5), max: None, integer: false, default: Some(1.0) };
    let number = Parameter { label: Some("How many".into()), ..Parameter::new("count", number) };
    let choices = vec!["a".to_owned(), "b".to_owned()];
    let choice = ParameterKind::Choice { choices, default: Some("a".into()) };
    Item {
        id: I::draw(&clock, &entropy),
        customer_id,
        version: Version {
            id: VersionId::new(&clock, &entropy),
            number: 1,
            about: About {
                name: format!("Thing {seed}"),
                description: Some("What it does".into()),
                category: Some("Testing".into()),
                tags: Tags::parse(["web".to_owned()]).unwrap(),
                target_os_type: Some(OsType::Linux),
                shell_type: ShellType::Bash,
                parameters: vec![number, Parameter::new("which", choice), Parameter::secret("key")],
            },
            sha256: [7; 32],
            bytes: 6,
            safety_level: SafetyLevel::Caution,
            author: Actor::User { id: UserId::new(&clock, &entropy), name: "ann".into() },
            created_at: clock.now(),
            changes: Vec::new(),
            note: None,
        },
        created_at: clock.now(),
    }
}

/// The same thing a second later, with another name.
pub fn renamed<I: ItemId>(item: &Item<I>, name: &str) -> Item<I> {
    let clock = FakeClock::at(item.version.created_at + TimeDelta::seconds(1));
    let (_, seed) = item.version.id.as_uuid().as_u64_pair();
    let entropy = SeededEntropy::new(seed);
    let version = Version {
        id: VersionId::new(&clock, &entropy),
        number: item.version.number + 1,
        about: About { name: name.to_owned(), ..item.version.about.clone() },
        author: Actor::System,
        created_at: clock.now(),
        changes: vec![Field::Name, Field::Text],
        note: Some("why".into()),
        ..item.version.clone()
    };
    Item { version, ..item.clone() }
}

/// The contract of [`LibraryRepository`] and [`ScriptTexts`], on one in which nothing is called
/// `Thing`; both customers exist.
///
/// # Panics
/// When the library breaks it.
pub async fn library_contract<I, R>(library: &R, [mine, theirs]: [CustomerId; 2])
where
    I: ItemId,
    R: LibraryRepository<I> + ScriptTexts,
{
    let author = Author::system();
    let (one, other) = (item::<I>(1, Some(mine)), item::<I>(2, Some(theirs)));
    let shared = item::<I>(3, None);
    for item in [&one, &other, &shared] {
        library.create(item.clone(), "echo 1".into(), &author).await.unwrap();
    }
    let homeless = item::<I>(4, Some(CustomerId::from_uuid(uuid::Uuid::nil())));
    let refused = library.create(homeless, "x".into(), &author).await;
    assert!(matches!(refused, Err(LibraryWriteError::NoCustomer)));
    names_are_unique_per_owner(library, [&one, &shared]).await;

    let scope = TenantScope::one(mine);
    assert_eq!(library.find(&scope, one.id).await.unwrap(), Some(one.clone()));
    assert_eq!(library.find(&scope, shared.id).await.unwrap(), Some(shared.clone()));
    assert_eq!(library.find(&scope, other.id).await.unwrap(), None);
    lists(library, &scope, [&one, &shared]).await;
    versions(library, &scope, &one).await;
}

async fn names_are_unique_per_owner<I, R>(library: &R, [one, shared]: [&Item<I>; 2])
where
    I: ItemId,
    R: LibraryRepository<I> + ScriptTexts,
{
    let author = Author::system();
    for (seed, taken) in [(5, one), (6, shared)] {
        let shouted = named(seed, taken.customer_id, &taken.version.about.name.to_uppercase());
        let refused = library.create(shouted, "x".into(), &author).await;
        assert!(matches!(refused, Err(LibraryWriteError::NameTaken)), "{refused:?}");
    }
    let another = named::<I>(7, shared.customer_id, &one.version.about.name);
    library.create(another.clone(), "x".into(), &author).await.expect("another owner's");
    let taken = renamed(&another, &shared.version.about.name);
    let refused = library.append(&another, taken, "x".into(), &author).await;
    assert!(matches!(refused, Err(LibraryWriteError::NameTaken)), "{refused:?}");
    let shouted = renamed(&another, &one.version.about.name.to_uppercase());
    library.append(&another, shouted.clone(), "x".into(), &author).await.expect("its own name");
    library.remove(&shouted, &author, one.created_at).await.unwrap();
    let again = named::<I>(8, shared.customer_id, &one.version.about.name);
    library.create(again.clone(), "x".into(), &author).await.expect("a name that is free");
    library.remove(&again, &author, one.created_at).await.unwrap();
}

fn named<I: ItemId>(seed: u64, customer_id: Option<CustomerId>, name: &str) -> Item<I> {
    let mut item = item(seed, customer_id);
    name.clone_into(&mut item.version.about.name);
    item
}

async fn lists<I, R>(library: &R, scope: &TenantScope, [one, shared]: [&Item<I>; 2])
where
    I: ItemId,
    R: LibraryRepository<I> + ScriptTexts,
{
    let list = async |filter: LibraryFilter, page: PageRequest| {
        library.list(scope, &filter, &page).await.unwrap()
    };
    let thing = LibraryFilter { q: Some("THING".into()), ..LibraryFilter::default() };
    let whole = list(thing.clone(), PageRequest::default()).await;
    assert_eq!((whole.items.as_slice(), whole.total), (&[one.clone(), shared.clone()][..], 2));
    let first = list(thing.clone(), PageRequest::new(1, None)).await;
    assert_eq!((first.items.as_slice(), first.total), (std::slice::from_ref(one), 2));
    let second = list(thing.clone(), PageRequest::new(1, first.next_cursor)).await;
    assert_eq!((second.items.as_slice(), second.next_cursor), (std::slice::from_ref(shared), None));

    let about = &one.version.about;
    let all = LibraryFilter {
        customer_id: one.customer_id,
        q: Some("1".into()),
        shell_type: Some(about.shell_type),
        target_os_type: about.target_os_type,
        category: about.category.clone(),
        tag: Some("web".into()),
    };
    let total = async |filter| list(filter, PageRequest::default()).await.total;
    assert_eq!(total(all.clone()).await, 1);
    for narrower in [
        LibraryFilter { q: Some("%".into()), ..all.clone() },
        LibraryFilter { shell_type: Some(ShellType::Cmd), ..all.clone() },
        LibraryFilter { target_os_type: Some(OsType::Windows), ..all.clone() },
        LibraryFilter { category: Some("testing".into()), ..all.clone() },
        LibraryFilter { tag: Some("we".into()), ..all.clone() },
    ] {
        assert_eq!(total(narrower.clone()).await, 0, "{narrower:?}");
    }
}

async fn versions<I, R>(library: &R, scope: &TenantScope, first: &Item<I>)
where
    I: ItemId,
    R: LibraryRepository<I> + ScriptTexts,
{
    let (author, now) = (Author::system(), first.created_at);
    let second = renamed(first, "Other");
    library.append(first, second.clone(), "echo 2".into(), &author).await.unwrap();
    let late = library.append(first, renamed(first, "Late"), "x".into(), &author).await;
    assert!(matches!(late, Err(LibraryWriteError::Stale)), "{late:?}");
    let late = library.remove(first, &author, now).await;
    assert!(matches!(late, Err(LibraryWriteError::Stale)), "{late:?}");
    assert_eq!(library.find(scope, first.id).await.unwrap(), Some(second.clone()));

    let page = library.versions(first.id, &PageRequest::new(1, None)).await.unwrap();
    assert_eq!((page.items, page.total), (vec![second.version.clone()], 2));
    let page = library.versions(first.id, &PageRequest::new(1, page.next_cursor)).await.unwrap();
    assert_eq!((page.items, page.next_cursor), (vec![first.version.clone()], None));
    let version = async |number| library.version(first.id, number).await.unwrap();
    assert_eq!(version(1).await, Some(first.version.clone()));
    assert_eq!((version(0).await, version(3).await), (None, None));

    library.remove(&second, &author, now).await.unwrap();
    assert_eq!(library.find(scope, first.id).await.unwrap(), None);
    let text = async |version: &Version| library.text(version.id).await.unwrap();
    assert_eq!(text(&first.version).await.as_deref(), Some("echo 1"));
    assert_eq!(
        text(&second.version).await.as_deref(),
        Some("echo 2"),
        "commands still refer to it"
    );
    let unknown = VersionId::from_uuid(uuid::Uuid::nil());
    assert_eq!(library.text(unknown).await.unwrap(), None);
    let known = [first.version.id, unknown, second.version.id];
    assert_eq!(library.texts(&known).await.unwrap().len(), 2);
}
