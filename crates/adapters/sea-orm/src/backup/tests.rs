//! Tests of copies that are taken and put back.

use muster_kernel::testing::FakeClock;
use muster_kernel::{Clock, TenantScope};
use tempfile::TempDir;

use super::*;
use crate::testing::{CHAIN_KEY, agents, open_database};
use crate::{Database, SeaCustomers};

struct World {
    folder: TempDir,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), now: FakeClock::default().now() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn open(&self, name: &str) -> Database {
        open_database(&format!("sqlite://{}", self.path(name).display())).await
    }

    /// A database with two customers in it.
    async fn lived_in(&self, name: &str) -> Database {
        let database = self.open(name).await;
        database.migrate().await.unwrap();
        assert!(database.claim().await.unwrap());
        agents(&database).await;
        database
    }

    async fn restore(&self, copy: &str) -> Result<Option<PathBuf>, BackupError> {
        restore(&self.path(copy), &self.path("muster.db"), CHAIN_KEY, self.now).await
    }
}

async fn customers(database: &Database) -> u64 {
    use muster_customers::CustomerRepository;
    let customers = SeaCustomers::new(database.clone());
    let page = muster_kernel::PageRequest::default();
    customers.list(&TenantScope::All, None, &page).await.unwrap().total
}

async fn leave(database: Database) {
    database.reader().close_by_ref().await.unwrap();
    database.schema_connection().close_by_ref().await.unwrap();
}

#[tokio::test]
async fn a_backup_is_taken_beside_a_server_and_put_back_without_one() {
    let world = World::new();
    let database = world.lived_in("muster.db").await;
    backup(&world.path("muster.db"), &world.path("copy")).await.unwrap();
    leave(database).await;
    fs::remove_file(world.path("muster.db")).unwrap();
    assert_eq!(world.restore("copy").await.unwrap(), None);
    assert_eq!(customers(&world.open("muster.db").await).await, 2);
    let left: Vec<_> = fs::read_dir(world.folder.path()).unwrap().map(|it| it.unwrap()).collect();
    let odd = |name: &str| name.contains("unfinished") || name.contains("restoring");
    assert!(!left.iter().any(|it| odd(&it.file_name().to_string_lossy())), "{left:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_reads_a_backup_and_none_is_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let database = world.path("muster.db");
    let missing = backup(&database, &world.path("copy")).await;
    assert!(matches!(missing, Err(BackupError::NoDatabase(_))) && !database.exists());
    let _running = world.lived_in("muster.db").await;
    backup(&database, &world.path("copy")).await.unwrap();
    let copy = fs::metadata(world.path("copy")).unwrap();
    assert_eq!(copy.permissions().mode() & 0o777, 0o600);
    let again = backup(&database, &world.path("copy")).await;
    assert!(matches!(again, Err(BackupError::Exists(_))));
}

#[tokio::test]
async fn what_is_replaced_is_kept_whole_and_never_under_a_server() {
    let world = World::new();
    let other = world.lived_in("other.db").await;
    backup(&world.path("other.db"), &world.path("copy")).await.unwrap();
    leave(other).await;
    let database = world.open("muster.db").await;
    database.migrate().await.unwrap();
    assert!(matches!(world.restore("copy").await, Err(BackupError::InUse(_))));
    leave(database).await;
    let kept = world.restore("copy").await.unwrap().unwrap();
    assert_eq!(customers(&world.open("muster.db").await).await, 2);
    let kept = kept.file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(customers(&world.open(&kept).await).await, 0, "{kept}");
}

#[tokio::test]
async fn what_is_no_whole_database_of_this_key_is_refused_by_name() {
    let world = World::new();
    let database = world.lived_in("other.db").await;
    backup(&world.path("other.db"), &world.path("copy")).await.unwrap();
    leave(database).await;
    let foreign = world.open("foreign").await;
    leave(foreign).await;
    fs::write(world.path("text"), "not a database, however long it may be".repeat(100)).unwrap();
    for name in ["foreign", "text"] {
        let refused = world.restore(name).await;
        assert!(matches!(refused, Err(BackupError::Foreign(_))), "{name}: {refused:?}");
    }
    let mut damaged = fs::read(world.path("copy")).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 8192].fill(7);
    fs::write(world.path("damaged"), damaged).unwrap();
    let refused = world.restore("damaged").await;
    assert!(matches!(refused, Err(BackupError::Damaged { .. })), "{refused:?}");
    let key = ChainKey::new([9; 32]);
    let refused = restore(&world.path("copy"), &world.path("muster.db"), key, world.now).await;
    assert!(matches!(refused, Err(BackupError::OtherKey(_))), "{refused:?}");
    assert!(!world.path("muster.db").exists());
}
