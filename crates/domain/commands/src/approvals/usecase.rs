//! What people do with approvals.

use std::sync::Arc;

use muster_kernel::{
    Actor, ApprovalId, Clock, Denied, Page, PageRequest, Permit, StorageError, TenantScope,
    Timestamp, act,
};

use super::approval::{Approval, ApprovalEvent, ApprovalState, ApprovalStatus, Decision};
use super::ports::{ApprovalFilter, ApprovalRepository};
use crate::ScriptTexts;
use crate::runs::{Absentees, Runs, RunsError, Work};

/// How many characters a reason may have.
const MAX_REASON: usize = 1000;

/// Why something could not be done with an approval.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalsError {
    /// There is no such approval, or it is not the asker's.
    #[error("there is no such approval, or it is not yours")]
    NotFound,
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Who decides is who asked for it.
    #[error("you asked for it yourself: somebody else has to decide")]
    OwnRequest,
    /// Nobody decided in time.
    #[error("it has expired; it has to be asked for again")]
    Expired,
    /// It was decided already.
    #[error("it was {} already", .0.as_str())]
    Decided(ApprovalStatus),
    /// Who asked for it may not run it any more.
    #[error("whoever asked for it may not run it any more")]
    RequesterGone,
    /// None of its machines is there any more.
    #[error("none of the machines is there any more")]
    NobodyLeft,
    /// The reason is too long.
    #[error("at most 1000 characters")]
    ReasonTooLong,
    /// What was approved could not begin.
    #[error(transparent)]
    Run(RunsError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<RunsError> for ApprovalsError {
    fn from(error: RunsError) -> Self {
        match error {
            RunsError::NobodyMeant => Self::NobodyLeft,
            RunsError::Storage(error) => Self::Storage(error),
            other => Self::Run(other),
        }
    }
}

/// The ports of [`Approvals`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct ApprovalsPorts {
    pub repository: Arc<dyn ApprovalRepository>,
    pub absentees: Arc<dyn Absentees>,
    pub texts: Arc<dyn ScriptTexts>,
    pub clock: Arc<dyn Clock>,
}

/// What people do with approvals.
#[derive(Debug, Clone)]
pub struct Approvals {
    ports: ApprovalsPorts,
    runs: Runs,
}

impl Approvals {
    /// Made of its ports; what is approved begins as one of `runs`.
    pub const fn new(ports: ApprovalsPorts, runs: Runs) -> Self {
        Self { ports, runs }
    }

    /// A page of approvals, the newest first.
    ///
    /// # Errors
    /// [`ApprovalsError::Storage`].
    pub async fn list(
        &self,
        permit: &Permit<act::ReadApprovals>,
        filter: ApprovalFilter,
        page: &PageRequest,
    ) -> Result<Page<Approval>, ApprovalsError> {
        let now = self.ports.clock.now();
        Ok(self.ports.repository.list(permit.scope(), filter, now, page).await?)
    }

