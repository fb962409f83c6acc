//! Databases that move and are put back: from SQLite to PostgreSQL, into a file and back.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use muster_tests::{Agent, Api, Server, eventually, fresh_postgres, program};
use serde_json::json;
use tempfile::TempDir;

/// Runs `muster`, expects that it ends well or not, and answers with what it says.
fn said(command: &mut Command, well: bool) -> String {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert_eq!(output.status.success(), well, "{said}");
    said
}

fn copy(from: &str, to: &str) -> Command {
    let mut command = Command::new(program("muster"));
    command.args(["migrate", "copy", "--from", from, "--to", to]);
    command
}

/// What a lived-in installation has to show after it moved.
async fn is_as_before(server: &Server, agent: &str, command: &str) {
    let admin = server.admin().await;
    admin.login("ann").await;
    let before = admin.get(&format!("/commands/{command}")).await;
    assert_eq!(before["output"], "before\n", "{before}");
    assert_eq!(admin.connected("web").await, agent, "the agent is back with the token it has");
    let path = format!("/agents/{agent}/command");
    assert_eq!(admin.post(&path, &json!({ "command": "echo now" })).await["output"], "now\n");
    assert_eq!(admin.get("/audit/verify").await["intact"], true);
    assert_eq!(admin.get("/commands/saved").await["total"], 30);
}

#[tokio::test]
async fn an_installation_moves_to_postgresql_and_back_with_all_that_it_has() {
    let mut server = Server::on_sqlite().await;
    let admin = server.admin().await;
    admin.colleague("ann").await;
    let token = admin.enrollment_token("Acme").await;
    let _agent = Agent::start(&server, "web", &token);
    let agent = admin.connected("web").await;
    let command = admin.queue(&agent, &json!({ "command": "echo before" })).await;
    admin.ended(&command).await;
    let (file, folder) = (server.database_url().to_owned(), TempDir::new().unwrap());
    let back = format!("sqlite://{}", folder.path().join("back.db").display());
    let postgres = fresh_postgres().await;
    for (from, to) in [(&file, &postgres), (&postgres, &back)] {
        assert!(server.stop());
        let report = said(&mut copy(from, to), true);
        assert!(report.contains("agents") && report.contains("same secret.key"), "{report}");
        server.move_to(to);
        server.restart().await;
        is_as_before(&server, &agent, &command).await;
        let again = said(&mut copy(from, to), false);
        assert!(again.contains("not empty"), "{again}");
    }
}

/// Makes customers until told to stop; answers with how many were made.
async fn work(admin: &Api, stop: &AtomicBool) -> u64 {
    let mut made = 0;
    while !stop.load(Ordering::Relaxed) {
        admin.customer(&format!("Customer {made}")).await;
        made += 1;
    }
    made
}

#[tokio::test]
async fn a_backup_of_a_busy_server_is_whole_and_can_be_put_back() {
    let mut server = Server::on_sqlite().await;
    let admin = server.admin().await;
    admin.put("/settings", &json!({ "rate_limits": false })).await;
    let file = server.data_dir().join("backup.db");
    let name = file.to_str().unwrap();
    let stop = AtomicBool::new(false);
    let backup = async {
        let made = async || admin.get("/customers").await["total"].as_u64();
        let before = eventually("it is busy", async || made().await.filter(|n| *n > 50)).await;
        let mut command = server.command(&["backup", name]);
        let report = tokio::task::spawn_blocking(move || said(&mut command, true)).await.unwrap();
        assert!(report.contains("secret.key"), "{report}");
        stop.store(true, Ordering::Relaxed);
        before
    };
    let (before, made) = tokio::join!(backup, work(&admin, &stop));
    assert!(made > before, "it was busy meanwhile");

    let restore = ["restore", name];
    let running = said(&mut server.command(&restore), false);
    assert!(running.contains("stop the server first"), "{running}");
    assert!(server.stop());
    let report = said(&mut server.command(&restore), true);
    assert!(report.contains(".before-"), "{report}");
    server.restart().await;
    let admin = server.admin().await;
    let restored = admin.get("/customers").await["total"].as_u64().unwrap();
    assert!((before..=made).contains(&restored), "{before} <= {restored} <= {made}");
    assert_eq!(admin.get("/audit/verify").await["intact"], true);

    assert!(server.stop());
    std::fs::remove_file(server.data_dir().join("secret.key")).unwrap();
    let lost = said(&mut server.command(&restore), false);
    assert!(lost.contains("secret.key"), "{lost}");
}

#[tokio::test]
async fn on_postgresql_its_own_programs_are_named_and_no_password() {
    let folder = TempDir::new().unwrap();
    for (work, program_of_its_own) in [("backup", "pg_dump"), ("restore", "pg_restore")] {
        let mut command = Command::new(program("muster"));
        command.args([work, "copy"]).current_dir(folder.path());
        command.env("DATABASE_URL", "postgres://muster:stapled@127.0.0.1:1/muster");
        let refusal = said(&mut command, false);
        assert!(refusal.contains(program_of_its_own) && !refusal.contains("stapled"), "{refusal}");
    }
    let mut serve = Command::new(program("muster"));
    serve.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(folder.path());
    serve.env("DATABASE_URL", "postgres://muster:stapled@127.0.0.1:1/muster");
    let refusal = said(serve.env("RUST_LOG", "trace"), false);
    assert!(refusal.contains("DATABASE_URL") && !refusal.contains("stapled"), "{refusal}");
}
