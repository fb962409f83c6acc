//! Who is let in as an agent of an older product, who that is then, and when that is over.

use muster_tests::{Agent, Enrolled};
use reqwest::Method;
use serde_json::{Value, json};

use crate::speaker::{Shown, Speaker, knock};
use crate::world::{DIALECTS, World, customer, text};

const LACKS: [&str; 4] = ["journal", "streaming", "cancel", "signed_orders"];

/// Refused, or let in and then sent away because of what it shows.
async fn turned_away(world: &World, path: &str, shown: &Shown<'_>) {
    match knock(&world.server, path, shown).await.0 {
        101 => Speaker::connect(&world.server, path, shown).await.ended().await,
        status => assert_eq!(status, 401, "{path}"),
    }
}

#[tokio::test]
async fn an_older_products_agent_is_refused_until_an_admin_allows_what_it_speaks() {
    let world = World::start().await;
    let shown = Shown::Bearer(&world.key);
    for (dialect, path) in [
        ("dexagents", "/api/v1/ws/agent"),
        ("dexagents", "/api/v1/ws/old-1"),
        ("remote-agent-manager", "/ws/agent/old-1"),
    ] {
        world.change(json!({ "allowed_dialects": ["deployflow"] })).await;
        let refused = knock(&world.server, path, &shown).await;
        assert_eq!(refused, (403, "FORBIDDEN".into()), "{path}");
        let changed = world.change(json!({ "allowed_dialects": [dialect] })).await;
        assert_eq!(changed["allowed_dialects"], json!([dialect]));
        Speaker::connect(&world.server, path, &shown).await;
    }
}

#[tokio::test]
async fn a_customer_allows_nothing_unless_an_admin_says_so_and_never_the_whole_world() {
    let world = World::start().await;
    let fresh = world.api.customer("Fresh").await;
    let fresh = world.api.get(&format!("/customers/{fresh}")).await;
    for field in ["allowed_dialects", "legacy_agents_without_credentials"] {
        assert_eq!(fresh[field], json!([]), "{fresh}");
    }
    let networks = json!({ "legacy_agents_without_credentials": ["10.0.0.0/8", "fd00::/8"] });
    let changed = world.change(networks.clone()).await;
    let field = "legacy_agents_without_credentials";
    assert_eq!(changed[field], networks[field]);
    assert_eq!(changed["allowed_dialects"], json!(DIALECTS), "it stays");
    let path = format!("/customers/{}", world.customer);
    for all in ["0.0.0.0/0", "::/0"] {
        let wish = json!({ "legacy_agents_without_credentials": ["10.0.0.0/8", all] });
        let refused = world.api.problem(Method::PUT, &path, &wish).await;
        assert_eq!(refused, (422, "VALIDATION_FAILED".into()), "{all}");
    }
}

#[tokio::test]
async fn who_shows_no_good_credential_is_let_in_from_named_networks_only() {
    let world = World::start().await;
    let sees = world.api.key(&world.customer, &["agents:read"]).await.0;
    for path in ["/api/v1/ws/agent", "/api/v1/ws/open-1", "/ws/agent/open-1"] {
        for networks in [json!([]), json!(["192.0.2.0/24"])] {
            world.change(json!({ "legacy_agents_without_credentials": networks })).await;
            for shown in [Shown::Nothing, Shown::Bearer("sk_unknown"), Shown::Password("et_no")] {
                assert_eq!(knock(&world.server, path, &shown).await.0, 401, "{path}");
            }
        }
        let refused = knock(&world.server, path, &Shown::Bearer(sees.token())).await.0;
        assert!([401, 403].contains(&refused), "{path}: {refused}");
    }
    world.open_network().await;
    let path = "/ws/agent/open-1";
    let mut agent = Speaker::connect(&world.server, path, &Shown::Nothing).await;
    agent.beat().await;
    let id = world.id("open-1").await;
    let command = world.bash(&id, "echo").await;
    assert_eq!(agent.task().await, command);
}

