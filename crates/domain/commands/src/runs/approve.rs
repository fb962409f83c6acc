//! Runs that wait for a second person, and that begin when one has approved.

use muster_agents::AgentSelection;
use muster_kernel::{Permit, RunId, TenantScope, act};

use super::compose::Plan;
use super::run::Run;
use super::usecase::{Asker, Runs, RunsError, Started, Wish};
use super::wish::Template;
use super::workshop::Prepared;
use crate::Once;
use crate::approvals::{Approval, Ask, Clearance, DeskError};
use crate::safety::Assessment;

impl From<DeskError> for RunsError {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Denied(error) => error.into(),
            DeskError::Invalid(error) => error.into(),
            DeskError::KeyReused => Self::KeyReused,
            DeskError::Storage(error) => error.into(),
        }
    }
}

impl Runs {
    /// Begins what may begin, and keeps what has to wait.
    pub(super) async fn begin_or_wait(
        &self,
        asker: &Asker<'_>,
        wish: Wish,
        plan: &Plan,
        retry_of: Option<RunId>,
    ) -> Result<Started, RunsError> {
        let Assessment { level, reasons } = plan.assessment();
        let clearance = self.ports.desk.clearance(*level, plan.customers(), wish.confirm).await?;
        match clearance {
            Clearance::Given => {
                Ok(Started::Run(Box::new(self.begin(asker, wish, plan, retry_of).await?)))
            }
            Clearance::Confirm => Err(RunsError::Dangerous(reasons.clone())),
            Clearance::Approve if wish.schedule_id.is_some() => Err(RunsError::NeedsApproval),
            Clearance::Approve => {
                Ok(Started::Waits(Box::new(self.keep(asker, wish, plan, retry_of).await?)))
            }
        }
    }

    async fn keep(
        &self,
        asker: &Asker<'_>,
        wish: Wish,
        plan: &Plan,
        retry_of: Option<RunId>,
    ) -> Result<Approval, RunsError> {
        let Prepared { specs, work, secrets, assessment } = &plan.prepared;
        let ask = Ask {
            template: Template { work: work.clone(), secrets: None, ..wish.template },
            specs: specs.clone(),
            machines: plan.machines.iter().map(|machine| machine.id).collect(),
            customers: plan.customers(),
            assessment,
            retry_of,
        };
        let mut approval = self.ports.desk.compose(ask, asker.author)?;
        let place = Approval::secrets_place(approval.id);
        approval.template.secrets = self.workshop.seal(&place, secrets).await?;
        Ok(self.ports.desk.keep(approval, wish.once, asker.author, asker.scope).await?)
    }

    /// What was asked for, on those of its machines that are still there and in `scope`, which is
    /// that of whoever asked.
    pub(crate) async fn plan_approved(
        &self,
        scope: &TenantScope,
        approval: &Approval,
    ) -> Result<Plan, RunsError> {
        let named = AgentSelection {
            ids: Some(approval.template.target.agent_ids.clone()),
            ..AgentSelection::default()
        };
        let now = self.ports.clock.now();
        let mut machines = self.ports.agents.select(scope, &named, now).await?;
        // A machine of another customer or system by now is not the one that was meant.
        machines.retain(|machine| {
            approval.customers.contains(&machine.customer_id)
                && approval.specs.contains_key(&machine.os_type)
        });
        if machines.is_empty() {
            return Err(RunsError::NobodyMeant);
        }
        let place = Approval::secrets_place(approval.id);
        let secrets = self.workshop.open(&place, approval.template.secrets.as_ref()).await?;
        let assessment = Assessment { level: approval.safety_level, reasons: Vec::new() };
        let (specs, work) = (approval.specs.clone(), approval.template.work.clone());
        Ok(self.plan_of(machines, Prepared { specs, assessment, work, secrets }).await?)
    }

    /// Begins what was approved, once, for whoever asked for it.
    pub(crate) async fn begin_approved(
        &self,
        permit: &Permit<act::DecideApprovals>,
        approval: &Approval,
        plan: &Plan,
    ) -> Result<Run, RunsError> {
        let mut template = approval.template.clone();
        template.target.agent_ids = plan.machines.iter().map(|machine| machine.id).collect();
        let wish = Wish {
            confirm: true,
            once: Some(Once {
                scope: format!("approvals/{}", approval.id),
                key: "run".to_owned(),
                fingerprint: [0; 32],
            }),
            gone_are_left_out: true,
            ..Wish::new(template)
        };
        let requested_by = approval.requested_by;
        let asker = Asker { scope: permit.scope(), author: permit.author(), requested_by };
        self.begin(&asker, wish, plan, approval.retry_of).await
    }
}
