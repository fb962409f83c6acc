//! What is watched for.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_alerts::{Condition, ConditionWish, Metric, Rule, RuleWish};
use muster_kernel::{AgentId, AlertChannelId, AlertRuleId, CustomerId, act};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{SeverityParameter, selector};
use crate::extract::{Id, IfMatch, Json, ListAnswer, May, PageQuery, Query, etag};
use crate::{AppState, Problem};

/// What is to be watched for, and who is told.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertRuleRequest {
    /// 1 to 200 printable characters.
    name: String,
    /// Whose machines, and whose it is for good; to be left out by whoever has one customer, and
    /// for all customers by whoever may see all.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    #[schema(inline)]
    severity: SeverityParameter,
    /// `offline`, `metric`, `failed_command`, `failed_run`, `failed_rollout`, `enrolment` or
    /// `new_admin`.
    #[schema(example = "offline")]
    kind: String,
    /// Of `metric`: `cpu`, `memory` or `disk`.
    metric: Option<String>,
    /// Of `metric`: above so many percent.
    above: Option<f64>,
    /// Of `offline` and `metric`: for so many seconds, 300 unless given, and at most 604800. Below
    /// a minute an agent that is started anew may be missed.
    for_seconds: Option<f64>,
    /// Of `metric`: it is over when it was below so many percent; what `above` says unless given.
    resolve_below: Option<f64>,
    /// Of `offline` and `metric`: it is over when it has been for so many seconds; 60 unless given.
    resolve_for_seconds: Option<f64>,
    /// Of `offline` and `metric`: after it was over the next alert of the same machine comes so
    /// many seconds later at the soonest; 300 unless given.
    cool_down_seconds: Option<f64>,
    /// Only these machines.
    agent_ids: Option<Vec<Uuid>>,
    /// Only machines with all of these tags.
    tags: Option<Vec<String>>,
    /// Only machines with this family of operating systems: `linux`, `windows`, `macos` or `other`.
    os_type: Option<String>,
    /// Where people are told: channels of the same customer, or of nobody in particular.
    channel_ids: Option<Vec<Uuid>>,
    /// Whether anything is watched for; `true` unless given.
    enabled: Option<bool>,
}

impl AlertRuleRequest {
    fn wish(self) -> (Option<CustomerId>, RuleWish) {
        let wish = RuleWish {
            name: self.name,
            severity: self.severity.into(),
            condition: ConditionWish {
                kind: self.kind,
                metric: self.metric,
                above: self.above,
                hold: self.for_seconds,
                resolve_below: self.resolve_below,
                resolve_for: self.resolve_for_seconds,
                cool_down: self.cool_down_seconds,
            },
            selector: selector(self.agent_ids, self.tags, self.os_type),
            channel_ids: self
                .channel_ids
                .unwrap_or_default()
                .into_iter()
                .map(AlertChannelId::from_uuid)
                .collect(),
            enabled: self.enabled.unwrap_or(true),
        };
        (self.customer_id.map(CustomerId::from_uuid), wish)
    }
}

/// What is watched for, and who is told.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertRuleAnswer {
    id: Uuid,
    name: String,
    customer_id: Option<Uuid>,
    severity: &'static str,
    kind: &'static str,
    metric: Option<&'static str>,
    above: Option<f64>,
    for_seconds: Option<f64>,
    resolve_below: Option<f64>,
    resolve_for_seconds: Option<f64>,
    cool_down_seconds: Option<f64>,
    agent_ids: Vec<Uuid>,
    tags: Vec<String>,
    os_type: Option<String>,
    channel_ids: Vec<Uuid>,
    enabled: bool,
    /// The version, which `ETag` names as well.
    version: u32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Rule> for AlertRuleAnswer {
    fn from(rule: Rule) -> Self {
        let condition = &rule.condition;
        let (metric, above, resolve_below) = match condition {
            Condition::Metric { metric, above, resolve_below, .. } => {
                (Some(Metric::as_str(*metric)), Some(*above), Some(*resolve_below))
            }
            _ => (None, None, None),
        };
        let times = match condition {
            Condition::Offline { hold, resolve_for, cool_down }
            | Condition::Metric { hold, resolve_for, cool_down, .. } => {
                Some([hold, resolve_for, cool_down].map(std::time::Duration::as_secs_f64))
            }
            _ => None,
        };
        let [for_seconds, resolve_for_seconds, cool_down_seconds] =
            times.map_or([None; 3], |times| times.map(Some));
        Self {
            id: rule.id.as_uuid(),
            name: rule.name,
            customer_id: rule.customer_id.map(CustomerId::as_uuid),
            severity: rule.severity.as_str(),
            kind: rule.condition.kind(),
            metric,
            above,
            for_seconds,
            resolve_below,
            resolve_for_seconds,
            cool_down_seconds,
            agent_ids: rule.selector.agent_ids.into_iter().map(AgentId::as_uuid).collect(),
            tags: rule.selector.tags.into_iter().collect(),
            os_type: rule.selector.os_type,
            channel_ids: rule.channel_ids.into_iter().map(AlertChannelId::as_uuid).collect(),
            enabled: rule.enabled,
            version: rule.version,
            created_at: rule.created_at,
            updated_at: rule.updated_at,
        }
    }
}