#[tokio::test]
async fn keys_and_tokens_count_as_bearer_as_api_key_and_as_the_password_in_the_address() {
    let world = World::start().await;
    let (token, _) = world.token(None).await;
    let writes = world.api.key(&world.customer, &["agents:write"]).await.0;
    let mut ids = Vec::new();
    for credential in [world.key.as_str(), writes.token(), token.as_str()] {
        for shown in
            [Shown::Bearer(credential), Shown::ApiKey(credential), Shown::Password(credential)]
        {
            let mut agent = Speaker::connect(&world.server, "/ws/agent/lab-1", &shown).await;
            agent.beat().await;
            ids.push(world.id("lab-1").await);
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "it is the same agent");
    assert_eq!(world.api.get("/agents").await["total"], 1);
}

#[tokio::test]
async fn the_same_name_is_the_same_agent_and_so_is_its_id_here() {
    let world = World::start().await;
    let name = "Büro 1 (alt)";
    let path = "B%C3%BCro%201%20%28alt%29";
    let first = Speaker::ram(&world, path).await;
    let id = world.id(name).await;
    drop(first);
    for path in [path, id.as_str()] {
        let mut agent = Speaker::ram(&world, path).await;
        let command = world.bash(&id, "echo").await;
        assert_eq!(agent.task().await, command);
    }
    // The same name in another product is another machine.
    let _other = Speaker::dex(&world, name).await;
    let agents = world.api.get("/agents").await;
    assert_eq!(agents["total"], 2, "{agents}");
}

#[tokio::test]
async fn an_id_that_nobody_knows_becomes_an_agent_in_plain_requests_as_well() {
    let world = World::start().await;
    let agent = world.shows(&world.key);
    let numbered = json!({ "device_id": 7, "hostname": "kiosk-7" });
    let requests = [
        ("/../agents/r-7/heartbeat", json!({ "agent_id": "r-7", "status": "online" })),
        ("/agents/d-7/heartbeat", json!({ "metrics": { "cpu_percent": 5 } })),
        ("/agent/heartbeat", numbered),
    ];
    for (path, body) in requests.iter().chain(&requests) {
        agent.post(path, body).await;
    }
    let listed = world.api.get("/agents?sort=hostname").await;
    let listed: Vec<_> = listed["items"].as_array().unwrap().iter().collect();
    let ids: Vec<_> = listed.iter().map(|agent| text(&agent["machine_id"])).collect();
    assert_eq!(ids, ["dexagents:d-7", "deployflow:7", "remote-agent-manager:r-7"]);
    assert!(listed.iter().all(|agent| agent["status"] == "online"), "{listed:?}");
    world.change(json!({ "allowed_dialects": [] })).await;
    for (path, body) in requests {
        let refused = agent.problem(Method::POST, path, &body).await;
        assert_eq!(refused, (403, "FORBIDDEN".into()), "{path}");
    }
}

#[tokio::test]
async fn a_machine_that_registers_again_costs_its_token_nothing_and_is_no_other_tokens() {
    let world = World::start().await;
    let (token, id) = world.token(Some(1)).await;
    let (other, _) = world.token(Some(1)).await;
    let device = json!({ "hostname": "kiosk-1", "os_type": "windows" });
    let first = world.shows(&token).post("/agent/register", &device).await;
    let again = world.shows(&token).post("/agent/register", &device).await;
    assert_eq!(first["device_id"], again["device_id"], "{again}");
    let refused = world.shows(&other).problem(Method::POST, "/agent/register", &device).await;
    assert_eq!(refused, (409, "ALREADY_EXISTS".into()));
    world.delete(&format!("/enrollment-tokens/{id}")).await;
    let late = world.shows(&other).post("/agent/register", &device).await;
    assert_eq!(late["device_id"], first["device_id"], "a revoked token holds nobody");
}

#[tokio::test]
async fn an_agent_that_was_given_to_another_customer_is_nobodys_who_had_its_old_credential() {
    let world = World::start().await;
    let (other, _) = customer(&world.api, "Other").await;
    let (token, _) = world.token(None).await;
    let device = json!({ "hostname": "kiosk-1" });
    let old = world.shows(&token);
    let id = text(&old.post("/agent/register", &device).await["device_id"]);
    world.api.put(&format!("/agents/{id}"), &json!({ "customer_id": other })).await;
    world.powershell(&id, "of the other customer").await;
    let answer = old.post("/agent/heartbeat", &json!({ "device_id": id })).await;
    assert_eq!(answer["actions"], json!([]), "{answer}");
    assert_ne!(answer["agent_id"], json!(id), "it is an agent of its own");
}

#[tokio::test]
async fn a_page_in_a_browser_fetches_nobodys_commands() {
    let world = World::start().await;
    let id = Speaker::visits(&world, "lab-1").await;
    let waits = world.bash(&id, "echo").await;
    world.open_network().await;
    let url = format!("{}/api/agents/lab-1/commands", world.server.url());
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Referer", "https://evil.example/"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let asked = reqwest::Client::new().get(&url).header(name, value).send().await.unwrap();
        assert_eq!(asked.status(), 401, "{name}");
    }
    assert_eq!(world.command(&waits).await["status"], "pending");
    let own = reqwest::get(&url).await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(own["commands"][0]["task_id"], json!(waits), "{own}");
}

