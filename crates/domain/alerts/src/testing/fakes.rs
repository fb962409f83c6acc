//! Everything in memory.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use muster_kernel::{
    Actor, AgentId, AlertChannelId, AlertId, AlertRuleId, Author, Cursor, CustomerId,
    MaintenanceWindowId, Page, PageRequest, StorageError, TenantScope, Timestamp,
};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::{
    Alert, AlertFilter, AlertRepository, Cause, Change, Channel, ChannelRepository, Deed, Delivery,
    Deviation, Ended, Find, Machine, MaintenanceWindow, Opened, Replacement, Rule, RuleRepository,
    State, Step, Update, WindowRepository,
};

/// Alerts and all that they need, in memory; what happens there, tests write into it.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct FakeAlerts {
    pub rules: Mutex<BTreeMap<AlertRuleId, Rule>>,
    pub windows: Mutex<BTreeMap<MaintenanceWindowId, MaintenanceWindow>>,
    pub channels: Mutex<BTreeMap<AlertChannelId, Channel>>,
    pub alerts: Mutex<BTreeMap<AlertId, (Alert, Vec<Change>)>>,
    pub causes: Mutex<BTreeSet<(AlertRuleId, Cause)>>,
    pub deliveries: Mutex<Vec<Delivery>>,
    pub deviations: Mutex<Vec<Deviation>>,
    pub marks: Mutex<BTreeMap<&'static str, i64>>,
    /// Every machine and when it was last seen.
    pub fleet: Mutex<Vec<(Machine, Timestamp)>>,
    pub connected: Mutex<BTreeSet<AgentId>>,
    pub failed: Mutex<Vec<Ended>>,
    pub deeds: Mutex<Vec<(u64, Deed, Timestamp)>>,
}

fn within(scope: &TenantScope, customer: Option<CustomerId>) -> bool {
    *scope == TenantScope::All || customer.is_some_and(|customer| scope.contains(customer))
}

/// Resolves an alert, if it is open.
fn end(alert: &mut Alert, history: &mut Vec<Change>, actor: &Actor, now: Timestamp) {
    if let Ok(after) = alert.after(Step::Resolve, now) {
        history.push(Change::new(after.state, now, actor));
        *alert = after;
    }
}

pub(super) fn page<T: Clone>(rows: &[T], page: &PageRequest, id: impl Fn(&T) -> Uuid) -> Page<T> {
    let total = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let start = page.cursor.as_ref().map_or(0, |cursor| {
        rows.iter().position(|row| id(row) == cursor.id).map_or(rows.len(), |index| index + 1)
    });
    let rows = rows.iter().skip(start).take(usize::from(page.limit()) + 1).cloned().collect();
    Page::from_rows(rows, page, total, |row| Cursor::after(id(row)))
}

impl FakeAlerts {
    /// Ends what a rule found.
    fn end_all(&self, rule: AlertRuleId, author: &Author, now: Timestamp) {
        for (alert, history) in self.alerts.lock().values_mut() {
            if alert.rule_id == rule {
                end(alert, history, &author.actor, now);
            }
        }
        self.deviations.lock().retain(|deviation| deviation.rule_id != rule);
    }
}

#[async_trait]
impl RuleRepository for FakeAlerts {
    async fn create(&self, rule: Rule, _: &Author) -> Result<bool, StorageError> {
        self.rules.lock().insert(rule.id, rule);
        Ok(true)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: AlertRuleId,
    ) -> Result<Option<Rule>, StorageError> {
        let rule = self.rules.lock().get(&id).cloned();
        Ok(rule.filter(|rule| within(scope, rule.customer_id)))
    }

    async fn list(
        &self,
        scope: &TenantScope,
        wanted: &PageRequest,
    ) -> Result<Page<Rule>, StorageError> {
        let rules: Vec<_> = self.rules.lock().values().cloned().collect();
        let rules: Vec<_> =
            rules.into_iter().filter(|rule| within(scope, rule.customer_id)).collect();
        Ok(page(&rules, wanted, |rule| rule.id.as_uuid()))
    }

    async fn update(&self, rule: Rule, author: &Author) -> Result<Update<Rule>, StorageError> {
        let mut rules = self.rules.lock();
        match rules.get(&rule.id) {
            None => Ok(Update::NotFound),
            Some(before) if before.version + 1 != rule.version => Ok(Update::Stale),
            Some(before) => {
                if rule.outdates(before) {
                    self.end_all(rule.id, author, rule.updated_at);
                }
                rules.insert(rule.id, rule.clone());
                Ok(Update::Done(rule))
            }
        }
    }

