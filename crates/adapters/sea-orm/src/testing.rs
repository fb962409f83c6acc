//! A database of its own, of each kind, for every test.

use muster_agents::groups::{Group, GroupKind, GroupName, GroupRepository, MemberChange};
use muster_agents::metrics::{Ageing, MetricsStore, Pack, Resolution, Rolled, Step, roll};
use muster_agents::testing::metrics::{agent, day_of_samples};
use muster_agents::testing::{candidate, connection, copy};
use muster_agents::{
    AgentProgram, AgentRepository, CopyDecision, CopyVerdict, CopyVerdicts, Enrol, OsType,
};
use muster_audit::ChainKey;
use muster_commands::Command;
use muster_commands::schedules::{
    Firing, FiringOutcome, Schedule, ScheduleCourses, ScheduleRepository, Settlement,
};
use muster_commands::testing::command_for;
use muster_commands::testing::schedules::schedule;
use muster_customers::testing::{customer, token};
use muster_customers::{CustomerRepository, EnrollmentToken, EnrollmentTokenRepository};
use muster_deployment_profiles::compliance::{
    ComplianceCheck, ComplianceRepository, Standing, StandingStatus,
};
use muster_deployment_profiles::rollouts::{
    Advance, Advanced, Device, Rollout, RolloutBegun, RolloutRepository, Stage,
};
use muster_deployment_profiles::testing::{check, entry, os_image_bodies, profile_bodies, rollout};
use muster_deployment_profiles::{CatalogRepository, ImagedAgents, OsImage, Profile};
use muster_kernel::leadership::{Leaderships, Lease};
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, Author, Clock, CustomerId, FiringId, GroupId, NodeId, TenantScope, TokenHash,
};
use muster_migrations::{Migrator, MigratorTrait};
use sea_orm::DbBackend;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use tempfile::TempDir;

use crate::{
    Database, DatabaseUrl, SeaAgents, SeaAlerts, SeaCatalog, SeaCompliance, SeaCustomers,
    SeaEnrollmentTokens, SeaGroups, SeaLeaderships, SeaMetrics, SeaRollouts, SeaSchedules,
};

/// The key of the audit log in tests.
pub(crate) const CHAIN_KEY: ChainKey = ChainKey::new([3; 32]);

/// What a template is called until all of its tables are there.
const UNFINISHED: &str = "muster_template_unfinished";

/// Runs tests, functions that take a [`Database`], on a fresh one of each kind.
macro_rules! on_each_database {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            #[tokio::test]
            async fn on_sqlite() {
                super::$test($crate::testing::on_sqlite().await).await;
            }

            #[tokio::test]
            async fn on_postgresql() {
                super::$test($crate::testing::on_postgresql().await).await;
            }
        }
    )+};
}
pub(crate) use on_each_database;

/// A fresh, migrated SQLite database. Its folder is leaked on purpose: the writer outlives the
/// test.
pub(crate) async fn on_sqlite() -> Database {
    let database = open_database(&fresh_file()).await;
    database.migrate().await.unwrap();
    assert!(database.claim().await.unwrap());
    database
}

/// A fresh, migrated PostgreSQL database.
pub(crate) async fn on_postgresql() -> Database {
    let database = open_database(&fresh_postgresql().await).await;
    assert!(database.claim().await.unwrap());
    database
}

/// A fresh database of the same kind as another.
pub(crate) async fn another(database: &Database) -> Database {
    match database.reader().get_database_backend() {
        DbBackend::Postgres => on_postgresql().await,
        _ => on_sqlite().await,
    }
}

/// The URL of a SQLite database that is not there yet, in a folder of its own.
pub(crate) fn fresh_file() -> String {
    let folder = TempDir::new().unwrap().keep();
    format!("sqlite://{}", folder.join("muster.db").display())
}

/// The database at this URL, as it is.
pub(crate) async fn open_database(url: &str) -> Database {
    Database::connect(&url.parse::<DatabaseUrl>().unwrap(), Some(2), CHAIN_KEY).await.unwrap()
}

/// A copy of a database that was migrated once; answers with its URL. It goes with the cluster.
pub(crate) async fn fresh_postgresql() -> String {
    let server = server();
    let mut admin = PgConnection::connect(&server).await.unwrap();
    let template = template(&server, &mut admin).await;
    made_from(&template, &server, &mut admin).await
}

/// The URL of a PostgreSQL database without tables.
pub(crate) async fn fresh_postgresql_empty() -> String {
    let server = server();
    let mut admin = PgConnection::connect(&server).await.unwrap();
    made_from("template1", &server, &mut admin).await
}

fn server() -> String {
    std::env::var("MUSTER_TEST_POSTGRES").expect(
        "MUSTER_TEST_POSTGRES is not set: run `make test`, or \
         `scripts/with-services cargo nextest run`",
    )
}

async fn made_from(template: &str, server: &str, admin: &mut PgConnection) -> String {
    let name = "SELECT 'test_' || gen_random_uuid()";
    let name: String = sqlx::query_scalar(name).fetch_one(&mut *admin).await.unwrap();
    run(admin, &format!("CREATE DATABASE \"{name}\" TEMPLATE {template}")).await;
    within(server, &name)
}