#[tokio::test]
async fn agents_show_what_they_speak_what_they_lack_and_how_commands_reach_them() {
    let world = World::start().await;
    let (token, _) = world.token(None).await;
    Enrolled::register(&world.server.url(), &token, "own-1").await;
    let _dex = Speaker::dex(&world, "win-1").await;
    let _ram = Speaker::ram(&world, "lab-1").await;
    let device = json!({ "hostname": "kiosk-1", "os_type": "windows" });
    world.shows(&token).post("/agent/register", &device).await;
    let listed = world.api.get("/agents").await;
    let listed = listed["items"].as_array().unwrap();
    let one = |dialect: Value| listed.iter().find(|agent| agent["dialect"] == dialect).unwrap();
    for dialect in
        [json!(null), json!("dexagents"), json!("remote-agent-manager"), json!("deployflow")]
    {
        let agent = one(dialect.clone());
        let read = world.api.get(&format!("/agents/{}", text(&agent["id"]))).await;
        let (lacks, delivery) =
            if dialect.is_null() { (json!([]), "once") } else { (json!(LACKS), "at_most_once") };
        for shown in [agent, &read] {
            let known = (&shown["dialect"], &shown["lacks"], &shown["delivery"]);
            assert_eq!(known, (&dialect, &lacks, &json!(delivery)));
        }
    }
    assert_eq!(one(json!("dexagents"))["machine_id"], "dexagents:win-1");
}

#[tokio::test]
async fn another_customers_key_takes_neither_an_agents_name_nor_its_commands() {
    let world = World::start().await;
    let id = Speaker::visits(&world, "lab-1").await;
    let waits = world.bash(&id, "echo mine").await;

    let (other, key) = customer(&world.api, "Other").await;
    let shown = Shown::Bearer(&key);
    for name in ["lab-1", id.as_str()] {
        let path = format!("/ws/agent/{name}");
        let mut theirs = Speaker::connect(&world.server, &path, &shown).await;
        theirs.beat().await;
        let agent = world.named(&other, name).await.expect("it is an agent of its own");
        assert_ne!(agent["id"], json!(id));
        let command = world.bash(&text(&agent["id"]), "echo theirs").await;
        assert_eq!(theirs.task().await, command, "it gets its own command, and that one first");
    }
    // A name that nobody else's agents have.
    let (_, key) = customer(&world.api, "Third").await;
    let theirs = world.shows(&key);
    let path = format!("/../agents/{id}");
    for (method, path) in [
        (Method::GET, format!("{path}/commands")),
        (Method::POST, format!("{path}/tasks/{waits}/result")),
    ] {
        let said = json!({ "status": "completed", "output": "forged" });
        let (status, _) = theirs.problem(method, &path, &said).await;
        assert!([403, 404].contains(&status), "{path}: {status}");
    }
    let mut mine = Speaker::ram(&world, "lab-1").await;
    assert_eq!(mine.task().await, waits);
}

