//! How loaded machines are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use muster_kernel::{AgentId, AlertRuleId, CustomerId, StorageError, Timestamp};
use serde_json::json;

use crate::level::{Level, Limits, Phase};
use crate::watcher::{Found, WATCHED_UNTIL, Watcher};
use crate::{Condition, Deviation, Machine, MaintenanceWindow, Metric, Rule, Step};

/// How loaded a machine was at an instant, in percent; `None` when it did not say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Which machine.
    pub agent_id: AgentId,
    /// Whose.
    pub customer_id: CustomerId,
    /// How busy its processors were.
    pub cpu: Option<f64>,
    /// How much of its memory was used.
    pub memory: Option<f64>,
    /// How much of its disks was used.
    pub disk: Option<f64>,
    /// When.
    pub at: Timestamp,
}

impl Sample {
    const fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Cpu => self.cpu,
            Metric::Memory => self.memory,
            Metric::Disk => self.disk,
        }
    }
}

/// A load that is not calm.
#[derive(Debug, Clone, Copy)]
struct Tracked {
    level: Level,
    /// Whether there is, or was, an alert of it.
    alerted: bool,
}

/// Every load that is not calm; `None` until it is read what the last process knew.
#[derive(Debug, Default)]
pub(crate) struct Loads(Option<HashMap<(AlertRuleId, AgentId), Tracked>>);

/// A sample that a rule has something to say about.
struct Reading<'a> {
    rule: &'a Rule,
    machine: &'a Machine,
    metric: Metric,
    limits: Limits,
    value: f64,
    at: Timestamp,
}

impl Watcher {
    /// Takes how loaded machines were. It may be called as often as anybody likes, with samples of
    /// any machines; every ten seconds for each is enough.
    ///
    /// # Errors
    /// When the storage fails. The next samples say the same, if it is still so.
    pub async fn samples(&self, samples: &[Sample]) -> Result<(), StorageError> {
        let rules = self.ports.rules.enabled().await?;
        let rules: Vec<_> = rules.into_iter().filter(|rule| limits(rule).is_some()).collect();
        if rules.is_empty() {
            self.loads.lock().0 = None;
            return Ok(());
        }
        self.remember().await?;
        let worth = self.worth_a_look(&rules, samples);
        if worth.is_empty() {
            return Ok(());
        }
        let ids: BTreeSet<_> = worth.iter().map(|(_, sample)| sample.agent_id).collect();
        let machines = self.ports.occurrences.machines(&ids).await?;
        let machines: BTreeMap<_, _> = machines.into_iter().map(|it| (it.id, it)).collect();
        let readings = worth.iter().filter_map(|(rule, sample)| reading(rule, sample, &machines));
        let now = self.ports.clock.now();
        let windows = self.ports.windows.current(now).await?;
        let mut changed = Vec::new();
        for reading in readings {
            changed.extend(self.read(&reading, &windows).await?);
        }
        if changed.is_empty() { Ok(()) } else { self.ports.deviations.keep(changed).await }
    }

