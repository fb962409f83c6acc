//! How loaded machines are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::TimeDelta;
use muster_kernel::{AgentId, AlertRuleId, CustomerId, StorageError, Timestamp};
use serde_json::json;

use crate::level::{GAP, Level, Limits, Phase};
use crate::watcher::{Found, Watcher, delta};
use crate::{Condition, Deviation, Machine, MaintenanceWindow, Metric, Rule, Step};

/// How often it is looked whether a load that stays too high still has its alert.
const ASK_EVERY: TimeDelta = TimeDelta::minutes(1);
/// How often a load that is not calm is kept, though it stays as it is: so late may be what another
/// process knows of it.
const KEEP_EVERY: TimeDelta = TimeDelta::minutes(1);

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
    /// As it is in the database, when it was kept there.
    kept_at: Timestamp,
    /// When it was last looked whether there is an alert of it.
    asked_at: Option<Timestamp>,
}

/// What is known of loads besides the database, where all of it comes back from. Machines connect to
/// one node now and to another one then, and people resolve alerts: nothing of it is for good.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    /// The versions of the rules that it follows from.
    rules: BTreeMap<AlertRuleId, u32>,
    /// When machines were last heard of here.
    heard: HashMap<AgentId, Timestamp>,
    /// Every load of theirs that is not calm.
    tracked: HashMap<(AlertRuleId, AgentId), Tracked>,
}

impl Loads {
    /// Forgets everything when rules have changed since.
    fn follow(&mut self, rules: &[Rule]) {
        let rules: BTreeMap<_, _> = rules.iter().map(|rule| (rule.id, rule.version)).collect();
        if rules != self.rules {
            *self = Self { rules, ..Self::default() };
        }
    }

    /// The machines of which others may know more: those that were not heard of here lately.
    fn unheard(&self, samples: &[Sample]) -> BTreeSet<AgentId> {
        let known = |sample: &&Sample| {
            let heard = self.heard.get(&sample.agent_id);
            heard.is_some_and(|heard| sample.at - *heard <= delta(GAP))
        };
        samples.iter().filter(|it| !known(it)).map(|sample| sample.agent_id).collect()
    }

    /// Takes what the database knows of the loads of `machines`.
    fn learn(&mut self, machines: &BTreeSet<AgentId>, known: Vec<Deviation>) {
        self.tracked.retain(|(_, machine), _| !machines.contains(machine));
        self.tracked.extend(known.into_iter().map(|Deviation { rule_id, agent_id, level }| {
            ((rule_id, agent_id), Tracked { level, kept_at: level.read_at, asked_at: None })
        }));
    }

    /// Forgets the machines that are not heard of any more.
    fn hear(&mut self, samples: &[Sample], now: Timestamp) {
        self.heard.extend(samples.iter().map(|sample| (sample.agent_id, sample.at)));
        self.heard.retain(|_, heard| now - *heard <= delta(GAP));
        let heard = &self.heard;
        self.tracked.retain(|(_, machine), _| heard.contains_key(machine));
    }

