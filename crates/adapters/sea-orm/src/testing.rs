//! A database of its own for every test.

use muster_agents::Enrol;
use muster_agents::groups::{Group, GroupKind, GroupName, GroupRepository, MemberChange};
use muster_agents::testing::candidate;
use muster_audit::ChainKey;
use muster_commands::schedules::{
    Firing, FiringOutcome, Schedule, ScheduleCourses, ScheduleRepository, Settlement,
};
use muster_commands::testing::schedules::schedule;
use muster_customers::testing::{customer, token};
use muster_customers::{CustomerRepository, EnrollmentToken, EnrollmentTokenRepository};
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{AgentId, Author, Clock, CustomerId, FiringId, GroupId, TokenHash};
use tempfile::TempDir;

use crate::{
    Database, DatabaseUrl, SeaAgents, SeaCustomers, SeaEnrollmentTokens, SeaGroups, SeaSchedules,
};

/// The key of the audit log in tests.
pub(crate) const CHAIN_KEY: ChainKey = ChainKey::new([3; 32]);

/// A fresh, migrated SQLite database. Its file lives in a folder that goes away with the
/// process's temporary files: the folder is leaked on purpose, for the writer outlives the test.
pub(crate) async fn database() -> Database {
    let folder = TempDir::new().unwrap().keep();
    let url = format!("sqlite://{}", folder.join("muster.db").display());
    let database =
        Database::connect(&url.parse::<DatabaseUrl>().unwrap(), CHAIN_KEY).await.unwrap();
    database.migrate().await.unwrap();
    assert!(database.claim().await.unwrap());
    database
}

/// Two customers, each with a token that lets any number of machines in.
pub(crate) async fn customers(database: &Database) -> [(CustomerId, TokenHash); 2] {
    let customers = SeaCustomers::new(database.clone());
    let tokens = SeaEnrollmentTokens::new(database.clone());
    let create = async |seed| {
        customers.create(customer(seed), &Author::system()).await.unwrap();
        let token = EnrollmentToken { max_uses: None, ..token(seed) };
        tokens.create(token.clone(), None, &Author::system()).await.unwrap();
        (token.customer_id, token.hash)
    };
    [create(101).await, create(102).await]
}

/// An agent of each of two customers.
pub(crate) async fn agents(database: &Database) -> [(AgentId, CustomerId); 2] {
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(77));
    let registry = SeaAgents::new(database.clone());
    let enrol = async |(customer, token): (CustomerId, TokenHash)| {
        let id =
            registry.enrol(token.into(), candidate("web", None, &clock, &entropy)).await.unwrap();
        (id, customer)
    };
    let [one, other] = customers(database).await;
    [enrol(one).await, enrol(other).await]
}

/// A group of a customer, or of all, with these machines in it.
pub(crate) async fn grouped<const N: usize>(
    database: &Database,
    customer_id: Option<CustomerId>,
    members: [AgentId; N],
) -> Group {
    let (clock, groups) = (FakeClock::default(), SeaGroups::new(database.clone()));
    let group = Group {
        id: GroupId::new(&clock, &SeededEntropy::new(8)),
        customer_id,
        name: GroupName::parse("rack 7").unwrap(),
        description: None,
        kind: GroupKind::Static,
        version: 1,
        created_at: clock.now(),
        updated_at: clock.now(),
    };
    groups.create(group.clone(), &Author::system()).await.unwrap();
    let members = MemberChange::Add(members.into());
    groups.change_members(&group, members, &Author::system(), clock.now()).await.unwrap();
    group
}

/// A schedule for all customers, with a history.
pub(crate) async fn planned(database: &Database) {
    let schedules = SeaSchedules::new(database.clone());
    let schedule = Schedule { customer_id: None, ..schedule(1) };
    let (id, now) = (schedule.id, schedule.created_at);
    assert!(schedules.create(schedule, &Author::system()).await.unwrap());
    let firing = Firing {
        id: FiringId::new(&FakeClock::default(), &SeededEntropy::new(1)),
        schedule_id: id,
        due_at: now,
        fired_at: now,
        outcome: FiringOutcome::Missed,
    };
    let settlement = Settlement {
        seen: now,
        decided_until: now,
        wakes_at: None,
        asked_at: None,
        last_runs: [].into(),
        firing: Some(firing),
    };
    schedules.settle(id, settlement).await.unwrap();
}
