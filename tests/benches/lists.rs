//! What lists of 100,000 machines cost a real server. `make bench` runs it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark ends where it fails, and prints what it found"
)]

use std::fmt::Write;
use std::time::{Duration, Instant};

use muster_tests::{Api, Server, fresh_postgres};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use serde_json::{Value, json};

const MACHINES: usize = 100_000;
/// How often each page is asked for.
const TIMES: usize = 100;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    println!("SQLite");
    lists(Server::on_sqlite().await).await;
    println!("PostgreSQL");
    lists(Server::on_database(&fresh_postgres().await, &[]).await).await;
}

async fn lists(server: Server) {
    let api = server.admin().await;
    api.put("/settings", &json!({ "rate_limits": false })).await;
    let (acme, other) = (api.customer("Acme").await, api.customer("Other").await);
    let database = server.database().await;
    let begun = Instant::now();
    fill(&database, &acme, &other).await;
    println!("{MACHINES} machines are in the database after {:.1?}", begun.elapsed());
    let group = json!({ "name": "one in five" });
    let group = api.post("/groups", &group).await["id"].as_str().unwrap().to_owned();
    join(&database, &group).await;
    let live = json!({ "name": "live", "filter": { "hostname": "web-0*", "tags": ["prod"] } });
    let live = api.post("/groups", &live).await["id"].as_str().unwrap().to_owned();
    let (key, _) = api.key(&acme, &["agents:read"]).await;

    let filters = [
        String::new(),
        "status=online".into(),
        "status=offline".into(),
        "os_type=linux".into(),
        "os_type=macos".into(),
        format!("customer_id={other}"),
        "version=1.3".into(),
        "tags=prod".into(),
        "tags=rack-77".into(),
        "tags_any=rack-77,rack-78".into(),
        "hostname=web-01*".into(),
        "q=web-04".into(),
        "q=04242".into(),
        format!("group_id={group}"),
        format!("group_id={live}"),
    ];
    println!(
        "{:<52} {:>8}   first p50 / p99    middle p50 / p99      last p50 / p99",
        "list", "total"
    );
    for (who, api) in [("all", &api), ("60,000 of a customer", &key)] {
        for sort in ["created_at", "hostname", "-last_seen", "version", "os_type", "customer_id"] {
            measure(who, api, "", sort).await;
        }
        for filter in filters.iter().skip(1) {
            for sort in ["hostname", "-last_seen"] {
                measure(who, api, filter, sort).await;
            }
        }
    }
}

