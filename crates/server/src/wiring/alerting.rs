//! What watches, what people do with it, and what tells them.

use std::sync::Arc;

use anyhow::Context;
use muster_agents::Presence;
use muster_alerts::{
    Alerts, Announcer, Channels, Connected, Dispatcher, Retention, Rules, Watcher, WatcherPorts,
    Windows,
};
use muster_http::Alerting;
use muster_kernel::AgentId;
use muster_kernel::events::EventBus;
use muster_notify::Notifier;
use muster_sea_orm::SeaAlerts;
use muster_settings::{Key, Settings};

use super::Base;

/// Who is connected.
#[derive(Debug)]
struct Reachable(Arc<dyn Presence>);

impl Connected for Reachable {
    fn is_connected(&self, id: AgentId) -> bool {
        self.0.connection(id).is_some()
    }
}

/// What people do with alerts, and what goes on by itself.
pub(super) struct Watch {
    pub(super) alerting: Alerting,
    pub(super) watcher: Arc<Watcher>,
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) retention: Retention,
}

impl Watch {
    pub(super) fn new(
        base: &Base,
        settings: &Arc<Settings>,
        bus: Arc<dyn EventBus>,
        presence: Arc<dyn Presence>,
    ) -> anyhow::Result<Self> {
        let Base { database, vault, .. } = base;
        let (clock, entropy) = (base.clock.clone(), base.entropy.clone());
        let alerts = Arc::new(SeaAlerts::new(database.clone()));
        let announcer = Announcer::new(alerts.clone(), bus, clock.clone(), entropy.clone());
        let allowed = settings.clone();
        let allow_private = Arc::new(move || allowed.is_on(Key::AlertsPrivateAddresses));
        let notifier = Notifier::new(allow_private).context("the HTTP client of alerts")?;
        let alerting = Alerting {
            alerts: Alerts::new(alerts.clone(), announcer.clone(), clock.clone()),
            rules: Rules::new(alerts.clone(), alerts.clone(), clock.clone(), entropy.clone()),
            channels: Channels::new(
                alerts.clone(),
                alerts.clone(),
                vault.clone(),
                clock.clone(),
                entropy.clone(),
            ),
            windows: Windows::new(alerts.clone(), clock.clone(), entropy.clone()),
        };
        let watcher = Watcher::new(WatcherPorts {
            rules: alerts.clone(),
            windows: alerts.clone(),
            alerts: alerts.clone(),
            occurrences: alerts.clone(),
            deviations: alerts.clone(),
            connected: Arc::new(Reachable(presence)),
            announcer,
            clock: clock.clone(),
            entropy: entropy.clone(),
        });
        let retention = Retention::new(alerts.clone(), clock.clone());
        let dispatcher = Dispatcher::new(
            alerts.clone(),
            alerts,
            Arc::new(notifier),
            vault.clone(),
            clock,
            entropy,
        );
        let (watcher, dispatcher) = (Arc::new(watcher), Arc::new(dispatcher));
        Ok(Self { alerting, watcher, dispatcher, retention })
    }
}
