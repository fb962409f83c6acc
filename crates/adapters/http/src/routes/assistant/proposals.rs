//! What assistants propose, and what people decide about it.

use actix_web::{Responder, web};
use chrono::{DateTime, Utc};
use muster_assistant::proposals::{
    Outcome, Proposal, ProposalFilter, ProposalState, ProposalStatus,
};
use muster_kernel::{
    AgentId, AssistantId, ChatId, CustomerId, ProjectId, ProposalId, Timestamp, TurnId, VersionId,
    act,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::chat::SaidAnswer;
use crate::extract::{Id, Json, ListAnswer, May, PageQuery, Query};
use crate::routes::approvals::DeciderAnswer;
use crate::routes::commands::RequesterAnswer;
use crate::routes::wish::{StrategyBody, WorkBody};
use crate::{AppState, Problem};

/// Which assistant proposed something.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SourceAnswer {
    /// Null for the usual one, and for one of somebody's own.
    assistant_id: Option<Uuid>,
    name: String,
    model: Option<String>,
}

/// Something that an assistant proposes to run: a record, until a person approves it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeptProposalAnswer {
    id: Uuid,
    /// `proposed`, `approved`, `rejected`, `superseded` or `expired`.
    status: &'static str,
    chat_id: Option<Uuid>,
    turn_id: Option<Uuid>,
    project_id: Option<Uuid>,
    proposed_by: SourceAnswer,
    /// Who had asked the assistant.
    asked_by: RequesterAnswer,
    asker_name: String,
    /// What would run.
    #[serde(flatten)]
    work: WorkBody,
    /// The script as it was when it was proposed; another one does not run.
    script_version_id: Option<Uuid>,
    strategy: StrategyBody,
    /// On which machines.
    agent_ids: Vec<Uuid>,
    /// Whose machines they are.
    customer_ids: Vec<Uuid>,
    /// What it does, in the assistant's words.
    explanation: String,
    /// `safe`, `caution` or `dangerous`: what the model, a reviewer or Muster thinks, whichever is
    /// the most.
    safety_level: &'static str,
    safety_reasons: Vec<String>,
    created_at: DateTime<Utc>,
    /// From then on nobody can approve it any more.
    expires_at: DateTime<Utc>,
    decided_by: Option<DeciderAnswer>,
    decided_at: Option<DateTime<Utc>>,
    /// Why it was rejected.
    reason: Option<String>,
    /// The proposal that took its place.
    superseded_by: Option<Uuid>,
    /// The run that came of it, under the name of whoever approved it.
    run_id: Option<Uuid>,
    /// The approval that it waits for, where the customer asks for a second person.
    approval_id: Option<Uuid>,
}

