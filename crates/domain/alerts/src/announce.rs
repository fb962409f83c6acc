//! Who is told of an alert, and what.

use std::sync::Arc;

use muster_kernel::events::{Channel as Place, EventBus};
use muster_kernel::{Clock, DeliveryId, Entropy, StorageError, TenantScope, Timestamp};

use crate::events::{facts, news};
use crate::{Alert, Delivery, DeliveryState, Message, Rule, RuleRepository, State};

/// Makes the messages about alerts, and tells whoever listens now.
#[derive(Debug, Clone)]
pub struct Announcer {
    rules: Arc<dyn RuleRepository>,
    bus: Arc<dyn EventBus>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Announcer {
    /// Made of its ports.
    pub fn new(
        rules: Arc<dyn RuleRepository>,
        bus: Arc<dyn EventBus>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { rules, bus, clock, entropy }
    }

    /// The messages to the channels of `rule` about an alert as it is now. Of one that is kept
    /// silent there are none.
    pub(crate) fn messages(&self, alert: &Alert, rule: &Rule, now: Timestamp) -> Vec<Delivery> {
        let event = match alert.state {
            State::Suppressed => return Vec::new(),
            State::Firing => "alert.firing",
            State::Acknowledged => "alert.acknowledged",
            State::Resolved => "alert.resolved",
        };
        let message = Message {
            event: event.to_owned(),
            at: now,
            severity: alert.severity,
            title: format!("{}: {}", alert.rule_name, alert.summary),
            alert: Some(facts(alert)),
        };
        let delivery = |channel_id| Delivery {
            id: DeliveryId::new(&*self.clock, &*self.entropy),
            channel_id,
            alert_id: Some(alert.id),
            message: message.clone(),
            state: DeliveryState::Pending,
            due_at: now,
            created_at: now,
            attempts: Vec::new(),
        };
        rule.channel_ids.iter().copied().map(delivery).collect()
    }

    /// The messages about an alert that has gone on from `before`. Who was never told that it fires
    /// is not told that it is over.
    pub(crate) async fn changed(
        &self,
        before: State,
        after: &Alert,
        now: Timestamp,
    ) -> Result<Vec<Delivery>, StorageError> {
        if before == State::Suppressed && after.state == State::Resolved {
            return Ok(Vec::new());
        }
        let rule = self.rules.find(&TenantScope::All, after.rule_id).await?;
        Ok(rule.map(|rule| self.messages(after, &rule, now)).unwrap_or_default())
    }

    /// Tells whoever listens now how an alert is.
    pub(crate) fn tell(&self, alert: &Alert) {
        self.bus.tell(Place::Everything, news(alert));
    }
}
