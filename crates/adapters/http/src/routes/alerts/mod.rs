//! Alerts, their rules, the channels that they are sent through, and maintenance windows.

pub(super) mod channels;
pub(super) mod rules;
pub(super) mod windows;

use std::collections::BTreeSet;

use actix_web::{Responder, web};
use chrono::{DateTime, Utc};
use muster_alerts::{
    Alert, AlertFilter, AlertsError, Change, InvalidAlert, Selector, Severity, State,
};
use muster_kernel::{AgentId, AlertId, AlertRuleId, CustomerId, ProblemCode, act};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::extract::{Id, ListAnswer, May, PageQuery, Query};
use crate::{AppState, Problem};

impl From<InvalidAlert> for Problem {
    fn from(error: InvalidAlert) -> Self {
        Self::invalid(format!("/{}", error.field), error.rule)
    }
}

impl From<AlertsError> for Problem {
    fn from(error: AlertsError) -> Self {
        let text = error.to_string();
        match error {
            AlertsError::NotFound(_) => Self::new(ProblemCode::NotFound, text),
            AlertsError::Stale => Self::new(ProblemCode::PreconditionFailed, text),
            AlertsError::WrongStep(_) => Self::new(ProblemCode::WrongState, text),
            AlertsError::Denied(denied) => denied.into(),
            AlertsError::Invalid(error) => error.into(),
            AlertsError::Storage(error) => error.into(),
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SeverityParameter {
    Info,
    Warning,
    Critical,
}

impl From<SeverityParameter> for Severity {
    fn from(severity: SeverityParameter) -> Self {
        match severity {
            SeverityParameter::Info => Self::Info,
            SeverityParameter::Warning => Self::Warning,
            SeverityParameter::Critical => Self::Critical,
        }
    }
}

/// How far an alert is.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StateParameter {
    Suppressed,
    Firing,
    Acknowledged,
    Resolved,
}

impl From<StateParameter> for State {
    fn from(state: StateParameter) -> Self {
        match state {
            StateParameter::Suppressed => Self::Suppressed,
            StateParameter::Firing => Self::Firing,
            StateParameter::Acknowledged => Self::Acknowledged,
            StateParameter::Resolved => Self::Resolved,
        }
    }
}

/// Which machines are meant.
pub(super) fn selector(
    agent_ids: Option<Vec<Uuid>>,
    tags: Option<Vec<String>>,
    os_type: Option<String>,
) -> Selector {
    let agent_ids = agent_ids.unwrap_or_default().into_iter().map(AgentId::from_uuid);
    let tags: BTreeSet<_> = tags.unwrap_or_default().into_iter().collect();
    Selector { agent_ids: agent_ids.collect(), tags, os_type }
}

/// What an alert is about.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubjectAnswer {
    /// `agent`, `run` or `user`.
    kind: &'static str,
    id: Uuid,
    /// What people call it.
    name: String,
}

/// What a rule found about a machine, a run or a person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertAnswer {
    id: Uuid,
    rule_id: Uuid,
    rule_name: String,
    /// What was watched for: `offline`, `metric`, `failed_command`, `failed_run`, `failed_rollout`,
    /// `enrolment` or `new_admin`.
    kind: String,
    /// `info`, `warning` or `critical`.
    severity: &'static str,
    subject: SubjectAnswer,
    customer_id: Option<Uuid>,
    /// What happened, in a line.
    summary: String,
    /// What there is to know besides, by name.
    details: Value,
    /// `suppressed` while it is silent because it began in a maintenance window, `firing`,
    /// `acknowledged` or `resolved`.
    state: &'static str,
    first_seen_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    /// How often it was found.
    count: u64,
    resolved_at: Option<DateTime<Utc>>,
}