    async fn delete(
        &self,
        scope: &TenantScope,
        id: AlertRuleId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let rule = self.rules.lock().get(&id).cloned();
        if !rule.is_some_and(|rule| within(scope, rule.customer_id)) {
            return Ok(false);
        }
        self.rules.lock().remove(&id);
        self.end_all(id, author, now);
        Ok(true)
    }

    async fn enabled(&self) -> Result<Vec<Rule>, StorageError> {
        Ok(self.rules.lock().values().filter(|rule| rule.enabled).cloned().collect())
    }
}

#[async_trait]
impl WindowRepository for FakeAlerts {
    async fn create(&self, window: MaintenanceWindow, _: &Author) -> Result<bool, StorageError> {
        self.windows.lock().insert(window.id, window);
        Ok(true)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        wanted: &PageRequest,
    ) -> Result<Page<MaintenanceWindow>, StorageError> {
        let windows: Vec<_> = self.windows.lock().values().cloned().collect();
        let windows: Vec<_> =
            windows.into_iter().filter(|window| within(scope, window.customer_id)).collect();
        Ok(page(&windows, wanted, |window| window.id.as_uuid()))
    }

    async fn delete(
        &self,
        scope: &TenantScope,
        id: MaintenanceWindowId,
        _: &Author,
        _: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut windows = self.windows.lock();
        let there = windows.get(&id).is_some_and(|window| within(scope, window.customer_id));
        Ok(there && windows.remove(&id).is_some())
    }

    async fn current(&self, now: Timestamp) -> Result<Vec<MaintenanceWindow>, StorageError> {
        let windows = self.windows.lock();
        Ok(windows.values().filter(|window| !window.span.is_over(now)).cloned().collect())
    }
}

#[async_trait]
impl ChannelRepository for FakeAlerts {
    async fn create(&self, channel: Channel, _: &Author) -> Result<bool, StorageError> {
        self.channels.lock().insert(channel.id, channel);
        Ok(true)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: AlertChannelId,
    ) -> Result<Option<Channel>, StorageError> {
        let channel = self.channels.lock().get(&id).cloned();
        Ok(channel.filter(|channel| within(scope, channel.customer_id)))
    }

    async fn list(
        &self,
        scope: &TenantScope,
        wanted: &PageRequest,
    ) -> Result<Page<Channel>, StorageError> {
        let channels: Vec<_> = self.channels.lock().values().cloned().collect();
        let channels: Vec<_> =
            channels.into_iter().filter(|channel| within(scope, channel.customer_id)).collect();
        Ok(page(&channels, wanted, |channel| channel.id.as_uuid()))
    }

    async fn update(&self, channel: Channel, _: &Author) -> Result<Update<Channel>, StorageError> {
        let mut channels = self.channels.lock();
        match channels.get(&channel.id) {
            None => Ok(Update::NotFound),
            Some(before) if before.version + 1 != channel.version => Ok(Update::Stale),
            Some(_) => {
                channels.insert(channel.id, channel.clone());
                Ok(Update::Done(channel))
            }
        }
    }

    async fn delete(
        &self,
        scope: &TenantScope,
        id: AlertChannelId,
        _: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut channels = self.channels.lock();
        let there = channels.get(&id).is_some_and(|channel| within(scope, channel.customer_id));
        if there {
            channels.remove(&id);
            self.deliveries.lock().retain(|delivery| delivery.channel_id != id);
            for rule in self.rules.lock().values_mut() {
                if let Some(without) = rule.without(id, now) {
                    *rule = without;
                }
            }
        }
        Ok(there)
    }
}

