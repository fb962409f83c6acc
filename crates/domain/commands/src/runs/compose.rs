//! From a wish to a run with its commands.

use std::collections::{BTreeMap, BTreeSet};

use muster_agents::{AgentSelection, OsType, SelectedAgent};
use muster_kernel::{AgentId, CustomerId, TenantScope};

use super::usecase::{Runs, RunsError, Wish};
use super::wish::{MAX_AGENT_IDS, Strategy, Target};
use super::workshop::Prepared;
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

impl Target {
    /// Checks that it says something, and nothing that can't be.
    pub(crate) fn check(&self) -> Result<(), InvalidSpec> {
        let invalid = |field, rule: &str| Err(InvalidSpec { field, rule: rule.to_owned() });
        let named = !self.agent_ids.is_empty();
        let narrowed =
            !self.tags.is_empty() || self.customer_id.is_some() || self.os_type.is_some();
        if !named && !narrowed && !self.all {
            let rule = "say which machines are meant: agent_ids, tags, customer_id, os_type, or \
                all: true";
            return invalid("target", rule);
        }
        if named && self.all {
            return invalid("target/all", "either all, or those that agent_ids names");
        }
        if self.agent_ids.len() > MAX_AGENT_IDS {
            return invalid("target/agent_ids", "at most 100000 machines");
        }
        Ok(())
    }

    pub(super) fn selection(&self) -> AgentSelection {
        AgentSelection {
            ids: (!self.agent_ids.is_empty()).then(|| self.agent_ids.clone()),
            tags: self.tags.clone(),
            customer_id: self.customer_id,
            os_type: self.os_type,
            time_zones: None,
        }
    }
}

impl Strategy {
    /// Checks that each number means something.
    pub(crate) fn check(&self) -> Result<(), InvalidSpec> {
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
        wish.template.target.check()?;
        wish.template.strategy.check()?;
        let machines = self.machines(scope, wish).await?;
        let families: BTreeSet<_> = machines.iter().map(|machine| machine.os_type).collect();
        let prepared = self.workshop.prepare(scope, &wish.template.work, &families).await?;
        Ok(self.plan_of(machines, prepared))
    }

    /// Machines that are known to be meant, those that are connected first.
    pub(super) fn plan_of(&self, machines: Vec<SelectedAgent>, prepared: Prepared) -> Plan {
        let (mut here, away): (Vec<_>, Vec<_>) =
            machines.into_iter().partition(|machine| self.ports.courier.is_connected(machine.id));
        let connected = here.len();
        here.extend(away);
        Plan { machines: here, connected, prepared }
    }

    async fn machines(
        &self,
        scope: &TenantScope,
        wish: &Wish,
    ) -> Result<Vec<SelectedAgent>, RunsError> {
        let target = &wish.template.target;
        if let Some(customer) = target.customer_id.filter(|id| !scope.contains(*id)) {
            return Err(RunsError::UnknownCustomer(customer));
        }
        if !target.agent_ids.is_empty() && !wish.gone_are_left_out {
            self.check_named(scope, &target.agent_ids).await?;
        }
        let time_zones = wish.time_zones.clone();
        let selection = AgentSelection { time_zones, ..target.selection() };
        let machines = self.ports.agents.select(scope, &selection).await?;
        if machines.is_empty() { Err(RunsError::NobodyMeant) } else { Ok(machines) }
    }

    /// That each machine which is named is there: nothing is left out in silence.
    async fn check_named(
        &self,
        scope: &TenantScope,
        named: &BTreeSet<AgentId>,
    ) -> Result<(), RunsError> {
        let named_alone = AgentSelection { ids: Some(named.clone()), ..AgentSelection::default() };
        let known = self.ports.agents.select(scope, &named_alone).await?;
        let known: BTreeSet<_> = known.into_iter().map(|machine| machine.id).collect();
        match named.difference(&known).next() {
            Some(unknown) => Err(RunsError::UnknownAgent(*unknown)),
            None => Ok(()),
        }
    }
}
