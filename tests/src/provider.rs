//! An identity provider on loopback that speaks the real protocol: discovery, the authorization
//! code flow with PKCE, ID tokens signed with RSA. Tests make it lie.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// Muster's name at the provider.
pub const CLIENT_ID: &str = "muster-client";
/// Muster's secret at the provider.
pub const CLIENT_SECRET: &str = "client secret of the tests";

/// A way in which the provider, or somebody in its place, lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Lie {
    #[default]
    None,
    OtherAudience,
    OtherIssuer,
    OtherNonce,
    Expired,
    NotSigned,
    /// Signed with the client's secret, as if that were the key.
    SignedWithSecret,
    /// Signed with the public key as if it were a secret.
    SignedWithPublicKey,
    UnknownKey,
    /// Signed with another key under the known name.
    OtherKey,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::OtherAudience,
        Self::OtherIssuer,
        Self::OtherNonce,
        Self::Expired,
        Self::NotSigned,
        Self::SignedWithSecret,
        Self::SignedWithPublicKey,
        Self::UnknownKey,
        Self::OtherKey,
    ];
}

/// What was asked for under a code.
#[derive(Debug, Clone)]
struct Asked {
    nonce: String,
    challenge: String,
    redirect: String,
    subject: String,
    username: String,
}

struct State {
    issuer: String,
    key: KeyPair,
    stranger: KeyPair,
    codes: Mutex<HashMap<String, Asked>>,
    lie: Mutex<Lie>,
    who: Mutex<(String, String)>,
}

/// The provider.
pub struct Provider {
    state: Arc<State>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Provider({})", self.state.issuer)
    }
}

impl Provider {
    /// Starts it; it ends with the test's process.
    ///
    /// # Panics
    /// When there is no port left.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let key = || KeyPair::generate(KeySize::Rsa2048).unwrap();
        let state = Arc::new(State {
            issuer,
            key: key(),
            stranger: key(),
            codes: Mutex::default(),
            lie: Mutex::default(),
            who: Mutex::new(("subject-1".into(), "ann".into())),
        });
        let shared = web::Data::from(Arc::clone(&state));
        std::thread::spawn(move || {
            let server = HttpServer::new(move || {
                App::new()
                    .app_data(shared.clone())
                    .route("/.well-known/openid-configuration", web::get().to(discovery))
                    .route("/keys", web::get().to(keys))
                    .route("/authorize", web::get().to(authorize))
                    .route("/token", web::post().to(token))
            });
            let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
            actix_web::rt::System::new().block_on(server)
        });
        Self { state }
    }

    /// Its address.
    pub fn issuer(&self) -> &str {
        &self.state.issuer
    }

    /// From now on it lies like this.
    ///
    /// # Panics
    /// When another thread died of it.
    pub fn lie(&self, lie: Lie) {
        *self.state.lie.lock().unwrap() = lie;
    }

    /// From now on this is who signs in.
    ///
    /// # Panics
    /// When another thread died of it.
    pub fn is_used_by(&self, subject: &str, username: &str) {
        *self.state.who.lock().unwrap() = (subject.to_owned(), username.to_owned());
    }
}

async fn discovery(state: web::Data<State>) -> HttpResponse {
    let issuer = &state.issuer;
    HttpResponse::Ok().json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    }))
}

async fn keys(state: web::Data<State>) -> HttpResponse {
    let public: PublicKeyComponents<Vec<u8>> = state.key.public_key().into();
    HttpResponse::Ok().json(json!({ "keys": [{
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "key-1",
        "n": URL_SAFE_NO_PAD.encode(public.n), "e": URL_SAFE_NO_PAD.encode(public.e),
    }] }))
}

type Form = web::Query<HashMap<String, String>>;

async fn authorize(state: web::Data<State>, asked: Form) -> HttpResponse {
    assert_eq!((&*asked["client_id"], &*asked["response_type"]), (CLIENT_ID, "code"));
    assert_eq!(asked["code_challenge_method"], "S256");
    assert!(asked["scope"].split(' ').any(|scope| scope == "openid"));
    let code = format!("{:032x}", rand::random::<u128>());
    let (subject, username) = state.who.lock().unwrap().clone();
    let known = Asked {
        nonce: asked["nonce"].clone(),
        challenge: asked["code_challenge"].clone(),
        redirect: asked["redirect_uri"].clone(),
        subject,
        username,
    };
    state.codes.lock().unwrap().insert(code.clone(), known);
    let back = format!("{}?code={code}&state={}", asked["redirect_uri"], asked["state"]);
    HttpResponse::Found().insert_header(("Location", back)).finish()
}

async fn token(
    state: web::Data<State>,
    request: HttpRequest,
    form: web::Form<HashMap<String, String>>,
) -> HttpResponse {
    let refuse = |why: &str| HttpResponse::BadRequest().json(json!({ "error": why }));
    let credential = STANDARD.encode(format!("{CLIENT_ID}:{}", CLIENT_SECRET.replace(' ', "+")));
    let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if shown != Some(&format!("Basic {credential}")) {
        return refuse("invalid_client");
    }
    // Each code is good once.
    let Some(asked) = state.codes.lock().unwrap().remove(&form["code"]) else {
        return refuse("invalid_grant");
    };
    let verifier = digest::digest(&digest::SHA256, form["code_verifier"].as_bytes());
    let proved = URL_SAFE_NO_PAD.encode(verifier.as_ref()) == asked.challenge;
    if !proved || form["redirect_uri"] != asked.redirect {
        return refuse("invalid_grant");
    }
    HttpResponse::Ok().json(json!({
        "access_token": "opaque", "token_type": "Bearer", "expires_in": 300,
        "id_token": id_token(&state, &asked),
    }))
}

fn id_token(state: &State, asked: &Asked) -> String {
    let lie = *state.lie.lock().unwrap();
    let unless = |is: Lie, truth: &str| if lie == is { "another" } else { truth }.to_owned();
    let now = crate::now().timestamp();
    let issuer = if lie == Lie::OtherIssuer { "http://127.0.0.1:1" } else { &state.issuer };
    let payload = json!({
        "iss": issuer,
        "aud": unless(Lie::OtherAudience, CLIENT_ID),
        "nonce": unless(Lie::OtherNonce, &asked.nonce),
        "sub": asked.subject,
        "iat": now - 7200,
        "exp": if lie == Lie::Expired { now - 3600 } else { now + 300 },
        "preferred_username": asked.username,
        "email": format!("{}@example.org", asked.username),
        "email_verified": true,
    });
    let kid = unless(Lie::UnknownKey, "key-1");
    let algorithm = match lie {
        Lie::NotSigned => "none",
        Lie::SignedWithSecret | Lie::SignedWithPublicKey => "HS256",
        _ => "RS256",
    };
    let header = json!({ "alg": algorithm, "typ": "JWT", "kid": kid });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", encode(&header), encode(&payload));
    let signature = match lie {
        Lie::NotSigned => Vec::new(),
        Lie::SignedWithSecret => mac(CLIENT_SECRET.as_bytes(), &text),
        Lie::SignedWithPublicKey => mac(state.key.public_key().as_ref(), &text),
        Lie::OtherKey => sign(&state.stranger, &text),
        _ => sign(&state.key, &text),
    };
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn sign(key: &KeyPair, text: &str) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
    signature
}
