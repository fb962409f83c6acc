//! What is dangerous waits for a second person, where a customer's policy says so.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::time::Duration;

use muster_tests::{Agent, Api, Behaviour, Fleet, Server, eventually};
use reqwest::Method;
use serde_json::{Value, json};

const DANGEROUS: &str = "rm -rf /";
const SECRET: &str = "s3cr3t-under-approval";

/// The admin and the colleague Ann, and machines of Acme's, who asks for approval.
struct World {
    server: Server,
    admin: Api,
    ann: Api,
    acme: String,
    fleet: Fleet,
}

impl World {
    async fn new(size: usize) -> Self {
        let server = Server::start().await;
        let admin = server.admin().await;
        admin.put("/settings", &json!({ "rate_limits": false })).await;
        let token = admin.enrollment_token("Acme").await;
        let behaviour = Behaviour { takes: Duration::from_millis(20), ..Behaviour::default() };
        let fleet = Fleet::start(&server.url(), &token, "m", size, behaviour).await;
        let agent = admin.get(&format!("/agents/{}", fleet.ids[0])).await;
        let acme = agent["customer_id"].as_str().unwrap().to_owned();
        policy(&admin, &acme, "approve").await;
        admin.colleague("ann").await;
        let ann = admin.login("ann").await;
        Self { server, admin, ann, acme, fleet }
    }

    /// A request that waits; answers with the path of its approval.
    async fn waiting(&self) -> String {
        let wish = json!({ "target": { "all": true }, "command": DANGEROUS, "confirm": true });
        let answer = self.admin.post("/runs", &wish).await;
        assert_eq!(answer["status"], "waiting_for_approval", "{answer}");
        path(&answer)
    }

    /// That nothing runs, however long one waits.
    async fn nothing_runs(&self) {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(self.fleet.record.started(), 0);
    }
}

async fn policy(admin: &Api, customer: &str, policy: &str) {
    admin.put(&format!("/customers/{customer}"), &json!({ "dangerous_commands": policy })).await;
}

fn path(answer: &Value) -> String {
    format!("/approvals/{}", answer["approval_id"].as_str().unwrap())
}

/// The run that an approval began.
fn run_of(approval: &Value) -> &str {
    approval["run_id"].as_str().unwrap()
}

async fn approve(api: &Api, path: &str) -> Value {
    api.post(&format!("{path}/approve"), &json!({})).await
}

async fn refused(api: &Api, path: &str, what: &str) -> (u16, String) {
    api.problem(Method::POST, &format!("{path}/{what}"), &json!({})).await
}

#[tokio::test]
async fn what_is_dangerous_runs_when_a_second_person_has_approved_it_and_once() {
    let world = World::new(3).await;
    let World { admin, ann, fleet, .. } = &world;
    let path = world.waiting().await;
    world.nothing_runs().await;
    let waiting = admin.get(&path).await;
    assert_eq!(waiting["status"], "pending");
    assert_eq!((&waiting["command"], &waiting["total"]), (&json!(DANGEROUS), &json!(3)));
    assert_eq!(waiting["texts"][0]["command"], DANGEROUS);
    assert_eq!(waiting["agent_ids"].as_array().unwrap().len(), 3);
    assert_eq!(waiting["requester_name"], "admin");
    assert!(!waiting["safety_reasons"].as_array().unwrap().is_empty());
    for what in ["approve", "reject"] {
        assert_eq!(refused(admin, &path, what).await, (403, "FORBIDDEN".into()), "not who asked");
    }
    world.nothing_runs().await;

    let (one, other) = tokio::join!(approve(ann, &path), approve(ann, &path));
    assert_eq!(one["run_id"], other["run_id"]);
    assert_eq!((&one["status"], &one["decided_by"]["name"]), (&json!("approved"), &json!("ann")));
    let run = admin.run_ended(run_of(&one)).await;
    assert_eq!(approve(ann, &path).await["run_id"], run["id"], "approved again, it is the same");
    assert_eq!((&run["command"], &run["total"]), (&json!(DANGEROUS), &json!(3)));
    assert_eq!(run["requested_by"], waiting["requested_by"], "it runs for who asked");
    assert_eq!(fleet.record.started(), 3);
    assert_eq!(admin.get("/runs").await["total"], 1);
    assert_eq!(refused(ann, &path, "reject").await, (409, "WRONG_STATE".into()));
    for action in ["approval.request", "approval.approve"] {
        assert_eq!(admin.get(&format!("/audit?action={action}")).await["total"], 1, "{action}");
    }
}

