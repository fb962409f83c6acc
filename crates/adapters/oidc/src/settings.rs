//! What an administrator says about the provider.

use muster_kernel::Secret;
use openidconnect::url::{Host, ParseError};
use reqwest::Url;

/// How the provider and Muster know each other.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// The provider's address, to the letter as it is in its tokens.
    pub issuer: String,
    /// Muster's name at the provider.
    pub client_id: String,
    /// What proves that it is Muster who asks, if the provider gave it something.
    pub client_secret: Option<Secret>,
    /// Where the provider sends browsers back to, as it is registered there.
    pub redirect_url: String,
    /// What to ask for beside `openid`; `email` and `profile` are usual.
    pub scopes: Vec<String>,
}

/// Why settings are not taken.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    /// Not the address of a provider.
    #[error("the issuer `{address}` is no address")]
    Issuer {
        /// What was given.
        address: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Whoever is on the way could say who somebody is.
    #[error("the issuer `{0}` must begin with https:// (http:// is for this machine's own)")]
    Unprotected(String),
    /// Not an address to send a browser to.
    #[error("the redirect address `{address}` is no address")]
    Redirect {
        /// What was given.
        address: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// No connection can be made at all, to nobody.
    #[error("there is no way to make protected connections")]
    Connections(#[source] reqwest::Error),
}

/// Whether nobody on the way can read or change what is said there.
pub(crate) fn is_protected(url: &Url) -> bool {
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_are_protected() {
        let protected = |text: &str| is_protected(&Url::parse(text).unwrap());
        for good in
            ["https://id.example/x", "http://127.0.0.1:80", "http://[::1]", "http://localhost"]
        {
            assert!(protected(good), "{good}");
        }
        for bad in
            ["http://id.example", "http://10.0.0.1", "http://localhost.id.example", "ftp://::1"]
                .into_iter()
                .filter(|text| Url::parse(text).is_ok())
        {
            assert!(!protected(bad), "{bad}");
        }
    }
}
