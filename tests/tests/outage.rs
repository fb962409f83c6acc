//! A PostgreSQL that crashes under a server: what was answered stays, and the server goes on.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use muster_tests::{Agent, Server, eventually};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

/// A PostgreSQL that no other test uses; it ends with the test.
struct Cluster {
    folder: TempDir,
}

impl Cluster {
    fn start() -> Self {
        let cluster = Self { folder: TempDir::new().unwrap() };
        cluster.run(&["start"]);
        cluster
    }

    /// `scripts/postgres` with this order.
    fn script(&self, order: &[&str]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres");
        let mut command = Command::new(script);
        command.arg(order[0]).arg(self.folder.path()).args(&order[1..]);
        command
    }

    /// Gives this order; answers with what the script says.
    fn run(&self, order: &[&str]) -> String {
        let output = self.script(order).output().unwrap();
        assert!(output.status.success(), "{order:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.script(&["stop", "immediate"]).output();
    }
}

#[tokio::test]
async fn a_server_outlives_crashes_of_its_database_and_loses_nothing_that_it_answered() {
    let cluster = Cluster::start();
    let server = Server::on_database(&cluster.run(&["url"]), &[]).await;
    let admin = server.admin().await;
    let token = admin.enrollment_token("Acme").await;
    let agent = Agent::start(&server, "web", &token);
    let id = admin.connected("web").await;
    let database = format!("{}/api/v1/health/db", server.url());
    let status = async || reqwest::get(&database).await.unwrap().status().as_u16();
    let mut answered = Vec::new();
    for crash in 0..5 {
        assert_eq!(status().await, 200);
        answered.push(admin.queue(&id, &json!({ "command": format!("echo {crash}") })).await);
        cluster.run(&["stop", "immediate"]);
        let wish = json!({ "name": format!("Lost {crash}") });
        let refused = admin.problem(Method::POST, "/customers", &wish).await;
        assert_eq!(refused.0, 503, "{refused:?} {}", server.log());
        assert_eq!(status().await, 503);
        cluster.run(&["start"]);
        let begun = Instant::now();
        eventually("the database is reached again", async || (status().await == 200).then_some(()))
            .await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        answered.push(admin.queue(&id, &json!({ "command": format!("echo {crash}") })).await);
    }
    for command in &answered {
        assert_eq!(admin.ended(command).await["status"], "completed", "{}", server.log());
    }
    assert_eq!(admin.get("/customers").await["total"], 1);
    assert_eq!(admin.get("/audit/verify").await["intact"], true);
    assert!(!server.log().contains("panicked") && !agent.log().contains("panicked"));
}
