//! A catalog in memory, and the contract that every catalog keeps.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_agents::OsType;
use muster_commands::testing::noon;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, Author, Clock, Cursor, CustomerId, OsImageId, Page, PageRequest, Sealed, StorageError,
    TenantScope, Timestamp,
};
use parking_lot::Mutex;
use uuid::Uuid;

use super::{page_of, task};
use crate::{
    Body, CatalogFilter, CatalogRepository, Entry, EntryId, Installer, OsImageBody, ProfileBody,
    SoftwareBody, Variant, WriteError,
};

/// The entries of one kind in memory; of OS images also which machines were made from them.
#[derive(Debug)]
pub struct FakeCatalog<B: Body> {
    customers: Vec<CustomerId>,
    entries: Mutex<BTreeMap<B::Id, Entry<B>>>,
    /// The machines that are there.
    pub(super) agents: BTreeMap<AgentId, CustomerId>,
    pub(super) imaged: Mutex<BTreeMap<AgentId, (OsImageId, Timestamp)>>,
}

impl<B: Body> FakeCatalog<B> {
    /// An empty one, for these customers.
    pub fn new(customers: &[CustomerId]) -> Self {
        Self {
            customers: customers.to_vec(),
            entries: Mutex::default(),
            agents: BTreeMap::new(),
            imaged: Mutex::default(),
        }
    }

    /// The same, with these machines.
    #[must_use]
    pub fn with_agents(mut self, agents: &[(AgentId, CustomerId)]) -> Self {
        self.agents.extend(agents.iter().copied());
        self
    }
}

fn key(name: &str) -> String {
    name.to_lowercase()
}

fn is_visible<B: Body>(scope: &TenantScope, entry: &Entry<B>) -> bool {
    entry.customer_id.is_none_or(|customer| scope.contains(customer))
}

fn is_taken<B: Body>(entries: &BTreeMap<B::Id, Entry<B>>, entry: &Entry<B>) -> bool {
    entries.values().any(|other| {
        other.id != entry.id
            && other.customer_id == entry.customer_id
            && key(&other.name) == key(&entry.name)
    })
}

fn passes<B: Body>(filter: &CatalogFilter, entry: &Entry<B>) -> bool {
    filter.customer_id.is_none_or(|customer| entry.customer_id == Some(customer))
        && filter.q.as_ref().is_none_or(|q| key(&entry.name).contains(&key(q)))
        && filter.os_type.is_none_or(|os_type| entry.body.os_type() == Some(os_type))
        && filter.is_template.is_none_or(|wanted| entry.body.is_template() == wanted)
}

#[async_trait]
impl<B: Body> CatalogRepository<B> for FakeCatalog<B> {
    async fn create(&self, entry: Entry<B>, _: &Author) -> Result<(), WriteError> {
        let mut entries = self.entries.lock();
        if entry.customer_id.is_some_and(|customer| !self.customers.contains(&customer)) {
            return Err(WriteError::NoCustomer);
        }
        if is_taken(&entries, &entry) {
            return Err(WriteError::NameTaken);
        }
        entries.insert(entry.id, entry);
        Ok(())
    }

    async fn find(&self, scope: &TenantScope, id: B::Id) -> Result<Option<Entry<B>>, StorageError> {
        Ok(self.entries.lock().get(&id).filter(|entry| is_visible(scope, entry)).cloned())
    }

    async fn named(
        &self,
        owner: Option<CustomerId>,
        name: &str,
    ) -> Result<Option<Entry<B>>, StorageError> {
        let entries = self.entries.lock();
        let is_it = |it: &&Entry<B>| it.customer_id == owner && key(&it.name) == key(name);
        Ok(entries.values().find(is_it).cloned())
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &CatalogFilter,
        page: &PageRequest,
    ) -> Result<Page<Entry<B>>, StorageError> {
        let entries = self.entries.lock();
        let passing = entries.values().filter(|it| is_visible(scope, it) && passes(filter, it));
        let passing: Vec<_> = passing.cloned().collect();
        Ok(page_of(&passing, page, |entry| Cursor::after(entry.id.uuid())))
    }

