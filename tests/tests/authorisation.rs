//! Who may do what: every cell of `tests/authorisation.txt` against a running server.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

#[path = "authorisation/assistants.rs"]
mod assistants;
#[path = "authorisation/deployment.rs"]
mod deployment;

use std::collections::BTreeSet;

use muster_tests::{Api, Enrolled, PASSWORD, RawAgent, Server};
use reqwest::Method;
use serde_json::{Value, json};

const TABLE: &str = include_str!("../authorisation.txt");
/// The columns that are people, who have a password.
const PEOPLE: [&str; 5] = ["vie", "run", "ope", "out", "adm"];
/// Operations that end the session which asks.
const ENDING: [&str; 3] = ["/auth/logout", "/auth/sessions", "/auth/sessions/{id}"];

/// What a request of everybody answers to one operation.
struct Row {
    method: Method,
    path: String,
    cells: Vec<(&'static str, u16)>,
}

fn rows() -> Vec<Row> {
    let columns = TABLE.lines().rfind(|line| line.starts_with("#   ") && line.contains("pen  vie"));
    let columns: Vec<_> = columns.unwrap().trim_start_matches('#').split_whitespace().collect();
    let rows = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    rows.map(|row| {
        let words: Vec<_> = row.split_whitespace().collect();
        assert_eq!(words.len(), columns.len() + 2, "{row}");
        let cells = words[2..].iter().map(|word| word.parse().unwrap());
        Row {
            method: words[0].parse().unwrap(),
            path: words[1].to_owned(),
            cells: columns.iter().copied().zip(cells).collect(),
        }
    })
    .collect()
}

/// The customer Acme with everything that operations are about, and everybody who asks.
struct World {
    server: Server,
    admin: Api,
    acme: String,
    agent: String,
    everybody: Vec<(&'static str, Api)>,
}

impl World {
    async fn new() -> Self {
        let server = Server::start_with(&[("MUSTER_LOCAL_EXECUTION", "true")]).await;
        let admin = server.admin().await;
        admin.put("/settings", &json!({ "rate_limits": false })).await;
        let acme = id(&admin.post("/customers", &json!({ "name": "Acme" })).await);
        let other = id(&admin.post("/customers", &json!({ "name": "Other" })).await);
        let enrollment = Self::enrollment(&admin, &acme).await;
        let enrolled = Enrolled::register(&server.url(), &enrollment, "web-01").await;
        let another = Enrolled::register(&server.url(), &enrollment, "web-02").await;
        let agent = enrolled.agent_id.to_string();
        let mut world = Self { server, admin, acme, agent, everybody: Vec::new() };
        let every = ["agents:read", "agents:write", "commands:run", "scripts:write"];
        let acme = world.acme.clone();
        let everybody = vec![
            ("any", world.admin.with_token("")),
            ("pen", world.pending().await),
            ("vie", world.person("viewer", "vie", Some(&acme)).await),
            ("run", world.person("runner", "run", Some(&acme)).await),
            ("ope", world.person("operator", "ope", Some(&acme)).await),
            ("out", world.person("operator", "out", Some(&other)).await),
            ("adm", world.admin.clone()),
            ("key", world.key(&acme, &every, json!(null)).await.0),
            ("bar", world.key(&acme, &["profiles:apply"], json!(null)).await.0),
            ("sav", world.key(&acme, &["commands:run-saved"], json!(null)).await.0),
            ("oth", world.key(&other, &every, json!(null)).await.0),
            ("rev", world.revoked_key().await),
            ("exp", world.expired_key(&every).await),
            ("age", world.admin.with_token(&enrolled.agent_token)),
            ("ano", world.admin.with_token(&another.agent_token)),
            ("enr", world.admin.with_token(&enrollment)),
        ];
        world.everybody = everybody;
        world
    }

    async fn enrollment(admin: &Api, customer: &str) -> String {
        let wish = json!({ "customer_id": customer, "name": "t", "max_uses": null });
        text(&admin.post("/enrollment-tokens", &wish).await["token"])
    }

