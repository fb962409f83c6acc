//! What people do with the library, on one in memory.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::sync::Arc;

use muster_commands::ShellType;
use muster_commands::library::{
    About, Change, Draft, Field, Kind, LibraryError, LibraryPorts, LibraryWriteError, Opened,
    Scripts,
};
use muster_commands::testing::library::{FakeLibrary, library_contract};
use muster_kernel::testing::{FakeClock, SeededEntropy, permit, permit_in};
use muster_kernel::{
    CustomerId, Denied, PageRequest, Permit, SavedCommandId, ScriptId, Tags, TenantScope, act,
};

fn customers() -> [CustomerId; 2] {
    [1, 2].map(|n| CustomerId::from_uuid(uuid::Uuid::from_u128(n)))
}

fn scripts() -> Scripts {
    let library = Arc::new(FakeLibrary::<ScriptId>::new(&customers()));
    Scripts::new(LibraryPorts {
        items: library.clone(),
        texts: library,
        clock: Arc::new(FakeClock::default()),
        entropy: Arc::new(SeededEntropy::new(5)),
    })
}

fn draft(name: &str, text: &str) -> Draft {
    let about = About {
        name: name.into(),
        description: None,
        category: None,
        tags: Tags::default(),
        target_os_type: None,
        shell_type: ShellType::Sh,
        parameters: Vec::new(),
    };
    Draft::parse(Kind::Script, about, text.into()).unwrap()
}

fn manage(tenants: TenantScope) -> Permit<act::ManageScripts> {
    permit_in(1, tenants)
}

async fn create(scripts: &Scripts, permit: &Permit<act::ManageScripts>) -> Opened<ScriptId> {
    scripts.create(permit, None, draft("Disks", "df -h\n"), None).await.unwrap()
}

fn text(text: &str) -> Change {
    Change { text: Some(text.into()), ..Change::default() }
}

#[tokio::test]
async fn both_libraries_in_memory_keep_the_contract() {
    library_contract(&FakeLibrary::<ScriptId>::new(&customers()), customers()).await;
    library_contract(&FakeLibrary::<SavedCommandId>::new(&customers()), customers()).await;
}

#[tokio::test]
async fn whose_a_script_is_follows_from_who_creates_it() {
    let (scripts, [mine, theirs]) = (scripts(), customers());
    let admin = manage(TenantScope::All);
    assert_eq!(create(&scripts, &admin).await.item.customer_id, None);
    let one = manage(TenantScope::one(mine));
    assert_eq!(create(&scripts, &one).await.item.customer_id, Some(mine));
    let both = manage(TenantScope::Customers([mine, theirs].into()));
    let unsaid = scripts.create(&both, None, draft("x", "x"), None).await;
    assert!(
        matches!(unsaid, Err(LibraryError::Invalid(error)) if error.field == Field::CustomerId)
    );
    let strange = scripts.create(&one, Some(theirs), draft("x", "x"), None).await;
    assert!(matches!(strange, Err(LibraryError::Denied(Denied::NotFound))));
}

#[tokio::test]
async fn what_is_shared_is_seen_by_all_and_changed_only_by_who_works_for_all() {
    let (scripts, [mine, _]) = (scripts(), customers());
    let shared = create(&scripts, &manage(TenantScope::All)).await;
    let one = manage(TenantScope::one(mine));
    let reading = permit_in::<act::ReadScripts>(1, TenantScope::one(mine));
    assert_eq!(scripts.get(&reading, shared.item.id).await.unwrap(), shared);
    let change = scripts.change(&one, shared.item.id, None, text("id"), None).await;
    assert!(matches!(change, Err(LibraryError::Shared)));
    let delete = scripts.delete(&one, shared.item.id, None).await;
    assert!(matches!(delete, Err(LibraryError::Shared)));
}

