//! Dangerous requests that wait for a second person.

use std::collections::BTreeMap;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_agents::OsType;
use muster_commands::Spec;
use muster_commands::approvals::{
    Approval, ApprovalFilter, ApprovalState, ApprovalStatus, ApprovalsError, Decision,
};
use muster_kernel::{AgentId, ApprovalId, CustomerId, ProblemCode, RunId, Timestamp, act};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::commands::RequesterAnswer;
use super::wish::{StrategyBody, WorkBody};
use crate::extract::{Id, Json, ListAnswer, May, PageQuery, Query};
use crate::{AppState, Problem};

/// A dangerous request that was kept and runs nothing until a second person approves.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitingAnswer {
    approval_id: Uuid,
    /// `waiting_for_approval`; `approved`, `rejected` or `expired` when the same request came
    /// before.
    status: &'static str,
    message: &'static str,
    /// The run that came of it.
    run_id: Option<Uuid>,
    /// From then on nobody can decide any more.
    expires_at: DateTime<Utc>,
}

/// Answers that a request waits.
pub(crate) fn waiting(state: &AppState, approval: &Approval) -> HttpResponse {
    let status = match approval.status(state.clock.now()) {
        ApprovalStatus::Pending => "waiting_for_approval",
        decided => decided.as_str(),
    };
    let id = approval.id.as_uuid();
    let answer = WaitingAnswer {
        approval_id: id,
        status,
        message: "this is dangerous: nothing runs before a second person has approved it",
        run_id: approval.run_id().map(RunId::as_uuid),
        expires_at: approval.expires_at,
    };
    let location = format!("/api/v1/approvals/{id}");
    HttpResponse::Accepted().insert_header((LOCATION, location)).json(answer)
}

/// What exactly would run on machines of one family of operating systems.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TextAnswer {
    /// `linux`, `windows`, `macos` or `other`.
    os_type: &'static str,
    /// The text for the shell; of a script, its name.
    command: String,
    args: Vec<String>,
    /// `powershell`, `pwsh`, `cmd`, `bash` or `sh`.
    shell_type: &'static str,
    working_directory: Option<String>,
    environment: BTreeMap<String, String>,
    /// Seconds that it may run.
    timeout: f64,
    /// The script of the library, as it was when it was asked for.
    script_version_id: Option<Uuid>,
}

impl TextAnswer {
    fn of((os_type, spec): (OsType, Spec)) -> Self {
        Self {
            os_type: os_type.as_str(),
            command: spec.command,
            args: spec.args,
            shell_type: spec.shell_type.as_str(),
            working_directory: spec.working_directory,
            environment: spec.environment,
            timeout: spec.timeout.as_secs_f64(),
            script_version_id: spec.script.map(|script| script.version_id.as_uuid()),
        }
    }
}

/// Who decided.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeciderAnswer {
    id: Uuid,
    /// What they sign in with.
    name: String,
}

impl From<Decision> for DeciderAnswer {
    fn from(Decision { by, name, .. }: Decision) -> Self {
        Self { id: by.as_uuid(), name: name.to_string() }
    }
}

/// A dangerous request that a second person decides about.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApprovalAnswer {
    id: Uuid,
    /// `pending`, `approved`, `rejected` or `expired`.
    status: &'static str,
    /// What would run, in a line.
    summary: String,
    /// What was asked for, without the values of secret parameters.
    #[serde(flatten)]
    work: WorkBody,
    /// What exactly would run, whatever becomes of the library meanwhile.
    texts: Vec<TextAnswer>,
    /// The text of the script, as it was when it was asked for; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<String>,
    strategy: StrategyBody,
    /// On how many machines.
    total: u32,
    /// Which machines; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_ids: Option<Vec<Uuid>>,
    /// Whose machines they are.
    customer_ids: Vec<Uuid>,
    safety_level: &'static str,
    /// Why it is dangerous.
    safety_reasons: Vec<String>,
    requested_by: RequesterAnswer,
    /// What they sign in with, or what the key is called.
    requester_name: String,
    /// The run whose failed machines it tries again.
    retry_of: Option<Uuid>,
    created_at: DateTime<Utc>,
    /// From then on nobody can decide any more.
    expires_at: DateTime<Utc>,
    decided_by: Option<DeciderAnswer>,
    decided_at: Option<DateTime<Utc>>,
    /// Why it was rejected.
    reason: Option<String>,
    /// The run that came of it.
    run_id: Option<Uuid>,
}

impl ApprovalAnswer {
    /// As a list shows it.
    fn of(approval: Approval, now: Timestamp) -> Self {
        let (status, run_id) = (approval.status(now), approval.run_id());
        let (decision, reason) = match approval.state {
            ApprovalState::Pending => (None, None),
            ApprovalState::Approved { decision, .. } => (Some(decision), None),
            ApprovalState::Rejected { decision, reason } => (Some(decision), reason),
        };
        let decided_at = decision.as_ref().map(|it| it.at);
        Self {
            id: approval.id.as_uuid(),
            status: status.as_str(),
            summary: approval.summary,
            work: approval.template.work.into(),
            texts: approval.specs.into_iter().map(TextAnswer::of).collect(),
            script: None,
            strategy: approval.template.strategy.into(),
            total: approval.total,
            agent_ids: None,
            customer_ids: approval.customers.into_iter().map(CustomerId::as_uuid).collect(),
            safety_level: approval.safety_level.as_str(),
            safety_reasons: approval.reasons,
            requested_by: approval.requested_by.into(),
            requester_name: approval.requester_name,
            retry_of: approval.retry_of.map(RunId::as_uuid),
            created_at: approval.created_at,
            expires_at: approval.expires_at,
            decided_by: decision.map(DeciderAnswer::from),
            decided_at,
            reason,
            run_id: run_id.map(RunId::as_uuid),
        }
    }

