//! What happens, what loads were like and what goes out, in memory.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use async_trait::async_trait;
use muster_kernel::{AgentId, AlertChannelId, Page, PageRequest, Secret, StorageError, Timestamp};
use parking_lot::Mutex;

use super::fakes::{FakeAlerts, page};
use crate::{
    Alert, Channel, Connected, Deed, Delivery, DeliveryRepository, DeliveryState, Deviation,
    Deviations, Ended, Forgotten, Machine, Messenger, Missing, NotSent, Occurrences, Returned,
    Rule,
};

#[async_trait]
impl Occurrences for FakeAlerts {
    async fn missing(
        &self,
        rule: &Rule,
        before: Timestamp,
        cooled_since: Timestamp,
    ) -> Result<Vec<Missing>, StorageError> {
        let alerts = self.alerts.lock();
        let known = |machine: &Machine| {
            alerts.values().any(|(alert, _)| {
                alert.rule_id == rule.id
                    && alert.subject.id == machine.id.as_uuid()
                    && alert.customer_id == Some(machine.customer_id)
                    && alert.resolved_at.is_none_or(|at| at > cooled_since)
            })
        };
        let fleet = self.fleet.lock();
        let missing = fleet.iter().filter(|(machine, seen)| {
            *seen < before && rule.selector.means(rule.customer_id, machine) && !known(machine)
        });
        let missing =
            missing.map(|(machine, seen)| Missing { machine: machine.clone(), last_seen: *seen });
        Ok(missing.collect())
    }

    async fn returned(&self, after: Timestamp) -> Result<Vec<Returned>, StorageError> {
        let fleet = self.fleet.lock();
        let alerts = self.alerts.lock();
        let open = alerts.values().map(|(alert, _)| alert);
        let open = open.filter(|alert| alert.kind == "offline" && alert.state.is_open());
        let returned = open.filter_map(|alert| {
            let seen = fleet.iter().find(|(it, _)| it.id.as_uuid() == alert.subject.id);
            let last_seen = seen.map(|(_, seen)| *seen);
            let seen_since = last_seen.is_some_and(|seen| seen > after);
            let of_interest = seen_since || alert.clear_since.is_some();
            of_interest.then(|| Returned { alert: alert.clone(), last_seen })
        });
        Ok(returned.collect())
    }

    async fn gone(&self) -> Result<Vec<Alert>, StorageError> {
        let fleet = self.fleet.lock();
        let alerts = self.alerts.lock();
        let open = alerts.values().map(|(alert, _)| alert).filter(|alert| alert.state.is_open());
        let gone = open.filter(|alert| {
            let there = |(it, _): &(Machine, _)| it.id.as_uuid() == alert.subject.id;
            alert.subject.kind == "agent" && !fleet.iter().any(there)
        });
        Ok(gone.cloned().collect())
    }

    async fn machines(&self, ids: &BTreeSet<AgentId>) -> Result<Vec<Machine>, StorageError> {
        let fleet = self.fleet.lock();
        let machines = fleet.iter().map(|(machine, _)| machine);
        Ok(machines.filter(|machine| ids.contains(&machine.id)).cloned().collect())
    }

    async fn failed(&self, after: Timestamp, limit: u64) -> Result<Vec<Ended>, StorageError> {
        let mut failed = self.failed.lock().clone();
        failed.retain(|ended| ended.at() >= after);
        failed.sort_by_key(Ended::at);
        failed.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(failed)
    }

    async fn deeds(
        &self,
        after: u64,
        until: u64,
    ) -> Result<Vec<(u64, Deed, Timestamp)>, StorageError> {
        let deeds = self.deeds.lock().clone();
        Ok(deeds.into_iter().filter(|(seq, ..)| *seq > after && *seq <= until).collect())
    }

    async fn last_deed(&self) -> Result<u64, StorageError> {
        Ok(self.deeds.lock().last().map_or(0, |(seq, ..)| *seq))
    }

    async fn mark(&self, name: &'static str) -> Result<Option<i64>, StorageError> {
        Ok(self.marks.lock().get(name).copied())
    }

    async fn set_mark(&self, name: &'static str, to: i64) -> Result<(), StorageError> {
        self.marks.lock().insert(name, to);
        Ok(())
    }
}

impl Connected for FakeAlerts {
    fn is_connected(&self, id: AgentId) -> bool {
        self.connected.lock().contains(&id)
    }
}

#[async_trait]
impl Deviations for FakeAlerts {
    async fn of(&self, machines: &BTreeSet<AgentId>) -> Result<Vec<Deviation>, StorageError> {
        let mut known = self.deviations.lock().clone();
        known.retain(|deviation| machines.contains(&deviation.agent_id));
        Ok(known)
    }

