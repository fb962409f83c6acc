//! What people do about proposals.

use std::sync::Arc;

use muster_commands::approvals::Decision;
use muster_commands::runs::{RunsError, Wish};
use muster_commands::{Once, Requester, SafetyLevel};
use muster_kernel::events::{Channel, Event, EventBus, Topic};
use muster_kernel::{
    Actor, Clock, Denied, Entropy, Page, PageRequest, Permit, ProposalId, StorageError,
    TenantScope, Timestamp, TurnId, act,
};
use serde_json::json;

use super::{
    Bench, Drafted, Proposal, ProposalEvent, ProposalFilter, ProposalRepository, ProposalState,
    ProposalStatus, Source, Verdict, WAITS_FOR, Weighed,
};
use crate::chats::Chat;

/// How many characters a reason may have.
const MAX_REASON: usize = 1000;

/// Why something could not be done about a proposal.
#[derive(Debug, thiserror::Error)]
pub enum ProposalsError {
    /// There is no such proposal, or it is not the asker's.
    #[error("there is no such proposal, or it is not yours")]
    NotFound,
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It is dangerous, and nobody said that they know.
    #[error("this is dangerous: {}; send confirm: true if you mean it", .0.join(", "))]
    NotConfirmed(Vec<String>),
    /// It was decided already, or another one took its place, or its time is over.
    #[error("it is {} already", .0.as_str())]
    Decided(ProposalStatus),
    /// The script is another one by now.
    #[error("the script was changed since this was proposed; have it proposed again")]
    Changed,
    /// The reason is too long.
    #[error("at most 1000 characters")]
    ReasonTooLong,
    /// What was approved can't begin.
    #[error(transparent)]
    Run(RunsError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<RunsError> for ProposalsError {
    fn from(error: RunsError) -> Self {
        match error {
            RunsError::Storage(error) => Self::Storage(error),
            other => Self::Run(other),
        }
    }
}

/// The ports of [`Proposals`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct ProposalsPorts {
    pub repository: Arc<dyn ProposalRepository>,
    pub bench: Arc<dyn Bench>,
    pub bus: Arc<dyn EventBus>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// Where something is proposed, and on whose behalf.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) chat: Option<(&'a Chat, TurnId)>,
    pub(crate) source: &'a Source,
}

/// What people do about proposals; cheap to clone.
#[derive(Debug, Clone)]
pub struct Proposals(ProposalsPorts);

impl Proposals {
    /// Made of its ports.
    pub const fn new(ports: ProposalsPorts) -> Self {
        Self(ports)
    }

    /// One proposal.
    ///
    /// # Errors
    /// [`ProposalsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadAssistants>,
        id: ProposalId,
    ) -> Result<Proposal, ProposalsError> {
        self.find(permit.scope(), id).await
    }

    /// A page of proposals, the newest first.
    ///
    /// # Errors
    /// [`ProposalsError::Storage`].
    pub async fn list(
        &self,
        permit: &Permit<act::ReadAssistants>,
        filter: ProposalFilter,
        page: &PageRequest,
    ) -> Result<Page<Proposal>, ProposalsError> {
        let now = self.0.clock.now();
        Ok(self.0.repository.list(permit.scope(), filter, now, page).await?)
    }

    /// Approves it: exactly what was proposed begins under the name of this person, once, however
    /// often and by however many it is approved. Where it was approved by the same person already
    /// and has not begun, it goes on.
    ///
    /// # Errors
    /// [`ProposalsError`] says what is in the way.
    pub async fn approve(
        &self,
        permit: &Permit<act::DecideProposals>,
        running: (&Permit<act::RunSaved>, Option<&Permit<act::RunCommands>>),
        id: ProposalId,
        confirm: bool,
    ) -> Result<Proposal, ProposalsError> {
        let proposal = self.find(permit.scope(), id).await?;
        let now = self.0.clock.now();
        let decision = decision(permit, now)?;
        if proposal.outcome().is_some() && is_by(&proposal, &decision) {
            return Ok(proposal);
        }
        check_open(&proposal, &decision, now)?;
        if proposal.safety_level == SafetyLevel::Dangerous && !confirm {
            return Err(ProposalsError::NotConfirmed(proposal.safety_reasons));
        }
        let target = proposal.template().target;
        let weighed = self.0.bench.weigh(permit.scope(), &target, &proposal.work).await?;
        if weighed.script_version_id != proposal.script_version_id {
            return Err(ProposalsError::Changed);
        }
        let wish = Wish { confirm, once: Some(once(id)), ..Wish::new(proposal.template()) };
        let (saved, wording) = running;
        self.0.bench.check(saved, wording, &wish).await?;
        let event = ProposalEvent::Approved(decision.clone());
        let proposal = self.change(permit, id, event, now).await?;
        // Somebody else may have been faster.
        if !is_by(&proposal, &decision) {
            return Err(ProposalsError::Decided(proposal.status(now)));
        }
        if proposal.outcome().is_some() {
            return Ok(proposal);
        }
        let outcome = self.0.bench.start(saved, wording, wish).await?;
        let proposal = self.change(permit, id, ProposalEvent::Began(outcome), now).await?;
        self.tell(&proposal, now);
        Ok(proposal)
    }