    /// One approval.
    ///
    /// # Errors
    /// [`ApprovalsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadApprovals>,
        id: ApprovalId,
    ) -> Result<Approval, ApprovalsError> {
        self.find(permit.scope(), id).await
    }

    /// The text of the script that would run, as it was when it was asked for; `None` when it is
    /// no script, or the library has let go of it.
    ///
    /// # Errors
    /// [`ApprovalsError::Storage`].
    pub async fn script_text(
        &self,
        approval: &Approval,
    ) -> Result<Option<Arc<str>>, ApprovalsError> {
        let Some(script) = approval.specs.values().find_map(|spec| spec.script) else {
            return Ok(None);
        };
        Ok(self.ports.texts.text(script.version_id).await?)
    }

    /// Approves it, and begins the run of exactly what was asked for, on behalf of who asked. What
    /// is approved already and has not begun goes on where it was; what has begun stays as it is.
    ///
    /// # Errors
    /// [`ApprovalsError`] says what is in the way.
    pub async fn approve(
        &self,
        permit: &Permit<act::DecideApprovals>,
        id: ApprovalId,
    ) -> Result<Approval, ApprovalsError> {
        let approval = self.find(permit.scope(), id).await?;
        let now = self.ports.clock.now();
        let decision = decision(permit, &approval, now)?;
        if approval.run_id().is_some() {
            return Ok(approval);
        }
        check_undecided(&approval, now, true)?;
        let scope = self.scope_of_requester(permit, &approval).await?;
        let plan = self.runs.plan_approved(&scope, &approval).await?;
        let event = ApprovalEvent::Approved(decision);
        let approval = self.change(permit, id, event, now).await?;
        // Somebody else may have been faster.
        match approval.status(now) {
            ApprovalStatus::Approved if approval.run_id().is_some() => return Ok(approval),
            ApprovalStatus::Approved => {}
            status => return Err(ApprovalsError::Decided(status)),
        }
        let run = self.runs.begin_approved(permit, &approval, &plan).await?;
        self.change(permit, id, ApprovalEvent::Began(run.id), now).await
    }

    /// Rejects it: nothing of it runs.
    ///
    /// # Errors
    /// [`ApprovalsError`] says what is in the way.
    pub async fn reject(
        &self,
        permit: &Permit<act::DecideApprovals>,
        id: ApprovalId,
        reason: Option<String>,
    ) -> Result<Approval, ApprovalsError> {
        let approval = self.find(permit.scope(), id).await?;
        let now = self.ports.clock.now();
        let decision = decision(permit, &approval, now)?;
        let reason = reason.map(|it| it.trim().to_owned()).filter(|it| !it.is_empty());
        if reason.as_ref().is_some_and(|it| it.chars().count() > MAX_REASON) {
            return Err(ApprovalsError::ReasonTooLong);
        }
        check_undecided(&approval, now, false)?;
        let event = ApprovalEvent::Rejected(decision.clone(), reason);
        let approval = self.change(permit, id, event, now).await?;
        // Somebody else may have been faster.
        match &approval.state {
            ApprovalState::Rejected { decision: taken, .. } if *taken == decision => Ok(approval),
            _ => Err(ApprovalsError::Decided(approval.status(now))),
        }
    }

    async fn find(&self, scope: &TenantScope, id: ApprovalId) -> Result<Approval, ApprovalsError> {
        self.ports.repository.find(scope, id).await?.ok_or(ApprovalsError::NotFound)
    }

    async fn change(
        &self,
        permit: &Permit<act::DecideApprovals>,
        id: ApprovalId,
        event: ApprovalEvent,
        now: Timestamp,
    ) -> Result<Approval, ApprovalsError> {
        let changed = self.ports.repository.change(id, event, permit.author(), now).await?;
        Ok(changed.ok_or(ApprovalsError::NotFound)?.0)
    }

    /// Whose machines whoever asked may run this on by now.
    async fn scope_of_requester(
        &self,
        permit: &Permit<act::DecideApprovals>,
        approval: &Approval,
    ) -> Result<TenantScope, ApprovalsError> {
        let requester = self.ports.absentees.find(approval.requested_by).await?;
        let requester = requester.ok_or(ApprovalsError::RequesterGone)?;
        let gone = |_| ApprovalsError::RequesterGone;
        if let Work::Command(_) = &approval.template.work {
            Permit::<act::RunCommands>::ask(requester.clone(), permit.author()).map_err(gone)?;
        }
        let saved = Permit::<act::RunSaved>::ask(requester, permit.author()).map_err(gone)?;
        Ok(saved.scope().clone())
    }
}

/// That it can still be decided about, or go on if it is approved and has not begun.
fn check_undecided(
    approval: &Approval,
    now: Timestamp,
    goes_on: bool,
) -> Result<(), ApprovalsError> {
    match approval.status(now) {
        ApprovalStatus::Pending => Ok(()),
        ApprovalStatus::Approved if goes_on && now < approval.expires_at => Ok(()),
        ApprovalStatus::Expired => Err(ApprovalsError::Expired),
        ApprovalStatus::Approved if goes_on => Err(ApprovalsError::Expired),
        status @ (ApprovalStatus::Approved | ApprovalStatus::Rejected) => {
            Err(ApprovalsError::Decided(status))
        }
    }
}

/// Who decides: a person, and not who asked.
fn decision(
    permit: &Permit<act::DecideApprovals>,
    approval: &Approval,
    now: Timestamp,
) -> Result<Decision, ApprovalsError> {
    let Actor::User { id, name } = permit.actor() else { return Err(Denied::Forbidden.into()) };
    if !approval.may_be_decided_by(*id) {
        return Err(ApprovalsError::OwnRequest);
    }
    Ok(Decision { by: *id, name: Arc::clone(name), at: now })
}