#[async_trait]
impl AlertRepository for FakeAlerts {
    async fn open(
        &self,
        found: Alert,
        cause: Option<Cause>,
        cooled_since: Timestamp,
        deliveries: Vec<Delivery>,
    ) -> Result<Opened, StorageError> {
        if let Some(cause) = cause
            && !self.causes.lock().insert((found.rule_id, cause))
        {
            return Ok(Opened::Nothing);
        }
        let mut alerts = self.alerts.lock();
        let same =
            |alert: &Alert| alert.rule_id == found.rule_id && alert.subject.id == found.subject.id;
        if let Some((alert, history)) =
            alerts.values_mut().find(|(alert, _)| same(alert) && alert.state.is_open())
        {
            if alert.customer_id == found.customer_id {
                if cause.is_some() {
                    *alert = alert.clone().again(&found);
                }
                return Ok(Opened::Again(alert.clone()));
            }
            end(alert, history, &Actor::System, found.last_seen_at);
        }
        let recent = |alert: &Alert| {
            alert.customer_id == found.customer_id
                && alert.resolved_at.is_some_and(|at| at > cooled_since)
        };
        if cause.is_none() && alerts.values().any(|(alert, _)| same(alert) && recent(alert)) {
            return Ok(Opened::Nothing);
        }
        let change = Change::new(found.state, found.first_seen_at, &Actor::System);
        alerts.insert(found.id, (found.clone(), vec![change]));
        self.deliveries.lock().extend(deliveries);
        Ok(Opened::New(found))
    }

    async fn open_all(&self, finds: Vec<Find>) -> Result<Vec<Opened>, StorageError> {
        let mut opened = Vec::with_capacity(finds.len());
        for Find { alert, cause, cooled_since, deliveries } in finds {
            opened.push(self.open(alert, cause, cooled_since, deliveries).await?);
        }
        Ok(opened)
    }

    async fn replace(&self, replacement: Replacement) -> Result<bool, StorageError> {
        let Replacement { before, after, change, deliveries, .. } = replacement;
        let mut alerts = self.alerts.lock();
        let Some((alert, history)) = alerts.get_mut(&after.id) else { return Ok(false) };
        if alert.state != before {
            return Ok(false);
        }
        *alert = after;
        history.push(change);
        self.deliveries.lock().extend(deliveries);
        Ok(true)
    }

    async fn mark_clear(
        &self,
        marks: Vec<(AlertId, Option<Timestamp>)>,
    ) -> Result<(), StorageError> {
        let mut alerts = self.alerts.lock();
        for (id, since) in marks {
            if let Some((alert, _)) = alerts.get_mut(&id) {
                alert.clear_since = since;
            }
        }
        Ok(())
    }

    async fn find(&self, scope: &TenantScope, id: AlertId) -> Result<Option<Alert>, StorageError> {
        let alert = self.alerts.lock().get(&id).map(|(alert, _)| alert.clone());
        Ok(alert.filter(|alert| within(scope, alert.customer_id)))
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &AlertFilter,
        wanted: &PageRequest,
    ) -> Result<Page<Alert>, StorageError> {
        let alerts = self.alerts.lock();
        let passes = |alert: &Alert| {
            filter.state.is_none_or(|state| state == alert.state)
                && filter.severity.is_none_or(|severity| severity == alert.severity)
                && filter.rule_id.is_none_or(|rule| rule == alert.rule_id)
                && filter.customer_id.is_none_or(|it| Some(it) == alert.customer_id)
                && filter.agent_id.is_none_or(|agent| {
                    alert.subject.kind == "agent" && agent.as_uuid() == alert.subject.id
                })
        };
        let alerts = alerts.values().rev().map(|(alert, _)| alert.clone());
        let alerts: Vec<_> =
            alerts.filter(|alert| within(scope, alert.customer_id) && passes(alert)).collect();
        Ok(page(&alerts, wanted, |alert| alert.id.as_uuid()))
    }

    async fn history(&self, id: AlertId) -> Result<Vec<Change>, StorageError> {
        Ok(self.alerts.lock().get(&id).map(|(_, history)| history.clone()).unwrap_or_default())
    }

    async fn suppressed(&self) -> Result<Vec<Alert>, StorageError> {
        let alerts = self.alerts.lock();
        let alerts = alerts.values().map(|(alert, _)| alert.clone());
        Ok(alerts.filter(|alert| alert.state == State::Suppressed).collect())
    }

    async fn open_of(
        &self,
        rule: AlertRuleId,
        subject: Uuid,
    ) -> Result<Option<Alert>, StorageError> {
        let alerts = self.alerts.lock();
        let mut alerts = alerts.values().map(|(alert, _)| alert);
        let found = alerts.find(|alert| {
            alert.rule_id == rule && alert.subject.id == subject && alert.state.is_open()
        });
        Ok(found.cloned())
    }
}