fn respond(rule: Rule) -> HttpResponse {
    HttpResponse::Ok().insert_header(etag(rule.version)).json(AlertRuleAnswer::from(rule))
}

/// The rules, in the order of their creation.
#[utoipa::path(
    get, path = "/alerts/rules", tag = "alerts", operation_id = "list_alert_rules",
    params(PageQuery), responses((status = 200, body = ListAnswer<AlertRuleAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadAlerts>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let page = state.alerting.rules.list(&permit, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, AlertRuleAnswer::from)))
}

/// Make a rule.
#[utoipa::path(
    post, path = "/alerts/rules", tag = "alerts", operation_id = "create_alert_rule",
    request_body = AlertRuleRequest,
    responses(
        (status = 201, body = AlertRuleAnswer, headers(("ETag"))),
        (status = 404, description = "no such customer"), (status = 422),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageAlertRules>,
    body: Json<AlertRuleRequest>,
) -> Result<impl Responder, Problem> {
    let (customer_id, wish) = body.value().await?.wish();
    let rule = state.alerting.rules.create(&permit, customer_id, wish).await?;
    let location = format!("/api/v1/alerts/rules/{}", rule.id);
    let mut answer = HttpResponse::Created();
    answer.insert_header((LOCATION, location)).insert_header(etag(rule.version));
    Ok(answer.json(AlertRuleAnswer::from(rule)))
}

/// One rule.
#[utoipa::path(
    get, path = "/alerts/rules/{id}", tag = "alerts", operation_id = "read_alert_rule",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = AlertRuleAnswer, headers(("ETag"))), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadAlerts>,
    id: Id<AlertRuleId>,
) -> Result<impl Responder, Problem> {
    Ok(respond(state.alerting.rules.get(&permit, id.get()?).await?))
}

/// Put another rule in its place. Whose it is stays, whatever the body says.
#[utoipa::path(
    put, path = "/alerts/rules/{id}", tag = "alerts", operation_id = "update_alert_rule",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    request_body = AlertRuleRequest,
    responses(
        (status = 200, body = AlertRuleAnswer, headers(("ETag"))), (status = 404),
        (status = 412, description = "it is not the version any more that `If-Match` names"),
        (status = 422),
    ),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageAlertRules>,
    id: Id<AlertRuleId>,
    expected: IfMatch,
    body: Json<AlertRuleRequest>,
) -> Result<impl Responder, Problem> {
    let (_, wish) = body.value().await?.wish();
    Ok(respond(state.alerting.rules.replace(&permit, id.get()?, expected.0, wish).await?))
}

/// Delete a rule. Its open alerts are resolved.
#[utoipa::path(
    delete, path = "/alerts/rules/{id}", tag = "alerts", operation_id = "delete_alert_rule",
    params(("id" = Uuid, Path)), responses((status = 204), (status = 404)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageAlertRules>,
    id: Id<AlertRuleId>,
) -> Result<impl Responder, Problem> {
    state.alerting.rules.delete(&permit, id.get()?).await?;
    Ok(HttpResponse::NoContent())
}
