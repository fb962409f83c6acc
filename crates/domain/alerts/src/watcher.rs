//! Finds out what people have to know.

mod occurred;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use muster_kernel::{Actor, AgentId, AlertId, Clock, Entropy, StorageError, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::absence::{SEEN_WITHIN, Watch};
use crate::loads::Loads;
use crate::{
    Alert, AlertRepository, Announcer, Cause, Change, Condition, Connected, Deviations, Find,
    Machine, MaintenanceWindow, Occurrences, Opened, Replacement, Returned, Rule, RuleRepository,
    State, Step, Subject, WindowRepository,
};
use occurred::Occurred;

/// How often it is kept up to when was watched.
const KEEP_MARK_EVERY: TimeDelta = TimeDelta::seconds(10);
/// How often it is looked for alerts of machines that were removed.
const LOOK_FOR_GONE_EVERY: TimeDelta = TimeDelta::minutes(1);
/// Until when it was watched.
const WATCHED_UNTIL: &str = "watched_until";
/// Who was seen is written so late at most.
const WRITTEN_WITHIN: TimeDelta = TimeDelta::seconds(20);

/// What the watcher works with.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct WatcherPorts {
    pub rules: Arc<dyn RuleRepository>,
    pub windows: Arc<dyn WindowRepository>,
    pub alerts: Arc<dyn AlertRepository>,
    pub occurrences: Arc<dyn Occurrences>,
    pub deviations: Arc<dyn Deviations>,
    pub connected: Arc<dyn Connected>,
    pub announcer: Announcer,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// What the watcher knows besides the database; it comes back by itself.
#[derive(Debug, Default)]
struct Memory {
    watch: Option<Watch>,
    kept_at: Option<Timestamp>,
    /// When machines that are not there were first missed.
    missed: HashMap<AgentId, Timestamp>,
    /// The alerts of machines that were connected to us after they were missed.
    here: HashSet<AlertId>,
    occurred: Occurred,
    /// When it was last looked for alerts of machines that were removed.
    looked_for_gone: Option<Timestamp>,
}

/// Finds out what people have to know, and keeps alerts of it.
#[derive(Debug)]
pub struct Watcher {
    pub(crate) ports: WatcherPorts,
    memory: Mutex<Memory>,
    pub(crate) loads: Mutex<Loads>,
}

/// What there is to say about something that was found.
pub(crate) struct Found<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) subject: Subject,
    pub(crate) machine: Option<&'a Machine>,
    pub(crate) customer_id: Option<muster_kernel::CustomerId>,
    pub(crate) summary: String,
    pub(crate) details: Value,
    pub(crate) cause: Option<Cause>,
    pub(crate) at: Timestamp,
}

impl<'a> Found<'a> {
    /// Something about a machine.
    pub(crate) fn about(rule: &'a Rule, machine: &'a Machine, at: Timestamp) -> Self {
        let (id, name) = (machine.id.as_uuid(), machine.hostname.clone());
        Self {
            rule,
            subject: Subject { kind: "agent", id, name },
            machine: Some(machine),
            customer_id: Some(machine.customer_id),
            summary: String::new(),
            details: Value::Null,
            cause: None,
            at,
        }
    }
}

impl Watcher {
    /// Made of its ports.
    pub fn new(ports: WatcherPorts) -> Self {
        Self { ports, memory: Mutex::default(), loads: Mutex::default() }
    }

    /// Looks once. It is meant to be called every other second; nothing is lost when it is not.
    ///
    /// # Errors
    /// When the storage fails. What was found until then is kept, the rest is found again.
    pub async fn tick(&self) -> Result<(), StorageError> {
        let now = self.ports.clock.now();
        let watch = self.begin(now).await?;
        let rules = self.ports.rules.enabled().await?;
        let windows = self.ports.windows.current(now).await?;
        self.look_for_missing(&rules, &windows, watch, now).await?;
        self.look_for_returned(&rules, now).await?;
        self.look_for_gone(now).await?;
        self.look_for_failures(&rules, &windows, now).await?;
        self.look_for_deeds(&rules, &windows).await?;
        self.release(&rules, &windows, now).await?;
        self.keep_mark(now).await
    }

