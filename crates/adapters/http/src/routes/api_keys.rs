//! Customers' keys.

use std::collections::BTreeSet;

use actix_web::http::header::{CONTENT_DISPOSITION, HeaderName, LOCATION};
use actix_web::{HttpRequest, HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use muster_customers::{ApiKey, CustomersError, Name, NewKey, Once};
use muster_kernel::{ApiKeyId, CustomerId, KeyScope, Permit, Timestamp, act};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Body, Id, IdempotencyKey, Json, ListAnswer, May, PageQuery, Query};
use crate::{AppState, Problem, network};

/// The id of the key that was made for a downloaded file.
const FILE_KEY: HeaderName = HeaderName::from_static("x-api-key-id");

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, ToSchema)]
pub(crate) enum ScopeParameter {
    #[serde(rename = "agents:read")]
    AgentsRead,
    #[serde(rename = "agents:write")]
    AgentsWrite,
    #[serde(rename = "agents:enrol")]
    AgentsEnrol,
    #[serde(rename = "commands:run")]
    CommandsRun,
    #[serde(rename = "commands:run-saved")]
    CommandsRunSaved,
    #[serde(rename = "scripts:read")]
    ScriptsRead,
    #[serde(rename = "scripts:write")]
    ScriptsWrite,
    #[serde(rename = "profiles:apply")]
    ProfilesApply,
}

