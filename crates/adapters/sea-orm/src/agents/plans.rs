//! That every order and every filter that lists offer has an index, for one customer and for all.

use muster_agents::groups::Membership;
use muster_agents::{AgentFilter, AgentOrder, AgentSort, AgentStatus, Criteria, HostnamePattern};
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{AgentId, Clock, CustomerId, GroupId, PageRequest, TenantScope};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseBackend, EntityTrait, QueryFilter, QuerySelect,
    QueryTrait, Select, Statement, TransactionTrait,
};

use super::entity::Entity;
use super::filter::{Conditions, Lead};
use super::lists::{along, counting, finding};
use crate::Database;
use crate::testing::{agents, customers, on_postgresql, on_sqlite};

/// How the database would do it, a step a line.
pub(crate) async fn plan<E: EntityTrait>(database: &Database, query: Select<E>) -> Vec<String> {
    let backend = DatabaseBackend::Sqlite;
    let statement = query.build(backend);
    let explain = format!("EXPLAIN QUERY PLAN {}", statement.sql);
    let explain = Statement { sql: explain, ..statement };
    let rows = database.reader().query_all_raw(explain).await.unwrap();
    rows.iter().map(|row| row.try_get::<String>("", "detail").unwrap()).collect()
}

/// Checks that each step goes by an index; answers with the plan as one text.
fn indexed(what: &str, plan: &[String]) -> String {
    for step in plan {
        let goes = step.contains("INDEX")
            || step.contains("VIRTUAL TABLE INDEX")
            || step.contains("INTEGER PRIMARY KEY")
            || !(step.starts_with("SCAN") || step.starts_with("SEARCH"));
        assert!(goes, "{what}: {plan:#?}");
    }
    plan.join("; ")
}

fn criteria() -> Vec<(&'static str, Criteria)> {
    let all = Criteria::default;
    let tags = || ["web".to_owned(), "db".to_owned()].into();
    let named = |text| Some(HostnamePattern::parse(text).unwrap());
    vec![
        ("agents_by_last_seen", Criteria { status: Some(AgentStatus::Online), ..all() }),
        ("agents_by_last_seen", Criteria { status: Some(AgentStatus::Offline), ..all() }),
        ("agents_by_os_type", Criteria { os_type: Some(muster_agents::OsType::Linux), ..all() }),
        ("agents_by_version", Criteria { version: Some("1.0".into()), ..all() }),
        ("agents_by_name", Criteria { hostname: named("web-*7"), ..all() }),
        ("agents_by_name", Criteria { q: Some("we".into()), ..all() }),
        ("agent_texts", Criteria { q: Some("web".into()), ..all() }),
        ("agent_tags_by_tag", Criteria { tags: tags(), ..all() }),
        ("agent_tags_by_tag", Criteria { tags_any: tags(), ..all() }),
    ]
}

fn filters() -> Vec<(&'static str, AgentFilter)> {
    let group = GroupId::new(&FakeClock::default(), &SeededEntropy::new(1));
    let of_group = AgentFilter { group: Some(Membership::Static(group)), ..AgentFilter::default() };
    let by = |(index, criteria)| (index, AgentFilter { criteria, ..AgentFilter::default() });
    let by = criteria().into_iter().map(by);
    by.chain([("agent_group_members", of_group)]).collect()
}

fn scopes() -> [TenantScope; 2] {
    let customer = CustomerId::new(&FakeClock::default(), &SeededEntropy::new(2));
    [TenantScope::All, TenantScope::one(customer)]
}

/// Two customers: somebody who works for both.
fn several() -> TenantScope {
    let customer = |seed| CustomerId::new(&FakeClock::default(), &SeededEntropy::new(seed));
    TenantScope::Customers([customer(2), customer(3)].into())
}

/// The name of an index for all, as it is called for one customer.
fn index_of(name: &str, scope: &TenantScope) -> String {
    match scope {
        TenantScope::All => name.to_owned(),
        TenantScope::Customers(_) => name.replace("agents_by", "agents_of_customer_by"),
    }
}

