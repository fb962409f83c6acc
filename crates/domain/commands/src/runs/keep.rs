//! What schedules keep, to begin runs of it in somebody's absence.

use std::collections::BTreeSet;

use async_trait::async_trait;
use muster_kernel::{CustomerId, Permit, act};

use super::usecase::{Runs, RunsError, Wish, check_mass};
use super::wish::Template;
use crate::approvals::Clearance;
use crate::schedules::TemplateKeeper;

#[async_trait]
impl TemplateKeeper for Runs {
    async fn keep(
        &self,
        permit: &Permit<act::ManageSchedules>,
        customer: Option<CustomerId>,
        template: &mut Template,
        place: &str,
        confirm: bool,
    ) -> Result<(), RunsError> {
        self.workshop.restore(template, place).await?;
        let mut meant = template.clone();
        meant.target.customer_id = meant.target.customer_id.or(customer);
        let wish = Wish { confirm, gone_are_left_out: true, ..Wish::new(meant) };
        let prepared = match self.plan(permit.scope(), &wish).await {
            Ok(plan) => {
                check_mass(permit.principal(), &plan)?;
                let assessment = plan.assessment();
                let needed =
                    self.ports.desk.clearance(assessment.level, plan.customers(), confirm).await?;
                match needed {
                    Clearance::Given => plan.prepared,
                    Clearance::Confirm => {
                        return Err(RunsError::Dangerous(assessment.reasons.clone()));
                    }
                    Clearance::Approve => return Err(RunsError::NeedsApproval),
                }
            }
            // Machines may come; what runs has to be there and take its parameters now.
            Err(RunsError::NobodyMeant) => {
                self.workshop.prepare(permit.scope(), &template.work, &BTreeSet::new()).await?
            }
            Err(error) => return Err(error),
        };
        template.secrets = self.workshop.seal(place, &prepared.secrets).await?;
        template.work = prepared.work;
        Ok(())
    }
}