    /// Registers somebody; answers with their id.
    async fn registered(&self, name: &str) -> String {
        let wish = json!({ "username": name, "password": PASSWORD });
        text(&self.admin.post("/auth/register", &wish).await["user_id"])
    }

    async fn person(&self, role: &str, name: &str, customer: Option<&str>) -> Api {
        let id = self.registered(name).await;
        let say = async |what: &str, body: Value| {
            self.admin.post(&format!("/admin/users/{id}/{what}"), &body).await
        };
        say("approve", json!({})).await;
        say("set-role", json!({ "role": role })).await;
        let customers: Vec<_> = customer.into_iter().collect();
        let customers = json!({ "customer_ids": customers });
        self.admin.put(&format!("/users/{id}/customers"), &customers).await;
        self.admin.login(name).await
    }

    /// Somebody who has a token and waits for approval: that they once had it, only the database
    /// can say.
    async fn pending(&self) -> Api {
        let api = self.person("operator", "pen", None).await;
        self.sql("UPDATE users SET status = 'pending' WHERE username = 'pen'").await;
        api
    }

    async fn sql(&self, statement: &str) {
        assert_eq!(self.server.sql(statement).await, 1, "{statement}");
    }

    async fn key(&self, customer: &str, scopes: &[&str], expires_at: Value) -> (Api, String) {
        let wish = json!({ "name": "key", "scopes": scopes, "expires_at": expires_at });
        let key = self.admin.post(&format!("/customers/{customer}/api-keys"), &wish).await;
        (self.admin.with_token(&text(&key["api_key"])), id(&key))
    }

    async fn revoked_key(&self) -> Api {
        let (api, id) = self.key(&self.acme, &["agents:read", "commands:run"], json!(null)).await;
        let path = format!("/customers/{}/api-keys/{id}", self.acme);
        assert_eq!(self.admin.problem(Method::DELETE, &path, &json!({})).await.0, 204);
        api
    }

    async fn expired_key(&self, scopes: &[&str]) -> Api {
        let soon = muster_tests::now() + chrono::TimeDelta::milliseconds(200);
        let (api, _) = self.key(&self.acme, scopes, json!(soon)).await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        api
    }

    fn asker(&self, column: &str) -> &Api {
        &self.everybody.iter().find(|(name, _)| *name == column).unwrap().1
    }

    async fn sign_in_again(&mut self, column: &str) {
        let name = if column == "adm" { "admin" } else { column };
        let api = self.admin.login(name).await;
        if column == "adm" {
            self.admin = api.clone();
        }
        self.everybody.iter_mut().find(|(name, _)| *name == column).unwrap().1 = api;
    }

    /// The path about something that is there and the operation can be done to, and its body.
    /// What it is about is new each time, where doing it changes more than it.
    async fn about(&self, row: &Row, unique: &str) -> (String, Value) {
        let (method, path) = (row.method.as_str(), row.path.as_str());
        let is_about = |prefix: &str| path.starts_with(prefix) && path.contains("{id}");
        let mut path = row.path.clone();
        if let Some(made) = self.about_deployment(row, unique).await {
            path = made;
        } else if let Some(made) = self.about_assistants(row, unique).await {
            path = made;
        } else if path.contains("/clones/") {
            let (agent, connection) = self.cloned(unique).await;
            path = path.replace("{id}", &agent).replace("{connection_id}", &connection);
        } else if path.starts_with("/groups/") {
            path =
                path.replace("{id}", &id(&self.admin.post("/groups", &self.group(unique)).await));
        } else if ["/agents", "/devices", "/commands/agent", "/websocket"].into_iter().any(is_about)
        {
            let agent =
                if method == "DELETE" { self.new_agent(unique).await } else { self.agent.clone() };
            path = path.replace("{id}", &agent);
        } else if is_about("/runs") {
            path = path.replace("{id}", &id(&self.admin.post("/runs", &self.run()).await));
        } else if is_about("/approvals") {
            path = path.replace("{id}", &self.waiting().await);
        } else if is_about("/commands/saved") {
            path = path.replace("{id}", &self.kept("/commands/saved", unique).await);
        } else if is_about("/scripts") {
            path = path.replace("{id}", &self.kept("/scripts", unique).await);
        } else if is_about("/commands") {
            path = path.replace("{id}", &self.new_command().await);
        } else if is_about("/customers") {
            path = path.replace("{id}", &self.acme);
            if path.ends_with("revoke-api-key") || path.ends_with("download-config") {
                let made = format!("/customers/{}/generate-api-key", self.acme);
                self.admin.post(&made, &json!({})).await;
            }
        } else if is_about("/enrollment-tokens") {
            let wish = json!({ "customer_id": self.acme, "name": "t" });
            path = path.replace("{id}", &id(&self.admin.post("/enrollment-tokens", &wish).await));
        } else if is_about("/alerts/") {
            path = path.replace("{id}", &self.alerting(&row.path, unique).await);
        } else if is_about("/schedules") {
            let made = self.admin.post("/schedules", &self.schedule()).await;
            path = path.replace("{id}", &id(&made));
        } else if is_about("/users") || is_about("/admin/users") {
            path = path.replace("{id}", &self.registered(&unique.to_lowercase()).await);
        }
        if path.contains("{key_id}") {
            path = path
                .replace("{key_id}", &self.key(&self.acme, &["agents:read"], json!(null)).await.1);
        }
        if path.contains("{command_id}") {
            path = path.replace("{command_id}", &self.new_command().await);
        }
        let path = path.replace("{key}", "registration_open").replace("{version}", "1");
        (path, self.body(row, unique).await)
    }

