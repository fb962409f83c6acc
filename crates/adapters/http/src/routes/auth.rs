//! Signing in and out.

use actix_web::http::header::{LOCATION, USER_AGENT};
use actix_web::{HttpRequest, HttpResponse, Responder, web};
use muster_identity::{
    ACCESS_TOKEN_LIFETIME, Attempt, Email, Locked, NewAccount, Password, SessionError, SignInError,
    SignedIn, User, Username, full_name,
};
use muster_kernel::{Action, Denied, Principal, ProblemCode, Secret, TenantScope, access, act};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::browser_session::{self, BrowserSession};
use crate::extract::{Json, May, Stranger};
use crate::{AppState, Problem};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginRequest {
    /// The user name, or an e-mail address.
    #[serde(alias = "email")]
    #[schema(example = "admin")]
    username: String,
    password: String,
    /// A code of the second factor, or a recovery code, for those who have one.
    totp_code: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisterRequest {
    /// 1 to 64 letters, digits, dots, underscores and hyphens.
    username: String,
    email: Option<String>,
    /// 8 to 72 bytes.
    password: String,
    full_name: Option<String>,
}

/// Somebody who waits for an admin's approval.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegisteredAnswer {
    user_id: Uuid,
    #[schema(example = "pending")]
    status: &'static str,
    message: &'static str,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshRequest {
    /// The refresh token of the last login or refresh; a browser that keeps it sends none.
    refresh_token: Option<String>,
}

/// A pair of tokens.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenAnswer {
    /// Opens the API; send it as `Authorization: Bearer`.
    access_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// Seconds for which the access token is good.
    expires_in: i64,
    /// Gets the next pair, once. With the header `Muster-Session: cookie` the browser keeps it, in a
    /// cookie that no script can read, and it is not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    user: UserAnswer,
}

/// A person who signs in.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserAnswer {
    id: Uuid,
    username: String,
    email: Option<String>,
    full_name: Option<String>,
    /// `viewer`, `operator` or `admin`.
    role: &'static str,
    /// `active`, `pending` or `disabled`.
    status: &'static str,
    /// The customers whose data they see; null for all.
    customer_ids: Option<Vec<Uuid>>,
    /// Whether they have a second factor.
    second_factor: bool,
    created_at: chrono::DateTime<chrono::Utc>,
}

impl From<User> for UserAnswer {
    fn from(user: User) -> Self {
        let customer_ids = match user.tenants() {
            TenantScope::All => None,
            TenantScope::Customers(ids) => Some(ids.iter().map(|id| id.as_uuid()).collect()),
        };
        Self {
            id: user.id.as_uuid(),
            username: user.username.as_str().to_owned(),
            email: user.email.map(|email| email.as_str().to_owned()),
            full_name: user.full_name,
            role: user.role.as_str(),
            status: user.status.as_str(),
            customer_ids,
            second_factor: user.has_second_factor,
            created_at: user.created_at,
        }
    }
}

/// Who asks, and what they may.
#[derive(Serialize, ToSchema)]
pub(crate) struct MeAnswer {
    #[serde(flatten)]
    user: UserAnswer,
    /// The session that asks.
    session_id: Uuid,
    /// What they may do, some of it only soon after `POST /auth/confirm`.
    #[schema(example = json!(["use_own_account", "read_agents", "run_commands"]))]
    permissions: Vec<String>,
}

fn permissions(principal: &Principal) -> Vec<String> {
    let allowed = |action: &&Action| {
        matches!(access::authorise(principal, **action), Ok(_) | Err(Denied::Unconfirmed))
    };
    Action::ALL.iter().filter(allowed).map(|action| snake_case(action.name())).collect()
}

fn snake_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

impl From<SignedIn> for TokenAnswer {
    fn from(signed_in: SignedIn) -> Self {
        Self {
            access_token: signed_in.access_token.expose().to_owned(),
            token_type: "bearer",
            expires_in: ACCESS_TOKEN_LIFETIME.num_seconds(),
            refresh_token: Some(signed_in.refresh_token.expose().to_owned()),
            user: signed_in.user.into(),
        }
    }
}

/// Answers with a pair of tokens, the second one for the page or for its browser.
pub(super) fn tokens(
    state: &AppState,
    browser: &BrowserSession,
    signed_in: SignedIn,
) -> HttpResponse {
    let mut answer = TokenAnswer::from(signed_in);
    let mut response = HttpResponse::Ok();
    if browser.is_wanted() {
        let token = answer.refresh_token.take().unwrap_or_default();
        response.cookie(browser_session::kept(state, &token));
    }
    response.json(answer)
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        let text = error.to_string();
        match error {
            SignInError::WrongCredentials => Self::new(ProblemCode::InvalidCredentials, text),
            SignInError::CodeRequired => Self::new(ProblemCode::SecondFactorRequired, text),
            SignInError::Pending => Self::new(ProblemCode::AccountPending, text),
            SignInError::Disabled => Self::new(ProblemCode::AccountDisabled, text),
            SignInError::Locked(locked) => locked.into(),
            SignInError::Storage(error) => error.into(),
        }
    }
}

