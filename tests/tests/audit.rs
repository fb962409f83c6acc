//! The audit log: what is in it, and that nobody changes it unseen.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use muster_tests::{Api, Enrolled, Server};
use reqwest::Method;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};

/// Does something of every kind.
async fn work(server: &Server) -> Api {
    let admin = server.admin().await;
    let customer = admin.customer("Acme").await;
    admin.put(&format!("/customers/{customer}"), &json!({ "name": "Acme Ltd" })).await;
    let wish = json!({ "customer_id": customer, "name": "t" });
    let token = admin.post("/enrollment-tokens", &wish).await["token"].clone();
    let enrolled = Enrolled::register(&server.url(), token.as_str().unwrap(), "web").await;
    let (key, _) = admin.key(&customer, &["commands:run"]).await;
    let command = key.queue(&enrolled.agent_id.to_string(), &json!({ "command": "echo" })).await;
    key.post(&format!("/commands/{command}/cancel"), &json!({})).await;
    admin.colleague("ann").await;
    admin.put("/settings", &json!({ "default_plan": "pro" })).await;
    admin
}

async fn one(admin: &Api, action: &str) -> Value {
    let page = admin.get(&format!("/audit?action={action}")).await;
    page["items"][0].clone()
}

#[tokio::test]
async fn every_change_and_every_command_is_entered_by_whom_on_what_from_where() {
    let server = Server::start().await;
    let admin = work(&server).await;
    let changed = one(&admin, "customer.update").await;
    assert_eq!(changed["actor"]["name"], "admin");
    assert_eq!(changed["address"], "127.0.0.1");
    assert_eq!(changed["before"], json!({ "name": "Acme" }));
    assert_eq!(changed["after"], json!({ "name": "Acme Ltd" }));
    assert_eq!(changed["resource"]["kind"], "customer");
    assert!(
        server.log().contains("listening") && changed["request_id"].as_str().unwrap().len() > 30
    );
    let command = one(&admin, "command.run").await;
    assert_eq!(
        (&command["actor"]["kind"], &command["actor"]["name"]),
        (&json!("api_key"), &json!("key"))
    );
    assert_eq!(command["after"]["command"], "echo");
    for action in [
        "session.create",
        "customer.create",
        "enrollment_token.create",
        "agent.enrol",
        "api_key.create",
        "command.cancel",
        "user.create",
        "user.approve",
        "setting.update",
    ] {
        assert_eq!(one(&admin, action).await["action"], action);
    }
    let of_customer = admin.get("/audit?action=customer.").await;
    assert_eq!(of_customer["total"], 2, "a dot at its end means all that begin so");
}

#[tokio::test]
async fn the_log_is_exported_line_by_line_and_verifies() {
    let server = Server::start().await;
    let admin = work(&server).await;
    let answer = admin.request(Method::GET, "/audit/export").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/jsonl");
    let text = answer.text().await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let report = admin.get("/audit/verify").await;
    assert_eq!((&report["intact"], &report["broken"]), (&json!(true), &json!(null)));
    assert_eq!(report["checked"], json!(lines.len()));
    for (seq, line) in (1..).zip(&lines) {
        assert_eq!(line["seq"], seq);
    }
    assert_eq!(lines.last().unwrap()["mac"], report["last_mac"]);
}

#[tokio::test]
async fn who_changes_removes_or_swaps_an_entry_in_the_database_is_found_and_the_place_named() {
    let mut server = Server::on_sqlite().await;
    let admin = work(&server).await;
    let path = server.data_dir().join("muster.db");
    let (original, held) = (path.with_extension("original"), path.with_extension("held"));
    assert!(server.stop());
    let url = format!("sqlite://{}", path.display());
    let database = Database::connect(url).await.unwrap();
    // One file, without what is only in the log beside it.
    let whole = format!("VACUUM INTO '{}'", original.display());
    database.execute_unprepared(&whole).await.unwrap();
    database.close().await.unwrap();
    for (tampering, seq, flaw) in [
        ("UPDATE audit_entries SET action = 'x' WHERE seq = 3", 3, "changed"),
        ("UPDATE audit_entries SET actor_name = 'eve' WHERE seq = 2", 2, "changed"),
        ("DELETE FROM audit_entries WHERE seq = 4", 4, "missing"),
        ("DELETE FROM audit_entries WHERE seq >= 5", 5, "missing"),
        (
            "UPDATE audit_entries SET seq = CASE seq WHEN 2 THEN -3 WHEN 3 THEN -2 END WHERE seq IN (2, 3); UPDATE audit_entries SET seq = -seq WHERE seq < 0",
            2,
            "changed",
        ),
    ] {
        std::fs::copy(&original, &held).unwrap();
        let url = format!("sqlite://{}", held.display());
        let database = Database::connect(url).await.unwrap();
        database.execute_unprepared(tampering).await.unwrap();
        database.close().await.unwrap();
        for beside in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{beside}", path.display()));
        }
        std::fs::rename(&held, &path).unwrap();
        server.restart().await;
        let report = admin.get("/audit/verify").await;
        assert_eq!(report["broken"], json!({ "seq": seq, "flaw": flaw }), "{tampering}");
        assert!(server.stop());
    }
}

#[tokio::test]
async fn a_log_that_was_cut_with_its_head_is_not_made_whole_by_what_comes_after() {
    let server = Server::start().await;
    let admin = work(&server).await;
    let cut = "DELETE FROM audit_entries WHERE seq > 5; UPDATE audit_head SET last = 5, \
         last_mac = (SELECT mac FROM audit_entries WHERE seq = 5)";
    server.sql(cut).await;
    let broken = async || admin.get("/audit/verify").await["broken"]["flaw"].clone();
    assert_eq!(broken().await, "head");
    admin.customer("After").await;
    assert!(broken().await.is_string(), "whatever was written since");
    server.sql("DELETE FROM audit_entries; DELETE FROM audit_head").await;
    assert_eq!(broken().await, "head", "nor is an empty log a whole one");
    admin.customer("Later").await;
    assert_eq!(broken().await, "head");
}
