//! The audit log.

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_ENCODING, ContentEncoding};
use actix_web::{HttpResponse, Responder, web};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use muster_audit::{AuditError, AuditFilter, Entry, Link};
use muster_kernel::{CustomerId, act};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::extract::{ListAnswer, May, PageQuery, Query};
use crate::{AppState, Problem};

/// After how many entries it is looked whether whoever exports them still may.
const LOOK_AFTER: usize = 1000;

impl From<AuditError> for Problem {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Storage(error) => error.into(),
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Only what this user, key or agent did.
    actor_id: Option<Uuid>,
    /// Only this action; with a dot at its end, such as `customer.`, all that begin so.
    action: Option<String>,
    /// Only what was done to this kind of thing.
    resource_kind: Option<String>,
    /// Only what was done to this thing.
    resource_id: Option<Uuid>,
    /// Only what was done to things of this customer.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// Only what was done at this instant or later.
    from: Option<DateTime<Utc>>,
    /// Only what was done before this instant.
    to: Option<DateTime<Utc>>,
}

/// Who did something.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActorAnswer {
    /// `user`, `api_key`, `agent`, `enrollment_token`, `anonymous` or `system`.
    kind: String,
    id: Option<Uuid>,
    /// What they were called then.
    name: Option<String>,
}

/// To what something was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResourceAnswer {
    #[schema(example = "customer")]
    kind: String,
    id: Uuid,
    /// Whose it is.
    customer_id: Option<Uuid>,
}

/// Something that was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntryAnswer {
    /// Its place in the log.
    seq: u64,
    at: DateTime<Utc>,
    actor: ActorAnswer,
    /// From which address.
    address: Option<String>,
    /// By which request, as `X-Request-Id` named it.
    request_id: Option<String>,
    #[schema(example = "customer.update")]
    action: String,
    resource: ResourceAnswer,
    /// What was another before.
    #[schema(schema_with = super::settings::any_value)]
    before: Option<Value>,
    /// What is another now, or more about it.
    #[schema(schema_with = super::settings::any_value)]
    after: Option<Value>,
}

impl From<Entry> for EntryAnswer {
    fn from(entry: Entry) -> Self {
        // What was tampered with may be no JSON any more, and is shown as it is.
        let json = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self {
            seq: entry.seq,
            at: entry.at,
            actor: ActorAnswer {
                kind: entry.actor_kind,
                id: entry.actor_id,
                name: entry.actor_name,
            },
            address: entry.address,
            request_id: entry.request_id,
            action: entry.action,
            resource: ResourceAnswer {
                kind: entry.resource_kind,
                id: entry.resource_id,
                customer_id: entry.customer_id.map(CustomerId::as_uuid),
            },
            before: entry.before.map(json),
            after: entry.after.map(json),
        }
    }
}

/// The log, the newest first.
#[utoipa::path(
    get, path = "/audit", tag = "audit", operation_id = "list_audit",
    params(AuditQuery, PageQuery), responses((status = 200, body = ListAnswer<EntryAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadAudit>,
    query: Query<AuditQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let query = query.0;
    let filter = AuditFilter {
        actor_id: query.actor_id,
        action: query.action,
        resource_kind: query.resource_kind,
        resource_id: query.resource_id,
        customer_id: query.customer_id.map(CustomerId::from_uuid),
        from: query.from,
        to: query.to,
    };
    let page = state.audit.list(&permit, &filter, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, EntryAnswer::from)))
}

/// What came of verifying the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportAnswer {
    /// Whether everything is as it was written.
    intact: bool,
    /// How many entries were checked, when it is.
    checked: Option<u64>,
    /// The oldest entry that is kept.
    first: u64,
    /// The newest entry.
    last: u64,
    /// The newest entry's MAC. Kept elsewhere, it shows whether the database was put back.
    last_mac: String,
    /// The first entry with which something is wrong.
    broken: Option<BrokenAnswer>,
}

/// Where the log was tampered with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BrokenAnswer {
    seq: u64,
    /// `changed`, `missing`, `foreign`, or `head` when nobody can say where the log begins and
    /// ends.
    flaw: &'static str,
}

/// Verify the log from its first entry to its last.
#[utoipa::path(
    get, path = "/audit/verify", tag = "audit", operation_id = "verify_audit",
    responses((status = 200, body = ReportAnswer)),
)]
pub(crate) async fn verify(
    state: web::Data<AppState>,
    permit: May<act::ReadAudit>,
) -> Result<impl Responder, Problem> {
    let report = state.audit.verify(&permit).await?;
    let broken = report.outcome.err();
    Ok(web::Json(ReportAnswer {
        intact: broken.is_none(),
        checked: report.outcome.ok(),
        first: report.head.first,
        last: report.head.last,
        last_mac: report.head.last_mac.to_string(),
        broken: broken.map(|broken| BrokenAnswer { seq: broken.seq, flaw: broken.flaw.as_str() }),
    }))
}

/// An entry and what chains it to the one before.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LineAnswer {
    #[serde(flatten)]
    entry: EntryAnswer,
    /// HMAC-SHA-256 over the entry and the MAC before it, in hex.
    mac: String,
}

fn written(link: Link) -> Result<Bytes, Problem> {
    let answer = LineAnswer { mac: link.mac.to_string(), entry: link.entry.into() };
    let mut bytes = serde_json::to_vec(&answer).map_err(|error| {
        tracing::error!(error.cause = %error, "an entry could not be written");
        Problem::of_status(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR)
    })?;
    bytes.push(b'\n');
    Ok(bytes.into())
}

/// The whole log, the oldest entry first, as JSON Lines.
#[utoipa::path(
    get, path = "/audit/export", tag = "audit", operation_id = "export_audit",
    responses((status = 200, content((LineAnswer = "application/jsonl")))),
)]
pub(crate) async fn export(
    state: web::Data<AppState>,
    permit: May<act::ReadAudit>,
) -> Result<impl Responder, Problem> {
    let links = state.audit.export(&permit).await?;
    let body = links.chunks(LOOK_AFTER).then(move |links| {
        let (permit, state) = (permit.clone(), state.clone());
        async move {
            // A long export ends with the session that asked for it.
            let may = permit.still(&state).await.map(|_| ());
            let body = links.into_iter().map(|link| written(link.map_err(Problem::from)?));
            stream::iter(match may {
                Ok(()) => body.collect::<Vec<_>>(),
                Err(problem) => vec![Err(problem)],
            })
        }
    });
    Ok(HttpResponse::Ok()
        .content_type("application/jsonl")
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"audit.jsonl\""))
        .insert_header((CONTENT_ENCODING, ContentEncoding::Identity))
        .streaming(body.flatten()))
}