impl From<Locked> for Problem {
    fn from(locked: Locked) -> Self {
        let seconds = u64::try_from(locked.0.num_seconds()).unwrap_or(0) + 1;
        Self::new(ProblemCode::TooManyRequests, locked.to_string()).retry_after(seconds)
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Invalid => Self::new(ProblemCode::Unauthenticated, error.to_string()),
            SessionError::NotFound => Self::new(ProblemCode::NotFound, error.to_string()),
            SessionError::Denied(denied) => denied.into(),
            SessionError::Storage(error) => error.into(),
        }
    }
}

/// Register; an admin has to approve before the first login.
#[utoipa::path(
    post, path = "/auth/register", tag = "auth", security(()), request_body = RegisterRequest,
    responses(
        (status = 201, body = RegisteredAnswer),
        (status = 403, description = "`REGISTRATION_CLOSED`"),
        (status = 409, description = "the name or the address is taken"),
    ),
)]
pub(crate) async fn register(
    state: web::Data<AppState>,
    stranger: Stranger,
    body: Json<RegisterRequest>,
) -> Result<impl Responder, Problem> {
    let body = body.value().await?;
    let wish = NewAccount {
        username: Username::parse(&body.username)?,
        email: body.email.as_deref().map(Email::parse).transpose()?,
        full_name: full_name(body.full_name.as_deref().unwrap_or_default())?,
        password: Password::parse(Secret::from_text(body.password))?,
    };
    let user = state.identity.register(wish, &stranger.0).await?;
    let location = format!("/api/v1/users/{}", user.id);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(RegisteredAnswer {
        user_id: user.id.as_uuid(),
        status: user.status.as_str(),
        message: "an admin has to approve the account before it can sign in",
    }))
}

/// Sign in.
#[utoipa::path(
    post, path = "/auth/login", tag = "auth", security(()), request_body = LoginRequest,
    params(("Muster-Session" = Option<String>, Header, description = "`cookie`: the browser keeps the refresh token")),
    responses(
        (status = 200, body = TokenAnswer),
        (status = 401, description = "`INVALID_CREDENTIALS` or `SECOND_FACTOR_REQUIRED`"),
        (status = 403, description = "`ACCOUNT_PENDING` or `ACCOUNT_DISABLED`"),
        (status = 429, description = "locked after too many failures"),
    ),
)]
pub(crate) async fn login(
    state: web::Data<AppState>,
    stranger: Stranger,
    browser: BrowserSession,
    request: HttpRequest,
    body: Json<LoginRequest>,
) -> Result<impl Responder, Problem> {
    let LoginRequest { username, password, totp_code } = body.value().await?;
    let attempt = Attempt {
        login: username,
        password: Secret::from_text(password),
        code: totp_code.map(Secret::from_text),
        user_agent: user_agent(&request),
        author: stranger.0,
    };
    Ok(tokens(&state, &browser, state.identity.sign_in(attempt).await?))
}

/// What the program calls itself.
pub(crate) fn user_agent(request: &HttpRequest) -> Option<String> {
    request.headers().get(USER_AGENT)?.to_str().ok().map(ToOwned::to_owned)
}

/// Get the next pair of tokens. A refresh token works once; its second use ends the session.
#[utoipa::path(
    post, path = "/auth/refresh", tag = "auth", security(()), request_body = RefreshRequest,
    params(("Muster-Session" = Option<String>, Header, description = "`cookie`: the browser keeps the refresh token")),
    responses((status = 200, body = TokenAnswer), (status = 401, description = "not good any more")),
)]
pub(crate) async fn refresh(
    state: web::Data<AppState>,
    stranger: Stranger,
    browser: BrowserSession,
    body: Json<RefreshRequest>,
) -> Result<impl Responder, Problem> {
    let given = body.body_or_default().await?.value.refresh_token.map(Secret::from_text);
    let missing = || Problem::invalid("/refresh_token", "the refresh token is expected");
    let token = match given {
        Some(token) => token,
        None if browser.is_wanted() => browser.token(&state).ok_or(SessionError::Invalid)?,
        None => return Err(missing()),
    };
    Ok(tokens(&state, &browser, state.identity.refresh(&token, &stranger.0).await?))
}

/// Sign out: the session and its tokens end at once.
#[utoipa::path(post, path = "/auth/logout", tag = "auth", responses((status = 204)))]
pub(crate) async fn logout(
    state: web::Data<AppState>,
    permit: May<act::UseOwnAccount>,
    browser: BrowserSession,
) -> Result<impl Responder, Problem> {
    state.identity.sign_out(&permit).await?;
    let mut response = HttpResponse::NoContent();
    if browser.is_wanted() {
        response.cookie(browser_session::forgotten(&state));
    }
    Ok(response)
}

/// Who am I, and what may I do.
#[utoipa::path(get, path = "/auth/me", tag = "auth", responses((status = 200, body = MeAnswer)))]
pub(crate) async fn me(
    state: web::Data<AppState>,
    permit: May<act::UseOwnAccount>,
) -> Result<impl Responder, Problem> {
    let (_, session) = permit.person()?;
    Ok(web::Json(MeAnswer {
        user: state.identity.me(&permit).await?.into(),
        session_id: session.as_uuid(),
        permissions: permissions(permit.principal()),
    }))
}