    async fn replace(&self, before: u32, after: Entry<B>, _: &Author) -> Result<(), WriteError> {
        let mut entries = self.entries.lock();
        if entries.get(&after.id).is_none_or(|entry| entry.version != before) {
            return Err(WriteError::Stale);
        }
        if is_taken(&entries, &after) {
            return Err(WriteError::NameTaken);
        }
        entries.insert(after.id, after);
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
        if entries.get(&id).is_none_or(|entry| entry.version != before) {
            return Err(WriteError::Stale);
        }
        entries.remove(&id);
        self.imaged.lock().retain(|_, (image, _)| image.uuid() != id.uuid());
        Ok(())
    }
}

/// An entry that says `body`; the same `seed` makes the same one, later seeds later ones.
pub fn entry<B: Body>(seed: u64, customer_id: Option<CustomerId>, body: B) -> Entry<B> {
    let at = noon() + TimeDelta::milliseconds(i64::try_from(seed).unwrap_or(0));
    // No two kinds have the same ids.
    let of_kind: u64 = B::KIND.as_str().bytes().map(u64::from).sum();
    let (clock, entropy) = (FakeClock::at(at), SeededEntropy::new(seed + (of_kind << 35)));
    Entry {
        id: B::Id::draw(&clock, &entropy),
        customer_id,
        name: format!("Thing {seed}"),
        description: Some("What it is good for".into()),
        body,
        secrets: Some(Sealed(vec![1, 2, 3])),
        version: 1,
        created_at: clock.now(),
        updated_at: clock.now(),
    }
}

/// What two profiles say: one for Linux, and a template for Windows.
pub fn profile_bodies() -> [ProfileBody; 2] {
    let [linux, windows] = [OsType::Linux, OsType::Windows].map(|os_type| ProfileBody {
        target_os_type: Some(os_type),
        is_template: os_type == OsType::Windows,
        tasks: vec![task(1), task(2)],
    });
    [linux, windows]
}

/// What two pieces of software say.
pub fn software_bodies() -> [SoftwareBody; 2] {
    let variant = |os_type, installer| Variant {
        os_type,
        installer,
        package: Some("git".into()),
        version: Some("2.50".into()),
        url: None,
        sha256: None,
        args: vec!["--quiet".into()],
        detect: None,
        install: None,
        uninstall: None,
        shell_type: None,
        timeout: Some(90.5),
    };
    let linux = variant(OsType::Linux, Installer::Apt);
    let both = vec![linux.clone(), variant(OsType::Windows, Installer::Winget)];
    [SoftwareBody { variants: vec![linux] }, SoftwareBody { variants: both }]
}

/// What two OS images say: one of Linux and one of Windows.
pub fn os_image_bodies() -> [OsImageBody; 2] {
    [(OsType::Linux, "Debian 13.2"), (OsType::Windows, "11 25H2")].map(|(os_type, version)| {
        OsImageBody {
            os_type,
            os_version: version.into(),
            checksum: Some("ab".repeat(32)),
            url: Some("https://example.org/kiosk.img".into()),
        }
    })
}

