//! A server whose customer has agents of older products.

use muster_tests::{Api, Server, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use crate::speaker::{Shown, knock};

/// What agents may speak beside Muster's own protocol.
pub(crate) const DIALECTS: [&str; 3] = ["dexagents", "remote-agent-manager", "deployflow"];

/// A customer that allows every dialect, and the key that its agents show.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) api: Api,
    pub(crate) customer: String,
    pub(crate) key: String,
}

impl World {
    pub(crate) async fn start() -> Self {
        let server = Server::start().await;
        let api = server.admin().await;
        let (customer, key) = customer(&api, "Acme").await;
        Self { server, api, customer, key }
    }

    /// Changes the customer.
    pub(crate) async fn change(&self, change: Value) -> Value {
        self.api.put(&format!("/customers/{}", self.customer), &change).await
    }

    /// Names the network of this machine, and waits until that counts.
    pub(crate) async fn open_network(&self) {
        self.change(json!({ "legacy_agents_without_credentials": ["127.0.0.0/8"] })).await;
        eventually("it is let in without a credential", async || {
            let knocked = knock(&self.server, "/ws/agent/probe", &Shown::Nothing).await;
            (knocked.0 == 101).then_some(())
        })
        .await;
    }

    /// An enrollment token of the customer, and its id.
    pub(crate) async fn token(&self, max_uses: Option<u32>) -> (String, String) {
        let wish = json!({ "customer_id": self.customer, "name": "older", "max_uses": max_uses });
        let token = self.api.post("/enrollment-tokens", &wish).await;
        (text(&token["token"]), text(&token["id"]))
    }

    /// What an agent that shows this does over HTTP.
    pub(crate) fn shows(&self, credential: &str) -> Api {
        self.api.with_token(credential)
    }

    /// The agent of the customer that goes by `name`, once it is connected.
    pub(crate) async fn connected(&self, name: &str) -> Value {
        eventually("the agent is connected", async || {
            let agent = self.named(&self.customer, name).await?;
            (!agent["connection"].is_null()).then_some(agent)
        })
        .await
    }

    /// Its id.
    pub(crate) async fn id(&self, name: &str) -> String {
        text(&self.connected(name).await["id"])
    }

    /// The agent of that customer that goes by `name`.
    pub(crate) async fn named(&self, customer: &str, name: &str) -> Option<Value> {
        let page = self.api.get(&format!("/agents?customer_id={customer}&limit=500")).await;
        let known = |agent: &&Value| {
            let id = agent["machine_id"].as_str().and_then(|id| id.split_once(':'));
            id.is_some_and(|(_, id)| id == name)
        };
        page["items"].as_array()?.iter().find(known).cloned()
    }

    /// Waits until the agent is known to be gone.
    pub(crate) async fn gone(&self, id: &str) {
        eventually("it is known that the agent is gone", async || {
            self.api.get(&format!("/agents/{id}")).await["connection"].is_null().then_some(())
        })
        .await;
    }

    pub(crate) async fn command(&self, id: &str) -> Value {
        self.api.get(&format!("/commands/{id}")).await
    }

    pub(crate) async fn bash(&self, agent: &str, command: &str) -> String {
        self.api.queue(agent, &json!({ "command": command, "shell_type": "bash" })).await
    }

    pub(crate) async fn powershell(&self, agent: &str, command: &str) -> String {
        self.api.queue(agent, &json!({ "command": command, "shell_type": "powershell" })).await
    }

    pub(crate) async fn delete(&self, path: &str) {
        assert_eq!(self.api.problem(Method::DELETE, path, &json!({})).await.0, 204, "{path}");
    }
}

/// A customer that allows every dialect, and a key of it that lets agents in.
pub(crate) async fn customer(api: &Api, name: &str) -> (String, String) {
    let customer = api.customer(name).await;
    let allowed = json!({ "allowed_dialects": DIALECTS });
    api.put(&format!("/customers/{customer}"), &allowed).await;
    let key = api.key(&customer, &["agents:enrol"]).await.0.token().to_owned();
    (customer, key)
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}