impl From<ScopeParameter> for KeyScope {
    fn from(scope: ScopeParameter) -> Self {
        match scope {
            ScopeParameter::AgentsRead => Self::AgentsRead,
            ScopeParameter::AgentsWrite => Self::AgentsWrite,
            ScopeParameter::AgentsEnrol => Self::AgentsEnrol,
            ScopeParameter::CommandsRun => Self::CommandsRun,
            ScopeParameter::CommandsRunSaved => Self::CommandsRunSaved,
            ScopeParameter::ScriptsRead => Self::ScriptsRead,
            ScopeParameter::ScriptsWrite => Self::ScriptsWrite,
            ScopeParameter::ProfilesApply => Self::ProfilesApply,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRequest {
    /// What it is for.
    name: String,
    /// What it may be used for; at least one.
    #[schema(inline)]
    scopes: BTreeSet<ScopeParameter>,
    /// Networks and addresses from which it may be used; from everywhere when there are none.
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    #[schema(example = json!(["203.0.113.0/24", "2001:db8::1"]))]
    allowed_networks: Vec<String>,
    /// From this instant on it opens nothing.
    expires_at: Option<DateTime<Utc>>,
}

/// A customer's key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyAnswer {
    id: Uuid,
    customer_id: Uuid,
    name: String,
    /// The last characters of the key.
    hint: String,
    /// `active`, `expired` or `revoked`.
    status: &'static str,
    scopes: Vec<&'static str>,
    /// From everywhere when there are none.
    allowed_networks: Vec<String>,
    /// Whether it is the one that `generate-api-key` made.
    is_default: bool,
    created_by: Uuid,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    /// To the minute.
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    /// The key itself, shown when it is created and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
}

impl KeyAnswer {
    fn of(key: ApiKey, now: Timestamp) -> Self {
        Self {
            id: key.id.as_uuid(),
            customer_id: key.customer_id.as_uuid(),
            status: key.state(now).as_str(),
            name: key.name.as_str().to_owned(),
            hint: key.hint,
            scopes: key.scopes.into_iter().map(KeyScope::as_str).collect(),
            allowed_networks: key.allowed.iter().map(ToString::to_string).collect(),
            is_default: key.is_default,
            created_by: key.created_by.as_uuid(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
            api_key: None,
        }
    }
}

fn networks(texts: &[String]) -> Result<Vec<IpNet>, Problem> {
    let read = |(index, text): (usize, &String)| {
        network(text).ok_or_else(|| {
            let rule = "a network such as 203.0.113.0/24, or an address, is expected";
            Problem::invalid(format!("/allowed_networks/{index}"), rule)
        })
    };
    texts.iter().enumerate().map(read).collect()
}

fn once(
    permit: &Permit<act::ManageApiKeys>,
    customer: CustomerId,
    place: &str,
    key: IdempotencyKey,
    fingerprint: [u8; 32],
) -> Result<Option<Once>, Problem> {
    let (user, _) = permit.person()?;
    let scope = || format!("{user}/customers/{customer}/{place}");
    Ok(key.0.map(|key| Once { scope: scope(), key, fingerprint }))
}

/// The customer's keys, the newest first.
#[utoipa::path(
    get, path = "/customers/{id}/api-keys", tag = "API keys", operation_id = "list_api_keys",
    params(("id" = Uuid, Path), PageQuery),
    responses((status = 200, body = ListAnswer<KeyAnswer>), (status = 404)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadApiKeys>,
    id: Id<CustomerId>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let page = state.api_keys.list(&permit, id.get()?, &page.0.try_into()?).await?;
    let now = state.clock.now();
    Ok(web::Json(ListAnswer::of(page, |key| KeyAnswer::of(key, now))))
}

/// Create a key. The key itself is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/customers/{id}/api-keys", tag = "API keys", operation_id = "create_api_key",
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = KeyRequest,
    responses((status = 201, body = KeyAnswer), (status = 404, description = "no such customer")),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageApiKeys>,
    id: Id<CustomerId>,
    key: IdempotencyKey,
    body: Json<KeyRequest>,
) -> Result<impl Responder, Problem> {
    let Body { value, fingerprint } = body.body().await?;
    let once = once(&permit, id.get()?, "api-keys", key, fingerprint)?;
    let wish = NewKey {
        customer_id: id.get()?,
        name: Name::parse(&value.name)?,
        scopes: value.scopes.into_iter().map(Into::into).collect(),
        allowed: networks(&value.allowed_networks)?,
        expires_at: value.expires_at,
    };
    let minted = state.api_keys.create(&permit, wish, once).await?;
    let location = format!("/api/v1/customers/{}/api-keys/{}", id.get()?, minted.key.id);
    let answer = KeyAnswer {
        api_key: Some(minted.secret.expose().to_owned()),
        ..KeyAnswer::of(minted.key, state.clock.now())
    };
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(answer))
}

/// Revoke a key: it opens nothing any more, at once.
#[utoipa::path(
    delete, path = "/customers/{id}/api-keys/{key_id}", tag = "API keys",
    operation_id = "revoke_named_api_key",
    params(("id" = Uuid, Path), ("key_id" = Uuid, Path)),
    responses((status = 204), (status = 404)),
)]
pub(crate) async fn revoke(
    state: web::Data<AppState>,
    permit: May<act::ManageApiKeys>,
    id: Id<CustomerId>,
    request: HttpRequest,
) -> Result<impl Responder, Problem> {
    let key: Option<ApiKeyId> =
        request.match_info().get("key_id").and_then(|text| text.parse().ok());
    let key = key.ok_or(CustomersError::KeyNotFound)?;
    state.api_keys.revoke(&permit, id.get()?, key).await?;
    Ok(HttpResponse::NoContent())
}

/// The customer's new default key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GeneratedAnswer {
    customer_uuid: Uuid,
    /// Shown this once.
    #[schema(example = "sk_…")]
    api_key: String,
    message: &'static str,
}

/// Make the customer's default key, with every scope. The one before it opens nothing any more.
#[utoipa::path(
    post, path = "/customers/{id}/generate-api-key", tag = "API keys",
    operation_id = "generate_api_key",
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = GeneratedAnswer), (status = 404)),
)]
pub(crate) async fn generate(
    state: web::Data<AppState>,
    permit: May<act::ManageApiKeys>,
    id: Id<CustomerId>,
    key: IdempotencyKey,
) -> Result<impl Responder, Problem> {
    let once = once(&permit, id.get()?, "generate-api-key", key, [0; 32])?;
    let minted = state.api_keys.generate_default(&permit, id.get()?, once).await?;
    Ok(web::Json(GeneratedAnswer {
        customer_uuid: id.get()?.as_uuid(),
        api_key: minted.secret.expose().to_owned(),
        message: "API key generated successfully",
    }))
}

