//! Where traces go, if anywhere.

use std::collections::HashMap;
use std::fmt;

use actix_web::http::Uri;
use actix_web::http::header::{HeaderName, HeaderValue};
use anyhow::{Context, bail};

/// Where a collector takes traces, beneath its address.
const TRACES_PATH: &str = "/v1/traces";

/// A collector of traces.
#[derive(Clone, PartialEq)]
pub(crate) struct Otlp {
    /// The URL that spans are sent to.
    pub(crate) url: String,
    pub(crate) headers: HashMap<String, String>,
    /// The part of traces that is kept, 0 to 1.
    pub(crate) sample_ratio: f64,
}

impl Otlp {
    pub(super) fn check(
        endpoint: Option<String>,
        headers: Option<&str>,
        sample_ratio: Option<f64>,
    ) -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = endpoint else {
            // Whoever says more than that believes that traces are kept.
            for (given, name) in [
                (headers.is_some(), "MUSTER_OTLP_HEADERS"),
                (sample_ratio.is_some(), "MUSTER_OTLP_SAMPLE_RATIO"),
            ] {
                if given {
                    bail!("{name}: it is used with MUSTER_OTLP_ENDPOINT only");
                }
            }
            return Ok(None);
        };
        let sample_ratio = sample_ratio.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&sample_ratio) {
            bail!("MUSTER_OTLP_SAMPLE_RATIO: 0 to 1 is expected");
        }
        Ok(Some(Self {
            url: url(&endpoint).context("MUSTER_OTLP_ENDPOINT")?,
            headers: pairs(headers.unwrap_or_default()).context("MUSTER_OTLP_HEADERS")?,
            sample_ratio,
        }))
    }
}

/// The values of headers are not shown.
impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, headers, sample_ratio } = self;
        let mut shown = f.debug_struct("Otlp");
        shown.field("url", url).field("headers", &headers.keys());
        shown.field("sample_ratio", sample_ratio).finish()
    }
}

fn url(endpoint: &str) -> anyhow::Result<String> {
    let uri = endpoint.parse::<Uri>().ok();
    let usable = uri.as_ref().is_some_and(|uri| {
        let web = matches!(uri.scheme_str(), Some("http" | "https"));
        web && uri.host().is_some_and(|host| !host.is_empty()) && uri.query().is_none()
    });
    if !usable || endpoint.contains('#') {
        bail!("a URL such as http://collector:4318 is expected");
    }
    if uri.and_then(|uri| uri.authority().map(|it| it.as_str().contains('@'))) == Some(true) {
        bail!(
            "a URL without a password is expected; put what the collector asks for into \
               MUSTER_OTLP_HEADERS"
        );
    }
    Ok(format!("{}{TRACES_PATH}", endpoint.trim_end_matches('/')))
}

/// What can't be used is not shown: it may be a secret.
fn pairs(text: &str) -> anyhow::Result<HashMap<String, String>> {
    let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
    let pair = |text: &str| {
        let (name, value) = text.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let usable = name.parse::<HeaderName>().is_ok() && value.parse::<HeaderValue>().is_ok();
        usable.then(|| (name.to_owned(), value.to_owned()))
    };
    let pairs = texts.map(pair).collect::<Option<_>>();
    pairs.context("NAME=VALUE pairs are expected, comma separated")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(endpoint: Option<&str>, headers: Option<&str>, ratio: Option<f64>) -> String {
        let refusal = Otlp::check(endpoint.map(str::to_owned), headers, ratio).unwrap_err();
        format!("{refusal:#}")
    }

    #[test]
    fn a_collector_gets_traces_beneath_its_address() {
        assert_eq!(Otlp::check(None, None, None).unwrap(), None);
        for given in ["http://collector:4318", "http://collector:4318/"] {
            let otlp = Otlp::check(Some(given.into()), None, None).unwrap().unwrap();
            assert_eq!(otlp.url, "http://collector:4318/v1/traces");
            assert!(otlp.sample_ratio > 0.99, "all of them");
        }
        let beneath = Otlp::check(Some("https://host/otlp".into()), None, Some(0.0)).unwrap();
        assert_eq!(beneath.unwrap().url, "https://host/otlp/v1/traces");
    }

    #[test]
    fn what_can_not_be_used_stops_the_start_by_name() {
        let wrong =
            ["", "collector:4318", "grpc://collector", "http://", "http://c/?a=b", "http://c/#a"];
        for endpoint in wrong {
            let refusal = refusal(Some(endpoint), None, None);
            assert!(refusal.contains("MUSTER_OTLP_ENDPOINT"), "{endpoint}: {refusal}");
        }
        for ratio in [-0.1, 1.1, f64::NAN] {
            let refusal = refusal(Some("http://c"), None, Some(ratio));
            assert!(refusal.contains("MUSTER_OTLP_SAMPLE_RATIO"), "{refusal}");
        }
        assert!(refusal(None, Some("a=b"), None).contains("MUSTER_OTLP_HEADERS"));
        assert!(refusal(None, None, Some(1.0)).contains("MUSTER_OTLP_SAMPLE_RATIO"));
    }

    #[test]
    fn headers_are_pairs_and_never_shown() {
        let given = "authorization=Basic aGk=, x-team = ops ,";
        let otlp = Otlp::check(Some("http://c".into()), Some(given), None).unwrap().unwrap();
        assert_eq!(otlp.headers["authorization"], "Basic aGk=");
        assert_eq!(otlp.headers["x-team"], "ops");
        let shown = format!("{otlp:?}");
        assert!(shown.contains("x-team") && !shown.contains("aGk"), "{shown}");
        for wrong in ["hunter2", "na me=hunter2", "a=b,hunter2", "a=hunter2\u{1}"] {
            let refusal = refusal(Some("http://c"), Some(wrong), None);
            assert!(refusal.contains("MUSTER_OTLP_HEADERS"), "{refusal}");
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
        let with_password = refusal(Some("http://me:hunter2@c"), None, None);
        assert!(with_password.contains("MUSTER_OTLP_HEADERS"), "{with_password}");
        assert!(!with_password.contains("hunter2"), "{with_password}");
    }
}
