//! The provider behind the port.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_identity::{Identified, PendingSignOn, SignOnError, SignOnStart, SingleSignOn};
use muster_kernel::{Clock, Secret, Timestamp};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdToken, CoreIdTokenClaims,
    CoreIdTokenVerifier, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreUserInfoClaims,
};
use openidconnect::{
    AccessToken, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret,
    CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, LocalizedClaim, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    SignatureVerificationError, TokenResponse,
};
use parking_lot::Mutex;

use crate::http::Http;
use crate::refusal::{chain, of_configuration, of_discovery, of_exchange, of_user_info, refused};
use crate::settings::{InvalidSettings, OidcSettings, is_protected};

/// How long the provider's word about itself and its keys is taken for true.
const FRESH: TimeDelta = TimeDelta::hours(1);

/// What a token may be signed with. What is not here is refused: no signature at all, and every
/// algorithm whose key somebody else than the provider knows.
const ASYMMETRIC: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Made of a provider's metadata: there is somewhere to send browsers to, and there may be a
/// token endpoint and one that tells more about people.
type KnownClient = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// What the provider says about itself, its keys included.
#[derive(Clone)]
struct Known {
    metadata: Arc<CoreProviderMetadata>,
    since: Timestamp,
}

/// One OpenID Connect provider.
pub struct OpenIdProvider {
    settings: OidcSettings,
    issuer: IssuerUrl,
    redirect: RedirectUrl,
    http: Http,
    clock: Arc<dyn Clock>,
    known: Mutex<Option<Known>>,
}

impl fmt::Debug for OpenIdProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenIdProvider({})", self.issuer.as_str())
    }
}

impl OpenIdProvider {
    /// The provider that `settings` name. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`InvalidSettings`] for addresses that are none, and for an issuer that is neither https
    /// nor on this machine.
    pub fn new(settings: OidcSettings, clock: Arc<dyn Clock>) -> Result<Self, InvalidSettings> {
        let address = settings.issuer.clone();
        let issuer = IssuerUrl::new(settings.issuer.clone())
            .map_err(|source| InvalidSettings::Issuer { address, source })?;
        if !is_protected(issuer.url()) {
            return Err(InvalidSettings::Unprotected(settings.issuer));
        }
        let address = settings.redirect_url.clone();
        let redirect = RedirectUrl::new(settings.redirect_url.clone())
            .map_err(|source| InvalidSettings::Redirect { address, source })?;
        let http = Http::new().map_err(InvalidSettings::Connections)?;
        Ok(Self { settings, issuer, redirect, http, clock, known: Mutex::default() })
    }

    /// What the provider says about itself, asked at most once in [`FRESH`].
    async fn metadata(&self) -> Result<Arc<CoreProviderMetadata>, SignOnError> {
        let now = self.clock.now();
        let known = self.known.lock().clone();
        match known.filter(|known| (now - known.since).abs() < FRESH) {
            Some(known) => Ok(known.metadata),
            None => self.discover().await,
        }
    }

