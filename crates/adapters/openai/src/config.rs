//! Where a model is and by which key it is asked. Nothing here comes from the environment.

use std::fmt;

use muster_assistant::Access;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

const AZURE_KEY: HeaderName = HeaderName::from_static("api-key");

pub(crate) struct Config {
    base_url: String,
    key: SecretString,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

impl Config {
    pub(crate) fn new(access: &Access) -> Self {
        let key = access.key.as_ref().map_or("", |key| key.expose());
        Self {
            base_url: access.base_url.trim_end_matches('/').to_owned(),
            key: SecretString::from(key),
        }
    }
}

impl async_openai::config::Config for Config {
    fn headers(&self) -> HeaderMap {
        let key = self.key.expose_secret();
        let mut headers = HeaderMap::new();
        let azure = host(&self.base_url).ends_with(".azure.com");
        let (name, value) = if azure {
            (AZURE_KEY, HeaderValue::from_str(key))
        } else {
            (AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {key}")))
        };
        if let Ok(mut value) = value
            && !key.is_empty()
        {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        headers
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        &self.base_url
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

/// The host that an address names.
pub(crate) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', ':', '?']).next().unwrap_or_default()
}