#[tokio::test]
async fn a_revoked_key_ends_the_connections_that_showed_it_and_opens_no_more() {
    let world = World::start().await;
    let (key, key_id) = world.api.key(&world.customer, &["agents:enrol"]).await;
    let shown = Shown::Bearer(key.token());
    let path = "/ws/agent/lab-1";
    let mut agent = Speaker::connect(&world.server, path, &shown).await;
    agent.beat().await;
    let id = world.id("lab-1").await;
    world.delete(&format!("/customers/{}/api-keys/{key_id}", world.customer)).await;
    agent.ended().await;
    assert_eq!(knock(&world.server, path, &shown).await.0, 401);
    let path = format!("/../agents/{id}/commands");
    assert_eq!(key.problem(Method::GET, &path, &json!({})).await.0, 401);
}

#[tokio::test]
async fn a_used_up_token_stands_for_the_agent_that_it_let_in_and_a_revoked_one_for_nobody() {
    let world = World::start().await;
    let (token, token_id) = world.token(Some(1)).await;
    let shown = Shown::Bearer(&token);
    let path = "/ws/agent/lab-1";
    for _ in 0..2 {
        Speaker::connect(&world.server, path, &shown).await.beat().await;
    }
    turned_away(&world, "/ws/agent/lab-2", &shown).await;
    assert!(world.named(&world.customer, "lab-2").await.is_none());
    let mut agent = Speaker::connect(&world.server, path, &shown).await;
    agent.beat().await;
    world.delete(&format!("/enrollment-tokens/{token_id}")).await;
    agent.ended().await;
    assert_eq!(knock(&world.server, path, &shown).await.0, 401);
}

#[tokio::test]
async fn an_agent_that_is_removed_loses_its_connection() {
    let world = World::start().await;
    let dex = Speaker::dex(&world, "win-1").await;
    let ram = Speaker::ram(&world, "lab-1").await;
    for (agent, name) in [(dex, "win-1"), (ram, "lab-1")] {
        world.delete(&format!("/agents/{}", world.id(name).await)).await;
        agent.ended().await;
    }
}

#[tokio::test]
async fn musters_own_agent_takes_the_place_of_the_older_one_on_its_host() {
    let world = World::start().await;
    let mut older = Speaker::dex(&world, "win-1").await;
    let id = world.id("win-1").await;
    let command = world.powershell(&id, "Get-Date").await;
    assert_eq!(older.order().await, command);
    older.succeeds(&command, "today").await;
    world.api.ended(&command).await;
    drop(older);
    world.gone(&id).await;

    let (token, _) = world.token(Some(1)).await;
    let _own = Agent::start(&world.server, "win-1", &token);
    assert_eq!(world.api.connected("win-1").await, id);
    let shown = world.api.get(&format!("/agents/{id}")).await;
    let known = (&shown["dialect"], &shown["lacks"], &shown["delivery"]);
    assert_eq!(known, (&json!(null), &json!([]), &json!("once")));
    assert_eq!(world.api.get("/agents").await["total"], 1);
    let body = json!({ "command": "echo own", "shell_type": "sh" });
    let result = world.api.post(&format!("/agents/{id}/command"), &body).await;
    assert_eq!(result["output"], "own\n", "{result}");
    let history = world.api.get(&format!("/agents/{id}/commands")).await;
    assert_eq!(history["total"], 2, "its history stays: {history}");
}
