//! What people do with machines.

use muster_agents::groups::Groups;
use muster_agents::{Agents, AgentsPorts, ManyAgents};

use super::Base;
use super::work::Work;

/// The use cases that have to do with machines, one or many.
pub(super) struct Registry {
    pub(super) agents: Agents,
    pub(super) many_agents: ManyAgents,
    pub(super) groups: Groups,
}

impl Registry {
    pub(super) fn new(base: &Base, work: &Work) -> Self {
        let (clock, entropy) = (&base.clock, &base.entropy);
        let (machines, presence) = (&work.agents, &work.presence);
        let groups =
            Groups::new(work.groups.clone(), machines.clone(), clock.clone(), entropy.clone());
        Self {
            agents: Agents::new(AgentsPorts {
                repository: machines.clone(),
                presence: presence.clone(),
                connections: machines.clone(),
                verdicts: machines.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            many_agents: ManyAgents::new(
                machines.clone(),
                presence.clone(),
                work.targets.clone(),
                groups.clone(),
                clock.clone(),
            ),
            groups,
        }
    }
}
