//! Who the machines are.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use futures_util::{StreamExt, stream};
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{Endpoint, Failure, Figures};

/// How long a machine waits before it asks again, where the server does not say.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a machine asks before it gives up.
const ATTEMPTS: u32 = 30;

/// Who a machine is, once enrolled.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its host name and machine id.
    pub name: String,
    /// Its id.
    pub agent_id: Uuid,
    /// What it proves itself with.
    pub agent_token: String,
    /// The key that signs its orders, base64.
    pub server_key: String,
}

/// The token is not shown.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, agent_id, .. } = self;
        f.debug_struct("Identity")
            .field("name", name)
            .field("agent_id", agent_id)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// The key that signs its orders.
    ///
    /// # Errors
    /// When the text is none.
    pub fn key(&self) -> anyhow::Result<VerifyingKey> {
        let bytes = STANDARD.decode(&self.server_key).context("the server's key is not base64")?;
        let bytes: [u8; 32] =
            bytes.try_into().ok().context("the server's key does not have 32 bytes")?;
        VerifyingKey::from_bytes(&bytes).context("the server's key is not an Ed25519 key")
    }
}

#[derive(Deserialize)]
struct Registered {
    agent_id: Uuid,
    agent_token: String,
    server_key: String,
}

/// The names of machines that enrol: `PREFIX-0`, `PREFIX-1`, …
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// What stands before the number.
    pub prefix: &'a str,
    /// The first number.
    pub from: usize,
    /// The number after the last.
    pub to: usize,
}

/// Enrols machines, `at_once` at a time, and gives each to `keep` as soon as it is enrolled.
///
/// # Errors
/// When the server refuses one of them, or does not let it in after half a minute, or `keep`
/// fails; those that were kept stay enrolled.
pub async fn enrol(
    endpoint: &Endpoint,
    token: &str,
    names: Names<'_>,
    at_once: usize,
    figures: &Figures,
    mut keep: impl FnMut(Identity) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let enrolling = stream::iter(names.from..names.to)
        .map(|number| async move {
            let name = format!("{}-{number}", names.prefix);
            let begun = Instant::now();
            let identity = insist(endpoint, token, number, &name, figures).await;
            figures.enrolled(begun.elapsed());
            identity.with_context(|| format!("enrolling {name}"))
        })
        .buffered(at_once.max(1));
    tokio::pin!(enrolling);
    while let Some(identity) = enrolling.next().await {
        keep(identity?)?;
    }
    Ok(())
}

/// Tries until the server says yes or a no that lasts.
async fn insist(
    endpoint: &Endpoint,
    token: &str,
    number: usize,
    name: &str,
    figures: &Figures,
) -> anyhow::Result<Identity> {
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        match register(endpoint, token, number, name).await {
            Ok(Answer::Enrolled(identity)) => return Ok(identity),
            Ok(Answer::Refused(status, text)) => bail!("the server refused ({status}): {text}"),
            Ok(Answer::Later(status, pause)) => {
                last = format!("the server answered {status}");
                figures.failed(&Failure::Answered(status.as_u16()));
                tokio::time::sleep(pause).await;
            }
            Err(failure) => {
                last = failure.to_string();
                figures.failed(&failure);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    bail!("{last}, {ATTEMPTS} times")
}

enum Answer {
    Enrolled(Identity),
    Refused(StatusCode, String),
    Later(StatusCode, Duration),
}

async fn register(
    endpoint: &Endpoint,
    token: &str,
    number: usize,
    name: &str,
) -> Result<Answer, Failure> {
    let (client, url) = endpoint.enrolment(number).ok_or(Failure::Unreadable)?;
    let machine = json!({
        "hostname": name,
        "machine_id": name,
        "os_type": "linux",
        "os": crate::machine::OS,
        "version": env!("CARGO_PKG_VERSION"),
        "capabilities": ["shell:sh", "shell:bash"],
    });
    let answer = client.post(url).bearer_auth(token).json(&machine).send().await?;
    let status = answer.status();
    if status.is_success() {
        let Registered { agent_id, agent_token, server_key } = answer.json().await?;
        let name = name.to_owned();
        return Ok(Answer::Enrolled(Identity { name, agent_id, agent_token, server_key }));
    }
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        let said = answer.headers().get(RETRY_AFTER).and_then(|text| text.to_str().ok());
        let pause = said.and_then(|text| text.parse().ok()).map_or(PAUSE, Duration::from_secs);
        return Ok(Answer::Later(status, pause));
    }
    Ok(Answer::Refused(status, answer.text().await.unwrap_or_default()))
}
