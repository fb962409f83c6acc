//! Single sign-on with an OpenID Connect provider: discovery, the authorization code flow with
//! PKCE (S256) and a nonce, and ID tokens that a public key proves.
//!
//! [`OpenIdProvider`] asks nothing of the provider until somebody signs on, so that one which is
//! down stops nobody but those who would sign on with it.
#![deny(missing_docs)]

mod http;
mod provider;
mod refusal;
mod settings;

pub use provider::OpenIdProvider;
pub use settings::{InvalidSettings, OidcSettings};
