//! Runs that schedules start, on behalf of whoever made the schedule.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use muster_agents::{TargetError, Targets};
use muster_kernel::{
    Author, Permit, Principal, RunId, ScheduleId, StorageError, TenantScope, Timestamp, act,
};

use super::usecase::{Runs, RunsError, Started, Wish};
use crate::schedules::{AgentZones, LaunchError, RunLauncher, Schedule, Zone};
use crate::{Once, Requester};

/// Knows people and keys that are not there to ask.
#[async_trait]
pub trait Absentees: Send + Sync + std::fmt::Debug {
    /// Whoever asked once, with what they may do now; `None` when they may do nothing any more.
    async fn find(&self, requester: Requester) -> Result<Option<Principal>, StorageError>;
}

/// Starts the runs of schedules.
#[derive(Debug, Clone)]
pub struct Launcher {
    runs: Runs,
    absentees: Arc<dyn Absentees>,
}

impl Launcher {
    /// Made of its ports.
    pub fn new(runs: Runs, absentees: Arc<dyn Absentees>) -> Self {
        Self { runs, absentees }
    }
}

fn refused(error: RunsError) -> LaunchError {
    match error {
        RunsError::Storage(error) => error.into(),
        other => LaunchError::Refused(other.to_string()),
    }
}

/// What a schedule's run is known by.
fn once(schedule: ScheduleId, due: Timestamp) -> Once {
    Once {
        scope: format!("schedules/{schedule}"),
        key: due.timestamp_micros().to_string(),
        fingerprint: [0; 32],
    }
}

/// The wish of a schedule. Machines that it names and that are gone are left out: they can't keep
/// it from running on the others.
fn wish(schedule: &Schedule, due: Timestamp, only: Option<&BTreeSet<Zone>>) -> Wish {
    let mut template = schedule.template.clone();
    if schedule.customer_id.is_some() && template.target.customer_id.is_none() {
        template.target.customer_id = schedule.customer_id;
    }
    Wish {
        template,
        confirm: true,
        once: Some(once(schedule.id, due)),
        schedule_id: Some(schedule.id),
        gone_are_left_out: true,
        time_zones: only.map(|zones| zones.iter().map(|zone| zone.name().to_owned()).collect()),
    }
}

#[async_trait]
impl RunLauncher for Launcher {
    async fn launch(
        &self,
        schedule: &Schedule,
        due: Timestamp,
        only: Option<&BTreeSet<Zone>>,
    ) -> Result<RunId, LaunchError> {
        let maker = self.absentees.find(schedule.made_by.requester).await?;
        let maker = maker.ok_or_else(|| {
            let reason = "whoever made or last changed the schedule may do nothing any more";
            LaunchError::Refused(reason.to_owned())
        })?;
        let author = Author::system();
        let permit = Permit::<act::RunSaved>::ask(maker.clone(), &author);
        let permit = permit.map_err(|denied| refused(denied.into()))?;
        let own_words = Permit::<act::RunCommands>::ask(maker, &author).ok();
        let mut wish = wish(schedule, due, only);
        let place = Schedule::secrets_place(schedule.id);
        self.runs.workshop.restore(&mut wish.template, &place).await?;
        if schedule
            .template
            .target
            .customer_id
            .is_some_and(|id| schedule.customer_id.is_some_and(|own| own != id))
        {
            return Err(refused(RunsError::NobodyMeant));
        }
        match self.runs.start(&permit, own_words.as_ref(), wish).await.map_err(refused)? {
            Started::Run(run) => Ok(run.id),
            Started::Waits(_) => Err(refused(RunsError::NeedsApproval)),
        }
    }

    async fn launched(
        &self,
        schedule: ScheduleId,
        due: Timestamp,
    ) -> Result<Option<RunId>, StorageError> {
        let Once { scope, key, .. } = once(schedule, due);
        self.runs.ports.repository.known(&scope, &key).await
    }

    async fn has_ended(&self, run: RunId) -> Result<bool, StorageError> {
        let run = self.runs.ports.repository.find(&TenantScope::All, run).await?;
        Ok(run.is_none_or(|run| run.status.is_end()))
    }
}

/// The zones that the clocks of machines show, as they told.
#[derive(Debug, Clone)]
pub struct ToldZones(Targets);

impl ToldZones {
    /// Of the machines that are found so.
    pub const fn new(targets: Targets) -> Self {
        Self(targets)
    }
}

#[async_trait]
impl AgentZones for ToldZones {
    async fn zones(&self, schedule: &Schedule) -> Result<BTreeSet<Zone>, StorageError> {
        let scope = schedule.customer_id.map_or(TenantScope::All, TenantScope::one);
        let told = match self.0.time_zones(&scope, &schedule.template.target).await {
            Ok(told) => told,
            Err(TargetError::Storage(error)) => return Err(error),
            // The run says then what is wrong.
            Err(_) => BTreeSet::new(),
        };
        let zone =
            |name: Option<String>| name.and_then(|name| Zone::parse(&name)).unwrap_or(Zone::UTC);
        let zones: BTreeSet<_> = told.into_iter().map(zone).collect();
        // A schedule without machines comes due as well, and says then that nobody is meant.
        Ok(if zones.is_empty() { BTreeSet::from([Zone::UTC]) } else { zones })
    }
}
