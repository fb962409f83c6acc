//! Tests of copies between databases of both kinds.

use muster_agents::Enrol;
use muster_agents::testing::candidate;
use muster_audit::AuditLog;
use muster_customers::testing::token;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait};

use super::*;
use crate::testing::{
    agents, deployed, fresh_file, fresh_postgresql_empty, open_database, planned,
};
use crate::{Database, SeaAgents, SeaAudit};

fn url(text: &str) -> DatabaseUrl {
    text.parse().unwrap()
}

/// A database that was worked with.
async fn lived_in(place: &str) -> Database {
    let database = open_database(place).await;
    database.migrate().await.unwrap();
    assert!(database.claim().await.unwrap());
    let [machine, _] = agents(&database).await;
    planned(&database).await;
    deployed(&database, machine).await;
    database
}

fn rows(copied: &[CopiedTable], name: &str) -> u64 {
    copied.iter().find(|table| table.name == name).unwrap().rows
}

#[tokio::test]
async fn everything_goes_from_either_kind_to_the_other_and_back() {
    let places = [fresh_file(), fresh_postgresql_empty().await, fresh_file()];
    lived_in(&places[0]).await;
    let there = copy(&url(&places[0]), &url(&places[1])).await.unwrap();
    let back = copy(&url(&places[1]), &url(&places[2])).await.unwrap();
    assert_eq!(there, back);
    assert_eq!((rows(&there, "agents"), rows(&there, "schedule_history")), (2, 1));
    for table in ["catalog_entries", "rollout_devices", "compliance_standings"] {
        assert!(rows(&there, table) > 0, "{table}");
    }
    assert!(rows(&there, "library_items") >= 30, "once, though the schema brings them along");
    // Numbers that the database gives to rows go on behind those that came along.
    let registry = SeaAgents::new(open_database(&places[1]).await);
    let later = candidate("later", None, &FakeClock::default(), &SeededEntropy::new(79));
    let known = registry.enrol(token(101).hash.into(), later).await;
    assert!(known.is_ok(), "{known:?}");
    let head = async |place| SeaAudit::new(open_database(place).await).head().await.unwrap();
    assert_eq!(head(&places[0]).await, head(&places[2]).await);
}

#[tokio::test]
async fn a_target_that_somebody_uses_is_refused_and_left_alone() {
    let (one, other) = (fresh_file(), fresh_postgresql_empty().await);
    for place in [&one, &other] {
        lived_in(place).await;
    }
    let refused = copy(&url(&one), &url(&other)).await;
    assert!(matches!(refused, Err(CopyError::NotEmpty)));
    let database = open_database(&other).await;
    let agents = crate::agents::entity::Entity::find().count(database.reader()).await.unwrap();
    assert_eq!(agents, 2);
}

#[tokio::test]
async fn a_target_that_an_attempt_left_behind_is_taken() {
    let (one, other) = (fresh_file(), fresh_postgresql_empty().await);
    lived_in(&one).await;
    open_database(&other).await.migrate().await.unwrap();
    assert_eq!(rows(&copy(&url(&one), &url(&other)).await.unwrap(), "agents"), 2);
}

#[tokio::test]
async fn a_source_of_another_version_is_refused_and_the_target_stays_empty() {
    let (one, other) = (fresh_file(), fresh_postgresql_empty().await);
    let database = lived_in(&one).await;
    database.undo_migrations(1).await.unwrap();
    assert!(matches!(copy(&url(&one), &url(&other)).await, Err(CopyError::Schema)));
    database.migrate().await.unwrap();
    let newer = "INSERT INTO seaql_migrations VALUES ('m30000101_000001_later', 1)";
    database.schema_connection().execute_unprepared(newer).await.unwrap();
    assert!(matches!(copy(&url(&one), &url(&other)).await, Err(CopyError::Schema)));
    assert!(!Database::is_there(&url(&other)).await.unwrap());
}