    /// With its machines and the text of its script.
    async fn whole(state: &AppState, approval: Approval) -> Result<Self, Problem> {
        let script = state.approvals.script_text(&approval).await?;
        let agents = approval.template.target.agent_ids.iter().copied();
        Ok(Self {
            agent_ids: Some(agents.map(AgentId::as_uuid).collect()),
            script: script.map(|text| text.to_string()),
            ..Self::of(approval, state.clock.now())
        })
    }
}

impl From<ApprovalsError> for Problem {
    fn from(error: ApprovalsError) -> Self {
        let text = error.to_string();
        match error {
            ApprovalsError::NotFound => Self::new(ProblemCode::NotFound, text),
            ApprovalsError::Denied(denied) => denied.into(),
            ApprovalsError::OwnRequest => Self::new(ProblemCode::Forbidden, text),
            ApprovalsError::Expired
            | ApprovalsError::Decided(_)
            | ApprovalsError::RequesterGone
            | ApprovalsError::NobodyLeft => Self::new(ProblemCode::WrongState, text),
            ApprovalsError::ReasonTooLong => Self::invalid("/reason", text),
            ApprovalsError::Run(error) => error.into(),
            ApprovalsError::Storage(error) => error.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ApprovalStatusParameter {
    Pending,
    Approved,
    Rejected,
    Expired,
}

impl From<ApprovalStatusParameter> for ApprovalStatus {
    fn from(status: ApprovalStatusParameter) -> Self {
        match status {
            ApprovalStatusParameter::Pending => Self::Pending,
            ApprovalStatusParameter::Approved => Self::Approved,
            ApprovalStatusParameter::Rejected => Self::Rejected,
            ApprovalStatusParameter::Expired => Self::Expired,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ApprovalQuery {
    #[param(inline)]
    status: Option<ApprovalStatusParameter>,
}

/// Dangerous requests that wait or waited for a second person, the newest first.
#[utoipa::path(
    get, path = "/approvals", tag = "approvals", operation_id = "list_approvals",
    params(ApprovalQuery, PageQuery),
    responses((status = 200, body = ListAnswer<ApprovalAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadApprovals>,
    query: Query<ApprovalQuery>,
    list: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let filter = ApprovalFilter { status: query.0.status.map(Into::into) };
    let page = state.approvals.list(&permit, filter, &list.0.try_into()?).await?;
    let now = state.clock.now();
    Ok(web::Json(ListAnswer::of(page, |approval| ApprovalAnswer::of(approval, now))))
}

/// One request, with what exactly would run on which machines.
#[utoipa::path(
    get, path = "/approvals/{id}", tag = "approvals", operation_id = "read_approval",
    params(("id" = Uuid, Path)), responses((status = 200, body = ApprovalAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadApprovals>,
    id: Id<ApprovalId>,
) -> Result<impl Responder, Problem> {
    let approval = state.approvals.get(&permit, id.get()?).await?;
    Ok(web::Json(ApprovalAnswer::whole(&state, approval).await?))
}

/// Approve what somebody else asked for: it begins, exactly as it was asked for, on those of its
/// machines that are still there. Asking again is harmless.
#[utoipa::path(
    post, path = "/approvals/{id}/approve", tag = "approvals", operation_id = "approve",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = ApprovalAnswer),
        (status = 403, description = "you asked for it yourself, or may not decide"),
        (status = 404),
        (status = 409, description = "`WRONG_STATE`: it has expired or was rejected, whoever asked \
            may not run it any more, or no machine is left"),
    ),
)]
pub(crate) async fn approve(
    state: web::Data<AppState>,
    permit: May<act::DecideApprovals>,
    id: Id<ApprovalId>,
) -> Result<impl Responder, Problem> {
    let approval = state.approvals.approve(&permit, id.get()?).await?;
    Ok(web::Json(ApprovalAnswer::whole(&state, approval).await?))
}

/// Why something is rejected.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectRequest {
    /// What whoever asked is told, at most 1000 characters.
    reason: Option<String>,
}

/// Reject what somebody else asked for: nothing of it runs.
#[utoipa::path(
    post, path = "/approvals/{id}/reject", tag = "approvals", operation_id = "reject",
    params(("id" = Uuid, Path)),
    request_body = RejectRequest,
    responses(
        (status = 200, body = ApprovalAnswer),
        (status = 403, description = "you asked for it yourself, or may not decide"),
        (status = 404),
        (status = 409, description = "`WRONG_STATE`: it has expired, or was decided already"),
    ),
)]
pub(crate) async fn reject(
    state: web::Data<AppState>,
    permit: May<act::DecideApprovals>,
    id: Id<ApprovalId>,
    body: Json<RejectRequest>,
) -> Result<impl Responder, Problem> {
    let RejectRequest { reason } = body.body_or_default().await?.value;
    let approval = state.approvals.reject(&permit, id.get()?, reason).await?;
    Ok(web::Json(ApprovalAnswer::whole(&state, approval).await?))
}
