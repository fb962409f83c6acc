//! Signed-in devices, and what proves anew who sits there.

use actix_web::{HttpRequest, HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_identity::{CONFIRMED_FOR, Session, TICKET_LIFETIME};
use muster_kernel::{Secret, SessionId, act};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::extract::{Id, Json, ListAnswer, May, Query};
use crate::{AppState, Problem};

/// A signed-in device.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionAnswer {
    id: Uuid,
    /// Whether it is the one that asks.
    current: bool,
    created_at: DateTime<Utc>,
    /// When its tokens were last renewed.
    renewed_at: DateTime<Utc>,
    /// When it ends unless it is renewed.
    expires_at: DateTime<Utc>,
    /// From where it was signed in.
    address: Option<String>,
    /// What the program called itself.
    user_agent: Option<String>,
}

impl SessionAnswer {
    fn of(session: Session, asking: SessionId) -> Self {
        Self {
            id: session.id.as_uuid(),
            current: session.id == asking,
            created_at: session.created_at,
            renewed_at: session.renewed_at,
            expires_at: session.expires_at,
            address: session.address,
            user_agent: session.user_agent,
        }
    }
}

/// My signed-in devices, the newest first.
#[utoipa::path(
    get, path = "/auth/sessions", tag = "auth", operation_id = "list_sessions",
    responses((status = 200, body = ListAnswer<SessionAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::UseOwnAccount>,
) -> Result<impl Responder, Problem> {
    let (_, asking) = permit.person()?;
    let sessions = state.identity.sessions(&permit).await?;
    let items = sessions.into_iter().map(|session| SessionAnswer::of(session, asking)).collect();
    Ok(web::Json(ListAnswer::whole(items)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EndQuery {
    /// Let the session that asks go on.
    #[serde(default)]
    others_only: bool,
}

/// How many sessions were ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct EndedAnswer {
    ended: u64,
}

/// Sign out everywhere, or everywhere else.
#[utoipa::path(
    delete, path = "/auth/sessions", tag = "auth", operation_id = "end_sessions",
    params(EndQuery), responses((status = 200, body = EndedAnswer)),
)]
pub(crate) async fn end_all(
    state: web::Data<AppState>,
    permit: May<act::UseOwnAccount>,
    query: Query<EndQuery>,
) -> Result<impl Responder, Problem> {
    let ended = state.identity.end_sessions(&permit, query.0.others_only).await?;
    Ok(web::Json(EndedAnswer { ended }))
}

/// Sign one of my devices out: its tokens open nothing any more, at once.
#[utoipa::path(
    delete, path = "/auth/sessions/{id}", tag = "auth", operation_id = "end_session",
    params(("id" = Uuid, Path)), responses((status = 204), (status = 404)),
)]
pub(crate) async fn end(
    state: web::Data<AppState>,
    permit: May<act::UseOwnAccount>,
    id: Id<SessionId>,
) -> Result<impl Responder, Problem> {
    state.identity.end_session(&permit, id.get()?).await?;
    Ok(HttpResponse::NoContent())
}

/// One of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmRequest {
    password: Option<String>,
    /// A code of the second factor, or a recovery code.
    totp_code: Option<String>,
}

/// That it was confirmed who sits there.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConfirmedAnswer {
    /// Seconds for which what needs it is allowed.
    expires_in: i64,
}

/// Show the password or the second factor again. What would outlive a stolen session (users,
/// customers' keys, settings) takes this, or a fresh login.
#[utoipa::path(
    post, path = "/auth/confirm", tag = "auth", request_body = ConfirmRequest,
    responses(
        (status = 200, body = ConfirmedAnswer),
        (status = 401, description = "`INVALID_CREDENTIALS`"),
        (status = 422, description = "neither password nor totp_code"),
        (status = 429, description = "locked after too many failures"),
    ),
)]
pub(crate) async fn confirm(
    state: web::Data<AppState>,
    permit: May<act::UseOwnAccount>,
    request: HttpRequest,
    body: Json<ConfirmRequest>,
) -> Result<impl Responder, Problem> {
    permit.count_proof(&request, &state).await?;
    let ConfirmRequest { password, totp_code } = body.value().await?;
    if password.is_none() && totp_code.is_none() {
        return Err(Problem::invalid("/password", "password or totp_code is expected"));
    }
    let (password, code) = (password.map(Secret::from_text), totp_code.map(Secret::from_text));
    state.identity.confirm(&permit, password, code).await?;
    Ok(web::Json(ConfirmedAnswer { expires_in: CONFIRMED_FOR.num_seconds() }))
}

/// What opens one event stream or WebSocket.
#[derive(Serialize, ToSchema)]
pub(crate) struct TicketAnswer {
    /// To be sent as `?ticket=`, where a page can send no header.
    ticket: String,
    /// Seconds for which it waits to be used.
    expires_in: i64,
}

/// Get a ticket: it opens one event stream or WebSocket in my name, once, within half a minute.
#[utoipa::path(
    post, path = "/auth/tickets", tag = "auth", operation_id = "create_ticket",
    responses((status = 201, body = TicketAnswer)),
)]
pub(crate) async fn ticket(
    state: web::Data<AppState>,
    permit: May<act::UseOwnAccount>,
) -> Result<impl Responder, Problem> {
    let ticket = state.identity.ticket(&permit).await?;
    Ok(HttpResponse::Created().json(TicketAnswer {
        ticket: ticket.expose().to_owned(),
        expires_in: TICKET_LIFETIME.num_seconds(),
    }))
}