    /// A rule, a channel, a window or an alert of Acme's.
    async fn alerting(&self, path: &str, unique: &str) -> String {
        for (kind, wish) in [
            ("/alerts/rules", self.rule()),
            ("/alerts/channels", self.channel()),
            ("/alerts/maintenance-windows", self.window()),
        ] {
            if path.starts_with(kind) {
                return id(&self.admin.post(kind, &wish).await);
            }
        }
        self.admin.post("/alerts/rules", &self.rule()).await;
        let agent = self.new_agent(unique).await;
        loop {
            let alerts = self.admin.get(&format!("/alerts?agent_id={agent}")).await;
            if let Some(alert) = alerts["items"].get(0) {
                return id(alert);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// That machines of Acme's enrol.
    fn rule(&self) -> Value {
        let customer = &self.acme;
        json!({ "name": "r", "customer_id": customer, "severity": "info", "kind": "enrolment" })
    }

    fn channel(&self) -> Value {
        let leads_to = json!({ "kind": "webhook", "url": "https://hooks.invalid/" });
        json!({ "name": "c", "customer_id": self.acme, "leads_to": leads_to })
    }

    /// A time that is not yet.
    fn window(&self) -> Value {
        let [from, to] = [1, 2].map(|hours| muster_tests::now() + chrono::TimeDelta::hours(hours));
        json!({ "name": "w", "customer_id": self.acme, "from": from, "to": to })
    }

    /// Something dangerous that a key of Acme's asked for, and that waits for a person.
    async fn waiting(&self) -> String {
        let policy = json!({ "dangerous_commands": "approve" });
        self.admin.put(&format!("/customers/{}", self.acme), &policy).await;
        let (key, _) = self.key(&self.acme, &["commands:run"], json!(null)).await;
        let wish = json!({ "target": { "agent_ids": [self.agent] }, "command": "rm -rf /" });
        text(&key.post("/runs", &wish).await["approval_id"])
    }

    /// Something in the library of Acme's.
    async fn kept(&self, path: &str, name: &str) -> String {
        id(&self.admin.post(path, &self.wish(path, name)).await)
    }

    /// Something for the library of Acme's.
    fn wish(&self, path: &str, name: &str) -> Value {
        let (text, shell) = match path {
            "/scripts" => ("content", "script_type"),
            _ => ("command", "shell_type"),
        };
        json!({ "name": name, "customer_id": self.acme, text: "id", shell: "sh" })
    }

    fn group(&self, name: &str) -> Value {
        json!({ "name": name, "customer_id": self.acme })
    }

    async fn new_agent(&self, name: &str) -> String {
        let token = Self::enrollment(&self.admin, &self.acme).await;
        Enrolled::register(&self.server.url(), &token, name).await.agent_id.to_string()
    }

    /// An agent whose identity another machine shows as well, and that one's connection.
    async fn cloned(&self, name: &str) -> (String, String) {
        let token = Self::enrollment(&self.admin, &self.acme).await;
        let url = self.server.url();
        let enrolled = Enrolled::register(&url, &token, name).await;
        for boot_id in ["one", "two"] {
            let agent = RawAgent::connect(&url, &enrolled).await.unwrap();
            let mut agent = agent.booted(boot_id);
            agent.hello(Vec::new(), muster_tests::now()).await;
            agent.order().await.unwrap();
            // Whoever is there answers pings.
            tokio::spawn(async move { while agent.hear().await.is_some() {} });
        }
        let id = enrolled.agent_id.to_string();
        let agent = self.admin.get(&format!("/agents/{id}")).await;
        (id, text(&agent["clones"][0]["connection_id"]))
    }

    async fn new_command(&self) -> String {
        self.admin.queue(&self.agent, &json!({ "command": "echo" })).await
    }

    /// A run on the agent, which is not connected: it goes on.
    fn run(&self) -> Value {
        json!({ "target": { "agent_ids": [self.agent] }, "command": "echo" })
    }

    fn schedule(&self) -> Value {
        let target = json!({ "customer_id": self.acme });
        let (customer, cron) = (&self.acme, "0 2 * * *");
        json!({ "name": "s", "customer_id": customer, "cron": cron, "target": target, "command": "echo" })
    }

    /// What the assistant is asked about Acme's agent.
    fn body_of_assistant(&self, path: &str) -> Option<Value> {
        if path == "/ai/validate-key" || path.starts_with("/settings/") {
            return Some(json!({}));
        }
        let asks = path.starts_with("/ai/") || path.starts_with("/commands/ai/");
        let about = match path {
            "/ai/explain-error" => "error",
            "/commands/ai/generate" | "/ai/suggest-command" => "message",
            _ => "command",
        };
        asks.then(|| json!({ "agent_id": self.agent, about: "echo" }))
    }

    /// A body that is good.
    async fn body(&self, row: &Row, unique: &str) -> Value {
        if let Some(body) = self.body_of_deployment(row, unique).await {
            return body;
        }
        let command = || json!({ "command": "echo" });
        if let Some(body) = self.body_of_assistants(row, unique) {
            return body;
        }
        if let Some(body) = self.body_of_assistant(&row.path) {
            return body;
        }
        match (row.method.as_str(), row.path.as_str()) {
            (_, "/auth/register") => json!({ "username": unique, "password": PASSWORD }),
            (_, "/auth/login") => json!({ "username": "admin", "password": PASSWORD }),
            (_, "/auth/refresh") => json!({ "refresh_token": self.admin.refresh_token().await }),
            (_, "/auth/confirm") | ("POST", "/auth/totp") => json!({ "password": PASSWORD }),
            (_, "/auth/totp" | "/auth/totp/confirm") => json!({ "code": "000000" }),
            (_, "/users/profile" | "/user/me") => json!({ "full_name": "Ann" }),
            (_, "/users/change-password") => {
                json!({ "current_password": PASSWORD, "new_password": PASSWORD })
            }
            (_, "/users/{id}/customers") => json!({ "customer_ids": [self.acme] }),
            (_, "/admin/users/{id}/set-role") => json!({ "role": "viewer" }),
            ("POST", "/customers") => json!({ "name": unique }),
            ("PUT", "/customers/{id}") => json!({ "plan": "enterprise" }),
            ("POST", "/customers/{id}/api-keys") => {
                json!({ "name": "k", "scopes": ["agents:read"] })
            }
            ("POST", "/enrollment-tokens") => json!({ "customer_id": self.acme, "name": "t" }),
            ("POST", "/agents/bulk") => {
                json!({ "target": { "agent_ids": [self.agent] }, "notes": unique })
            }
            ("POST", "/agents/bulk/delete") => {
                let agent = self.new_agent(unique).await;
                json!({ "target": { "agent_ids": [agent] }, "confirm": true })
            }
            ("POST", "/groups") => self.group(&format!("new {unique}")),
            (_, "/groups/{id}/agents") => json!({ "agent_ids": [self.agent] }),
            (_, "/agents/register" | "/agent/register") => json!({ "hostname": "new" }),
            ("PUT", "/agents/{id}" | "/devices/{id}") => json!({ "notes": "" }),
            ("POST", "/devices/{id}/actions") => json!({ "type": "command", "payload": "echo" }),
            ("POST", "/runs" | "/runs/preview") => self.run(),
            ("POST", "/schedules") => self.schedule(),
            ("PUT", "/schedules/{id}") => json!({ "enabled": false }),
            ("POST" | "PUT", "/alerts/rules" | "/alerts/rules/{id}") => self.rule(),
            ("POST" | "PUT", "/alerts/channels" | "/alerts/channels/{id}") => self.channel(),
            ("POST", "/alerts/maintenance-windows") => self.window(),
            (
                _,
                "/agent/actions/{command_id}/result" | "/agents/{id}/tasks/{command_id}/result",
            ) => json!({ "status": "completed" }),
            (_, "/commands/execute/batch") => json!({ "commands": [command()] }),
            ("POST", path @ ("/scripts" | "/commands/saved")) => self.wish(path, unique),
            ("PUT", "/groups/{id}" | "/scripts/{id}" | "/commands/saved/{id}") => {
                json!({ "description": unique })
            }
            (_, "/scripts/{id}/execute" | "/commands/saved/{id}/execute") => {
                json!({ "agent_id": self.agent })
            }
            (_, path) if path.ends_with("restore") => json!({}),
            (_, path) if path.ends_with("resolve") => json!({ "decision": "reject" }),
            ("POST", path) if path.contains("command") && !path.ends_with("cancel") => command(),
            ("PUT", "/settings") => json!({ "registration_open": true }),
            ("POST", "/settings") => json!({ "key": "registration_open", "value": true }),
            _ => json!({}),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn id(value: &Value) -> String {
    text(&value["id"])
}

#[tokio::test]
async fn every_operation_opens_to_those_whom_the_table_names_and_to_nobody_else() {
    let mut world = World::new().await;
    // What was known of the pending user's session is looked up again by now.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let mut wrong = Vec::new();
    for (number, row) in rows().iter().enumerate() {
        // What nobody changes may be asked about by all.
        let shared = world.about(row, &format!("shared-{number}")).await;
        for (column, expected) in &row.cells {
            let (mut path, mut body) = shared.clone();
            let ends = ENDING.contains(&row.path.as_str()) && PEOPLE.contains(column);
            if ends {
                path = path.replace(
                    "{id}",
                    &text(&world.asker(column).get("/auth/me").await["session_id"]),
                );
            } else if *expected < 300 && row.method != Method::GET {
                (path, body) = world.about(row, &format!("u{number}-{column}")).await;
            }
            let asker = world.asker(column);
            let (status, code) = asker.problem(row.method.clone(), &path, &body).await;
            if status != *expected {
                let Row { method, path, .. } = row;
                wrong.push(format!("{method} {path}, {column}: {status} {code}, not {expected}"));
            }
            if ends {
                world.sign_in_again(column).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_operation_of_the_document_is_in_the_table() {
    let server = Server::start().await;
    let document = reqwest::get(format!("{}/openapi.json", server.url())).await.unwrap();
    let document: Value = document.json().await.unwrap();
    let methods = ["get", "post", "put", "delete", "patch", "head", "options"];
    let described: BTreeSet<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |key| (key, path)))
        .filter(|(method, _)| methods.contains(&method.as_str()))
        .map(|(method, path)| format!("{} {path}", method.to_uppercase()))
        .collect();
    let written: Vec<_> = rows().iter().map(|row| format!("{} {}", row.method, row.path)).collect();
    let table: BTreeSet<_> = written.iter().cloned().collect();
    assert_eq!(written.len(), table.len(), "an operation is there twice");
    assert_eq!(described, table);
    assert!(table.len() > 80);
}