/// The contract of [`CatalogRepository`], on one that has nothing of this kind; both customers
/// exist. The bodies differ in what they are for, where the kind says that.
///
/// # Panics
/// When the catalog breaks it.
pub async fn catalog_contract<B: Body>(
    catalog: &dyn CatalogRepository<B>,
    [mine, theirs]: [CustomerId; 2],
    [body, other_body]: [B; 2],
) {
    let author = Author::system();
    let own = entry(1, Some(mine), body.clone());
    let other = entry(2, Some(theirs), body.clone());
    let shared = Entry { description: None, secrets: None, ..entry(3, None, other_body) };
    for entry in [&own, &other, &shared] {
        catalog.create(entry.clone(), &author).await.unwrap();
    }
    let homeless = entry(4, Some(CustomerId::from_uuid(Uuid::nil())), body);
    let refused = catalog.create(homeless.clone(), &author).await;
    assert!(matches!(refused, Err(WriteError::NoCustomer)), "{refused:?}");
    assert_eq!(catalog.find(&TenantScope::All, homeless.id).await.unwrap(), None);

    let scope = TenantScope::one(mine);
    assert_eq!(catalog.find(&scope, own.id).await.unwrap().as_ref(), Some(&own));
    assert_eq!(catalog.find(&scope, shared.id).await.unwrap().as_ref(), Some(&shared));
    assert_eq!(catalog.find(&scope, other.id).await.unwrap(), None, "it is another's");
    assert_eq!(catalog.find(&TenantScope::All, other.id).await.unwrap().as_ref(), Some(&other));
    let nobody = TenantScope::Customers([].into());
    assert_eq!(catalog.find(&nobody, own.id).await.unwrap(), None);

    lists(catalog, &scope, [&own, &other, &shared]).await;
    names_are_unique_per_owner(catalog, [&own, &other, &shared]).await;
    a_change_is_made_to_the_version_that_was_read(catalog, &own).await;
}

async fn lists<B: Body>(
    catalog: &dyn CatalogRepository<B>,
    scope: &TenantScope,
    [own, other, shared]: [&Entry<B>; 3],
) {
    let (any, whole) = (CatalogFilter::default(), PageRequest::default());
    let list = async |scope: &TenantScope, filter: &CatalogFilter, page: &PageRequest| {
        catalog.list(scope, filter, page).await.unwrap()
    };
    let all = list(&TenantScope::All, &any, &whole).await;
    assert_eq!((all.items, all.total), (vec![own.clone(), other.clone(), shared.clone()], 3));
    let first = list(scope, &any, &PageRequest::new(1, None)).await;
    assert_eq!((first.items.as_slice(), first.total), (std::slice::from_ref(own), 2));
    let second = list(scope, &any, &PageRequest::new(1, first.next_cursor)).await;
    assert_eq!((second.items.as_slice(), second.total), (std::slice::from_ref(shared), 2));
    assert_eq!(second.next_cursor, None);

    let names = async |filter: CatalogFilter| {
        let page = list(scope, &filter, &whole).await;
        assert_eq!(page.total, u64::try_from(page.items.len()).unwrap());
        page.items.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
    };
    let own_only = CatalogFilter { customer_id: own.customer_id, ..any.clone() };
    assert_eq!(names(own_only).await, [own.name.as_str()]);
    let anothers = CatalogFilter { customer_id: other.customer_id, ..any.clone() };
    assert!(names(anothers).await.is_empty(), "a filter opens nothing");
    for (q, found) in [("tHING", 2), (" 1", 1), ("%", 0), ("thing_", 0)] {
        let filter = CatalogFilter { q: Some(q.to_owned()), ..any.clone() };
        assert_eq!(names(filter).await.len(), found, "{q}");
    }
    for os_type in OsType::ALL {
        let expected = [own, shared].into_iter().filter(|it| it.body.os_type() == Some(*os_type));
        let expected: Vec<_> = expected.map(|entry| entry.name.clone()).collect();
        let filter = CatalogFilter { os_type: Some(*os_type), ..any.clone() };
        assert_eq!(names(filter).await, expected, "{os_type:?}");
    }
    for wanted in [true, false] {
        let expected = [own, shared].into_iter().filter(|it| it.body.is_template() == wanted);
        let expected: Vec<_> = expected.map(|entry| entry.name.clone()).collect();
        let filter = CatalogFilter { is_template: Some(wanted), ..any.clone() };
        assert_eq!(names(filter).await, expected, "{wanted}");
    }
}

/// An entry of an owner that has the name of `taken`, in capitals.
fn shouted<B: Body>(seed: u64, owner: Option<CustomerId>, taken: &Entry<B>) -> Entry<B> {
    let name = taken.name.to_uppercase();
    Entry { name, ..entry(seed, owner, taken.body.clone()) }
}

