//! Ways to tell people.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_alerts::{
    Attempt, Channel, ChannelKind, ChannelWish, ChatFlavour, Delivery, OpenedChannel, SmtpTls,
};
use muster_kernel::{AlertChannelId, AlertId, CustomerId, Secret, act};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Id, IfMatch, Json, ListAnswer, May, PageQuery, Query, etag};
use crate::{AppState, Problem};

/// Whose chat it is.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FlavourParameter {
    Slack,
    Mattermost,
    Teams,
    Discord,
}

/// How the way to a mail server is protected.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TlsParameter {
    Implicit,
    Starttls,
    None,
}

/// Where a channel leads.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum LeadsTo {
    /// An HTTP request with JSON that is signed by `Muster-Signature: t=SECONDS,v1=HEX`, the
    /// HMAC-SHA256 of `SECONDS.BODY` under the signing secret.
    Webhook { url: String },
    /// A message in a chat. Its address is a secret, and stays as it is when left out of a change.
    Chat {
        #[schema(inline)]
        flavour: FlavourParameter,
        url: Option<String>,
    },
    /// An e-mail. The password stays as it is when left out of a change.
    Email {
        host: String,
        port: u16,
        /// `implicit`, `starttls` (unless given) or `none`.
        #[schema(inline)]
        tls: Option<TlsParameter>,
        username: Option<String>,
        password: Option<String>,
        from: String,
        /// 1 to 50 addresses.
        to: Vec<String>,
    },
}

/// A way to tell people.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertChannelRequest {
    /// 1 to 200 printable characters.
    name: String,
    /// Whose it is for good; to be left out by whoever has one customer, and for the rules of all
    /// customers by whoever may see all.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    leads_to: LeadsTo,
    /// Whether anything is sent; `true` unless given.
    enabled: Option<bool>,
}

impl From<LeadsTo> for ChannelWish {
    fn from(leads_to: LeadsTo) -> Self {
        match leads_to {
            LeadsTo::Webhook { url } => Self::Webhook { url },
            LeadsTo::Chat { flavour, url } => Self::Chat {
                flavour: match flavour {
                    FlavourParameter::Slack => ChatFlavour::Slack,
                    FlavourParameter::Mattermost => ChatFlavour::Mattermost,
                    FlavourParameter::Teams => ChatFlavour::Teams,
                    FlavourParameter::Discord => ChatFlavour::Discord,
                },
                url: url.map(Secret::from_text),
            },
            LeadsTo::Email { host, port, tls, username, password, from, to } => Self::Email {
                host,
                port,
                tls: match tls {
                    Some(TlsParameter::Implicit) => SmtpTls::Implicit,
                    Some(TlsParameter::Starttls) | None => SmtpTls::Starttls,
                    Some(TlsParameter::None) => SmtpTls::None,
                },
                username,
                password: password.map(Secret::from_text),
                from,
                to,
            },
        }
    }
}

/// Where a channel leads, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum LeadsToAnswer {
    Webhook {
        url: String,
    },
    Chat {
        flavour: &'static str,
        /// The host in the address.
        host: String,
    },
    Email {
        host: String,
        port: u16,
        tls: &'static str,
        username: Option<String>,
        from: String,
        to: Vec<String>,
    },
}

impl From<ChannelKind> for LeadsToAnswer {
    fn from(kind: ChannelKind) -> Self {
        match kind {
            ChannelKind::Webhook { url } => Self::Webhook { url },
            ChannelKind::Chat { flavour, host } => {
                let flavour = match flavour {
                    ChatFlavour::Slack => "slack",
                    ChatFlavour::Mattermost => "mattermost",
                    ChatFlavour::Teams => "teams",
                    ChatFlavour::Discord => "discord",
                };
                Self::Chat { flavour, host }
            }
            ChannelKind::Email { host, port, tls, username, from, to } => {
                let tls = match tls {
                    SmtpTls::Implicit => "implicit",
                    SmtpTls::Starttls => "starttls",
                    SmtpTls::None => "none",
                };
                Self::Email { host, port, tls, username, from, to }
            }
        }
    }
}