#[tokio::test]
async fn pages_in_every_order_are_read_along_an_index_whatever_the_filter_is() {
    let database = on_sqlite().await;
    agents(&database).await;
    let conditions =
        Conditions { backend: DatabaseBackend::Sqlite, now: FakeClock::default().now() };
    let id = AgentId::new(&FakeClock::default(), &SeededEntropy::new(3)).as_uuid();
    for sort in AgentSort::ALL.iter().copied() {
        for descending in [false, true] {
            let order = AgentOrder { sort, descending };
            let cursor = muster_kernel::Cursor::in_order(order.name(), id, id.to_string());
            for scope in scopes().into_iter().chain([several()]) {
                for (_, filter) in filters().into_iter().chain([("", AgentFilter::default())]) {
                    for cursor in [None, Some(cursor.clone())] {
                        let seeks = cursor.is_some();
                        let page = PageRequest::new(50, cursor);
                        let query = along(conditions, &scope, &filter, order, &page);
                        let steps = plan(&database, query).await;
                        let what = format!("{} of {filter:?}", order.name());
                        let text = indexed(&what, &steps);
                        assert!(!text.contains("TEMP B-TREE"), "{what}: {steps:#?}");
                        assert!(text.contains("agents_"), "{what}: {steps:#?}");
                        let seeking = text.contains("SEARCH agents USING");
                        assert!(seeking || !seeks, "the cursor is sought: {steps:#?}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn what_few_pass_is_found_by_the_index_of_the_filter() {
    let database = on_sqlite().await;
    agents(&database).await;
    let conditions =
        Conditions { backend: DatabaseBackend::Sqlite, now: FakeClock::default().now() };
    for (index, filter) in filters() {
        for scope in scopes() {
            let query = finding(conditions, &scope, &filter, AgentOrder::default());
            let steps = plan(&database, query).await;
            let text = indexed(index, &steps);
            let wanted = index_of(index, &scope);
            assert!(text.contains(&wanted), "{wanted}: {steps:#?}");
            // Whose they are may not lead away from it.
            let by_id = index.starts_with("agent_");
            assert!(!by_id || !text.contains("agents_of_customer"), "{index}: {steps:#?}");
        }
    }
}

#[tokio::test]
async fn counting_reads_no_row_of_the_table() {
    let database = on_sqlite().await;
    agents(&database).await;
    let conditions =
        Conditions { backend: DatabaseBackend::Sqlite, now: FakeClock::default().now() };
    for (_, filter) in filters().into_iter().chain([("", AgentFilter::default())]) {
        for scope in scopes() {
            let steps = plan(&database, counting(conditions, &scope, &filter)).await;
            let text = indexed("count", &steps);
            let whole = "COVERING INDEX agents_of_customer_by_last_seen";
            assert!(text.contains(whole), "{filter:?}: {steps:#?}");
        }
    }
}

#[tokio::test]
async fn agents_of_many_ids_are_picked_by_them() {
    let database = on_sqlite().await;
    let [(id, _), _] = agents(&database).await;
    let conditions =
        Conditions { backend: DatabaseBackend::Sqlite, now: FakeClock::default().now() };
    let all = conditions.list(&TenantScope::All, &AgentFilter::default(), Lead::Filter);
    let query = Entity::find().filter(all).filter(super::Column::Id.eq(id.as_uuid())).limit(1);
    indexed("by id", &plan(&database, query).await);
}

/// 20,000 machines on PostgreSQL, most of the customer that [`scopes`] has.
async fn peopled() -> Database {
    let database = on_postgresql().await;
    let [(one, _), (other, _)] = customers(&database).await;
    let fill = format!(
        "INSERT INTO agents (id, customer_id, hostname, canonical_hostname, os_type, version, \
            capabilities, last_seen, created_at, updated_at) \
         SELECT gen_random_uuid(), CASE WHEN i % 10 < 6 THEN '{one}'::uuid ELSE '{other}'::uuid END, \
            CASE WHEN i % 50 = 0 THEN 'web-' ELSE 'db-' END || i, \
            CASE WHEN i % 50 = 0 THEN 'web-' ELSE 'db-' END || i, \
            CASE WHEN i % 50 = 0 THEN 'linux' ELSE 'windows' END, \
            CASE WHEN i % 50 = 0 THEN '1.0' ELSE '2.0' END, '[]', i, i, i \
            FROM generate_series(1, 20000) AS n(i); \
         INSERT INTO agent_tags (agent_id, tag) SELECT id, 'rack-' || last_seen % 1000 FROM agents; \
         INSERT INTO agent_texts (agent_id, text) SELECT id, canonical_hostname FROM agents; \
         ANALYZE"
    );
    database.schema_connection().execute_unprepared(&fill).await.unwrap();
    database
}

/// How PostgreSQL would do it where it may neither read all nor sort, a step a line.
async fn without_scans(database: &Database, query: Select<Entity>) -> Vec<String> {
    let transaction = database.schema_connection().begin().await.unwrap();
    let forbidden = "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; \
        SET LOCAL enable_incremental_sort = off";
    transaction.execute_unprepared(forbidden).await.unwrap();
    let statement = query.build(DatabaseBackend::Postgres);
    let explain = Statement { sql: format!("EXPLAIN {}", statement.sql), ..statement };
    let rows = transaction.query_all_raw(explain).await.unwrap();
    rows.iter().map(|row| row.try_get::<String>("", "QUERY PLAN").unwrap()).collect()
}

#[tokio::test]
async fn on_postgresql_every_order_has_an_index() {
    let database = peopled().await;
    let conditions =
        Conditions { backend: DatabaseBackend::Postgres, now: FakeClock::default().now() };
    let row = Entity::find().one(database.reader()).await.unwrap().unwrap();
    let customer = CustomerId::from_uuid(row.customer_id);
    for sort in AgentSort::ALL.iter().copied() {
        for descending in [false, true] {
            for scope in [TenantScope::All, TenantScope::one(customer)] {
                let (order, page) = (AgentOrder { sort, descending }, PageRequest::new(50, None));
                let query = along(conditions, &scope, &AgentFilter::default(), order, &page);
                let steps = without_scans(&database, query).await;
                let scans = steps.iter().any(|it| it.contains("Seq Scan") || it.contains("Sort"));
                assert!(!scans, "{}: {steps:#?}", order.name());
            }
        }
    }
}

#[tokio::test]
async fn on_postgresql_every_filter_has_an_index() {
    let database = peopled().await;
    let conditions =
        Conditions { backend: DatabaseBackend::Postgres, now: FakeClock::default().now() };
    for (index, filter) in filters() {
        let query = finding(conditions, &TenantScope::All, &filter, AgentOrder::default());
        let steps = without_scans(&database, query).await;
        let scans = steps.iter().any(|it| it.contains("Seq Scan"));
        assert!(!scans && steps.iter().any(|it| it.contains(index)), "{index}: {steps:#?}");
    }
}