impl From<Alert> for AlertAnswer {
    fn from(alert: Alert) -> Self {
        Self {
            id: alert.id.as_uuid(),
            rule_id: alert.rule_id.as_uuid(),
            rule_name: alert.rule_name,
            kind: alert.kind,
            severity: alert.severity.as_str(),
            subject: SubjectAnswer {
                kind: alert.subject.kind,
                id: alert.subject.id,
                name: alert.subject.name,
            },
            customer_id: alert.customer_id.map(CustomerId::as_uuid),
            summary: alert.summary,
            details: alert.details,
            state: alert.state.as_str(),
            first_seen_at: alert.first_seen_at,
            last_seen_at: alert.last_seen_at,
            count: alert.count,
            resolved_at: alert.resolved_at,
        }
    }
}

/// Something that was done to an alert.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangeAnswer {
    /// The state that it led to.
    state: &'static str,
    at: DateTime<Utc>,
    /// `system`, or `user`.
    actor_kind: String,
    actor_id: Option<Uuid>,
    actor_name: Option<String>,
}

impl From<Change> for ChangeAnswer {
    fn from(change: Change) -> Self {
        let Change { state, at, actor_kind, actor_id, actor_name } = change;
        Self { state: state.as_str(), at, actor_kind, actor_id, actor_name }
    }
}

/// An alert and what was done to it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertWithHistory {
    #[serde(flatten)]
    alert: AlertAnswer,
    /// What was done to it, the oldest first.
    history: Vec<ChangeAnswer>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AlertQuery {
    #[param(inline)]
    state: Option<StateParameter>,
    #[param(inline)]
    severity: Option<SeverityParameter>,
    rule_id: Option<Uuid>,
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    agent_id: Option<Uuid>,
}

/// The alerts, the newest first.
#[utoipa::path(
    get, path = "/alerts", tag = "alerts", operation_id = "list_alerts",
    params(AlertQuery, PageQuery),
    responses((status = 200, body = ListAnswer<AlertAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadAlerts>,
    query: Query<AlertQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let query = query.0;
    let filter = AlertFilter {
        state: query.state.map(Into::into),
        severity: query.severity.map(Into::into),
        rule_id: query.rule_id.map(AlertRuleId::from_uuid),
        customer_id: query.customer_id.map(CustomerId::from_uuid),
        agent_id: query.agent_id.map(AgentId::from_uuid),
    };
    let page = state.alerting.alerts.list(&permit, &filter, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, AlertAnswer::from)))
}

/// One alert, with what was done to it.
#[utoipa::path(
    get, path = "/alerts/{id}", tag = "alerts", operation_id = "read_alert",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = AlertWithHistory), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadAlerts>,
    id: Id<AlertId>,
) -> Result<impl Responder, Problem> {
    let (alert, history) = state.alerting.alerts.get(&permit, id.get()?).await?;
    let history = history.into_iter().map(ChangeAnswer::from).collect();
    Ok(web::Json(AlertWithHistory { alert: alert.into(), history }))
}

/// Say that you take care of an alert.
#[utoipa::path(
    post, path = "/alerts/{id}/acknowledge", tag = "alerts", operation_id = "acknowledge_alert",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = AlertAnswer), (status = 404),
        (status = 409, description = "`WRONG_STATE`: somebody does already, or it is over"),
    ),
)]
pub(crate) async fn acknowledge(
    state: web::Data<AppState>,
    permit: May<act::HandleAlerts>,
    id: Id<AlertId>,
) -> Result<impl Responder, Problem> {
    let alert = state.alerting.alerts.acknowledge(&permit, id.get()?).await?;
    Ok(web::Json(AlertAnswer::from(alert)))
}

/// Say that an alert is over. What is still true fires again when its rule has cooled down.
#[utoipa::path(
    post, path = "/alerts/{id}/resolve", tag = "alerts", operation_id = "resolve_alert",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = AlertAnswer), (status = 404),
        (status = 409, description = "`WRONG_STATE`: it is over already"),
    ),
)]
pub(crate) async fn resolve(
    state: web::Data<AppState>,
    permit: May<act::HandleAlerts>,
    id: Id<AlertId>,
) -> Result<impl Responder, Problem> {
    let alert = state.alerting.alerts.resolve(&permit, id.get()?).await?;
    Ok(web::Json(AlertAnswer::from(alert)))
}