    fn keep(&mut self, key: (AlertRuleId, AgentId), tracked: Tracked) {
        if tracked.level.phase == Phase::Calm {
            self.tracked.remove(&key);
        } else {
            self.tracked.insert(key, tracked);
        }
    }
}

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
        self.loads.lock().follow(&rules);
        if rules.is_empty() {
            return Ok(());
        }
        let now = self.ports.clock.now();
        self.remember(samples, now).await?;
        let worth = self.worth_a_look(&rules, samples);
        if worth.is_empty() {
            return Ok(());
        }
        let ids: BTreeSet<_> = worth.iter().map(|(_, sample)| sample.agent_id).collect();
        let machines = self.ports.occurrences.machines(&ids).await?;
        let machines: BTreeMap<_, _> = machines.into_iter().map(|it| (it.id, it)).collect();
        let readings = worth.iter().filter_map(|(rule, sample)| reading(rule, sample, &machines));
        let windows = self.ports.windows.current(now).await?;
        let mut changed = Vec::new();
        for reading in readings {
            if reading.rule.selector.means(reading.rule.customer_id, reading.machine) {
                changed.extend(self.read(&reading, &windows).await?);
            } else {
                changed.extend(self.let_go(&reading).await?);
            }
        }
        if changed.is_empty() { Ok(()) } else { self.ports.deviations.keep(changed).await }
    }

    /// Reads what is known of machines that were not heard of here lately. While nobody heard of
    /// them, nothing was read.
    async fn remember(&self, samples: &[Sample], now: Timestamp) -> Result<(), StorageError> {
        let unheard = self.loads.lock().unheard(samples);
        let known = if unheard.is_empty() {
            Vec::new()
        } else {
            self.ports.deviations.of(&unheard).await?
        };
        let mut loads = self.loads.lock();
        loads.learn(&unheard, known);
        loads.hear(samples, now);
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
            loads.tracked.contains_key(&key)
        };
        let mut worth = Vec::new();
        for rule in rules {
            let Some((metric, limits)) = limits(rule) else { continue };
            worth.extend(samples.iter().filter_map(|sample| {
                let value = sample.value(metric)?;
                let theirs = rule.customer_id.is_none_or(|it| it == sample.customer_id);
                (theirs && value > limits.above || tracked(rule, sample)).then_some((rule, sample))
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
        let known = self.loads.lock().tracked.get(&key).copied();
        let before = known.map_or(Level::calm(*at), |known| known.level);
        let level = before.read(*value, *at, limits);
        let (was_high, is_high) = (before.is_high(), level.is_high());
        let asked_at = known.and_then(|known| known.asked_at).filter(|_| was_high);
        let ask = asked_at.is_none_or(|asked| *at - asked >= ASK_EVERY);
        // Between the limits it is no news.
        let ask = is_high && *value > limits.above && ask;
        if ask {
            self.too_high(reading, windows).await?;
        }
        if was_high && level.phase == Phase::Calm {
            self.is_over(reading).await?;
        }
        let kept_at = known.map(|known| known.kept_at);
        let keep =
            level.phase != before.phase || kept_at.is_some_and(|kept| *at - kept >= KEEP_EVERY);
        let kept_at = kept_at.filter(|_| !keep).unwrap_or(*at);
        let asked_at = if ask { Some(*at) } else { asked_at };
        self.loads.lock().keep(key, Tracked { level, kept_at, asked_at });
        Ok(keep.then_some(Deviation { rule_id: rule.id, agent_id: machine.id, level }))
    }

    /// Ends what there is of a machine that the rule does not mean any more.
    async fn let_go(&self, reading: &Reading<'_>) -> Result<Option<Deviation>, StorageError> {
        let Reading { rule, machine, at, .. } = reading;
        if !self.loads.lock().tracked.contains_key(&(rule.id, machine.id)) {
            return Ok(None);
        }
        self.is_over(reading).await?;
        self.loads.lock().tracked.remove(&(rule.id, machine.id));
        let level = Level::calm(*at);
        Ok(Some(Deviation { rule_id: rule.id, agent_id: machine.id, level }))
    }

    async fn is_over(&self, reading: &Reading<'_>) -> Result<(), StorageError> {
        let Reading { rule, machine, at, .. } = reading;
        match self.ports.alerts.open_of(rule.id, machine.id.as_uuid()).await? {
            Some(alert) => self.step(&alert, Step::Resolve, *at).await,
            None => Ok(()),
        }
    }

    /// Sees to it that there is an alert, unless the last one is not over for long enough.
    async fn too_high(
        &self,
        reading: &Reading<'_>,
        windows: &[MaintenanceWindow],
    ) -> Result<(), StorageError> {
        let Reading { rule, machine, metric, limits, value, at } = reading;
        let open = self.ports.alerts.open_of(rule.id, machine.id.as_uuid()).await?;
        if open.is_some_and(|alert| alert.customer_id == Some(machine.customer_id)) {
            return Ok(());
        }
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
    let value = sample.value(metric)?;
    Some(Reading { rule, machine, metric, limits, value, at: sample.at })
}