/// A way to tell people.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertChannelAnswer {
    id: Uuid,
    name: String,
    customer_id: Option<Uuid>,
    leads_to: LeadsToAnswer,
    /// What messages to a webhook are signed with; shown when it was just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<String>,
    enabled: bool,
    /// The version, which `ETag` names as well.
    version: u32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Channel> for AlertChannelAnswer {
    fn from(channel: Channel) -> Self {
        Self {
            id: channel.id.as_uuid(),
            name: channel.name,
            customer_id: channel.customer_id.map(CustomerId::as_uuid),
            leads_to: channel.kind.into(),
            signing_secret: None,
            enabled: channel.enabled,
            version: channel.version,
            created_at: channel.created_at,
            updated_at: channel.updated_at,
        }
    }
}

impl From<OpenedChannel> for AlertChannelAnswer {
    fn from(opened: OpenedChannel) -> Self {
        let signing_secret = opened.signing_secret.map(|secret| secret.expose().to_owned());
        Self { signing_secret, ..opened.channel.into() }
    }
}

/// What came of one attempt to send a message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptAnswer {
    at: DateTime<Utc>,
    /// What the other side answered: an HTTP status, or the code of a mail server.
    status: Option<u16>,
    /// Why it failed; null when it did not.
    error: Option<String>,
}

/// A message and what came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryAnswer {
    id: Uuid,
    alert_id: Option<Uuid>,
    /// `alert.firing`, `alert.acknowledged`, `alert.resolved` or `test`.
    event: String,
    title: String,
    /// `pending`, `delivered` or `failed`.
    state: &'static str,
    /// When it is tried next; null when it is not.
    next_attempt_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    /// What came of the attempts until now, the oldest first.
    attempts: Vec<AttemptAnswer>,
}

impl From<Delivery> for DeliveryAnswer {
    fn from(delivery: Delivery) -> Self {
        let pending = delivery.state == muster_alerts::DeliveryState::Pending;
        let attempt = |Attempt { at, status, error }| AttemptAnswer { at, status, error };
        Self {
            id: delivery.id.as_uuid(),
            alert_id: delivery.alert_id.map(AlertId::as_uuid),
            event: delivery.message.event,
            title: delivery.message.title,
            state: delivery.state.as_str(),
            next_attempt_at: pending.then_some(delivery.due_at),
            created_at: delivery.created_at,
            attempts: delivery.attempts.into_iter().map(attempt).collect(),
        }
    }
}

fn respond(channel: Channel) -> HttpResponse {
    HttpResponse::Ok().insert_header(etag(channel.version)).json(AlertChannelAnswer::from(channel))
}

/// The channels, in the order of their creation.
#[utoipa::path(
    get, path = "/alerts/channels", tag = "alerts", operation_id = "list_alert_channels",
    params(PageQuery), responses((status = 200, body = ListAnswer<AlertChannelAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadAlertChannels>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let page = state.alerting.channels.list(&permit, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, AlertChannelAnswer::from)))
}

/// Make a channel. What a webhook is signed with is shown this once.
#[utoipa::path(
    post, path = "/alerts/channels", tag = "alerts", operation_id = "create_alert_channel",
    request_body = AlertChannelRequest,
    responses(
        (status = 201, body = AlertChannelAnswer, headers(("ETag"))),
        (status = 404, description = "no such customer"), (status = 422),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageAlertChannels>,
    body: Json<AlertChannelRequest>,
) -> Result<impl Responder, Problem> {
    let body = body.value().await?;
    let customer_id = body.customer_id.map(CustomerId::from_uuid);
    let (enabled, wish) = (body.enabled.unwrap_or(true), body.leads_to.into());
    let channels = &state.alerting.channels;
    let made = channels.create(&permit, customer_id, &body.name, enabled, wish).await?;
    let location = format!("/api/v1/alerts/channels/{}", made.channel.id);
    let mut answer = HttpResponse::Created();
    answer.insert_header((LOCATION, location)).insert_header((CACHE_CONTROL, "no-store"));
    answer.insert_header(etag(made.channel.version));
    Ok(answer.json(AlertChannelAnswer::from(made)))
}

