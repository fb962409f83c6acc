//! Beginning runs.

use std::collections::BTreeMap;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use muster_commands::Once;
use muster_commands::runs::{Plan, Run, Started, Template, Wish};
use muster_kernel::{Act, CustomerId, Permit, RunId, act};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::RunAnswer;
use crate::extract::{Body, Id, IdempotencyKey, Json, May};
use crate::routes::approvals::{WaitingAnswer, waiting};
use crate::routes::wish::{StrategyBody, TargetBody, WorkBody, seconds};
use crate::{AppState, Problem};

/// The largest body, in bytes: a target may name 100,000 machines.
pub(crate) const MAX_BODY: usize = 5 * 1024 * 1024;
/// How many machines a preview names.
const NAMED: usize = 100;

/// What is to run where.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunRequest {
    target: TargetBody,
    #[serde(flatten)]
    work: WorkBody,
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    strategy: StrategyBody,
    /// Seconds that a machine which is out of reach may come back for it; 7 days unless given.
    expires_in: Option<f64>,
    /// That you know that it may be dangerous; some customers ask for it.
    #[serde(default)]
    confirm: bool,
}

impl RunRequest {
    fn wish(self, once: Option<Once>) -> Result<Wish, Problem> {
        let template = Template {
            target: self.target.try_into()?,
            work: self.work.try_into()?,
            secrets: None,
            strategy: self.strategy.into(),
            expires_in: seconds(self.expires_in, "/expires_in")?,
        };
        Ok(Wish { confirm: self.confirm, once, ..Wish::new(template) })
    }
}

/// Who would be meant, and what would be asked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PreviewAnswer {
    /// On how many machines it would run.
    total: usize,
    /// How many of them are connected.
    online: usize,
    offline: usize,
    /// How many there are of which family of operating systems.
    by_os_type: BTreeMap<&'static str, usize>,
    /// Whose machines they are.
    customer_ids: Vec<Uuid>,
    /// The first 100 of them.
    agent_ids: Vec<Uuid>,
    /// `safe`, `caution` or `dangerous`.
    safety_level: &'static str,
    safety_reasons: Vec<&'static str>,
}

impl From<Plan> for PreviewAnswer {
    fn from(plan: Plan) -> Self {
        let total = plan.machines.len();
        let families = plan.by_os_type();
        Self {
            total,
            online: plan.connected,
            offline: total.saturating_sub(plan.connected),
            by_os_type: families.into_iter().map(|(it, n)| (it.as_str(), n)).collect(),
            customer_ids: plan.customers().into_iter().map(CustomerId::as_uuid).collect(),
            agent_ids: plan.machines.iter().take(NAMED).map(|it| it.id.as_uuid()).collect(),
            safety_level: plan.assessment().level.as_str(),
            safety_reasons: plan.assessment().reasons.clone(),
        }
    }
}

/// A run, or a dangerous one that waits for a second person.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is what the document shows")]
pub(crate) enum StartedAnswer {
    Run(Box<RunAnswer>),
    Waiting(WaitingAnswer),
}

pub(super) fn respond(state: &AppState, started: Started) -> HttpResponse {
    match started {
        Started::Run(run) => accepted(*run),
        Started::Waits(approval) => waiting(state, &approval),
    }
}

pub(super) fn accepted(run: Run) -> HttpResponse {
    let location = format!("/api/v1/runs/{}", run.id);
    HttpResponse::Accepted().insert_header((LOCATION, location)).json(RunAnswer::from(run))
}

pub(crate) fn once<A: Act>(
    permit: &Permit<A>,
    key: IdempotencyKey,
    what: &str,
    fingerprint: [u8; 32],
) -> Option<Once> {
    let asker = permit.actor().id().unwrap_or_default();
    key.0.map(|key| Once { scope: format!("{asker}/{what}"), key, fingerprint })
}

/// Begin a run: durable, with a command for each machine, when this answers.
#[utoipa::path(
    post, path = "/runs", tag = "runs", operation_id = "start_run",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = RunRequest,
    responses(
        (status = 202, body = StartedAnswer),
        (status = 404, description = "a machine, customer, script or saved command that is not there"),
        (status = 409, description = "`IDEMPOTENCY_KEY_REUSED`, or `DANGEROUS_COMMAND` without `confirm`"),
        (status = 422, description = "no machine is meant, or something breaks a rule"),
    ),
)]
pub(crate) async fn start(
    state: web::Data<AppState>,
    permit: May<act::RunSaved>,
    key: IdempotencyKey,
    body: Json<RunRequest>,
) -> Result<impl Responder, Problem> {
    let Body { value, fingerprint } = body.up_to(MAX_BODY).body().await?;
    let wish = value.wish(once(&permit, key, "runs", fingerprint))?;
    let own_words = permit.also::<act::RunCommands>().ok();
    let started = state.runs.start(&permit, own_words.as_ref(), wish).await?;
    Ok(respond(&state, started))
}

/// Who a run would be on, without beginning it.
#[utoipa::path(
    post, path = "/runs/preview", tag = "runs", operation_id = "preview_run",
    request_body = RunRequest,
    responses((status = 200, body = PreviewAnswer), (status = 404), (status = 422)),
)]
pub(crate) async fn preview(
    state: web::Data<AppState>,
    permit: May<act::RunSaved>,
    body: Json<RunRequest>,
) -> Result<impl Responder, Problem> {
    let wish = body.up_to(MAX_BODY).value().await?.wish(None)?;
    let own_words = permit.also::<act::RunCommands>().ok();
    let plan = state.runs.preview(&permit, own_words.as_ref(), &wish).await?;
    Ok(web::Json(PreviewAnswer::from(plan)))
}

/// How a run is tried again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryRequest {
    /// That you know that it may be dangerous; some customers ask for it.
    #[serde(default)]
    confirm: bool,
}

/// Try the machines of a run that failed, or did not come back in time, again: as a run of its
/// own, with the same text.
#[utoipa::path(
    post, path = "/runs/{id}/retry", tag = "runs", operation_id = "retry_run",
    params(("id" = Uuid, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = RetryRequest,
    responses(
        (status = 202, body = StartedAnswer),
        (status = 404),
        (status = 409, description = "`WRONG_STATE`: it goes on, or nothing of it failed; \
            `DANGEROUS_COMMAND` without `confirm`"),
    ),
)]
pub(crate) async fn retry(
    state: web::Data<AppState>,
    permit: May<act::RunSaved>,
    id: Id<RunId>,
    key: IdempotencyKey,
    body: Json<RetryRequest>,
) -> Result<impl Responder, Problem> {
    let Body { value, fingerprint } = body.body_or_default().await?;
    let id = id.get()?;
    let once = once(&permit, key, &format!("runs/{id}/retry"), fingerprint);
    let own_words = permit.also::<act::RunCommands>().ok();
    let started = state.runs.retry(&permit, own_words.as_ref(), id, value.confirm, once).await?;
    Ok(respond(&state, started))
}
