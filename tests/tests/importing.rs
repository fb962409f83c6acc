//! The data of an older product: what is taken over, what is not, and that twice is once.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use muster_tests::{Api, Enrolled, PASSWORD, Server, fresh_postgres};
use reqwest::Method;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// The usual password, as `DexAgents` keeps it.
const HASH: &str = "$2b$12$Zk3uRw9pQ1xT7vLm0sYbHurfaoDdcUgBMIyKq5Lqg5N5majDLOxVW";

/// What an installation of `DexAgents` has, in the words of either kind of database.
fn installation(number: &str, json: &str) -> String {
    format!(
        "CREATE TABLE agents (id TEXT PRIMARY KEY, hostname TEXT NOT NULL, ip TEXT, os TEXT, \
         version TEXT, status TEXT DEFAULT 'offline', last_seen TIMESTAMP, tags {json}, \
         system_info {json}, connection_id TEXT, is_connected BOOLEAN DEFAULT FALSE, \
         created_at TIMESTAMP, updated_at TIMESTAMP); \
         CREATE TABLE users (id {number} PRIMARY KEY, username TEXT UNIQUE NOT NULL, \
         email TEXT UNIQUE NOT NULL, password_hash TEXT NOT NULL, \
         is_active BOOLEAN DEFAULT TRUE, created_at TIMESTAMP); \
         INSERT INTO agents (id, hostname, ip, os, version, last_seen, tags) VALUES \
         ('agent-1', 'DESKTOP-1', '192.168.1.100', 'Windows 11', '1.0.0', \
         '2025-08-02 10:30:00', '[\"test\", \"office\"]'), \
         ('6f1c7a52-90d4-4f0e-8d8e-000000000002', 'DESKTOP-2', NULL, NULL, NULL, NULL, NULL), \
         ('agent-3', '', NULL, NULL, NULL, NULL, NULL), \
         ('agent-4', 'DESKTOP-4', NULL, NULL, NULL, NULL, '{{\"a\": 1}}'); \
         INSERT INTO users (username, email, password_hash, is_active) VALUES \
         ('admin', 'admin@dexagents.local', '{HASH}', TRUE), \
         ('Ann', 'ann@example.org', '{HASH}', TRUE), \
         ('bob smith', 'bob@example.org', '{HASH}', TRUE), \
         ('carl', 'carl@example.org', 'secret', TRUE), \
         ('dora', 'dora@example.org', '{HASH}', FALSE)"
    )
}

/// Runs statements on a database, which is made if it is a file.
async fn run(address: &str, statements: &str) {
    let database = Database::connect(address).await.unwrap();
    database.execute_unprepared(statements).await.unwrap();
    database.close().await.unwrap();
}

/// A file that these statements made; answers with its address as the older products write it.
async fn file(path: &Path, statements: &str) -> String {
    run(&format!("sqlite://{}?mode=rwc", path.display()), statements).await;
    format!("sqlite:///{}", path.display())
}

/// Runs an import, expects that it ends well or not, and answers with what it says.
fn import(server: &Server, arguments: &[&str], well: bool) -> String {
    let arguments = [&["import", "dexagents"][..], arguments].concat();
    let output = server.command(&arguments).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert_eq!(output.status.success(), well, "{said}");
    said
}

async fn agent(admin: &Api, hostname: &str) -> Value {
    let page = admin.get(&format!("/agents?hostname={hostname}")).await;
    assert_eq!(page["total"], 1, "{page}");
    page["items"][0].clone()
}

async fn total(admin: &Api, list: &str) -> u64 {
    admin.get(list).await["total"].as_u64().unwrap()
}

/// The only customer's id.
async fn customer(admin: &Api) -> String {
    let page = admin.get("/customers").await;
    assert_eq!(page["total"], 1, "{page}");
    page["items"][0]["id"].as_str().unwrap().to_owned()
}