#[tokio::test]
async fn what_was_rejected_or_nobody_decided_about_in_time_never_runs() {
    let world = World::new(1).await;
    let World { admin, ann, server, .. } = &world;
    let rejected = world.waiting().await;
    let answer = ann.post(&format!("{rejected}/reject"), &json!({ "reason": "not today" })).await;
    assert_eq!((&answer["status"], &answer["reason"]), (&json!("rejected"), &json!("not today")));
    assert_eq!(refused(ann, &rejected, "approve").await, (409, "WRONG_STATE".into()));

    let late = world.waiting().await;
    server.sql("UPDATE approvals SET expires_at = 1 WHERE status = 'pending'").await;
    assert_eq!(refused(ann, &late, "approve").await, (409, "WRONG_STATE".into()));
    assert_eq!(refused(ann, &late, "reject").await, (409, "WRONG_STATE".into()));
    assert_eq!(admin.get("/approvals?status=expired").await["total"], 1);
    assert_eq!(admin.get("/approvals?status=pending").await["total"], 0);
    world.nothing_runs().await;
}

#[tokio::test]
async fn an_approval_is_seen_and_decided_about_by_those_who_see_all_its_machines() {
    let world = World::new(1).await;
    let World { admin, acme, .. } = &world;
    let own = world.waiting().await;
    let token = admin.enrollment_token("Other").await;
    let _theirs = Fleet::start(&world.server.url(), &token, "o", 1, Behaviour::default()).await;
    let both = world.waiting().await;
    let mut people = Vec::new();
    for (name, customer) in
        [("bob", acme.as_str()), ("eve", admin.customer("Third").await.as_str())]
    {
        let id = admin.colleague(name).await;
        let customers = json!({ "customer_ids": [customer] });
        admin.put(&format!("/users/{id}/customers"), &customers).await;
        people.push(admin.login(name).await);
    }
    let (bob, eve) = (&people[0], &people[1]);
    assert_eq!(bob.get("/approvals").await["total"], 1, "the strictest of all customers counts");
    assert_eq!(eve.get("/approvals").await["total"], 0);
    for (asker, path) in [(bob, &both), (eve, &own)] {
        assert_eq!(asker.problem(Method::GET, path, &json!({})).await.0, 404);
        assert_eq!(refused(asker, path, "approve").await.0, 404);
        assert_eq!(refused(asker, path, "reject").await.0, 404);
    }
    world.nothing_runs().await;
    assert_eq!(bob.run_ended(run_of(&approve(bob, &own).await)).await["total"], 1);
}

#[tokio::test]
async fn only_what_is_dangerous_waits_and_only_where_approval_is_asked_for() {
    let world = World::new(1).await;
    let World { admin, acme, fleet, .. } = &world;
    let agent = format!("/agents/{}", fleet.ids[0]);
    let harmless = admin.post(&format!("{agent}/command"), &json!({ "command": "uptime" })).await;
    assert_eq!(harmless["status"], "completed");
    assert_eq!(admin.get("/approvals").await["total"], 0);
    policy(admin, acme, "confirm").await;
    let body = json!({ "command": DANGEROUS, "confirm": true });
    assert_eq!(admin.post(&format!("{agent}/command"), &body).await["status"], "completed");
    policy(admin, acme, "allow").await;
    let body = json!({ "command": DANGEROUS });
    assert_eq!(admin.post(&format!("{agent}/command"), &body).await["status"], "completed");
    assert_eq!(fleet.record.started(), 3);
}

#[tokio::test]
async fn single_commands_wait_in_every_form_and_the_same_request_waits_once() {
    let world = World::new(1).await;
    let World { admin, ann, acme, fleet, .. } = &world;
    let agent = fleet.ids[0];
    let body = json!({ "command": DANGEROUS, "confirm": true });
    let forms = [format!("/agents/{agent}/command"), format!("/agents/{agent}/commands")];
    for form in &forms {
        assert_eq!(admin.post(form, &body).await["status"], "waiting_for_approval");
    }
    let action = json!({ "type": "command", "payload": DANGEROUS });
    admin.post(&format!("/devices/{agent}/actions"), &action).await["approval_id"]
        .as_str()
        .unwrap();
    assert_eq!(admin.get("/approvals").await["total"], 3);

    let (key, _) = admin.key(acme, &["commands:run"]).await;
    let send = async || {
        let request = key.request(Method::POST, &forms[1]).header("Idempotency-Key", "k");
        let answer = request.json(&body).send().await.unwrap();
        let location = answer.headers().get("location").map(|it| it.to_str().unwrap().to_owned());
        (answer.status().as_u16(), location, answer.json::<Value>().await.unwrap())
    };
    let (status, location, first) = send().await;
    assert_eq!((status, location), (202, Some(format!("/api/v1{}", path(&first)))));
    assert_eq!(send().await.2, first);
    // Under another policy the same key does not run what waits.
    policy(admin, acme, "allow").await;
    assert_eq!(send().await.0, 409);
    world.nothing_runs().await;
    policy(admin, acme, "approve").await;
    // What a program asked for, any person with the right decides about.
    let approved = approve(admin, &path(&first)).await;
    let run = ann.run_ended(run_of(&approved)).await;
    assert_eq!(run["requested_by"]["kind"], "api_key");
    assert_eq!(fleet.record.started(), 1);
    let again = send().await.2;
    assert_eq!((&again["status"], &again["run_id"]), (&json!("approved"), &run["id"]));
}

