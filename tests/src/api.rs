//! A client of the HTTP API.

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::{PASSWORD, eventually};

/// A client with a token.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    base: String,
    token: String,
    refresh_token: String,
}

impl Api {
    /// Signs in as the admin.
    ///
    /// # Panics
    /// When that does not work.
    pub async fn sign_in(url: &str) -> Self {
        Self::sign_in_with(Client::new(), url).await
    }

    /// The same with a client that is set up already.
    ///
    /// # Panics
    /// When that does not work.
    pub async fn sign_in_with(client: Client, url: &str) -> Self {
        let base = format!("{url}/api/v1");
        let nobody = Self { client, base, token: String::new(), refresh_token: String::new() };
        nobody.login("admin").await
    }

    /// The same client, signed in anew as the user of that name, who has the usual password.
    ///
    /// # Panics
    /// When that does not work.
    pub async fn login(&self, username: &str) -> Self {
        let login = json!({ "username": username, "password": PASSWORD });
        let request = self.client.post(format!("{}/auth/login", self.base)).json(&login);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let answer: Value = answer.json().await.unwrap();
        let token = |name: &str| answer[name].as_str().unwrap().to_owned();
        Self { token: token("access_token"), refresh_token: token("refresh_token"), ..self.clone() }
    }

    /// A refresh token of a new session of the admin.
    ///
    /// # Panics
    /// When signing in does not work.
    pub async fn refresh_token(&self) -> String {
        self.login("admin").await.refresh_token
    }

    /// Its access token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The same client with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// A request to `path` beneath `/api/v1`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token)
    }

    /// Asks and expects a good answer.
    ///
    /// # Panics
    /// When there is none.
    pub async fn get(&self, path: &str) -> Value {
        read(self.request(Method::GET, path).send().await.unwrap()).await
    }

    /// Sends and expects a good answer.
    ///
    /// # Panics
    /// When there is none.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        read(self.request(Method::POST, path).json(body).send().await.unwrap()).await
    }

    /// Sends and expects a good answer.
    ///
    /// # Panics
    /// When there is none.
    pub async fn put(&self, path: &str, body: &Value) -> Value {
        read(self.request(Method::PUT, path).json(body).send().await.unwrap()).await
    }

    /// Sends and answers with the status and the problem's code.
    ///
    /// # Panics
    /// When the server can't be reached.
    pub async fn problem(&self, method: Method, path: &str, body: &Value) -> (u16, String) {
        let answer = self.request(method, path).json(body).send().await.unwrap();
        let status = answer.status().as_u16();
        if status == 200 && is_stream(&answer) {
            return (status, String::new());
        }
        let problem: Value = answer.json().await.unwrap_or_default();
        (status, problem["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Registers somebody and lets them in, as an operator of every customer; answers with their
    /// id.
    ///
    /// # Panics
    /// When that does not work.
    pub async fn colleague(&self, username: &str) -> String {
        let wish = json!({ "username": username, "password": PASSWORD });
        let id = self.post("/auth/register", &wish).await["user_id"].as_str().unwrap().to_owned();
        self.post(&format!("/admin/users/{id}/approve"), &json!({})).await;
        id
    }

    /// Makes a customer's key with these scopes; answers with a client that shows it and its id.
    ///
    /// # Panics
    /// When that does not work.
    pub async fn key(&self, customer: &str, scopes: &[&str]) -> (Self, String) {
        let wish = json!({ "name": "key", "scopes": scopes });
        let key = self.post(&format!("/customers/{customer}/api-keys"), &wish).await;
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        (self.with_token(&text("api_key")), text("id"))
    }

    /// Makes a customer; answers with its id.
    ///
    /// # Panics
    /// When that does not work.
    pub async fn customer(&self, name: &str) -> String {
        let customer = self.post("/customers", &json!({ "name": name })).await;
        customer["id"].as_str().unwrap().to_owned()
    }

    /// Makes a customer and an enrollment token that lets any number of machines in.
    ///
    /// # Panics
    /// When that does not work.
    pub async fn enrollment_token(&self, customer: &str) -> String {
        let customer = self.post("/customers", &json!({ "name": customer })).await;
        let wish = json!({ "customer_id": customer["id"], "name": "tests", "max_uses": null });
        let token = self.post("/enrollment-tokens", &wish).await;
        token["token"].as_str().unwrap().to_owned()
    }

    /// Waits until the agent of that name is connected; answers with its id.
    ///
    /// # Panics
    /// When it does not connect in time.
    pub async fn connected(&self, name: &str) -> String {
        eventually("the agent connects", async || {
            let page = self.get(&format!("/agents?q={name}")).await;
            let agent = page["items"].as_array()?.first()?.clone();
            if agent["connection"].is_null() {
                None
            } else {
                Some(agent["id"].as_str()?.to_owned())
            }
        })
        .await
    }

    /// Queues a command; answers with its id.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn queue(&self, agent: &str, body: &Value) -> String {
        let accepted = self.post(&format!("/agents/{agent}/commands"), body).await;
        accepted["command_id"].as_str().unwrap().to_owned()
    }

    /// Waits until a run has ended; answers with it.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn run_ended(&self, id: &str) -> Value {
        eventually("the run ends", async || {
            let run = self.get(&format!("/runs/{id}")).await;
            let open = ["running", "paused"].contains(&run["status"].as_str()?);
            if open { None } else { Some(run) }
        })
        .await
    }

    /// Waits until a command has ended; answers with it.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn ended(&self, id: &str) -> Value {
        eventually("the command ends", async || {
            let command = self.get(&format!("/commands/{id}")).await;
            let open = ["pending", "running"].contains(&command["status"].as_str()?);
            if open { None } else { Some(command) }
        })
        .await
    }
}

/// Whether the answer goes on for as long as somebody listens.
fn is_stream(answer: &Response) -> bool {
    answer.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream")
}

async fn read(answer: Response) -> Value {
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}