    /// Since when is watched, and until when it was before.
    async fn begin(&self, now: Timestamp) -> Result<Watch, StorageError> {
        if let Some(watch) = self.memory.lock().watch {
            return Ok(watch);
        }
        let before = self.ports.occurrences.mark(WATCHED_UNTIL).await?;
        let before = before.and_then(Timestamp::from_timestamp_micros);
        let watch = Watch { since: now, before };
        self.memory.lock().watch = Some(watch);
        Ok(watch)
    }

    async fn keep_mark(&self, now: Timestamp) -> Result<(), StorageError> {
        let kept = self.memory.lock().kept_at;
        if kept.is_some_and(|kept| now - kept < KEEP_MARK_EVERY) {
            return Ok(());
        }
        self.keep_occurred().await?;
        self.ports.occurrences.set_mark(WATCHED_UNTIL, now.timestamp_micros()).await?;
        self.memory.lock().kept_at = Some(now);
        Ok(())
    }

    async fn look_for_missing(
        &self,
        rules: &[Rule],
        windows: &[MaintenanceWindow],
        watch: Watch,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let mut still_missed = HashMap::new();
        for rule in rules {
            let Condition::Offline { hold, .. } = rule.condition else { continue };
            let cooled_since = now - delta(rule.condition.cool_down());
            let missing = self.ports.occurrences.missing(rule, now - hold, cooled_since).await?;
            let mut found = Vec::new();
            for missing in &missing {
                let machine = &missing.machine;
                if self.ports.connected.is_connected(machine.id) {
                    continue;
                }
                let missed = self.memory.lock().missed.get(&machine.id).copied().unwrap_or(now);
                still_missed.insert(machine.id, missed);
                if watch.due(missing.last_seen, missed, hold) > now {
                    continue;
                }
                let details = json!({ "last_seen": missing.last_seen });
                let summary = format!("{} is offline", machine.hostname);
                found.push(Found { summary, details, ..Found::about(rule, machine, now) });
            }
            self.open_all(found, windows).await?;
        }
        self.memory.lock().missed = still_missed;
        Ok(())
    }

    /// Forgets what it knows besides the database, for another process watches from now on.
    pub fn rest(&self) {
        *self.memory.lock() = Memory::default();
    }

    /// Resolves what is about machines that are gone for ever.
    async fn look_for_gone(&self, now: Timestamp) -> Result<(), StorageError> {
        let looked = self.memory.lock().looked_for_gone;
        if looked.is_some_and(|looked| now - looked < LOOK_FOR_GONE_EVERY) {
            return Ok(());
        }
        for alert in self.ports.occurrences.gone().await? {
            self.step(&alert, Step::Resolve, now).await?;
        }
        self.memory.lock().looked_for_gone = Some(now);
        Ok(())
    }

    /// Resolves what is over: machines are back for long enough.
    async fn look_for_returned(&self, rules: &[Rule], now: Timestamp) -> Result<(), StorageError> {
        let mut marks = Vec::new();
        let mut here = HashSet::new();
        for returned in self.ports.occurrences.returned(now - SEEN_WITHIN).await? {
            let alert = &returned.alert;
            let rule = rules.iter().find(|rule| rule.id == alert.rule_id);
            let resolve_for = match rule.map(|rule| &rule.condition) {
                Some(Condition::Offline { resolve_for, .. }) => delta(*resolve_for),
                _ => TimeDelta::zero(),
            };
            let seen = self.seen(&returned, now);
            let was_here = self.memory.lock().here.contains(&alert.id);
            if was_here || self.is_connected(alert) {
                here.insert(alert.id);
            }
            match (seen, alert.clear_since) {
                (None, Some(_)) => marks.push((alert.id, None)),
                (Some(seen), since) if seen - since.unwrap_or(seen) >= resolve_for => {
                    self.step(alert, Step::Resolve, now).await?;
                }
                (Some(seen), None) => marks.push((alert.id, Some(seen))),
                (None, None) | (Some(_), Some(_)) => {}
            }
        }
        self.memory.lock().here = here;
        if marks.is_empty() { Ok(()) } else { self.ports.alerts.mark_clear(marks).await }
    }

    /// When a machine was last there, if it is back. One that was connected to us and is not any
    /// more has left; one that never was may be connected elsewhere, and was seen since then, and
    /// not only written so late.
    fn seen(&self, returned: &Returned, now: Timestamp) -> Option<Timestamp> {
        let alert = &returned.alert;
        if self.is_connected(alert) {
            return Some(now);
        }
        let left = self.memory.lock().here.contains(&alert.id);
        returned.last_seen.filter(|seen| {
            !left && *seen > alert.last_seen_at + WRITTEN_WITHIN && *seen > now - SEEN_WITHIN
        })
    }