#[tokio::test]
async fn a_change_is_a_version_and_an_older_one_can_be_restored() {
    let scripts = scripts();
    let (manage, read) = (manage(TenantScope::All), permit::<act::ReadScripts>(1));
    let id = create(&scripts, &manage).await.item.id;
    let second = Change { name: Some("Space".into()), ..text("df -i\n") };
    let note = Some("inodes".to_owned());
    let second = scripts.change(&manage, id, Some(1), second, note).await.unwrap();
    let version = &second.item.version;
    assert_eq!((version.number, version.note.as_deref()), (2, Some("inodes")));
    assert_eq!(version.changes, [Field::Name, Field::Text]);
    let same = scripts.change(&manage, id, None, text("df -i\n"), None).await.unwrap();
    assert_eq!(same, second, "nothing changed");
    let (_, _, diff) = scripts.version(&read, id, 2).await.unwrap();
    assert_eq!(diff, "--- version 1\n+++ version 2\n@@ -1 +1 @@\n-df -h\n+df -i\n");
    let restored = scripts.restore(&manage, id, 1, Some(2)).await.unwrap();
    assert_eq!((restored.item.version.number, &*restored.text), (3, "df -h\n"));
    assert_eq!(restored.item.version.about.name, "Disks");
    assert_eq!(scripts.versions(&read, id, &PageRequest::default()).await.unwrap().total, 3);
    let unknown = scripts.restore(&manage, id, 9, None).await;
    assert!(matches!(unknown, Err(LibraryError::NoVersion)));
}

#[tokio::test]
async fn a_change_to_what_is_no_longer_so_is_refused() {
    let (scripts, manage) = (scripts(), manage(TenantScope::All));
    let id = create(&scripts, &manage).await.item.id;
    scripts.change(&manage, id, Some(1), text("a"), None).await.unwrap();
    let late = scripts.change(&manage, id, Some(1), text("b"), None).await;
    assert!(matches!(late, Err(LibraryError::Stale)));
    assert!(matches!(scripts.delete(&manage, id, Some(1)).await, Err(LibraryError::Stale)));
    assert!(matches!(scripts.restore(&manage, id, 1, Some(1)).await, Err(LibraryError::Stale)));
    scripts.delete(&manage, id, Some(2)).await.unwrap();
    assert!(matches!(scripts.delete(&manage, id, None).await, Err(LibraryError::NotFound)));
}

#[tokio::test]
async fn two_of_one_owner_are_not_called_the_same() {
    let (scripts, manage) = (scripts(), manage(TenantScope::All));
    create(&scripts, &manage).await;
    let taken = scripts.create(&manage, None, draft("DISKS", "x"), None).await;
    assert!(matches!(taken, Err(LibraryError::Write(LibraryWriteError::NameTaken))));
}

#[tokio::test]
async fn values_leave_room_for_a_saved_command_in_its_order() {
    use muster_commands::library::{Parameter, ParameterKind, SavedCommands};
    use muster_commands::runs::ParameterValue;
    let library = Arc::new(FakeLibrary::<SavedCommandId>::new(&[]));
    let commands = SavedCommands::new(LibraryPorts {
        items: library.clone(),
        texts: library,
        clock: Arc::new(FakeClock::default()),
        entropy: Arc::new(SeededEntropy::new(5)),
    });
    let text = ParameterKind::String { max_length: None, default: None };
    let about = About {
        parameters: vec![Parameter::new("value", text), Parameter::secret("key")],
        ..draft("x", "x").about().clone()
    };
    let draft = Draft::parse(Kind::SavedCommand, about, "#".repeat(60_000).into()).unwrap();
    let opened = commands.create(&manage(TenantScope::All), None, draft, None).await.unwrap();
    let values = |bytes| {
        let value = ParameterValue::Text("x".repeat(bytes));
        let key = ParameterValue::Text("secret".into());
        [("value".to_owned(), value), ("key".to_owned(), key)].into()
    };
    assert!(opened.bind(&values(30_000)).is_ok());
    assert!(opened.bind(&values(40_000)).is_err());
    let (shown, secret) = opened.split_secrets(values(1));
    assert_eq!((shown.len(), secret.contains_key("key")), (1, true));
}