    /// Asks now. Several may at the same time: better than to wait for one that gets no answer.
    async fn discover(&self) -> Result<Arc<CoreProviderMetadata>, SignOnError> {
        let since = self.clock.now();
        let found = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.http).await;
        let metadata = Arc::new(found.map_err(|error| of_discovery(&error))?);
        let place = metadata.authorization_endpoint();
        if !is_protected(place.url()) {
            let why = format!("{} is neither https nor on this machine", place.as_str());
            return Err(SignOnError::Unreachable(why));
        }
        *self.known.lock() = Some(Known { metadata: Arc::clone(&metadata), since });
        Ok(metadata)
    }

    fn client_id(&self) -> ClientId {
        ClientId::new(self.settings.client_id.clone())
    }

    fn client(&self, metadata: &CoreProviderMetadata) -> KnownClient {
        use CoreClientAuthMethod::{ClientSecretBasic, ClientSecretPost};

        let secret = self.settings.client_secret.as_ref();
        let secret = secret.map(|secret| ClientSecret::new(secret.expose().to_owned()));
        let only_posted = metadata.token_endpoint_auth_methods_supported().is_some_and(|methods| {
            methods.contains(&ClientSecretPost) && !methods.contains(&ClientSecretBasic)
        });
        let auth = if only_posted { AuthType::RequestBody } else { AuthType::BasicAuth };
        CoreClient::from_provider_metadata(metadata.clone(), self.client_id(), secret)
            .set_redirect_uri(self.redirect.clone())
            .set_auth_type(auth)
    }

    /// What `token` says, if the provider signed it for us, in answer to `nonce`, and it is good
    /// now.
    fn verify<'t>(
        &self,
        token: &'t CoreIdToken,
        metadata: &CoreProviderMetadata,
        nonce: &Nonce,
    ) -> Result<&'t CoreIdTokenClaims, ClaimsVerificationError> {
        let clock = Arc::clone(&self.clock);
        // As if we had no secret: it must never be what proves a token.
        let verifier = CoreIdTokenVerifier::new_public_client(
            self.client_id(),
            self.issuer.clone(),
            metadata.jwks().clone(),
        )
        .set_allowed_algs(ASYMMETRIC)
        .set_time_fn(move || clock.now());
        let claims = token.claims(&verifier, nonce)?;
        let party = claims.authorized_party();
        if party.is_some_and(|party| **party != self.settings.client_id) {
            let why = "the token was made for another party".to_owned();
            return Err(ClaimsVerificationError::InvalidAudience(why));
        }
        if claims.subject().is_empty() {
            let why = "the token names nobody".to_owned();
            return Err(ClaimsVerificationError::InvalidSubject(why));
        }
        Ok(claims)
    }

    /// Fills in what the token left out. Many providers tell mail addresses and names only at an
    /// endpoint of their own.
    async fn complete(
        &self,
        who: Identified,
        client: &KnownClient,
        claims: &CoreIdTokenClaims,
        token: &AccessToken,
    ) -> Result<Identified, SignOnError> {
        // The token becomes a header's value, which not every text can be.
        let presentable = token.secret().bytes().all(|byte| byte.is_ascii_graphic());
        if who.email.is_some() || client.user_info_url().is_none() || !presentable {
            return Ok(who);
        }
        // The subject is compared: another's answer is refused.
        let request = client
            .user_info(token.clone(), Some(claims.subject().clone()))
            .map_err(|error| of_configuration(&error))?;
        let more: CoreUserInfoClaims =
            request.request_async(&self.http).await.map_err(|error| of_user_info(&error))?;
        Ok(Identified {
            email: text(more.email()),
            email_verified: more.email_verified() == Some(true),
            username: who.username.or_else(|| text(more.preferred_username())),
            full_name: who.full_name.or_else(|| name(more.name())),
            ..who
        })
    }
}

#[async_trait]
impl SingleSignOn for OpenIdProvider {
    async fn begin(&self) -> Result<SignOnStart, SignOnError> {
        let client = self.client(&*self.metadata().await?);
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let scopes = self.settings.scopes.iter().filter(|scope| *scope != "openid");
        let (url, state, nonce) = client
            .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
            .add_scopes(scopes.cloned().map(Scope::new))
            .set_pkce_challenge(challenge)
            .url();
        let pending = PendingSignOn {
            state: Secret::from_text(state.into_secret()),
            nonce: Secret::from_text(nonce.secret()),
            verifier: Secret::from_text(verifier.into_secret()),
        };
        Ok(SignOnStart { url: url.into(), pending })
    }

    async fn finish(
        &self,
        code: &str,
        state: &str,
        pending: &PendingSignOn,
    ) -> Result<Identified, SignOnError> {
        // Hashes are compared: how soon they differ tells nothing about the state.
        if Secret::from_text(state).hash() != pending.state.hash() {
            return Err(refused("the state is not the one that was sent"));
        }
        let metadata = self.metadata().await?;
        let client = self.client(&metadata);
        let answer = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| of_configuration(&error))?
            .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.expose().to_owned()))
            .request_async(&self.http)
            .await
            .map_err(|error| of_exchange(&error))?;
        let token = answer.id_token().ok_or_else(|| refused("the provider gave no ID token"))?;
        let nonce = Nonce::new(pending.nonce.expose().to_owned());
        let claims = match self.verify(token, &metadata, &nonce) {
            // The provider may have a new key. Nobody but itself can make us ask again, for the
            // token comes from it directly.
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            )) => self.verify(token, &*self.discover().await?, &nonce),
            verified => verified,
        };
        let claims = claims.map_err(|error| refused(chain(&error)))?;
        let who = Identified {
            issuer: self.settings.issuer.clone(),
            subject: claims.subject().to_string(),
            email: text(claims.email()),
            email_verified: claims.email().is_some() && claims.email_verified() == Some(true),
            username: text(claims.preferred_username()),
            full_name: name(claims.name()),
        };
        self.complete(who, &client, claims, answer.access_token()).await
    }
}

/// A claim's text; an empty one says nothing.
fn text(claim: Option<&impl Deref<Target = String>>) -> Option<String> {
    claim.map(|claim| claim.deref().clone()).filter(|text| !text.is_empty())
}

/// The name in no language in particular, else in whichever there is.
fn name<T: Deref<Target = String>>(claim: Option<&LocalizedClaim<T>>) -> Option<String> {
    let claim = claim?;
    text(claim.get(None).or_else(|| claim.iter().next().map(|(_, name)| name)))
}
