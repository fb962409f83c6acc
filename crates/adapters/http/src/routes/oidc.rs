//! Single sign-on: away to the identity provider and back.

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, Responder, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muster_identity::{SIGN_ON_WITHIN, SignOnError, SignOnFailure};
use muster_kernel::{ProblemCode, Sealed};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::{TokenAnswer, user_agent};
use super::browser_session;
use crate::extract::{Query, Stranger};
use crate::{AppState, Problem};

/// Stands behind what is remembered, where the browser is to keep the session.
const FOR_BROWSERS: &str = ".browser";
/// Remembers in the browser what it was sent away with.
const COOKIE: &str = "muster_sign_on";
/// The same under TLS: browsers take it from this very host only.
const HOST_COOKIE: &str = "__Host-muster_sign_on";

fn cookie_name(state: &AppState) -> &'static str {
    if state.web.is_https() { HOST_COOKIE } else { COOKIE }
}

impl From<SignOnFailure> for Problem {
    fn from(error: SignOnFailure) -> Self {
        let text = error.to_string();
        match error {
            SignOnFailure::NotBegun | SignOnFailure::Unknown => {
                Self::new(ProblemCode::SignOnFailed, text)
            }
            SignOnFailure::Provider(SignOnError::NotConfigured) => {
                let detail = "single sign-on is not set up here; see the settings oidc_…";
                Self::new(ProblemCode::WrongState, detail)
            }
            // The cause is for the log: parts of it are the provider's words.
            SignOnFailure::Provider(SignOnError::Refused(_)) => {
                tracing::warn!(error.cause = text, "a sign-on was refused");
                let detail = "the identity provider's answer is not taken; the log says why";
                Self::new(ProblemCode::SignOnFailed, detail)
            }
            SignOnFailure::Provider(SignOnError::Unreachable(_)) => {
                tracing::error!(error.cause = text, "the identity provider can't be asked");
                let detail = "the identity provider can't be asked; the log says why";
                Self::new(ProblemCode::Unavailable, detail).retry_after(10)
            }
            SignOnFailure::SignIn(error) => error.into(),
            SignOnFailure::Storage(error) => error.into(),
        }
    }
}

fn cookie(state: &AppState, value: String, lives: Duration) -> Cookie<'static> {
    Cookie::build(cookie_name(state), value)
        .path("/")
        .max_age(lives)
        .http_only(true)
        // It has to come along when the provider sends the browser back.
        .same_site(SameSite::Lax)
        .secure(state.web.is_https())
        .finish()
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SignOnQuery {
    /// Whether the browser keeps the session and comes back to the dashboard; else the callback
    /// answers with the tokens.
    #[serde(default)]
    browser: bool,
}

/// Go to the identity provider to sign in.
#[utoipa::path(
    get, path = "/auth/oidc/login", tag = "auth", security(()), operation_id = "begin_sign_on",
    params(SignOnQuery),
    responses(
        (status = 302, description = "to the provider"),
        (status = 409, description = "single sign-on is not set up"),
        (status = 503, description = "the provider can't be asked"),
    ),
)]
pub(crate) async fn login(
    state: web::Data<AppState>,
    _: Stranger,
    query: Query<SignOnQuery>,
) -> Result<impl Responder, Problem> {
    let (url, remembered) = state.identity.begin_sign_on().await?;
    let value = URL_SAFE_NO_PAD.encode(remembered.0);
    let value = if query.0.browser { format!("{value}{FOR_BROWSERS}") } else { value };
    let lives = Duration::seconds(SIGN_ON_WITHIN.num_seconds());
    Ok(HttpResponse::Found()
        .insert_header((LOCATION, url))
        .cookie(cookie(&state, value, lives))
        .finish())
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CallbackQuery {
    /// What the provider exchanges for who it is.
    code: Option<String>,
    /// What this browser was sent away with.
    state: Option<String>,
    /// Why the provider vouches for nobody.
    error: Option<String>,
}

/// Come back from the identity provider.
#[utoipa::path(
    get, path = "/auth/oidc/callback", tag = "auth", security(()), operation_id = "finish_sign_on",
    params(CallbackQuery),
    responses(
        (status = 200, body = TokenAnswer),
        (status = 302, description = "to the dashboard, where the browser keeps the session"),
        (status = 401, description = "`SIGN_ON_FAILED`"),
        (status = 403, description = "`ACCOUNT_PENDING` or `ACCOUNT_DISABLED`"),
    ),
)]
pub(crate) async fn callback(
    state: web::Data<AppState>,
    stranger: Stranger,
    query: Query<CallbackQuery>,
    request: HttpRequest,
) -> Result<impl Responder, Problem> {
    let CallbackQuery { code, state: returned, error } = query.0;
    if let Some(error) = error {
        let detail = format!("the identity provider says: {error}");
        return Err(Problem::new(ProblemCode::SignOnFailed, detail));
    }
    let brought = request.cookie(cookie_name(&state));
    let brought = brought.map(|cookie| cookie.value().to_owned());
    let for_browser = brought.as_ref().is_some_and(|value| value.ends_with(FOR_BROWSERS));
    let brought = brought.and_then(|value| {
        let value = value.strip_suffix(FOR_BROWSERS).unwrap_or(&value);
        URL_SAFE_NO_PAD.decode(value).ok()
    });
    let (Some(code), Some(returned), Some(brought)) = (code, returned, brought) else {
        return Err(SignOnFailure::NotBegun.into());
    };
    let brought = Sealed(brought);
    let agent = user_agent(&request);
    let signed_in =
        state.identity.finish_sign_on(&code, &returned, &brought, agent, &stranger.0).await?;
    let forgotten = cookie(&state, String::new(), Duration::ZERO);
    if for_browser {
        let kept = browser_session::kept(&state, signed_in.refresh_token.expose());
        let home = (LOCATION, "/");
        return Ok(HttpResponse::Found()
            .insert_header(home)
            .cookie(forgotten)
            .cookie(kept)
            .finish());
    }
    Ok(HttpResponse::Ok().cookie(forgotten).json(TokenAnswer::from(signed_in)))
}
