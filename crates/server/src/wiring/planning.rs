//! What runs by itself: schedules, what starts them and what lets go of their histories.

use std::sync::Arc;

use muster_commands::Limits;
use muster_commands::runs::{Launcher, ToldZones};
use muster_commands::schedules::{HistoryRetention, Scheduler, SchedulerPorts, Schedules};
use muster_sea_orm::SeaSchedules;

use super::Base;
use super::work::Work;
use crate::absentees::KnownAbsentees;

/// What people do with schedules, and what time does.
pub(super) struct Planning {
    pub(super) schedules: Schedules,
    pub(super) ticker: Scheduler,
    pub(super) history: HistoryRetention,
}

impl Planning {
    pub(super) fn new(
        base: &Base,
        work: &Work,
        absentees: Arc<KnownAbsentees>,
        limits: Limits,
    ) -> Self {
        let Base { database, clock, entropy, .. } = base;
        let repository = Arc::new(SeaSchedules::new(database.clone()));
        let zones = Arc::new(ToldZones::new(work.targets.clone()));
        Self {
            schedules: Schedules::new(
                repository.clone(),
                zones.clone(),
                Arc::new(work.runs.clone()),
                clock.clone(),
                entropy.clone(),
                limits,
            ),
            ticker: Scheduler::new(SchedulerPorts {
                courses: repository.clone(),
                launcher: Arc::new(Launcher::new(work.runs.clone(), absentees)),
                zones,
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
            history: HistoryRetention::new(repository, clock.clone()),
        }
    }
}
