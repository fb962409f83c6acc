//! Signing in and out.

use actix_web::{HttpResponse, Responder, web};
use muster_identity::{ACCESS_TOKEN_LIFETIME, SessionError, SignInError, SignedIn, User};
use muster_kernel::{Action, ProblemCode, Secret, TenantScope};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Caller, Json};
use crate::{AppState, Problem};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginRequest {
    /// The user name, or an e-mail address.
    #[serde(alias = "email")]
    #[schema(example = "admin")]
    username: String,
    password: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshRequest {
    /// The refresh token of the last login or refresh.
    refresh_token: String,
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
    /// Gets the next pair, once.
    refresh_token: String,
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
            created_at: user.created_at,
        }
    }
}

impl From<SignedIn> for TokenAnswer {
    fn from(signed_in: SignedIn) -> Self {
        Self {
            access_token: signed_in.access_token.expose().to_owned(),
            token_type: "bearer",
            expires_in: ACCESS_TOKEN_LIFETIME.num_seconds(),
            refresh_token: signed_in.refresh_token.expose().to_owned(),
            user: signed_in.user.into(),
        }
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        let text = error.to_string();
        match error {
            SignInError::WrongCredentials => Self::new(ProblemCode::InvalidCredentials, text),
            SignInError::Pending => Self::new(ProblemCode::AccountPending, text),
            SignInError::Disabled => Self::new(ProblemCode::AccountDisabled, text),
            SignInError::Locked(locked) => {
                let seconds = u64::try_from(locked.0.num_seconds()).unwrap_or(0) + 1;
                Self::new(ProblemCode::TooManyRequests, text).retry_after(seconds)
            }
            SignInError::Storage(error) => error.into(),
        }
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Invalid => Self::new(ProblemCode::Unauthenticated, error.to_string()),
            SessionError::Storage(error) => error.into(),
        }
    }
}

/// Sign in.
#[utoipa::path(
    post, path = "/auth/login", tag = "auth", security(()), request_body = LoginRequest,
    responses(
        (status = 200, body = TokenAnswer),
        (status = 401, description = "`INVALID_CREDENTIALS`"),
        (status = 403, description = "`ACCOUNT_PENDING` or `ACCOUNT_DISABLED`"),
        (status = 429, description = "locked after too many failures"),
    ),
)]
pub(crate) async fn login(
    state: web::Data<AppState>,
    body: Json<LoginRequest>,
) -> Result<impl Responder, Problem> {
    let LoginRequest { username, password } = body.value;
    let signed_in = state.identity.sign_in(&username, Secret::from_text(password)).await?;
    Ok(web::Json(TokenAnswer::from(signed_in)))
}

/// Get the next pair of tokens. A refresh token works once; its second use ends the session.
#[utoipa::path(
    post, path = "/auth/refresh", tag = "auth", security(()), request_body = RefreshRequest,
    responses((status = 200, body = TokenAnswer), (status = 401, description = "not good any more")),
)]
pub(crate) async fn refresh(
    state: web::Data<AppState>,
    body: Json<RefreshRequest>,
) -> Result<impl Responder, Problem> {
    let token = Secret::from_text(body.value.refresh_token);
    Ok(web::Json(TokenAnswer::from(state.identity.refresh(&token).await?)))
}

/// Sign out: the session and its tokens end at once.
#[utoipa::path(post, path = "/auth/logout", tag = "auth", responses((status = 204)))]
pub(crate) async fn logout(
    state: web::Data<AppState>,
    caller: Caller,
) -> Result<impl Responder, Problem> {
    let (_, session_id, _) = caller.user(Action::UseOwnAccount)?;
    state.identity.sign_out(session_id).await?;
    Ok(HttpResponse::NoContent())
}

/// Who am I.
#[utoipa::path(get, path = "/auth/me", tag = "auth", responses((status = 200, body = UserAnswer)))]
pub(crate) async fn me(
    state: web::Data<AppState>,
    caller: Caller,
) -> Result<impl Responder, Problem> {
    let (user_id, _, _) = caller.user(Action::UseOwnAccount)?;
    Ok(web::Json(UserAnswer::from(state.identity.user(user_id).await?)))
}