impl KeptProposalAnswer {
    pub(super) fn of(proposal: Proposal, now: Timestamp) -> Self {
        let status = proposal.status(now).as_str();
        let (run_id, approval_id) = match proposal.outcome() {
            Some(Outcome::Run(id)) => (Some(id.as_uuid()), None),
            Some(Outcome::Waits(id)) => (None, Some(id.as_uuid())),
            None => (None, None),
        };
        let (decision, reason, superseded_by) = match proposal.state {
            ProposalState::Proposed => (None, None, None),
            ProposalState::Approved { decision, .. } => (Some(decision), None, None),
            ProposalState::Rejected { decision, reason } => (Some(decision), reason, None),
            ProposalState::Superseded { by } => (None, None, Some(by.as_uuid())),
        };
        Self {
            id: proposal.id.as_uuid(),
            status,
            chat_id: proposal.chat_id.map(ChatId::as_uuid),
            turn_id: proposal.turn_id.map(TurnId::as_uuid),
            project_id: proposal.project_id.map(ProjectId::as_uuid),
            proposed_by: SourceAnswer {
                assistant_id: proposal.source.assistant_id.map(AssistantId::as_uuid),
                name: proposal.source.name,
                model: proposal.source.model,
            },
            asked_by: proposal.asked_by.into(),
            asker_name: proposal.asker_name,
            work: proposal.work.into(),
            script_version_id: proposal.script_version_id.map(VersionId::as_uuid),
            strategy: proposal.strategy.into(),
            agent_ids: proposal.agent_ids.into_iter().map(AgentId::as_uuid).collect(),
            customer_ids: proposal.customers.into_iter().map(CustomerId::as_uuid).collect(),
            explanation: proposal.explanation,
            safety_level: proposal.safety_level.as_str(),
            safety_reasons: proposal.safety_reasons,
            created_at: proposal.created_at,
            expires_at: proposal.expires_at,
            decided_at: decision.as_ref().map(|it| it.at),
            decided_by: decision.map(DeciderAnswer::from),
            reason,
            superseded_by,
            run_id,
            approval_id,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProposalStatusParameter {
    Proposed,
    Approved,
    Rejected,
    Superseded,
    Expired,
}

impl From<ProposalStatusParameter> for ProposalStatus {
    fn from(status: ProposalStatusParameter) -> Self {
        match status {
            ProposalStatusParameter::Proposed => Self::Proposed,
            ProposalStatusParameter::Approved => Self::Approved,
            ProposalStatusParameter::Rejected => Self::Rejected,
            ProposalStatusParameter::Superseded => Self::Superseded,
            ProposalStatusParameter::Expired => Self::Expired,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProposalQuery {
    #[param(inline)]
    status: Option<ProposalStatusParameter>,
    /// Only those of this conversation.
    chat_id: Option<Uuid>,
    /// Only those of this project.
    project_id: Option<Uuid>,
}

/// What assistants propose or proposed for your machines, the newest first.
#[utoipa::path(
    get, path = "/proposals", tag = "assistant", operation_id = "list_proposals",
    params(ProposalQuery, PageQuery),
    responses((status = 200, body = ListAnswer<KeptProposalAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadAssistants>,
    query: Query<ProposalQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let filter = ProposalFilter {
        status: query.0.status.map(Into::into),
        chat_id: query.0.chat_id.map(ChatId::from_uuid),
        project_id: query.0.project_id.map(ProjectId::from_uuid),
    };
    let page = state.assistance.kept.list(&permit, filter, &page.0.try_into()?).await?;
    let now = state.clock.now();
    Ok(web::Json(ListAnswer::of(page, |proposal| KeptProposalAnswer::of(proposal, now))))
}

/// One proposal.
#[utoipa::path(
    get, path = "/proposals/{id}", tag = "assistant", operation_id = "read_proposal",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = KeptProposalAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadAssistants>,
    id: Id<ProposalId>,
) -> Result<impl Responder, Problem> {
    let proposal = state.assistance.kept.get(&permit, id.get()?).await?;
    Ok(web::Json(KeptProposalAnswer::of(proposal, state.clock.now())))
}

/// How a proposal is approved.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProposalApproval {
    /// That you know that it is dangerous; what is not needs none.
    #[serde(default)]
    confirm: bool,
}

/// Approve what an assistant proposes: exactly that begins as a run under your name, once, by every rule
/// that there is for what you begin yourself. Asking again is harmless.
#[utoipa::path(
    post, path = "/proposals/{id}/approve", tag = "assistant", operation_id = "approve_proposal",
    params(("id" = Uuid, Path)),
    request_body = ProposalApproval,
    responses(
        (status = 200, body = KeptProposalAnswer),
        (status = 403, description = "you may not run it"),
        (status = 404),
        (status = 409, description = "`DANGEROUS_COMMAND` without `confirm`; `WRONG_STATE`: it was \
            decided, took no place any more, has expired, or its script was changed"),
        (status = 422, description = "a machine of it is not there any more"),
    ),
)]
pub(crate) async fn approve(
    state: web::Data<AppState>,
    permit: May<act::DecideProposals>,
    id: Id<ProposalId>,
    body: Json<ProposalApproval>,
) -> Result<impl Responder, Problem> {
    let ProposalApproval { confirm } = body.body_or_default().await?.value;
    let saved = permit.also::<act::RunSaved>()?;
    let own_words = permit.also::<act::RunCommands>().ok();
    let running = (&saved, own_words.as_ref());
    let proposal = state.assistance.kept.approve(&permit, running, id.get()?, confirm).await?;
    Ok(web::Json(KeptProposalAnswer::of(proposal, state.clock.now())))
}

/// Why something is rejected.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProposalRejection {
    /// At most 1000 characters.
    reason: Option<String>,
}

/// Reject what an assistant proposes: nothing of it runs.
#[utoipa::path(
    post, path = "/proposals/{id}/reject", tag = "assistant", operation_id = "reject_proposal",
    params(("id" = Uuid, Path)),
    request_body = ProposalRejection,
    responses(
        (status = 200, body = KeptProposalAnswer),
        (status = 404),
        (status = 409, description = "`WRONG_STATE`: it was decided already"),
    ),
)]
pub(crate) async fn reject(
    state: web::Data<AppState>,
    permit: May<act::DecideProposals>,
    id: Id<ProposalId>,
    body: Json<ProposalRejection>,
) -> Result<impl Responder, Problem> {
    let ProposalRejection { reason } = body.body_or_default().await?.value;
    let proposal = state.assistance.kept.reject(&permit, id.get()?, reason).await?;
    Ok(web::Json(KeptProposalAnswer::of(proposal, state.clock.now())))
}

/// Have an assistant explain what came of a proposal that ran: the project's interpreter, or the usual
/// one. It is a turn of the conversation in which it was proposed.
#[utoipa::path(
    post, path = "/proposals/{id}/explain", tag = "assistant", operation_id = "explain_proposal",
    params(("id" = Uuid, Path)),
    responses(
        (status = 201, body = SaidAnswer),
        (status = 404),
        (status = 409, description = "nothing came of it yet, or no language model is set up"),
        (status = 429), (status = 503),
    ),
)]
pub(crate) async fn explain(
    state: web::Data<AppState>,
    permit: May<act::UseAssistant>,
    id: Id<ProposalId>,
) -> Result<impl Responder, Problem> {
    let said = state.assistance.chats.interpret(&permit, id.get()?).await?;
    Ok(SaidAnswer::respond(said, state.clock.now()))
}
