//! Looking runs up.

use actix_web::{Responder, web};
use muster_commands::CommandFilter;
use muster_commands::runs::{RunFilter, RunStatus};
use muster_kernel::{CustomerId, RunId, ScheduleId, act};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::RunAnswer;
use crate::extract::{Id, ListAnswer, May, PageQuery, Query};
use crate::routes::commands::CommandAnswer;
use crate::routes::commands::read::StatusParameter;
use crate::{AppState, Problem};

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunStatusParameter {
    Running,
    Paused,
    Completed,
    Failed,
    Cancelled,
}

impl From<RunStatusParameter> for RunStatus {
    fn from(status: RunStatusParameter) -> Self {
        match status {
            RunStatusParameter::Running => Self::Running,
            RunStatusParameter::Paused => Self::Paused,
            RunStatusParameter::Completed => Self::Completed,
            RunStatusParameter::Failed => Self::Failed,
            RunStatusParameter::Cancelled => Self::Cancelled,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunQuery {
    #[param(inline)]
    status: Option<RunStatusParameter>,
    /// Only those on machines of this customer.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// Only those that this user or key asked for.
    requested_by: Option<Uuid>,
    /// Only those that this schedule made.
    schedule_id: Option<Uuid>,
    /// Only those that try this run's failed machines again.
    retry_of: Option<Uuid>,
    /// Only those whose summary contains this.
    q: Option<String>,
}

/// All runs, the newest first.
#[utoipa::path(
    get, path = "/runs", tag = "runs", operation_id = "list_runs",
    params(RunQuery, PageQuery), responses((status = 200, body = ListAnswer<RunAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadCommands>,
    query: Query<RunQuery>,
    list: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let query = query.0;
    let filter = RunFilter {
        status: query.status.map(Into::into),
        customer_id: query.customer_id.map(CustomerId::from_uuid),
        requested_by: query.requested_by,
        schedule_id: query.schedule_id.map(ScheduleId::from_uuid),
        retry_of: query.retry_of.map(RunId::from_uuid),
        q: query.q,
    };
    let page = state.runs.list(&permit, &filter, &list.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, RunAnswer::from)))
}

/// One run, as far as it is.
#[utoipa::path(
    get, path = "/runs/{id}", tag = "runs", operation_id = "read_run",
    params(("id" = Uuid, Path)), responses((status = 200, body = RunAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadCommands>,
    id: Id<RunId>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(RunAnswer::from(state.runs.get(&permit, id.get()?).await?)))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunCommandQuery {
    /// Only those that are this far.
    #[param(inline)]
    status: Option<StatusParameter>,
}

/// A run's commands, one for each machine.
#[utoipa::path(
    get, path = "/runs/{id}/commands", tag = "runs", operation_id = "list_run_commands",
    params(("id" = Uuid, Path), RunCommandQuery, PageQuery),
    responses((status = 200, body = ListAnswer<CommandAnswer>), (status = 404)),
)]
pub(crate) async fn commands(
    state: web::Data<AppState>,
    permit: May<act::ReadCommands>,
    id: Id<RunId>,
    query: Query<RunCommandQuery>,
    list: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let run = state.runs.get(&permit, id.get()?).await?;
    let filter = CommandFilter {
        run_id: Some(run.id),
        status: query.0.status.map(Into::into),
        ..CommandFilter::default()
    };
    let page = state.commands.list(&permit, &filter, &list.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, |command| CommandAnswer::of(&command))))
}