    async fn keep(&self, deviations: Vec<Deviation>) -> Result<(), StorageError> {
        let mut kept = self.deviations.lock();
        for new in deviations {
            kept.retain(|it| (it.rule_id, it.agent_id) != (new.rule_id, new.agent_id));
            if new.level.phase != crate::level::Phase::Calm {
                kept.push(new);
            }
        }
        Ok(())
    }
}

fn is_pending(delivery: &Delivery) -> bool {
    delivery.state == DeliveryState::Pending
}

#[async_trait]
impl DeliveryRepository for FakeAlerts {
    async fn add(&self, delivery: Delivery) -> Result<(), StorageError> {
        self.deliveries.lock().push(delivery);
        Ok(())
    }

    async fn take(
        &self,
        now: Timestamp,
        until: Timestamp,
        busy: &BTreeSet<AlertChannelId>,
        limit: u64,
    ) -> Result<Vec<Delivery>, StorageError> {
        let mut deliveries = self.deliveries.lock();
        let pending: Vec<_> = deliveries.iter().filter(|it| is_pending(it)).cloned().collect();
        let waits = |it: &Delivery| {
            let same = |other: &Delivery| {
                (other.channel_id, other.alert_id) == (it.channel_id, it.alert_id)
            };
            it.alert_id.is_some() && pending.iter().any(|other| same(other) && other.id < it.id)
        };
        let mut due: Vec<_> = deliveries
            .iter_mut()
            .filter(|it| is_pending(it) && it.due_at <= now && !waits(it))
            .collect();
        due.sort_by_key(|delivery| (delivery.due_at, delivery.id));
        let mut busy = busy.clone();
        let mut taken = Vec::new();
        for delivery in due {
            let room = u64::try_from(taken.len()).is_ok_and(|taken| taken < limit);
            if room && busy.insert(delivery.channel_id) {
                taken.push(delivery.clone());
                delivery.due_at = until;
            }
        }
        Ok(taken)
    }

    async fn settle(&self, delivery: Delivery) -> Result<(), StorageError> {
        let mut deliveries = self.deliveries.lock();
        if let Some(kept) = deliveries.iter_mut().find(|kept| kept.id == delivery.id) {
            *kept = delivery;
        }
        Ok(())
    }

    async fn list(
        &self,
        channel: AlertChannelId,
        wanted: &PageRequest,
    ) -> Result<Page<Delivery>, StorageError> {
        let mut deliveries = self.deliveries.lock().clone();
        deliveries.retain(|delivery| delivery.channel_id == channel);
        deliveries.sort_by_key(|delivery| Reverse(delivery.id));
        Ok(page(&deliveries, wanted, |delivery| delivery.id.as_uuid()))
    }

    async fn forget(&self, before: Timestamp, limit: u64) -> Result<Forgotten, StorageError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut alerts = self.alerts.lock();
        let old = |alert: &Alert| alert.resolved_at.is_some_and(|at| at < before);
        let gone = alerts.values().filter(|(alert, _)| old(alert)).map(|(alert, _)| alert.id);
        let gone: BTreeSet<_> = gone.take(limit).collect();
        alerts.retain(|id, _| !gone.contains(id));
        let mut deliveries = self.deliveries.lock();
        deliveries.retain(|delivery| delivery.alert_id.is_none_or(|id| !gone.contains(&id)));
        let tests = deliveries.iter().filter(|it| it.alert_id.is_none() && it.created_at < before);
        let tests: BTreeSet<_> = tests.map(|delivery| delivery.id).take(limit).collect();
        deliveries.retain(|delivery| !tests.contains(&delivery.id));
        let more = gone.len() == limit || tests.len() == limit;
        Ok(Forgotten { alerts: u64::try_from(gone.len()).unwrap_or(u64::MAX), more })
    }
}

/// Sends nothing, and fails as often as it is told to.
#[derive(Debug, Default)]
pub struct FakeMessenger {
    /// What it was to send, and the secret that came with it.
    pub sent: Mutex<Vec<(Delivery, Option<String>)>>,
    /// So many messages fail before one arrives.
    pub failures: Mutex<u32>,
}

#[async_trait]
impl Messenger for FakeMessenger {
    async fn send(
        &self,
        _: &Channel,
        secret: Option<&Secret>,
        delivery: &Delivery,
        _: Timestamp,
    ) -> Result<Option<u16>, NotSent> {
        let secret = secret.map(|secret| secret.expose().to_owned());
        self.sent.lock().push((delivery.clone(), secret));
        let mut failures = self.failures.lock();
        if *failures == 0 {
            return Ok(Some(204));
        }
        *failures -= 1;
        Err(NotSent { status: Some(500), reason: "the receiver answers 500".to_owned() })
    }
}