    /// Rejects it: nothing of it runs.
    ///
    /// # Errors
    /// [`ProposalsError`] says what is in the way.
    pub async fn reject(
        &self,
        permit: &Permit<act::DecideProposals>,
        id: ProposalId,
        reason: Option<String>,
    ) -> Result<Proposal, ProposalsError> {
        self.find(permit.scope(), id).await?;
        let now = self.0.clock.now();
        let decision = decision(permit, now)?;
        let reason = reason.map(|it| it.trim().to_owned()).filter(|it| !it.is_empty());
        if reason.as_ref().is_some_and(|it| it.chars().count() > MAX_REASON) {
            return Err(ProposalsError::ReasonTooLong);
        }
        let event = ProposalEvent::Rejected(decision.clone(), reason);
        let proposal = self.change(permit, id, event, now).await?;
        match &proposal.state {
            ProposalState::Rejected { decision: taken, .. } if *taken == decision => {
                self.tell(&proposal, now);
                Ok(proposal)
            }
            _ => Err(ProposalsError::Decided(proposal.status(now))),
        }
    }

    /// What Muster thinks of a draft, for somebody with this scope.
    pub(crate) async fn weigh(
        &self,
        scope: &TenantScope,
        drafted: &Drafted,
    ) -> Result<Weighed, RunsError> {
        self.0.bench.weigh(scope, &drafted.target, &drafted.work).await
    }

    /// Keeps what was proposed to somebody.
    pub(crate) async fn keep(
        &self,
        permit: &Permit<act::UseAssistant>,
        place: &Place<'_>,
        (drafted, weighed, verdict): (Drafted, Weighed, Verdict),
        replaces: Option<ProposalId>,
    ) -> Result<Proposal, StorageError> {
        let now = self.0.clock.now();
        let asked_by = Requester::of(permit.actor())
            .ok_or_else(|| StorageError::new(std::io::Error::other("nobody asks")))?;
        let proposal = Proposal {
            id: ProposalId::new(&*self.0.clock, &*self.0.entropy),
            chat_id: place.chat.map(|(chat, _)| chat.id),
            turn_id: place.chat.map(|(_, turn)| turn),
            project_id: place.chat.and_then(|(chat, _)| chat.project_id),
            source: place.source.clone(),
            asked_by,
            asker_name: permit.actor().name().unwrap_or_default().to_owned(),
            customers: weighed.machines.values().copied().collect(),
            agent_ids: weighed.machines.into_keys().collect(),
            work: drafted.work,
            script_version_id: weighed.script_version_id,
            strategy: drafted.strategy,
            explanation: drafted.explanation,
            safety_level: verdict.level,
            safety_reasons: verdict.reasons,
            created_at: now,
            expires_at: now + WAITS_FOR,
            state: ProposalState::Proposed,
        };
        self.0.repository.create(proposal.clone(), replaces, permit.author()).await?;
        self.tell(&proposal, now);
        Ok(proposal)
    }

    async fn find(&self, scope: &TenantScope, id: ProposalId) -> Result<Proposal, ProposalsError> {
        self.0.repository.find(scope, id).await?.ok_or(ProposalsError::NotFound)
    }

    async fn change(
        &self,
        permit: &Permit<act::DecideProposals>,
        id: ProposalId,
        event: ProposalEvent,
        now: Timestamp,
    ) -> Result<Proposal, ProposalsError> {
        let changed = self.0.repository.change(id, event, permit.author(), now).await?;
        Ok(changed.ok_or(ProposalsError::NotFound)?.0)
    }

    /// Tells whoever listens how far it is.
    fn tell(&self, proposal: &Proposal, now: Timestamp) {
        let data = json!({
            "proposal_id": proposal.id,
            "chat_id": proposal.chat_id,
            "project_id": proposal.project_id,
            "status": proposal.status(now).as_str(),
            "safety_level": proposal.safety_level.as_str(),
            "total": proposal.agent_ids.len(),
        });
        let (customer_id, data) = (proposal.customer_id(), data.to_string().into());
        let event = Event { topic: Topic::Assistant, name: "proposal", customer_id, data };
        if let Some(id) = proposal.project_id {
            self.0.bus.tell(Channel::Project(id), event.clone());
        } else if let Some(id) = proposal.chat_id {
            self.0.bus.tell(Channel::Chat(id), event.clone());
        }
        self.0.bus.tell(Channel::Everything, event);
    }
}

/// What the run of a proposal is known by: there is one.
fn once(id: ProposalId) -> Once {
    Once { scope: format!("proposals/{id}"), key: "approve".to_owned(), fingerprint: [0; 32] }
}

/// Whether this person approved it.
fn is_by(proposal: &Proposal, by: &Decision) -> bool {
    matches!(&proposal.state, ProposalState::Approved { decision, .. } if decision.by == by.by)
}

/// That it waits, or goes on with whoever approved it.
fn check_open(
    proposal: &Proposal,
    decision: &Decision,
    now: Timestamp,
) -> Result<(), ProposalsError> {
    match proposal.status(now) {
        ProposalStatus::Proposed => Ok(()),
        ProposalStatus::Approved if now >= proposal.expires_at => {
            Err(ProposalsError::Decided(ProposalStatus::Expired))
        }
        ProposalStatus::Approved if is_by(proposal, decision) => Ok(()),
        status => Err(ProposalsError::Decided(status)),
    }
}

/// Who decides: a person.
fn decision(
    permit: &Permit<act::DecideProposals>,
    now: Timestamp,
) -> Result<Decision, ProposalsError> {
    let Actor::User { id, name } = permit.actor() else { return Err(Denied::Forbidden.into()) };
    Ok(Decision { by: *id, name: Arc::clone(name), at: now })
}