    /// Whether any rule is about loads: nobody has to gather samples otherwise.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn wants_samples(&self) -> Result<bool, StorageError> {
        let rules = self.ports.rules.enabled().await?;
        Ok(rules.iter().any(|rule| limits(rule).is_some()))
    }

    /// Reads what the last process knew. While nobody watched, nothing was read.
    async fn remember(&self) -> Result<(), StorageError> {
        if self.loads.lock().0.is_some() {
            return Ok(());
        }
        let watched = self.ports.occurrences.mark(WATCHED_UNTIL).await?;
        let watched = watched.and_then(Timestamp::from_timestamp_micros);
        let known = self.ports.deviations.all().await?;
        let loads = known.into_iter().map(|Deviation { rule_id, agent_id, mut level }| {
            level.read_at = watched.map_or(level.read_at, |watched| level.read_at.max(watched));
            ((rule_id, agent_id), Tracked { level, alerted: false })
        });
        self.loads.lock().0 = Some(loads.collect());
        Ok(())
    }

    /// The samples that are too high, or of a machine that was not calm before.
    fn worth_a_look<'a>(
        &self,
        rules: &'a [Rule],
        samples: &'a [Sample],
    ) -> Vec<(&'a Rule, &'a Sample)> {
        let loads = self.loads.lock();
        let tracked = |rule: &Rule, sample: &Sample| {
            let key = (rule.id, sample.agent_id);
            loads.0.as_ref().is_some_and(|loads| loads.contains_key(&key))
        };
        let mut worth = Vec::new();
        for rule in rules {
            let Some((metric, limits)) = limits(rule) else { continue };
            worth.extend(samples.iter().filter_map(|sample| {
                let value = sample.value(metric)?;
                let theirs = rule.customer_id.is_none_or(|it| it == sample.customer_id);
                (theirs && (value > limits.above || tracked(rule, sample)))
                    .then_some((rule, sample))
            }));
        }
        worth
    }

    /// Goes by a reading; answers with what is to be kept of it.
    async fn read(
        &self,
        reading: &Reading<'_>,
        windows: &[MaintenanceWindow],
    ) -> Result<Option<Deviation>, StorageError> {
        let Reading { rule, machine, limits, value, at, .. } = reading;
        let key = (rule.id, machine.id);
        let before = {
            let loads = self.loads.lock();
            loads.0.as_ref().and_then(|loads| loads.get(&key)).copied()
        };
        let before = before.unwrap_or(Tracked { level: Level::calm(*at), alerted: false });
        let level = before.level.read(*value, *at, limits);
        let mut tracked = Tracked { level, ..before };
        let high = matches!(level.phase, Phase::High { .. });
        if high && !before.alerted {
            tracked.alerted = self.too_high(reading, windows).await?;
        }
        if level.phase == Phase::Calm && matches!(before.level.phase, Phase::High { .. }) {
            let alert = self.ports.alerts.open_of(rule.id, machine.id.as_uuid()).await?;
            if let Some(alert) = alert {
                self.step(&alert, Step::Resolve, *at).await?;
            }
        }
        let mut loads = self.loads.lock();
        if let Some(loads) = loads.0.as_mut() {
            if level.phase == Phase::Calm {
                loads.remove(&key);
            } else {
                loads.insert(key, tracked);
            }
        }
        let changed = level.phase != before.level.phase;
        Ok(changed.then_some(Deviation { rule_id: rule.id, agent_id: machine.id, level }))
    }

    async fn too_high(
        &self,
        reading: &Reading<'_>,
        windows: &[MaintenanceWindow],
    ) -> Result<bool, StorageError> {
        let Reading { rule, machine, metric, limits, value, at } = reading;
        let what = match metric {
            Metric::Cpu => "its processors are busy",
            Metric::Memory => "its memory is in use",
            Metric::Disk => "its disks are full",
        };
        let found = Found {
            summary: format!("{}: {what} to {value:.0} percent", machine.hostname),
            details: json!({ "metric": metric, "value": value, "above": limits.above }),
            ..Found::about(rule, machine, *at)
        };
        self.open(found, windows).await
    }
}

fn limits(rule: &Rule) -> Option<(Metric, Limits)> {
    match rule.condition {
        Condition::Metric { metric, above, hold, resolve_below, resolve_for, .. } => {
            Some((metric, Limits { above, hold, resolve_below, resolve_for }))
        }
        _ => None,
    }
}

fn reading<'a>(
    rule: &'a Rule,
    sample: &Sample,
    machines: &'a BTreeMap<AgentId, Machine>,
) -> Option<Reading<'a>> {
    let (metric, limits) = limits(rule)?;
    let machine = machines.get(&sample.agent_id)?;
    let meant = rule.selector.means(rule.customer_id, machine);
    let value = sample.value(metric)?;
    meant.then_some(Reading { rule, machine, metric, limits, value, at: sample.at })
}
