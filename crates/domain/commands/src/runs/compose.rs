//! From a wish to a run with its commands.

use std::collections::{BTreeMap, BTreeSet};

use muster_agents::{Aim, OsType, SelectedAgent};
use muster_kernel::{CustomerId, StorageError, TenantScope};

use super::usecase::{Runs, RunsError, Wish};
use super::wish::Strategy;
use super::workshop::Prepared;
use crate::reach::reachable;
use crate::safety::Assessment;
use crate::spec::InvalidSpec;

/// Who is meant and what would run there.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The machines, those that are connected first.
    pub machines: Vec<SelectedAgent>,
    /// How many of them are connected.
    pub connected: usize,
    pub(super) prepared: Prepared,
}

impl Plan {
    /// How dangerous it is thought to be.
    pub const fn assessment(&self) -> &Assessment {
        &self.prepared.assessment
    }

    /// Whose machines they are.
    pub fn customers(&self) -> BTreeSet<CustomerId> {
        self.machines.iter().map(|machine| machine.customer_id).collect()
    }

    /// How many of the machines have which family of operating systems.
    pub fn by_os_type(&self) -> BTreeMap<OsType, usize> {
        let mut counts = BTreeMap::new();
        for machine in &self.machines {
            *counts.entry(machine.os_type).or_default() += 1;
        }
        counts
    }
}

impl Strategy {
    /// Checks that each number means something.
    ///
    /// # Errors
    /// [`InvalidSpec`] names the field and what is expected there.
    pub fn check(&self) -> Result<(), InvalidSpec> {
        for (field, value) in
            [("strategy/max_concurrency", self.max_concurrency), ("strategy/canary", self.canary)]
        {
            if value == Some(0) {
                return Err(InvalidSpec { field, rule: "at least 1 is expected".to_owned() });
            }
        }
        Ok(())
    }
}

impl Runs {
    /// Who is meant by `wish`, and what would run there.
    pub(super) async fn plan(&self, scope: &TenantScope, wish: &Wish) -> Result<Plan, RunsError> {
        wish.template.target.check().map_err(InvalidSpec::from)?;
        wish.template.strategy.check()?;
        let aim =
            Aim { gone_are_left_out: wish.gone_are_left_out, time_zones: wish.time_zones.clone() };
        let machines = self.ports.targets.machines(scope, &wish.template.target, &aim).await?;
        let families: BTreeSet<_> = machines.iter().map(|machine| machine.os_type).collect();
        let prepared = self.workshop.prepare(scope, &wish.template.work, &families).await?;
        Ok(self.plan_of(machines, prepared).await?)
    }

    /// Machines that are known to be meant, those that are connected first.
    pub(super) async fn plan_of(
        &self,
        machines: Vec<SelectedAgent>,
        prepared: Prepared,
    ) -> Result<Plan, StorageError> {
        let (ids, now) = (machines.iter().map(|machine| machine.id), self.ports.clock.now());
        let reached = reachable(&*self.ports.courier, &*self.ports.agents, ids, now).await?;
        let (mut here, away): (Vec<_>, Vec<_>) =
            machines.into_iter().partition(|machine| reached.contains(&machine.id));
        let connected = here.len();
        here.extend(away);
        Ok(Plan { machines: here, connected, prepared })
    }
}