async fn is_taken_over_once(source: &str) {
    let server = Server::start().await;
    let admin = server.admin().await;
    let deeds = total(&admin, "/audit").await;
    let dry = import(&server, &[source, "--dry-run"], true);
    assert!(dry.contains("agent agent-1 on DESKTOP-1") && dry.contains("dry run"), "{dry}");
    assert_eq!(total(&admin, "/audit").await, deeds, "nothing is written");
    assert_eq!(total(&admin, "/customers").await, 0);

    let said = import(&server, &[source], true);
    for (name, why) in [
        ("agent agent-3", "hostname"),
        ("agent agent-4", "tags"),
        ("user admin", "somebody has that user name already"),
        ("user bob smith", "username"),
        ("user carl", "password_hash"),
        ("user dora", "is_active"),
    ] {
        assert!(said.contains(&format!("{name}: {why}")), "{name}: {said}");
    }
    assert!(!said.contains("$2b$"), "{said}");
    let customer = customer(&admin).await;
    let whose = admin.get(&format!("/customers/{customer}")).await;
    assert_eq!(whose["allowed_dialects"], json!([]), "importing lets nobody in: {whose}");
    assert!(said.contains(&format!("/api/v1/customers/{customer}")), "{said}");
    assert_eq!(total(&admin, "/agents").await, 2);
    let found = agent(&admin, "DESKTOP-1").await;
    assert_eq!((&found["dialect"], &found["os_type"]), (&json!("dexagents"), &json!("windows")));
    assert_eq!((&found["tags"], &found["version"]), (&json!(["office", "test"]), &json!("1.0.0")));
    assert_eq!((&found["customer_id"], &found["status"]), (&json!(customer), &json!("offline")));

    changed_by_people_it_stays(&server, &admin, source, found["id"].as_str().unwrap()).await;
    assert_eq!(admin.get("/audit/verify").await["intact"], true);
}

/// What people do with what was taken over, and the same import again.
async fn changed_by_people_it_stays(server: &Server, admin: &Api, source: &str, id: &str) {
    let change = json!({ "hostname": "reception", "tags": ["office"], "notes": "at the door" });
    admin.put(&format!("/agents/{id}"), &change).await;
    let pending = admin.get("/admin/pending-users").await;
    let ann = &pending["items"][0];
    assert_eq!((&pending["total"], &ann["username"]), (&json!(1), &json!("ann")), "{pending}");
    assert_eq!(ann["role"], "viewer");
    let login = json!({ "username": "ann", "password": PASSWORD });
    let refused = admin.problem(Method::POST, "/auth/login", &login).await;
    assert_eq!(refused, (403, "ACCOUNT_PENDING".into()));
    let user = ann["id"].as_str().unwrap();
    admin.post(&format!("/admin/users/{user}/approve"), &json!({})).await;
    let ann = admin.login("ann").await;
    assert_eq!(total(&ann, "/agents").await, 2, "the password is the one that it was");

    let (agents, deeds) = (admin.get("/agents").await, total(admin, "/audit").await);
    let again = import(server, &[source], true);
    assert!(again.contains("Agents written: 0; users written: 0"), "{again}");
    assert!(again.contains("user Ann: somebody has that user name already"), "{again}");
    assert_eq!(admin.get("/agents").await, agents);
    assert_eq!(total(admin, "/audit").await, deeds);
}

#[tokio::test]
async fn agents_and_users_of_a_file_are_taken_over_once() {
    let folder = TempDir::new().unwrap();
    let source = file(&folder.path().join("d.db"), &installation("INTEGER", "TEXT")).await;
    is_taken_over_once(&source).await;
}