/// The name of the database that others are copied from. Of all tests that run at a time, one
/// makes it.
async fn template(server: &str, admin: &mut PgConnection) -> String {
    let name = format!("muster_template_{}", Migrator::migrations().len());
    run(admin, "SELECT pg_advisory_lock(1)").await;
    let known = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
    let known: bool = sqlx::query_scalar(known).bind(&name).fetch_one(&mut *admin).await.unwrap();
    if !known {
        run(admin, &format!("DROP DATABASE IF EXISTS {UNFINISHED}")).await;
        run(admin, &format!("CREATE DATABASE {UNFINISHED}")).await;
        let database = open_database(&within(server, UNFINISHED)).await;
        database.migrate().await.unwrap();
        // Nobody may be connected to what is copied.
        database.schema_connection().close_by_ref().await.unwrap();
        database.reader().close_by_ref().await.unwrap();
        run(admin, &format!("ALTER DATABASE {UNFINISHED} RENAME TO {name}")).await;
    }
    run(admin, "SELECT pg_advisory_unlock(1)").await;
    name
}

async fn run(connection: &mut PgConnection, sql: &str) {
    connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
}

/// The URL of another database on the same server.
fn within(server: &str, name: &str) -> String {
    let (place, parameters) = server.split_once('?').unwrap_or((server, ""));
    let (host, _) = place.rsplit_once('/').unwrap();
    format!("{host}/{name}?{parameters}")
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

/// A node that does what one does for all.
pub(crate) async fn led(database: &Database) {
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(39));
    let lease = Lease { node: NodeId::new(&clock, &entropy), until: clock.now() };
    let leaderships = SeaLeaderships::new(database.clone());
    assert!(leaderships.take("work", None, Some(lease)).await.unwrap());
}

/// A connection of the agent, and a copy of it that is not let in.
pub(crate) async fn connected(database: &Database, id: AgentId) {
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(78));
    let registry = SeaAgents::new(database.clone());
    let program = AgentProgram { version: "1".into(), capabilities: Vec::new() };
    registry.record_connected(program, connection(id, &clock, &entropy)).await.unwrap();
    let verdict = CopyVerdict {
        agent_id: id,
        copy: copy("boot", &clock, &entropy),
        decision: CopyDecision::Reject,
        new_id: AgentId::new(&clock, &entropy),
        original_token: None,
        author: Author::system(),
        now: clock.now(),
    };
    registry.decide(verdict).await.unwrap();
}

/// A machine's samples, and what they come to.
pub(crate) async fn measured(database: &Database) {
    let store = SeaMetrics::new(database.clone());
    let samples = day_of_samples();
    let agent_id = agent(1);
    store.append(vec![Pack { agent_id, samples: samples[..120].to_vec() }]).await.unwrap();
    let (resolution, at) = (Resolution::Hours, samples[0].at);
    let buckets = roll(Step::HOUR, None, &samples);
    let rolled = vec![Rolled { resolution, at, buckets }];
    store.age(vec![Ageing { agent_id, rolled, forget: Vec::new() }]).await.unwrap();
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

/// A profile of a customer that is on its way to a machine, a check of it and how the machine
/// stands to it, a command that it gave, and an image that the machine was made from.
pub(crate) async fn deployed(
    database: &Database,
    (agent, customer): (AgentId, CustomerId),
) -> (Profile, OsImage, Rollout, ComplianceCheck) {
    let (catalog, author) = (SeaCatalog::new(database.clone()), Author::system());
    let [body, _] = profile_bodies();
    let profile = entry(1, Some(customer), body);
    catalog.create(profile.clone(), &author).await.unwrap();
    let [body, _] = os_image_bodies();
    let image = entry(2, Some(customer), body);
    catalog.create(image.clone(), &author).await.unwrap();
    let (scope, now) = (TenantScope::one(customer), image.created_at);
    let set = catalog.set(&scope, agent, &image, now, &author, now).await.unwrap();
    assert!(set.is_some());

    let check = ComplianceCheck { profile_id: profile.id, ..check(1, Some(customer)) };
    let checks = SeaCompliance::new(database.clone());
    assert!(checks.create(check.clone(), &author).await.unwrap());

    let rollout = Rollout { profile_id: profile.id, dry_run: true, ..rollout(1, 1) };
    let rollouts = SeaRollouts::new(database.clone());
    let device = Device::queued(agent, customer, OsType::Linux);
    let (begun, devices) = (rollout.clone(), vec![device.clone()]);
    assert_eq!(rollouts.begin(begun, devices, None, &author).await.unwrap(), RolloutBegun::New);
    let rollout_id = rollout.id;
    let command = Command { rollout_id: Some(rollout_id), ..command_for(1, agent, customer) };
    let standing = Standing {
        profile_id: profile.id,
        agent_id: agent,
        customer_id: customer,
        status: StandingStatus::Drifted,
        drifted: vec!["Editor".into()],
        rollout_id,
        checked_at: now,
    };
    let advance = Advance {
        device: Device { stage: Stage::Done, revision: 1, ..device },
        before: 0,
        command: Some(command),
        standing: Some(standing),
    };
    let advanced = rollouts.advance(rollout_id, vec![advance], &author).await.unwrap();
    assert_eq!(advanced, [Advanced::Written]);
    (profile, image, rollout, check)
}
