//! One's own account: profile, password, second factor.

use actix_web::{HttpRequest, HttpResponse, Responder, web};
use muster_identity::{
    AccountError, Email, FactorError, InvalidUser, Password, ProfileChange, full_name,
};
use muster_kernel::{ProblemCode, Secret, act};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::UserAnswer;
use crate::extract::{Json, May};
use crate::{AppState, Problem};

impl From<InvalidUser> for Problem {
    fn from(error: InvalidUser) -> Self {
        Self::invalid(format!("/{}", error.field), error.rule)
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        let text = error.to_string();
        match error {
            AccountError::Closed => Self::new(ProblemCode::RegistrationClosed, text),
            AccountError::Taken => Self::new(ProblemCode::AlreadyExists, text),
            AccountError::WrongPassword => Self::new(ProblemCode::InvalidCredentials, text),
            AccountError::Locked(locked) => locked.into(),
            AccountError::Invalid(error) => error.into(),
            AccountError::Gone => Self::new(ProblemCode::Unauthenticated, text),
            AccountError::LastAdmin(_) => Self::new(ProblemCode::LastAdmin, text),
            AccountError::Denied(denied) => denied.into(),
            AccountError::Storage(error) => error.into(),
        }
    }
}

impl From<FactorError> for Problem {
    fn from(error: FactorError) -> Self {
        let text = error.to_string();
        match error {
            FactorError::Wrong => Self::new(ProblemCode::InvalidCredentials, text),
            FactorError::Present | FactorError::Absent => Self::new(ProblemCode::WrongState, text),
            FactorError::Locked(locked) => locked.into(),
            FactorError::Denied(denied) => denied.into(),
            FactorError::Storage(error) => error.into(),
        }
    }
}

/// My profile.
#[utoipa::path(
    get, path = "/users/profile", tag = "auth", operation_id = "read_profile",
    responses((status = 200, body = UserAnswer)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::UseOwnAccount>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(UserAnswer::from(state.identity.me(&permit).await?)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileRequest {
    /// An empty text removes the address.
    email: Option<String>,
    /// An empty text removes the name.
    full_name: Option<String>,
}

/// Change my profile; what is left out stays.
#[utoipa::path(
    put, path = "/users/profile", tag = "auth", operation_id = "update_profile",
    request_body = ProfileRequest,
    responses((status = 200, body = UserAnswer), (status = 409, description = "address taken")),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::UseOwnAccount>,
    body: Json<ProfileRequest>,
) -> Result<impl Responder, Problem> {
    let body = body.value().await?;
    let email = match body.email.as_deref().map(str::trim) {
        Some("") => Some(None),
        Some(text) => Some(Some(Email::parse(text)?)),
        None => None,
    };
    let full_name = body.full_name.as_deref().map(full_name).transpose()?;
    let change = ProfileChange { email, full_name };
    Ok(web::Json(UserAnswer::from(state.identity.change_profile(&permit, change).await?)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordRequest {
    current_password: String,
    /// 8 to 72 bytes.
    new_password: String,
}

/// Change my password; all of my other sessions end.
#[utoipa::path(
    post, path = "/users/change-password", tag = "auth", operation_id = "change_password",
    request_body = PasswordRequest,
    responses((status = 204), (status = 401, description = "the present password is wrong")),
)]
pub(crate) async fn change_password(
    state: web::Data<AppState>,
    permit: May<act::SecureOwnAccount>,
    request: HttpRequest,
    body: Json<PasswordRequest>,
) -> Result<impl Responder, Problem> {
    permit.count_proof(&request, &state).await?;
    let body = body.value().await?;
    let new = Password::parse(Secret::from_text(body.new_password))
        .map_err(|error| Problem::invalid("/new_password", error.rule))?;
    let current = Secret::from_text(body.current_password);
    state.identity.change_password(&permit, current, new).await?;
    Ok(HttpResponse::NoContent())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeginRequest {
    /// Those who sign in elsewhere have none.
    password: Option<String>,
}

/// What a device needs to show codes.
#[derive(Serialize, ToSchema)]
pub(crate) struct FactorAnswer {
    /// To be typed in, base32.
    secret: String,
    /// To be shown as a QR code.
    #[schema(example = "otpauth://totp/Muster:ann?secret=…&issuer=Muster")]
    uri: String,
}

/// Begin to set up a second factor. Nobody is asked for it before it was confirmed.
#[utoipa::path(
    post, path = "/auth/totp", tag = "auth", operation_id = "begin_second_factor",
    request_body = BeginRequest,
    responses(
        (status = 200, body = FactorAnswer),
        (status = 401, description = "the password is wrong"),
        (status = 409, description = "there is one already"),
    ),
)]
pub(crate) async fn begin_second_factor(
    state: web::Data<AppState>,
    permit: May<act::SecureOwnAccount>,
    request: HttpRequest,
    body: Json<BeginRequest>,
) -> Result<impl Responder, Problem> {
    permit.count_proof(&request, &state).await?;
    let password = body.value().await?.password.map(Secret::from_text);
    let begun = state.identity.begin_second_factor(&permit, password).await?;
    Ok(web::Json(FactorAnswer {
        secret: begun.secret.expose().to_owned(),
        uri: begun.uri.expose().to_owned(),
    }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeRequest {
    /// What the device shows, or where it says so a recovery code.
    code: String,
}

/// What signs in when the device is lost.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecoveryAnswer {
    /// Each is good once. They are shown this once.
    recovery_codes: Vec<String>,
}

/// Confirm the second factor with a code: from now on one is needed to sign in.
#[utoipa::path(
    post, path = "/auth/totp/confirm", tag = "auth", operation_id = "confirm_second_factor",
    request_body = CodeRequest,
    responses(
        (status = 200, body = RecoveryAnswer),
        (status = 401, description = "the code is wrong"),
        (status = 409, description = "there is none to confirm"),
    ),
)]
pub(crate) async fn confirm_second_factor(
    state: web::Data<AppState>,
    permit: May<act::SecureOwnAccount>,
    request: HttpRequest,
    body: Json<CodeRequest>,
) -> Result<impl Responder, Problem> {
    permit.count_proof(&request, &state).await?;
    let code = Secret::from_text(body.value().await?.code);
    let codes = state.identity.confirm_second_factor(&permit, &code).await?;
    let recovery_codes = codes.iter().map(|code| code.expose().to_owned()).collect();
    Ok(web::Json(RecoveryAnswer { recovery_codes }))
}

/// Take the second factor away, for one of its codes or a recovery code.
#[utoipa::path(
    delete, path = "/auth/totp", tag = "auth", operation_id = "remove_second_factor",
    request_body = CodeRequest,
    responses(
        (status = 204),
        (status = 401, description = "the code is wrong"),
        (status = 409, description = "there is none"),
    ),
)]
pub(crate) async fn remove_second_factor(
    state: web::Data<AppState>,
    permit: May<act::SecureOwnAccount>,
    request: HttpRequest,
    body: Json<CodeRequest>,
) -> Result<impl Responder, Problem> {
    permit.count_proof(&request, &state).await?;
    let code = Secret::from_text(body.value().await?.code);
    state.identity.remove_second_factor(&permit, code).await?;
    Ok(HttpResponse::NoContent())
}
