//! Where dangerous requests are let through, sent back, or kept for a second person.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_agents::OsType;
use muster_kernel::{
    AgentId, ApprovalId, Author, Clock, CustomerId, DangerPolicy, Denied, Entropy, RunId,
    StorageError, TenantScope,
};

use super::approval::{Approval, ApprovalState, WAITS_FOR};
use super::ports::{ApprovalRepository, Kept};
use crate::ports::DangerPolicies;
use crate::runs::{Target, Template, summary};
use crate::safety::{Assessment, SafetyLevel};
use crate::spec::{InvalidSpec, Spec};
use crate::usecase::expiry;
use crate::{Once, Requester};

/// What a request needs before it may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clearance {
    /// Nothing more.
    Given,
    /// That whoever asks says that they know.
    Confirm,
    /// That a second person approves.
    Approve,
}

/// Why a request could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// Nobody asks who could be answered.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The request breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    /// The idempotency key came before with another request.
    #[error("this idempotency key was used for another request; take a new one")]
    KeyReused,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A request that has to wait.
pub(crate) struct Ask<'a> {
    /// What is asked for, without secrets.
    pub(crate) template: Template,
    /// What exactly would run.
    pub(crate) specs: BTreeMap<OsType, Spec>,
    /// On which machines.
    pub(crate) machines: BTreeSet<AgentId>,
    /// Whose they are.
    pub(crate) customers: BTreeSet<CustomerId>,
    /// What is thought of it.
    pub(crate) assessment: &'a Assessment,
    /// The run whose failed machines it tries again.
    pub(crate) retry_of: Option<RunId>,
}

/// Lets requests through, or keeps them; cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    repository: Arc<dyn ApprovalRepository>,
    policies: Arc<dyn DangerPolicies>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Desk {
    /// Made of its ports.
    pub fn new(
        repository: Arc<dyn ApprovalRepository>,
        policies: Arc<dyn DangerPolicies>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { repository, policies, clock, entropy }
    }

    /// What a request on machines of these customers needs: what the strictest of them asks.
    /// Nobody's policy is looked up for what is not dangerous.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn clearance(
        &self,
        level: SafetyLevel,
        customers: impl IntoIterator<Item = CustomerId> + Send,
        confirmed: bool,
    ) -> Result<Clearance, StorageError> {
        let mut needed = Clearance::Given;
        if level < SafetyLevel::Dangerous {
            return Ok(needed);
        }
        let customers: Vec<_> = customers.into_iter().collect();
        for customer in customers {
            match self.policies.danger_policy(customer).await? {
                DangerPolicy::Allow => {}
                DangerPolicy::Confirm if confirmed => {}
                DangerPolicy::Confirm => needed = Clearance::Confirm,
                DangerPolicy::Approve => return Ok(Clearance::Approve),
            }
        }
        Ok(needed)
    }

    /// An approval that waits from now on, as soon as it is [kept](Desk::keep).
    pub(crate) fn compose(&self, ask: Ask<'_>, author: &Author) -> Result<Approval, DeskError> {
        let requested_by = Requester::of(&author.actor).ok_or(Denied::Forbidden)?;
        let now = self.clock.now();
        expiry(ask.template.expires_in, now)?;
        let text = ask.specs.values().next().map(|spec| summary(&spec.command));
        let total = u32::try_from(ask.machines.len()).unwrap_or(u32::MAX);
        let target = Target { agent_ids: ask.machines, ..Target::default() };
        Ok(Approval {
            id: ApprovalId::new(&*self.clock, &*self.entropy),
            template: Template { target, secrets: None, ..ask.template },
            specs: ask.specs,
            total,
            customers: ask.customers,
            summary: text.unwrap_or_default(),
            safety_level: ask.assessment.level,
            reasons: ask.assessment.reasons.iter().map(|it| (*it).to_owned()).collect(),
            retry_of: ask.retry_of,
            requested_by,
            requester_name: author.actor.name().unwrap_or_default().to_owned(),
            created_at: now,
            expires_at: now + WAITS_FOR,
            state: ApprovalState::Pending,
        })
    }

    /// Makes it durable; answers with what the same request made before, if there was one.
    pub(crate) async fn keep(
        &self,
        approval: Approval,
        once: Option<Once>,
        author: &Author,
        scope: &TenantScope,
    ) -> Result<Approval, DeskError> {
        match self.repository.create(approval.clone(), once, author).await? {
            Kept::New => Ok(approval),
            // What the key made may be a run, of a time when the policy was another.
            Kept::Known(id) => self.repository.find(scope, id).await?.ok_or(DeskError::KeyReused),
            Kept::Conflict => Err(DeskError::KeyReused),
        }
    }
}
