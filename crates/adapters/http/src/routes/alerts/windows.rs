//! Maintenance windows.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_alerts::{MaintenanceWindow, Span, SpanWish, WindowWish};
use muster_kernel::{AgentId, CustomerId, MaintenanceWindowId, act};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::selector;
use crate::extract::{Id, Json, ListAnswer, May, PageQuery, Query};
use crate::routes::schedules::WindowBody;
use crate::{AppState, Problem};

/// When alerts of which machines are to be silent: from an instant to another one, or every week.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertWindowRequest {
    /// 1 to 200 printable characters.
    name: String,
    /// Whose machines; to be left out by whoever has one customer, and for all customers by
    /// whoever may see all.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// Only these machines.
    agent_ids: Option<Vec<Uuid>>,
    /// Only machines with all of these tags.
    tags: Option<Vec<String>>,
    /// Only machines with this family of operating systems: `linux`, `windows`, `macos` or `other`.
    os_type: Option<String>,
    /// From here, where it is once,
    from: Option<DateTime<Utc>>,
    /// to here.
    to: Option<DateTime<Utc>>,
    /// When it is, where it comes again every week.
    weekly: Option<WindowBody>,
}

impl AlertWindowRequest {
    fn wish(self) -> Result<WindowWish, Problem> {
        let span = match (self.from, self.to, self.weekly) {
            (Some(from), Some(to), None) => SpanWish::Once { from, to },
            (None, None, Some(weekly)) => SpanWish::Weekly(weekly.into()),
            _ => {
                let detail = "either from and to are expected, or weekly";
                return Err(Problem::invalid("/from", detail));
            }
        };
        Ok(WindowWish {
            name: self.name,
            customer_id: self.customer_id.map(CustomerId::from_uuid),
            selector: selector(self.agent_ids, self.tags, self.os_type),
            span,
        })
    }
}

/// A time of the week in which alerts are silent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WeeklyAnswer {
    /// On which days it begins, such as `Mon`.
    days: Vec<String>,
    start: String,
    /// How many seconds it lasts.
    duration: u64,
    time_zone: &'static str,
}

/// When alerts of which machines are silent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertWindowAnswer {
    id: Uuid,
    name: String,
    customer_id: Option<Uuid>,
    agent_ids: Vec<Uuid>,
    tags: Vec<String>,
    os_type: Option<String>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    weekly: Option<WeeklyAnswer>,
    created_at: DateTime<Utc>,
}

impl From<MaintenanceWindow> for AlertWindowAnswer {
    fn from(window: MaintenanceWindow) -> Self {
        let (from, to, weekly) = match &window.span {
            Span::Once { from, to } => (Some(*from), Some(*to), None),
            Span::Weekly(weekly) => (None, None, Some(weekly)),
        };
        let weekly = weekly.map(|weekly| WeeklyAnswer {
            days: weekly.days().iter().map(ToString::to_string).collect(),
            start: weekly.start(),
            duration: weekly.duration().as_secs(),
            time_zone: weekly.zone().name(),
        });
        Self {
            id: window.id.as_uuid(),
            name: window.name,
            customer_id: window.customer_id.map(CustomerId::as_uuid),
            agent_ids: window.selector.agent_ids.into_iter().map(AgentId::as_uuid).collect(),
            tags: window.selector.tags.into_iter().collect(),
            os_type: window.selector.os_type,
            from,
            to,
            weekly,
            created_at: window.created_at,
        }
    }
}

/// The maintenance windows, in the order of their creation.
#[utoipa::path(
    get, path = "/alerts/maintenance-windows", tag = "alerts",
    operation_id = "list_maintenance_windows",
    params(PageQuery), responses((status = 200, body = ListAnswer<AlertWindowAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadAlerts>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let page = state.alerting.windows.list(&permit, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, AlertWindowAnswer::from)))
}

/// Keep the alerts of machines silent for a time. What begins in it and lasts is told at its end.
#[utoipa::path(
    post, path = "/alerts/maintenance-windows", tag = "alerts",
    operation_id = "create_maintenance_window", request_body = AlertWindowRequest,
    responses(
        (status = 201, body = AlertWindowAnswer),
        (status = 404, description = "no such customer"), (status = 422),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageAlertRules>,
    body: Json<AlertWindowRequest>,
) -> Result<impl Responder, Problem> {
    let wish = body.value().await?.wish()?;
    let window = state.alerting.windows.create(&permit, wish).await?;
    let location = format!("/api/v1/alerts/maintenance-windows/{}", window.id);
    let answer = AlertWindowAnswer::from(window);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(answer))
}

/// Delete a maintenance window. If it was going on, it is over.
#[utoipa::path(
    delete, path = "/alerts/maintenance-windows/{id}", tag = "alerts",
    operation_id = "delete_maintenance_window",
    params(("id" = Uuid, Path)), responses((status = 204), (status = 404)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageAlertRules>,
    id: Id<MaintenanceWindowId>,
) -> Result<impl Responder, Problem> {
    state.alerting.windows.delete(&permit, id.get()?).await?;
    Ok(HttpResponse::NoContent())
}
