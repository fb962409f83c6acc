//! Webhooks and chats.

use std::error::Error;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use muster_alerts::{ChatFlavour, Delivery, NotSent};
use muster_kernel::{Secret, Timestamp};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Url};
use sha2::Sha256;

use crate::reach::Reach;
use crate::{body, not_sent};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much of the answer to a failure is read, in bytes.
const READ: usize = 512;
/// How many characters of it are kept.
const KEPT: usize = 120;

/// Sends requests with JSON.
#[derive(Debug)]
pub(crate) struct Hooks {
    client: Client,
    reach: Reach,
}

/// The signature of a body at an instant: `t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256 of the
/// seconds, a full stop and the body.
pub fn sign(secret: &Secret, now: Timestamp, body: &str) -> String {
    let seconds = now.timestamp();
    let mut signature = format!("t={seconds},v1=");
    // An HMAC takes keys of any length.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) {
        mac.update(format!("{seconds}.{body}").as_bytes());
        for byte in mac.finalize().into_bytes() {
            let _ = write!(signature, "{byte:02x}");
        }
    }
    signature
}

impl Hooks {
    pub(crate) fn new(reach: &Reach) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(reach.clone()))
            .timeout(TIMEOUT)
            // A kept connection would outlive the answer to who may be reached.
            .pool_max_idle_per_host(0)
            .user_agent("muster")
            .build()?;
        Ok(Self { client, reach: reach.clone() })
    }

    pub(crate) async fn webhook(
        &self,
        url: &str,
        secret: Option<&Secret>,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Option<u16>, NotSent> {
        let body = body::webhook(delivery).to_string();
        let mut request = self.post(url, delivery)?;
        if let Some(secret) = secret {
            request = request.header("Muster-Signature", sign(secret, now, &body));
        }
        answer(request.body(body)).await
    }

    pub(crate) async fn chat(
        &self,
        flavour: ChatFlavour,
        url: &Secret,
        delivery: &Delivery,
    ) -> Result<Option<u16>, NotSent> {
        let body = body::chat(flavour, delivery).to_string();
        answer(self.post(url.expose(), delivery)?.body(body)).await
    }

    fn post(&self, url: &str, delivery: &Delivery) -> Result<RequestBuilder, NotSent> {
        let url = Url::parse(url).map_err(|_| not_sent("its address is none"))?;
        let host = url.host_str().unwrap_or_default();
        // What is an address already is not resolved any more.
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if literal.is_ok_and(|address| !self.reach.allows(address)) {
            return Err(not_sent(
                "it leads to no address that may be reached: see the setting \
                 alerts_private_addresses",
            ));
        }
        if url.scheme() != "https" && !self.reach.allows_private() {
            return Err(not_sent("an address that begins with https:// is expected"));
        }
        let request = self.client.post(url).header(CONTENT_TYPE, "application/json");
        Ok(request.header("Muster-Delivery", delivery.id.to_string()))
    }
}

/// Sends a request; whatever is not a success is a failure, and so is a redirect.
async fn answer(request: RequestBuilder) -> Result<Option<u16>, NotSent> {
    let mut answer = request.send().await.map_err(|error| not_sent(reason(error)))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(Some(status.as_u16()));
    }
    let mut read = Vec::new();
    while read.len() < READ
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        read.extend(chunk.iter().take(READ - read.len()));
    }
    let said: String =
        String::from_utf8_lossy(&read).chars().filter(|c| !c.is_control()).take(KEPT).collect();
    let reason = format!("the receiver answers {status}: {said}");
    let reason = reason.trim_end_matches([':', ' ']).to_owned();
    Err(NotSent { status: Some(status.as_u16()), reason })
}

/// Why there is no answer, without the address, which may be a secret.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(reason, ": {cause}");
        source = cause.source();
    }
    reason.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_receivers_compute_themselves() {
        let at = Timestamp::from_timestamp(1_767_225_600, 0).unwrap();
        let signature = sign(&Secret::from_text("whsec_test"), at, r#"{"id":1}"#);
        // printf '1767225600.{"id":1}' | openssl dgst -sha256 -hmac whsec_test
        let expected = "c288d7ec0b1747de22e35fbdbabba9772c8e0d64b7db67e546bc92b86c005ab8";
        assert_eq!(signature, format!("t=1767225600,v1={expected}"));
    }
}
