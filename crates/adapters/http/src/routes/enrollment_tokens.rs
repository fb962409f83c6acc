//! Enrollment tokens.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_customers::{EnrollmentToken, Name, NewToken, Once};
use muster_kernel::{CustomerId, EnrollmentTokenId, GroupId, Tags, Timestamp, act};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Body, Id, IdempotencyKey, Json, ListAnswer, May, PageQuery, Query};
use crate::{AppState, Problem};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRequest {
    /// Whose machines it lets in.
    #[serde(alias = "customer_uuid")]
    customer_id: Uuid,
    /// What it is for.
    name: String,
    /// From this instant on it lets nobody in.
    expires_at: Option<DateTime<Utc>>,
    /// How many machines it lets in; 1 unless given, null for any number.
    #[serde(default = "one")]
    max_uses: Option<u32>,
    /// Tags that every machine gets that it lets in.
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    tags: Vec<String>,
    /// Groups without a filter that every machine is put into that it lets in.
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    group_ids: Vec<Uuid>,
}

#[expect(clippy::unnecessary_wraps, reason = "it is the default of an optional field")]
const fn one() -> Option<u32> {
    Some(1)
}

/// What lets machines in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenAnswer {
    id: Uuid,
    customer_id: Uuid,
    name: String,
    /// `active`, `expired`, `used_up` or `revoked`.
    status: &'static str,
    created_by: Uuid,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    /// How many machines it lets in; null for any number.
    max_uses: Option<u32>,
    /// How many it has let in.
    uses: u32,
    /// Tags that every machine gets that it lets in.
    tags: Vec<String>,
    /// Groups that every machine is put into that it lets in.
    group_ids: Vec<Uuid>,
    /// The secret itself, shown when it is created and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl TokenAnswer {
    fn of(token: &EnrollmentToken, now: Timestamp) -> Self {
        Self {
            status: token.state(now).as_str(),
            id: token.id.as_uuid(),
            customer_id: token.customer_id.as_uuid(),
            name: token.name.as_str().to_owned(),
            created_by: token.created_by.as_uuid(),
            created_at: token.created_at,
            expires_at: token.expires_at,
            max_uses: token.max_uses,
            uses: token.uses,
            tags: token.tags.iter().map(ToOwned::to_owned).collect(),
            group_ids: token.group_ids.iter().map(|id| id.as_uuid()).collect(),
            token: None,
        }
    }
}

/// The enrollment tokens, the newest first.
#[utoipa::path(
    get, path = "/enrollment-tokens", tag = "enrollment tokens",
    operation_id = "list_enrollment_tokens", params(PageQuery),
    responses((status = 200, body = ListAnswer<TokenAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadEnrollmentTokens>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let page = state.enrollment_tokens.list(&permit, &page.0.try_into()?).await?;
    let now = state.clock.now();
    Ok(web::Json(ListAnswer::of(page, |token| TokenAnswer::of(&token, now))))
}

/// Create an enrollment token. Its secret is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/enrollment-tokens", tag = "enrollment tokens",
    operation_id = "create_enrollment_token", request_body = TokenRequest,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = TokenAnswer), (status = 404, description = "no such customer")),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageEnrollmentTokens>,
    key: IdempotencyKey,
    body: Json<TokenRequest>,
) -> Result<impl Responder, Problem> {
    let Body { value, fingerprint } = body.body().await?;
    let (user_id, _) = permit.person()?;
    let once = key.0.map(|key| {
        let scope = format!("{user_id}/enrollment-tokens");
        Once { scope, key, fingerprint }
    });
    let customer_id = CustomerId::from_uuid(value.customer_id);
    state.customers.require(&permit, customer_id).await?;
    let group_ids = value.group_ids.into_iter().map(GroupId::from_uuid).collect();
    state.groups.check_joinable(&permit, Some(customer_id), &group_ids).await?;
    let wish = NewToken {
        customer_id,
        name: Name::parse(&value.name)?,
        expires_at: value.expires_at,
        max_uses: value.max_uses,
        tags: Tags::parse(value.tags)?,
        group_ids,
    };
    let minted = state.enrollment_tokens.create(&permit, wish, once).await?;
    let location = format!("/api/v1/enrollment-tokens/{}", minted.token.id);
    let answer = TokenAnswer {
        token: Some(minted.secret.expose().to_owned()),
        ..TokenAnswer::of(&minted.token, state.clock.now())
    };
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(answer))
}

/// One enrollment token, without its secret.
#[utoipa::path(
    get, path = "/enrollment-tokens/{id}", tag = "enrollment tokens",
    operation_id = "read_enrollment_token", params(("id" = Uuid, Path)),
    responses((status = 200, body = TokenAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadEnrollmentTokens>,
    id: Id<EnrollmentTokenId>,
) -> Result<impl Responder, Problem> {
    let token = state.enrollment_tokens.get(&permit, id.get()?).await?;
    Ok(web::Json(TokenAnswer::of(&token, state.clock.now())))
}

/// Revoke an enrollment token: it lets nobody in any more.
#[utoipa::path(
    delete, path = "/enrollment-tokens/{id}", tag = "enrollment tokens",
    operation_id = "revoke_enrollment_token", params(("id" = Uuid, Path)),
    responses((status = 204), (status = 404)),
)]
pub(crate) async fn revoke(
    state: web::Data<AppState>,
    permit: May<act::ManageEnrollmentTokens>,
    id: Id<EnrollmentTokenId>,
) -> Result<impl Responder, Problem> {
    state.enrollment_tokens.revoke(&permit, id.get()?).await?;
    Ok(HttpResponse::NoContent())
}
