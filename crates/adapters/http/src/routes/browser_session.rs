//! Sessions of browsers: the refresh token is kept where no script of a page can read it.
//!
//! A page that sends `Muster-Session: cookie` gets the token as a cookie instead of in the body. The
//! header is also what keeps other sites away, beside `SameSite=Strict`: no form can send it, and
//! no page of another origin is allowed to.

use std::convert::Infallible;
use std::future::{Ready, ready};

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use muster_identity::SESSION_LIFETIME;
use muster_kernel::Secret;

use crate::AppState;

/// Says that the caller is a page that wants its session kept by the browser.
const HEADER: &str = "muster-session";
const COOKIE: &str = "muster_session";
/// The same under TLS: browsers take it from this very host only.
const HOST_COOKIE: &str = "__Host-muster_session";

/// Whether the browser keeps the session, and what it has kept.
#[derive(Debug)]
pub(crate) struct BrowserSession {
    wanted: bool,
    kept: Vec<(String, String)>,
}

impl FromRequest for BrowserSession {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let wanted = request.headers().get(HEADER).is_some_and(|value| value == "cookie");
        let kept = [COOKIE, HOST_COOKIE]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), request.cookie(name)?.value().to_owned())));
        ready(Ok(Self { wanted, kept: if wanted { kept.collect() } else { Vec::new() } }))
    }
}

impl BrowserSession {
    /// Whether the browser keeps it.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// The refresh token that the browser has kept.
    pub(crate) fn token(&self, state: &AppState) -> Option<Secret> {
        let (_, value) = self.kept.iter().find(|(name, _)| name == name_of(state))?;
        Some(Secret::from_text(value.clone()))
    }
}

fn name_of(state: &AppState) -> &'static str {
    if state.web.is_https() { HOST_COOKIE } else { COOKIE }
}

/// Has the browser keep a refresh token.
pub(crate) fn kept(state: &AppState, token: &str) -> Cookie<'static> {
    cookie(state, token.to_owned(), Duration::seconds(SESSION_LIFETIME.num_seconds()))
}

/// Has the browser forget it.
pub(crate) fn forgotten(state: &AppState) -> Cookie<'static> {
    cookie(state, String::new(), Duration::ZERO)
}

fn cookie(state: &AppState, value: String, lives: Duration) -> Cookie<'static> {
    Cookie::build(name_of(state), value)
        .path("/")
        .max_age(lives)
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(state.web.is_https())
        .finish()
}
