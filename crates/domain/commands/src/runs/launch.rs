//! Runs that schedules start, on behalf of whoever made the schedule.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use muster_kernel::{Author, Permit, Principal, RunId, StorageError, TenantScope, Timestamp, act};

use super::usecase::{Runs, RunsError, Started, Wish};
use crate::schedules::{LaunchError, RunLauncher, Schedule, Zone};
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

/// The wish of a schedule. Machines that it names and that are gone are left out: they can't keep
/// it from running on the others.
fn wish(schedule: &Schedule, due: Timestamp) -> Wish {
    let mut template = schedule.template.clone();
    if schedule.customer_id.is_some() && template.target.customer_id.is_none() {
        template.target.customer_id = schedule.customer_id;
    }
    Wish {
        template,
        confirm: true,
        once: Some(Once {
            scope: format!("schedules/{}", schedule.id),
            key: due.timestamp_micros().to_string(),
            fingerprint: [0; 32],
        }),
        schedule_id: Some(schedule.id),
        gone_are_left_out: true,
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
        // No machine tells its zone yet: all of them are in UTC.
        if only.is_some_and(|zones| !zones.contains(&Zone::UTC)) {
            return Err(LaunchError::Refused(RunsError::NobodyMeant.to_string()));
        }
        let maker = self.absentees.find(schedule.made_by.requester).await?;
        let maker = maker.ok_or_else(|| {
            let reason = "whoever made or last changed the schedule may do nothing any more";
            LaunchError::Refused(reason.to_owned())
        })?;
        let author = Author::system();
        let permit = Permit::<act::RunSaved>::ask(maker.clone(), &author);
        let permit = permit.map_err(|denied| refused(denied.into()))?;
        let own_words = Permit::<act::RunCommands>::ask(maker, &author).ok();
        let mut wish = wish(schedule, due);
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

    async fn has_ended(&self, run: RunId) -> Result<bool, StorageError> {
        let run = self.runs.ports.repository.find(&TenantScope::All, run).await?;
        Ok(run.is_none_or(|run| run.status.is_end()))
    }
}
