//! Where proposals are weighed, and where those that were approved begin.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use muster_agents::{Aim, Target, Targets};
use muster_commands::SafetyLevel;
use muster_commands::runs::{Runs, RunsError, Started, Wish, Work, Workshop};
use muster_kernel::{AgentId, CustomerId, Permit, TenantScope, VersionId, act};

use super::Outcome;

/// Who is meant by something, and what Muster thinks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// The machines and whose they are.
    pub machines: BTreeMap<AgentId, CustomerId>,
    /// How dangerous it is.
    pub level: SafetyLevel,
    /// Why.
    pub reasons: Vec<String>,
    /// The script of the library as it is now, if it is one.
    pub script_version_id: Option<VersionId>,
}

/// Weighs what is proposed, and begins what was approved.
#[async_trait]
pub trait Bench: Send + Sync + std::fmt::Debug {
    /// Who in `scope` would be meant, and what is thought of it. It runs nothing.
    async fn weigh(
        &self,
        scope: &TenantScope,
        target: &Target,
        work: &Work,
    ) -> Result<Weighed, RunsError>;

    /// Whether it could begin under this person's name. It runs nothing.
    async fn check(
        &self,
        permit: &Permit<act::RunSaved>,
        wording: Option<&Permit<act::RunCommands>>,
        wish: &Wish,
    ) -> Result<(), RunsError>;

    /// Begins it under this person's name, by every rule that there is for what they begin
    /// themselves.
    async fn start(
        &self,
        permit: &Permit<act::RunSaved>,
        wording: Option<&Permit<act::RunCommands>>,
        wish: Wish,
    ) -> Result<Outcome, RunsError>;
}

/// The runs that people begin.
#[derive(Debug, Clone)]
pub struct RunsBench {
    runs: Runs,
    targets: Targets,
    workshop: Workshop,
}

impl RunsBench {
    /// Made of what finds machines, reads the library and begins runs.
    pub const fn new(runs: Runs, targets: Targets, workshop: Workshop) -> Self {
        Self { runs, targets, workshop }
    }
}

#[async_trait]
impl Bench for RunsBench {
    async fn weigh(
        &self,
        scope: &TenantScope,
        target: &Target,
        work: &Work,
    ) -> Result<Weighed, RunsError> {
        let machines = self.targets.machines(scope, target, &Aim::default()).await?;
        let families: BTreeSet<_> = machines.iter().map(|machine| machine.os_type).collect();
        let prepared = self.workshop.prepare(scope, work, &families).await?;
        let script = prepared.specs.values().find_map(|spec| spec.script);
        Ok(Weighed {
            script_version_id: script.map(|script| script.version_id),
            machines: machines.into_iter().map(|it| (it.id, it.customer_id)).collect(),
            level: prepared.assessment.level,
            reasons: prepared.assessment.reasons.into_iter().map(ToOwned::to_owned).collect(),
        })
    }

    async fn check(
        &self,
        permit: &Permit<act::RunSaved>,
        wording: Option<&Permit<act::RunCommands>>,
        wish: &Wish,
    ) -> Result<(), RunsError> {
        self.runs.preview(permit, wording, wish).await.map(drop)
    }

    async fn start(
        &self,
        permit: &Permit<act::RunSaved>,
        wording: Option<&Permit<act::RunCommands>>,
        wish: Wish,
    ) -> Result<Outcome, RunsError> {
        Ok(match self.runs.start(permit, wording, wish).await? {
            Started::Run(run) => Outcome::Run(run.id),
            Started::Waits(approval) => Outcome::Waits(approval.id),
        })
    }
}