#[tokio::test]
async fn nothing_runs_for_somebody_who_may_not_run_it_any_more() {
    let world = World::new(1).await;
    let World { admin, acme, fleet, .. } = &world;
    let (key, id) = admin.key(acme, &["commands:run"]).await;
    let wish = json!({ "target": { "agent_ids": [fleet.ids[0]] }, "command": DANGEROUS });
    let path = path(&key.post("/runs", &wish).await);
    let revoked = format!("/customers/{acme}/api-keys/{id}");
    assert_eq!(admin.problem(Method::DELETE, &revoked, &json!({})).await.0, 204);
    assert_eq!(refused(admin, &path, "approve").await, (409, "WRONG_STATE".into()));
    let gone = world.waiting().await;
    admin.request(Method::DELETE, &format!("/agents/{}", fleet.ids[0])).send().await.unwrap();
    assert_eq!(refused(&world.ann, &gone, "approve").await, (409, "WRONG_STATE".into()));
    assert_eq!(admin.get(&gone).await["status"], "pending");
    world.nothing_runs().await;
}

#[tokio::test]
async fn a_schedule_does_not_get_around_it() {
    let world = World::new(1).await;
    let World { admin, acme, .. } = &world;
    let at = muster_tests::now() + chrono::TimeDelta::hours(1);
    let wish = json!({ "name": "n", "at": at, "target": { "all": true }, "command": DANGEROUS });
    let refused = admin.problem(Method::POST, "/schedules", &wish).await;
    assert_eq!(refused, (409, "DANGEROUS_COMMAND".into()));
    // One that was made before anybody asked for a second person.
    policy(admin, acme, "allow").await;
    let at = muster_tests::now() + chrono::TimeDelta::milliseconds(1500);
    let wish = json!({ "name": "n", "at": at, "target": { "all": true }, "command": DANGEROUS });
    let schedule = admin.post("/schedules", &wish).await;
    policy(admin, acme, "approve").await;
    let history = format!("/schedules/{}/runs", schedule["id"].as_str().unwrap());
    let firing = eventually("the schedule comes due", async || {
        Some(admin.get(&history).await["items"][0].clone()).filter(|it| !it.is_null())
    })
    .await;
    assert!(firing.to_string().contains("second person"), "{firing}");
    assert_eq!(admin.get("/approvals").await["total"], 0);
    world.nothing_runs().await;
}

#[tokio::test]
async fn exactly_the_script_that_was_shown_runs_with_secrets_that_nobody_sees() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let acme = admin.customer("Acme").await;
    let token = json!({ "customer_id": acme, "name": "t" });
    let token = admin.post("/enrollment-tokens", &token).await;
    let _agent = Agent::start(&server, "web-01", token["token"].as_str().unwrap());
    let agent = admin.connected("web-01").await;
    policy(&admin, &acme, "approve").await;
    admin.colleague("ann").await;
    let ann = admin.login("ann").await;
    let content = "test -n \"$token\" && echo \"shown ${#token}\"\nexit 0\nrm -rf /\n";
    let parameters = json!([{ "name": "token", "type": "secret", "required": true }]);
    let wish =
        json!({ "name": "s", "content": content, "script_type": "sh", "parameters": parameters });
    let script = admin.post("/scripts", &wish).await["id"].as_str().unwrap().to_owned();

    let wish = json!({ "agent_id": agent, "parameters": { "token": SECRET } });
    let waiting = admin.post(&format!("/scripts/{script}/execute"), &wish).await;
    let path = path(&waiting);
    admin.put(&format!("/scripts/{script}"), &json!({ "content": "echo another" })).await;
    let shown = ann.get(&path).await;
    assert_eq!(shown["script"], content, "not what it has become since");
    assert!(!shown.to_string().contains(SECRET) && !waiting.to_string().contains(SECRET));
    assert!(!in_clear(&server).await, "while it waits");

    let run = admin.run_ended(run_of(&approve(&ann, &path).await)).await;
    let commands = admin.get(&format!("/runs/{}/commands", run["id"].as_str().unwrap())).await;
    let command = commands["items"][0]["id"].as_str().unwrap();
    let command = admin.get(&format!("/commands/{command}")).await;
    assert_eq!(command["output"], format!("shown {}\n", SECRET.len()), "{command}");
    assert!(!in_clear(&server).await && !server.log().contains(SECRET));
}

/// Whether the secret stands in the database or in what belongs to it.
async fn in_clear(server: &Server) -> bool {
    let holds = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
    server.kept().await.iter().any(|(_, bytes)| holds(bytes))
}