/// One channel.
#[utoipa::path(
    get, path = "/alerts/channels/{id}", tag = "alerts", operation_id = "read_alert_channel",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = AlertChannelAnswer, headers(("ETag"))), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadAlertChannels>,
    id: Id<AlertChannelId>,
) -> Result<impl Responder, Problem> {
    Ok(respond(state.alerting.channels.get(&permit, id.get()?).await?))
}

/// Put another channel of the same kind in its place. Whose it is stays, whatever the body says,
/// and its secret where none is given.
#[utoipa::path(
    put, path = "/alerts/channels/{id}", tag = "alerts", operation_id = "update_alert_channel",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    request_body = AlertChannelRequest,
    responses(
        (status = 200, body = AlertChannelAnswer, headers(("ETag"))), (status = 404),
        (status = 412, description = "it is not the version any more that `If-Match` names"),
        (status = 422),
    ),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageAlertChannels>,
    id: Id<AlertChannelId>,
    expected: IfMatch,
    body: Json<AlertChannelRequest>,
) -> Result<impl Responder, Problem> {
    let body = body.value().await?;
    let (enabled, wish) = (body.enabled.unwrap_or(true), body.leads_to.into());
    let channels = &state.alerting.channels;
    let id = id.get()?;
    let changed = channels.replace(&permit, id, expected.0, &body.name, enabled, wish).await?;
    Ok(respond(changed))
}

/// Delete a channel. What has not arrived yet never will.
#[utoipa::path(
    delete, path = "/alerts/channels/{id}", tag = "alerts", operation_id = "delete_alert_channel",
    params(("id" = Uuid, Path)), responses((status = 204), (status = 404)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageAlertChannels>,
    id: Id<AlertChannelId>,
) -> Result<impl Responder, Problem> {
    state.alerting.channels.delete(&permit, id.get()?).await?;
    Ok(HttpResponse::NoContent())
}

/// Give a webhook another signing secret, which is shown this once. The old one is not used any
/// more.
#[utoipa::path(
    post, path = "/alerts/channels/{id}/rotate-secret", tag = "alerts",
    operation_id = "rotate_alert_channel_secret",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = AlertChannelAnswer), (status = 404),
        (status = 422, description = "it is no webhook"),
    ),
)]
pub(crate) async fn rotate(
    state: web::Data<AppState>,
    permit: May<act::ManageAlertChannels>,
    id: Id<AlertChannelId>,
) -> Result<impl Responder, Problem> {
    let opened = state.alerting.channels.rotate(&permit, id.get()?).await?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "no-store")).insert_header(etag(opened.channel.version));
    Ok(answer.json(AlertChannelAnswer::from(opened)))
}

/// Send a message that says that it is a test; the deliveries show what came of it.
#[utoipa::path(
    post, path = "/alerts/channels/{id}/test", tag = "alerts", operation_id = "test_alert_channel",
    params(("id" = Uuid, Path)), responses((status = 202, body = DeliveryAnswer), (status = 404)),
)]
pub(crate) async fn test(
    state: web::Data<AppState>,
    permit: May<act::ManageAlertChannels>,
    id: Id<AlertChannelId>,
) -> Result<impl Responder, Problem> {
    let delivery = state.alerting.channels.test(&permit, id.get()?).await?;
    let answer = web::Json(DeliveryAnswer::from(delivery));
    Ok(answer.customize().with_status(StatusCode::ACCEPTED))
}

/// What was and is sent through a channel, the newest first.
#[utoipa::path(
    get, path = "/alerts/channels/{id}/deliveries", tag = "alerts",
    operation_id = "list_alert_deliveries",
    params(("id" = Uuid, Path), PageQuery),
    responses((status = 200, body = ListAnswer<DeliveryAnswer>), (status = 404)),
)]
pub(crate) async fn deliveries(
    state: web::Data<AppState>,
    permit: May<act::ReadAlertChannels>,
    id: Id<AlertChannelId>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let page = page.0.try_into()?;
    let page = state.alerting.channels.deliveries(&permit, id.get()?, &page).await?;
    Ok(web::Json(ListAnswer::of(page, DeliveryAnswer::from)))
}