#[tokio::test]
async fn agents_and_users_of_postgresql_are_taken_over_once() {
    let source = fresh_postgres().await;
    run(&source, &installation("SERIAL", "JSONB")).await;
    is_taken_over_once(&source).await;
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects as an agent of `DexAgents` that shows this key.
async fn connect(server: &Server, key: &str) -> Socket {
    let url = format!("{}/api/v1/ws/agent", server.url().replacen("http", "ws", 1));
    let mut request = url.into_client_request().unwrap();
    let bearer = HeaderValue::from_str(&format!("Bearer {key}")).unwrap();
    request.headers_mut().insert("Authorization", bearer);
    connect_async(request).await.unwrap().0
}

async fn hear(socket: &mut Socket) -> Value {
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message.unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
    Value::Null
}

#[tokio::test]
async fn an_agent_that_connects_under_its_old_id_is_the_one_that_was_taken_over() {
    let (server, folder) = (Server::start().await, TempDir::new().unwrap());
    let admin = server.admin().await;
    let source = file(&folder.path().join("d.db"), &installation("INTEGER", "TEXT")).await;
    import(&server, &[&source], true);
    let (customer, known) = (customer(&admin).await, agent(&admin, "DESKTOP-1").await);
    let allow = json!({ "allowed_dialects": ["dexagents"] });
    admin.put(&format!("/customers/{customer}"), &allow).await;
    let (key, _) = admin.key(&customer, &["agents:write"]).await;
    let mut socket = connect(&server, key.token()).await;
    let register = json!({ "type": "register", "data": {
        "id": "agent-1", "hostname": "DESKTOP-1", "ip": "192.168.1.100", "os": "Windows 11",
        "version": "10.0.22000",
    }});
    socket.send(Message::text(register.to_string())).await.unwrap();
    let welcome = hear(&mut socket).await;
    assert_eq!(
        (&welcome["type"], &welcome["data"]["agent_id"]),
        (&json!("welcome"), &json!("agent-1"))
    );
    assert_eq!(json!(admin.connected("DESKTOP-1").await), known["id"]);
    assert_eq!(agent(&admin, "DESKTOP-1").await["tags"], known["tags"]);
    assert_eq!(total(&admin, "/agents").await, 2, "nobody new");
}

#[tokio::test]
async fn a_host_that_has_musters_own_agent_is_not_taken_over_again() {
    let (server, folder) = (Server::start().await, TempDir::new().unwrap());
    let admin = server.admin().await;
    let source = file(&folder.path().join("d.db"), &installation("INTEGER", "TEXT")).await;
    let token = admin.enrollment_token("Acme").await;
    // A customer that is there is found by its name, upper and lower case alike.
    import(&server, &[&source, "--customer", "acme"], true);
    let (customer, known) = (customer(&admin).await, agent(&admin, "DESKTOP-2").await);
    assert_eq!(known["customer_id"], json!(customer));
    let own = Enrolled::register(&server.url(), &token, "DESKTOP-2").await;
    assert_eq!(known["id"], json!(own.agent_id.to_string()));
    let again = import(&server, &[&source, "--customer", "Acme"], true);
    assert!(again.contains("own agent is on DESKTOP-2 already"), "{again}");
    assert_eq!(total(&admin, "/agents").await, 2);
    assert_eq!(agent(&admin, "DESKTOP-2").await["dialect"], Value::Null);
}

#[tokio::test]
async fn a_file_is_found_however_its_address_is_written_and_whatever_columns_it_lacks() {
    let server = Server::start().await;
    let here = server.data_dir().parent().unwrap().to_owned();
    let old = "CREATE TABLE agents (id INTEGER, hostname TEXT); \
               INSERT INTO agents VALUES (1, 'DESKTOP-1'), (2, NULL)";
    let absolute = file(&here.join("old.db"), old).await;
    let of_muster = format!("sqlite://{}", here.join("old.db").display());
    for source in ["sqlite:///./old.db", "sqlite:///old.db", &absolute, &of_muster] {
        let said = import(&server, &[source, "--dry-run"], true);
        assert!(said.contains("agent 1 on DESKTOP-1"), "{source}: {said}");
        assert!(said.contains("agent 2: hostname"), "{source}: {said}");
    }
    // Where nobody sees the command line.
    let mut command = server.command(&["import", "dexagents"]);
    let output = command.env("MUSTER_IMPORT_FROM", absolute).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(total(&server.admin().await, "/agents").await, 1);
}

#[tokio::test]
async fn what_is_no_database_of_dexagents_is_refused_and_nothing_written() {
    let (server, folder) = (Server::start().await, TempDir::new().unwrap());
    let admin = server.admin().await;
    let other = file(&folder.path().join("o.db"), "CREATE TABLE devices (id INTEGER)").await;
    let text = folder.path().join("text");
    std::fs::write(&text, "hardly a database of anybody's, and long enough to look at").unwrap();
    let text = format!("sqlite:///{}", text.display());
    for (source, why) in [
        (&*other, "no table agents"),
        (&*text, "not a database"),
        ("sqlite:////nowhere/d.db", "there is no file /nowhere/d.db"),
        (server.database_url(), "muster migrate copy"),
        ("mysql://root:stapled@127.0.0.1/d", "sqlite://PATH"),
        ("postgres://root:stapled@127.0.0.1:1/d", "opening the PostgreSQL database failed"),
    ] {
        let said = import(&server, &[source], false);
        assert!(said.contains(why) && !said.contains("stapled"), "{source}: {said}");
    }
    assert_eq!(total(&admin, "/customers").await, 0);
}

#[tokio::test]
async fn there_has_to_be_an_installation_of_musters_to_import_into() {
    let folder = TempDir::new().unwrap();
    let source = file(&folder.path().join("d.db"), &installation("INTEGER", "TEXT")).await;
    let data = folder.path().join("data");
    let mut command = std::process::Command::new(muster_tests::program("muster"));
    command.args(["import", "dexagents", &source]).current_dir(folder.path());
    let output = command.env("MUSTER_DATA_DIR", &data).env_remove("DATABASE_URL").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("start the server once"), "{said}");
    assert!(!data.exists(), "nothing is made");
}
