//! The first contact: an enrollment token is exchanged for an identity.

use anyhow::{Context, bail};
use muster_trust::Trust;
use reqwest::{Client, StatusCode};
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::identity::{DataDir, Identity};

/// Where the name of the attempt is kept until the server has answered it.
const KEY: &str = "enrolment-key";
/// How long the server may take to answer.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// What the server is told about the machine.
#[expect(clippy::struct_field_names, reason = "the fields are named as they travel")]
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) hostname: String,
    pub(crate) os_type: String,
    pub(crate) os: String,
    pub(crate) version: String,
    pub(crate) capabilities: Vec<String>,
    pub(crate) machine_id: String,
}

#[derive(Deserialize)]
struct Registered {
    agent_id: Uuid,
    agent_token: String,
    server_key: String,
}

#[derive(Deserialize)]
struct Problem {
    detail: Option<String>,
}

/// The server said no, and asking again would not help.
#[derive(Debug, thiserror::Error)]
#[error("the server refused the enrolment ({status}): {detail}")]
pub(crate) struct Refused {
    status: StatusCode,
    detail: String,
}

/// Enrols with `token` and keeps the identity; tries until the server answers yes or no.
///
/// # Errors
/// [`Refused`] when the server says no; otherwise when the data folder can't be used.
pub(crate) async fn enrol(
    data: &DataDir,
    server: &str,
    token: &str,
    machine: &Machine,
    trust: Trust,
    tls: &ClientConfig,
) -> anyhow::Result<Identity> {
    let key = data.random(KEY)?;
    let client = Client::builder()
        .timeout(PATIENCE)
        .tls_backend_preconfigured(tls.clone())
        .build()
        .context("can't set up HTTPS")?;
    let url = format!("{}/api/v1/agents/register", server.trim_end_matches('/'));
    let mut backoff = Backoff::default();
    loop {
        let request = client.post(&url).bearer_auth(token).header("Idempotency-Key", &key);
        match request.json(machine).send().await {
            Ok(answer) if answer.status().is_success() => {
                let Ok(registered) = answer.json::<Registered>().await else {
                    tracing::warn!("the server's answer broke off; asking again");
                    tokio::time::sleep(backoff.pause()).await;
                    continue;
                };
                let identity = Identity {
                    server: server.to_owned(),
                    agent_id: registered.agent_id,
                    agent_token: registered.agent_token,
                    server_key: registered.server_key,
                    trust,
                    folder: None,
                };
                identity.key()?;
                data.keep_identity(&identity)?;
                data.forget(KEY);
                return Ok(identity);
            }
            Ok(answer) if is_final(answer.status()) => {
                let status = answer.status();
                let detail = answer.json::<Problem>().await.ok().and_then(|said| said.detail);
                let detail = detail.unwrap_or_else(|| "no reason given".into());
                data.forget(KEY);
                bail!(Refused { status, detail });
            }
            Ok(answer) => tracing::warn!(status = %answer.status(), "the server can't enrol now"),
            Err(error) => {
                let error = anyhow::Error::new(error);
                tracing::warn!(error = format!("{error:#}"), "can't reach the server");
            }
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

fn is_final(status: StatusCode) -> bool {
    let passing =
        [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    status.is_client_error() && !passing.contains(&status)
}