/// Fills the tables as enrolment does, in few statements.
async fn fill(database: &DatabaseConnection, acme: &str, other: &str) {
    let info = "{\"hostname\":\"x\",\"os\":\"Debian GNU/Linux 12\",\"os_version\":\"12\",\
        \"kernel_version\":\"6.1\",\"architecture\":\"x86_64\",\"cpu_model\":\"AMD EPYC 7543\",\
        \"cpu_count\":8,\"memory_bytes\":34359738368,\"disk_bytes\":1099511627776,\
        \"interfaces\":[{\"name\":\"eth0\",\"mac_address\":\"02:00:00:00:00:01\",\
        \"addresses\":[\"10.0.0.7/24\"]}],\"logged_in_users\":[\"root\"],\"pending_reboot\":false,\
        \"time_zone\":\"Europe/Berlin\",\"reported_at\":\"2026-11-21T00:00:00Z\"}";
    let (numbers, id, name, now) = match database.get_database_backend() {
        DbBackend::Postgres => (
            format!("generate_series(1::bigint, {MACHINES}) AS n(i)"),
            "(lpad(to_hex(1760000000000 + i), 12, '0') || '7' || lpad(to_hex(i % 4096), 3, '0') \
                || '8' || lpad(to_hex(i), 15, '0'))::uuid",
            format!("'web-' || lpad((i * 7919 % {MACHINES})::text, 5, '0')"),
            "extract(epoch FROM now())::bigint",
        ),
        _ => (
            format!(
                "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
                    WHERE i < {MACHINES}) SELECT i FROM n) AS n"
            ),
            "unhex(printf('%012x7%03x8%015x', 1760000000000 + i, i % 4096, i))",
            format!("printf('web-%05d', i * 7919 % {MACHINES})"),
            "unixepoch()",
        ),
    };
    let (acme, other) = (uuid(database, acme), uuid(database, other));
    let agents = format!(
        "INSERT INTO agents (id, customer_id, hostname, canonical_hostname, ip_address, \
            os_type, os, version, capabilities, notes, machine_id, system_info, token_hash, \
            last_seen, created_at, updated_at, deleted_at, time_zone) \
         SELECT {id}, CASE WHEN i % 10 < 6 THEN {acme} ELSE {other} END, {name}, {name}, \
            '10.' || (i / 65536) || '.' || (i / 256 % 256) || '.' || (i % 256), \
            CASE WHEN i % 100 = 0 THEN 'macos' WHEN i % 3 = 0 THEN 'windows' ELSE 'linux' END, \
            'Debian GNU/Linux 12', '1.' || (i % 7), '[\"shell:sh\"]', NULL, 'm-' || i, \
            '{info}', NULL, CASE WHEN i % 4 = 0 THEN 0 ELSE ({now} + 86400) * 1000000 + i END, \
            1760000000000000 + i * 1000, 1760000000000000, NULL, 'Europe/Berlin' FROM {numbers}"
    );
    let tags = format!(
        "INSERT INTO agent_tags (agent_id, tag) \
         SELECT id, CASE WHEN r % 2 = 0 THEN 'prod' ELSE 'test' END FROM {NUMBERED} \
         UNION ALL SELECT id, 'rack-' || (r % 1000) FROM {NUMBERED}"
    );
    let texts = "INSERT INTO agent_texts (agent_id, text) \
        SELECT id, canonical_hostname || '\n' || ip_address || '\n' || lower(os) || '\n' FROM agents";
    for statement in [&*agents, &*tags, texts] {
        database.execute_unprepared(statement).await.unwrap();
    }
    if database.get_database_backend() == DbBackend::Postgres {
        // What the server does by itself within minutes.
        database.execute_unprepared("VACUUM ANALYZE").await.unwrap();
    }
}

/// The machines with their numbers.
const NUMBERED: &str = "(SELECT id, row_number() OVER (ORDER BY id) AS r FROM agents) AS a";

fn uuid(database: &DatabaseConnection, id: &str) -> String {
    match database.get_database_backend() {
        DbBackend::Postgres => format!("'{id}'::uuid"),
        _ => format!("X'{}'", id.replace('-', "")),
    }
}

/// Puts every fifth machine into a group.
async fn join(database: &DatabaseConnection, group: &str) {
    let group = uuid(database, group);
    let statement = format!(
        "INSERT INTO agent_group_members (group_id, agent_id) \
         SELECT {group}, id FROM {NUMBERED} WHERE r % 5 = 0"
    );
    database.execute_unprepared(&statement).await.unwrap();
}

fn path(filter: &str, sort: &str, limit: usize, cursor: Option<&str>) -> String {
    let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    format!("/agents?{filter}&sort={sort}&limit={limit}{cursor}")
}

/// Measures the first page of a list, one in the middle and the last one.
async fn measure(who: &str, api: &Api, filter: &str, sort: &str) {
    let (mut cursors, mut cursor) = (vec![None], None::<String>);
    let mut total;
    loop {
        let page: Value = api.get(&path(filter, sort, 500, cursor.as_deref())).await;
        total = page["total"].as_u64().unwrap();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
        cursors.push(cursor.clone());
    }
    let mut line = format!("{:<52} {total:>8}", format!("{who}, {filter} by {sort}"));
    for place in [0, cursors.len() / 2, cursors.len() - 1] {
        let path = path(filter, sort, 50, cursors[place].as_deref());
        let mut times: Vec<Duration> = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let begun = Instant::now();
            api.get(&path).await;
            times.push(begun.elapsed());
        }
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 100];
        let _ = write!(line, "   {:>7.1?} / {:>7.1?}", at(50), at(99));
    }
    println!("{line}");
}