async fn names_are_unique_per_owner<B: Body>(
    catalog: &dyn CatalogRepository<B>,
    [own, other, shared]: [&Entry<B>; 3],
) {
    let author = Author::system();
    for (seed, taken) in [(5, own), (6, shared)] {
        let again = shouted(seed, taken.customer_id, taken);
        let refused = catalog.create(again.clone(), &author).await;
        assert!(matches!(refused, Err(WriteError::NameTaken)), "{refused:?}");
        assert_eq!(catalog.find(&TenantScope::All, again.id).await.unwrap(), None);
    }
    let named = async |owner, name: &str| catalog.named(owner, name).await.unwrap();
    assert_eq!(named(own.customer_id, "tHiNg 1").await.as_ref(), Some(own));
    assert_eq!(named(None, "THING 3").await.as_ref(), Some(shared));
    assert_eq!(named(None, "Thing 1").await, None, "another owner's is another one");
    assert_eq!(named(own.customer_id, "Thing").await, None, "the whole name counts");

    let of_another = shouted(7, other.customer_id, own);
    catalog.create(of_another.clone(), &author).await.unwrap();
    let renamed = Entry { name: "thing 2".into(), version: 2, ..of_another.clone() };
    let refused = catalog.replace(1, renamed, &author).await;
    assert!(matches!(refused, Err(WriteError::NameTaken)), "{refused:?}");
    let quiet = Entry { name: own.name.clone(), version: 2, ..of_another };
    catalog.replace(1, quiet.clone(), &author).await.unwrap();
    assert_eq!(named(other.customer_id, &own.name).await, Some(quiet.clone()));

    catalog.remove(quiet.id, 2, &author, noon()).await.unwrap();
    assert_eq!(named(other.customer_id, &own.name).await, None);
    let again = shouted(8, other.customer_id, own);
    catalog.create(again.clone(), &author).await.unwrap();
    catalog.remove(again.id, 1, &author, noon()).await.unwrap();
}

async fn a_change_is_made_to_the_version_that_was_read<B: Body>(
    catalog: &dyn CatalogRepository<B>,
    own: &Entry<B>,
) {
    let author = Author::system();
    let find = async || catalog.find(&TenantScope::All, own.id).await.unwrap();
    let later = noon() + TimeDelta::hours(1);
    let after = Entry {
        name: "Something else".into(),
        description: None,
        secrets: Some(Sealed(vec![9])),
        version: 2,
        updated_at: later,
        ..own.clone()
    };
    catalog.replace(1, after.clone(), &author).await.unwrap();
    assert_eq!(find().await, Some(after.clone()));
    let late = Entry { name: "Too late".into(), ..after.clone() };
    let refused = catalog.replace(1, late, &author).await;
    assert!(matches!(refused, Err(WriteError::Stale)), "{refused:?}");
    let refused = catalog.remove(own.id, 1, &author, later).await;
    assert!(matches!(refused, Err(WriteError::Stale)), "{refused:?}");
    assert_eq!(find().await, Some(after.clone()));

    catalog.remove(own.id, 2, &author, later).await.unwrap();
    assert_eq!(find().await, None);
    let refused = catalog.remove(own.id, 2, &author, later).await;
    assert!(matches!(refused, Err(WriteError::Stale)), "{refused:?}");
    let refused = catalog.replace(2, Entry { version: 3, ..after }, &author).await;
    assert!(matches!(refused, Err(WriteError::Stale)), "{refused:?}");
    assert_eq!(find().await, None, "what is gone stays so");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fake_keeps_the_contract_of_catalogs() {
        let customers = [1, 2].map(|number| CustomerId::from_uuid(Uuid::from_u128(number)));
        let profiles = FakeCatalog::new(&customers);
        catalog_contract(&profiles, customers, profile_bodies()).await;
        catalog_contract(&FakeCatalog::new(&customers), customers, software_bodies()).await;
        catalog_contract(&FakeCatalog::new(&customers), customers, os_image_bodies()).await;
    }
}
