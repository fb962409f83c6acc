//! A database of its own for every test.

use muster_agents::Enrol;
use muster_agents::testing::candidate;
use muster_audit::ChainKey;
use muster_commands::schedules::{
    Firing, FiringOutcome, Schedule, ScheduleCourses, ScheduleRepository, Settlement,
};
use muster_commands::testing::schedules::schedule;
use muster_customers::testing::{customer, token};
use muster_customers::{CustomerRepository, EnrollmentToken, EnrollmentTokenRepository};
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{AgentId, Author, CustomerId, FiringId, TokenHash};
use tempfile::TempDir;

use crate::{
    Database, DatabaseUrl, SeaAgents, SeaAlerts, SeaCustomers, SeaEnrollmentTokens, SeaSchedules,
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

/// A rule, a window and a channel for all customers, and an alert with a message about it.
pub(crate) async fn watched(database: &Database) {
    use muster_alerts::testing::{
        alert, channel, condition, delivery, machine, noon, rule, window,
    };
    use muster_alerts::{
        AlertRepository, Cause, ChannelRepository, Occurrences, RuleRepository, WindowRepository,
    };
    let alerts = SeaAlerts::new(database.clone());
    let (author, rule) = (Author::system(), rule(1, condition("offline")));
    assert!(RuleRepository::create(&alerts, rule.clone(), &author).await.unwrap());
    assert!(WindowRepository::create(&alerts, window(1), &author).await.unwrap());
    assert!(ChannelRepository::create(&alerts, channel(1), &author).await.unwrap());
    let (found, cause) = (alert(1, &rule, &machine(1, &[])), Cause(rule.id.as_uuid()));
    alerts.open(found, Some(cause), noon(), vec![delivery(1)]).await.unwrap();
    alerts.set_mark("deeds", 7).await.unwrap();
}
