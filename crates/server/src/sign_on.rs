//! The identity provider that the settings name at the moment.

use std::sync::Arc;

use async_trait::async_trait;
use muster_identity::{Identified, PendingSignOn, SignOnError, SignOnStart, SingleSignOn};
use muster_kernel::{Clock, Secret, TokenHash};
use muster_oidc::{OidcSettings, OpenIdProvider};
use muster_settings::{Key, Settings};
use parking_lot::Mutex;

/// What to ask a provider for beside who it is.
const SCOPES: [&str; 2] = ["email", "profile"];

/// What a provider was made of: issuer, client id, the secret's hash.
type Made = (String, String, Option<TokenHash>);

/// The provider that the settings name: another one as soon as they name another.
#[derive(Debug)]
pub(crate) struct SettingsSignOn {
    settings: Arc<Settings>,
    redirect_url: String,
    clock: Arc<dyn Clock>,
    provider: Mutex<Option<(Made, Arc<OpenIdProvider>)>>,
}

impl SettingsSignOn {
    pub(crate) fn new(settings: Arc<Settings>, public_url: &str, clock: Arc<dyn Clock>) -> Self {
        let redirect_url = format!("{public_url}/api/v1/auth/oidc/callback");
        Self { settings, redirect_url, clock, provider: Mutex::default() }
    }

    async fn provider(&self) -> Result<Arc<OpenIdProvider>, SignOnError> {
        let unreachable = |error: &dyn std::error::Error| {
            SignOnError::Unreachable(format!("the settings can't be used: {error}"))
        };
        let issuer = self.settings.text(Key::OidcIssuer);
        let client_id = self.settings.text(Key::OidcClientId);
        if issuer.is_empty() || client_id.is_empty() {
            return Err(SignOnError::NotConfigured);
        }
        let secret = self.settings.secret(Key::OidcClientSecret).await;
        let secret = secret.map_err(|error| unreachable(&error))?;
        let client_secret = secret.filter(|secret| !secret.expose().is_empty());
        let made = (issuer, client_id, client_secret.as_ref().map(Secret::hash));
        if let Some((of, provider)) = &*self.provider.lock()
            && *of == made
        {
            return Ok(Arc::clone(provider));
        }
        let (issuer, client_id, _) = made.clone();
        let redirect_url = self.redirect_url.clone();
        let scopes = SCOPES.map(ToOwned::to_owned).into();
        let settings = OidcSettings { issuer, client_id, client_secret, redirect_url, scopes };
        let provider = OpenIdProvider::new(settings, Arc::clone(&self.clock));
        let provider = Arc::new(provider.map_err(|error| unreachable(&error))?);
        *self.provider.lock() = Some((made, Arc::clone(&provider)));
        Ok(provider)
    }
}

#[async_trait]
impl SingleSignOn for SettingsSignOn {
    async fn begin(&self) -> Result<SignOnStart, SignOnError> {
        self.provider().await?.begin().await
    }

    async fn finish(
        &self,
        code: &str,
        state: &str,
        pending: &PendingSignOn,
    ) -> Result<Identified, SignOnError> {
        self.provider().await?.finish(code, state, pending).await
    }
}
