//! Schedules.

mod answer;
mod body;

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use muster_commands::schedules::{ScheduleFilter, SchedulesError};
use muster_kernel::{CustomerId, ProblemCode, ScheduleId, act};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::extract::{Id, Json, ListAnswer, May, PageQuery, Query};
use crate::{AppState, Problem};
pub(super) use answer::MakerAnswer;
use answer::{FiringAnswer, ScheduleAnswer};
pub(super) use body::WindowBody;
use body::{ScheduleRequest, ScheduleUpdateRequest};

impl From<SchedulesError> for Problem {
    fn from(error: SchedulesError) -> Self {
        let text = error.to_string();
        match error {
            SchedulesError::NotFound | SchedulesError::CustomerNotFound => {
                Self::new(ProblemCode::NotFound, text)
            }
            SchedulesError::Denied(denied) => denied.into(),
            SchedulesError::Invalid(error) => error.into(),
            SchedulesError::Work(error) => error.into(),
            SchedulesError::Storage(error) => error.into(),
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScheduleQuery {
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// Only those that run, or only those that do not.
    enabled: Option<bool>,
    /// Only those whose name contains this.
    q: Option<String>,
}

/// The schedules, in the order of their creation.
#[utoipa::path(
    get, path = "/schedules", tag = "schedules", operation_id = "list_schedules",
    params(ScheduleQuery, PageQuery),
    responses((status = 200, body = ListAnswer<ScheduleAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadSchedules>,
    query: Query<ScheduleQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let ScheduleQuery { customer_id, enabled, q } = query.0;
    let filter = ScheduleFilter { customer_id: customer_id.map(CustomerId::from_uuid), enabled, q };
    let page = state.schedules.list(&permit, &filter, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, ScheduleAnswer::from)))
}

/// Make a schedule. Its runs are on your behalf, as far as you may when they begin.
#[utoipa::path(
    post, path = "/schedules", tag = "schedules", operation_id = "create_schedule",
    request_body = ScheduleRequest,
    responses(
        (status = 201, body = ScheduleAnswer),
        (status = 404, description = "no such customer"),
        (status = 422, description = "a field breaks a rule, or it never comes due"),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageSchedules>,
    body: Json<ScheduleRequest>,
) -> Result<impl Responder, Problem> {
    let wish = body.value().await?.try_into()?;
    let planned = state.schedules.create(&permit, wish).await?;
    let location = format!("/api/v1/schedules/{}", planned.schedule.id);
    let answer = ScheduleAnswer::from(planned);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(answer))
}

/// One schedule, with its next runs.
#[utoipa::path(
    get, path = "/schedules/{id}", tag = "schedules", operation_id = "read_schedule",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = ScheduleAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadSchedules>,
    id: Id<ScheduleId>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(ScheduleAnswer::from(state.schedules.get(&permit, id.get()?).await?)))
}

/// Change a schedule; what is left out stays. Its runs are on your behalf from then on.
#[utoipa::path(
    put, path = "/schedules/{id}", tag = "schedules", operation_id = "update_schedule",
    params(("id" = Uuid, Path)), request_body = ScheduleUpdateRequest,
    responses((status = 200, body = ScheduleAnswer), (status = 404), (status = 422)),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageSchedules>,
    id: Id<ScheduleId>,
    body: Json<ScheduleUpdateRequest>,
) -> Result<impl Responder, Problem> {
    let wish = body.value().await?.try_into()?;
    let planned = state.schedules.update(&permit, id.get()?, wish).await?;
    Ok(web::Json(ScheduleAnswer::from(planned)))
}

/// Delete a schedule and its history. What it started goes on.
#[utoipa::path(
    delete, path = "/schedules/{id}", tag = "schedules", operation_id = "delete_schedule",
    params(("id" = Uuid, Path)), responses((status = 204), (status = 404)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageSchedules>,
    id: Id<ScheduleId>,
) -> Result<impl Responder, Problem> {
    state.schedules.delete(&permit, id.get()?).await?;
    Ok(HttpResponse::NoContent())
}

/// What came of a schedule's runs, the newest first.
#[utoipa::path(
    get, path = "/schedules/{id}/runs", tag = "schedules", operation_id = "list_schedule_runs",
    params(("id" = Uuid, Path), PageQuery),
    responses((status = 200, body = ListAnswer<FiringAnswer>), (status = 404)),
)]
pub(crate) async fn history(
    state: web::Data<AppState>,
    permit: May<act::ReadSchedules>,
    id: Id<ScheduleId>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let page = state.schedules.history(&permit, id.get()?, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, FiringAnswer::from)))
}

/// Have a schedule run now, whatever its times, windows and last runs say. The run begins within a
/// second or so and stands in the history then; asking again before it has is harmless.
#[utoipa::path(
    post, path = "/schedules/{id}/run", tag = "schedules", operation_id = "run_schedule",
    params(("id" = Uuid, Path)),
    responses((status = 202, body = ScheduleAnswer), (status = 404)),
)]
pub(crate) async fn run_now(
    state: web::Data<AppState>,
    permit: May<act::ManageSchedules>,
    id: Id<ScheduleId>,
) -> Result<impl Responder, Problem> {
    let planned = state.schedules.run_now(&permit, id.get()?).await?;
    let answer = web::Json(ScheduleAnswer::from(planned));
    Ok(answer.customize().with_status(StatusCode::ACCEPTED))
}