/// That a key was revoked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevokedAnswer {
    customer_uuid: Uuid,
    message: &'static str,
}

/// Revoke the customer's default key.
#[utoipa::path(
    post, path = "/customers/{id}/revoke-api-key", tag = "API keys",
    operation_id = "revoke_api_key", params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = RevokedAnswer), (status = 404),
        (status = 409, description = "`NO_API_KEY`"),
    ),
)]
pub(crate) async fn revoke_default(
    state: web::Data<AppState>,
    permit: May<act::ManageApiKeys>,
    id: Id<CustomerId>,
) -> Result<impl Responder, Problem> {
    state.api_keys.revoke_default(&permit, id.get()?).await?;
    let message = "API key revoked successfully; keys in downloaded files are revoked one by one, \
         see api-keys";
    Ok(web::Json(RevokedAnswer { customer_uuid: id.get()?.as_uuid(), message }))
}

/// What is known of a customer's default key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InfoAnswer {
    customer_uuid: Uuid,
    has_api_key: bool,
    api_key_created_at: Option<DateTime<Utc>>,
    api_key_last_used: Option<DateTime<Utc>>,
}

/// What is known of the customer's default key.
#[utoipa::path(
    get, path = "/customers/{id}/api-key-info", tag = "API keys", operation_id = "api_key_info",
    params(("id" = Uuid, Path)), responses((status = 200, body = InfoAnswer), (status = 404)),
)]
pub(crate) async fn info(
    state: web::Data<AppState>,
    permit: May<act::ReadApiKeys>,
    id: Id<CustomerId>,
) -> Result<impl Responder, Problem> {
    let key = state.api_keys.default_key(&permit, id.get()?).await?;
    let known = key.unwrap_or_default();
    Ok(web::Json(InfoAnswer {
        customer_uuid: id.get()?.as_uuid(),
        has_api_key: key.is_some(),
        api_key_created_at: known.created_at,
        api_key_last_used: known.last_used_at,
    }))
}

/// Download `id.ini` for Remote Agent Manager's agents. Keys are kept as hashes, so the file holds
/// a key that was made for it, with which machines enrol and nothing else is done; `X-API-Key-Id`
/// names it.
#[utoipa::path(
    get, path = "/customers/{id}/download-config", tag = "API keys",
    operation_id = "download_config", params(("id" = Uuid, Path)),
    responses(
        (status = 200, content((String = "text/plain"))), (status = 404),
        (status = 409, description = "`NO_API_KEY`"),
    ),
)]
pub(crate) async fn download(
    state: web::Data<AppState>,
    permit: May<act::ManageApiKeys>,
    id: Id<CustomerId>,
) -> Result<impl Responder, Problem> {
    let minted = state.api_keys.for_download(&permit, id.get()?).await?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"id.ini\""))
        .insert_header((FILE_KEY, minted.key.id.to_string()))
        .body(id_ini(id.get()?, minted.secret.expose())))
}

/// The file as Remote Agent Manager prints it.
fn id_ini(customer: CustomerId, key: &str) -> String {
    format!(
        "# Remote Agent Configuration File\n\
         # Copy this file to id.ini and update with your actual values\n\
         \n\
         # Customer UUID - Required\n\
         # This identifies your customer account\n\
         customer_id = {customer}\n\
         \n\
         # API Key - Required for authentication\n\
         # Format: sk_<random_string>\n\
         # Get this from your admin via POST /api/customers/{{customer_uuid}}/generate-api-key\n\
         api_key = {key}\n\
         \n\
         # Agent Configuration - Optional\n\
         # These will be auto-detected if not specified\n\
         hostname = AUTO_DETECT\n\
         ip_address = AUTO_DETECT\n\
         port = 3002\n\
         version = 1.0.0\n\
         \n\
         # Capabilities - Optional\n\
         # List of what this agent can do\n\
         capabilities = [\"command_execution\", \"file_transfer\", \"system_monitoring\"]\n"
    )
}