    fn is_connected(&self, alert: &Alert) -> bool {
        self.ports.connected.is_connected(AgentId::from_uuid(alert.subject.id))
    }

    /// Tells of what began in a maintenance window that is over, if it is still true. What happened
    /// once in it is over with it.
    async fn release(
        &self,
        rules: &[Rule],
        windows: &[MaintenanceWindow],
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let suppressed = self.ports.alerts.suppressed().await?;
        if suppressed.is_empty() {
            return Ok(());
        }
        let id = |alert: &Alert| AgentId::from_uuid(alert.subject.id);
        let ids: BTreeSet<_> = suppressed.iter().map(id).collect();
        let machines = self.ports.occurrences.machines(&ids).await?;
        for alert in &suppressed {
            let machine = machines.iter().find(|machine| machine.id == id(alert));
            let silent = |machine| windows.iter().any(|window| window.silences(machine, now));
            if machine.is_some_and(silent) {
                continue;
            }
            let rule = rules.iter().find(|rule| rule.id == alert.rule_id);
            let lasting = rule.is_some_and(|rule| {
                matches!(rule.condition, Condition::Offline { .. } | Condition::Metric { .. })
            });
            match (machine, lasting) {
                (Some(_), true) if alert.clear_since.is_none() => {
                    self.step(alert, Step::Release, now).await?;
                }
                (Some(_), true) => {}
                _ => self.step(alert, Step::Resolve, now).await?,
            }
        }
        Ok(())
    }

    /// Takes a step by ourselves. Somebody who was faster has their way.
    pub(crate) async fn step(
        &self,
        alert: &Alert,
        step: Step,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let Ok(after) = alert.after(step, now) else { return Ok(()) };
        let replacement = Replacement {
            before: alert.state,
            change: Change::new(after.state, now, &Actor::System),
            deliveries: self.ports.announcer.changed(alert.state, &after, now).await?,
            after: after.clone(),
            audited: None,
        };
        if self.ports.alerts.replace(replacement).await? {
            self.ports.announcer.tell(&after);
        }
        Ok(())
    }

    /// Keeps what was found.
    pub(crate) async fn open(
        &self,
        found: Found<'_>,
        windows: &[MaintenanceWindow],
    ) -> Result<(), StorageError> {
        self.open_all(vec![found], windows).await
    }

    /// Keeps all that was found.
    async fn open_all(
        &self,
        found: Vec<Found<'_>>,
        windows: &[MaintenanceWindow],
    ) -> Result<(), StorageError> {
        if found.is_empty() {
            return Ok(());
        }
        let now = self.ports.clock.now();
        let finds = found.into_iter().map(|found| self.find(found, windows, now)).collect();
        for opened in self.ports.alerts.open_all(finds).await? {
            if let Opened::New(alert) | Opened::Again(alert) = opened {
                self.ports.announcer.tell(&alert);
            }
        }
        Ok(())
    }

    /// The alert that something would be, with its messages.
    fn find(&self, found: Found<'_>, windows: &[MaintenanceWindow], now: Timestamp) -> Find {
        let WatcherPorts { announcer, clock, entropy, .. } = &self.ports;
        let silent = found
            .machine
            .is_some_and(|machine| windows.iter().any(|window| window.silences(machine, now)));
        let Found { rule, .. } = found;
        let alert = Alert {
            id: AlertId::new(&**clock, &**entropy),
            rule_id: rule.id,
            rule_name: rule.name.clone(),
            kind: rule.condition.kind().to_owned(),
            severity: rule.severity,
            subject: found.subject,
            customer_id: found.customer_id,
            summary: found.summary,
            details: found.details,
            state: if silent { State::Suppressed } else { State::Firing },
            first_seen_at: found.at,
            last_seen_at: found.at,
            count: 1,
            clear_since: None,
            resolved_at: None,
        };
        let deliveries = announcer.messages(&alert, rule, now);
        let cooled_since = now - delta(rule.condition.cool_down());
        Find { alert, cause: found.cause, cooled_since, deliveries }
    }
}

pub(crate) fn delta(time: Duration) -> TimeDelta {
    TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX)
}
