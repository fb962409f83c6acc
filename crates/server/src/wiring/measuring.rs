//! How machines fare over time.

use std::sync::Arc;

use muster_agents::HeartbeatListener;
use muster_agents::metrics::{History, KeepingPolicy, Recorder, Upkeep};
use muster_sea_orm::SeaMetrics;
use muster_settings::Settings;

use super::Base;
use super::work::Work;
use crate::policy::SettingsPolicy;

/// What takes metrics in, what shows them, and what time does to them.
pub(super) struct Measuring {
    pub(super) history: History,
    pub(super) recorder: Arc<Recorder>,
    pub(super) upkeep: Upkeep,
}

impl Measuring {
    pub(super) fn new(
        base: &Base,
        work: &Work,
        settings: &Arc<Settings>,
        listeners: Vec<Arc<dyn HeartbeatListener>>,
    ) -> Self {
        let store = Arc::new(SeaMetrics::new(base.database.clone()));
        let recorder = Arc::new(Recorder::new(work.heartbeats.clone(), store.clone(), listeners));
        let policy: Arc<dyn KeepingPolicy> = Arc::new(SettingsPolicy::new(settings.clone()));
        let clock = base.clock.clone();
        Self {
            history: History::new(
                work.agents.clone(),
                store.clone(),
                recorder.clone(),
                policy.clone(),
                clock.clone(),
            ),
            upkeep: Upkeep::new(store, recorder.clone(), policy, clock),
            recorder,
        }
    }
}
