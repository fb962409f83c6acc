//! What time does to schedules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::TimeDelta;
use futures_util::future::join_all;
use muster_kernel::{Clock, Entropy, FiringId, NodeId, StorageError, Timestamp};

use super::plan::{Decision, Slot, decide};
use super::{
    AgentZones, Firing, FiringOutcome, LaunchError, Lease, OverlapPolicy, RunLauncher, Schedule,
    ScheduleCourses, Settlement, Zone,
};

/// How many schedules one tick is about.
const AT_ONCE: u64 = 100;
/// How often it is looked whether something was planned anew.
const LOOK_EVERY: TimeDelta = TimeDelta::seconds(1);
/// How long a node has to start a run before another one does: shorter than a run may be late.
const LEASED_FOR: TimeDelta = TimeDelta::seconds(30);
/// How often it is looked whether machines have moved to other zones.
const ZONES_STAY_FOR: TimeDelta = TimeDelta::minutes(1);

/// The ports of [`Scheduler`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct SchedulerPorts {
    pub courses: Arc<dyn ScheduleCourses>,
    pub launcher: Arc<dyn RunLauncher>,
    pub zones: Arc<dyn AgentZones>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// Starts what is due. Each process has one; of several, one starts each run.
#[derive(Debug, Clone)]
pub struct Scheduler {
    ports: SchedulerPorts,
    node: NodeId,
}

impl Scheduler {
    /// Made of its ports.
    pub fn new(ports: SchedulerPorts) -> Self {
        let node = NodeId::new(&*ports.clock, &*ports.entropy);
        Self { ports, node }
    }

    /// Does what is due and answers with when to come again: soon, for something may be planned
    /// anew at any time. It costs one look at an index unless something is due.
    ///
    /// # Errors
    /// When the storage fails. What could be done was done; the rest is done by a later tick, or
    /// by another node.
    pub async fn tick(&self) -> Result<Timestamp, StorageError> {
        let now = self.ports.clock.now();
        let soon = now + LOOK_EVERY;
        let waking = self.ports.courses.waking(soon, now, AT_ONCE).await?;
        let wakes_at = |schedule: &Schedule| schedule.course.wakes_at.unwrap_or(soon);
        let (due, coming): (Vec<_>, Vec<_>) =
            waking.into_iter().partition(|schedule| wakes_at(schedule) <= now);
        if due.is_empty() {
            return Ok(coming.iter().map(wakes_at).min().unwrap_or(soon));
        }
        join_all(due.into_iter().map(|schedule| self.attend(schedule, now)))
            .await
            .into_iter()
            .collect::<Result<(), _>>()?;
        Ok(now)
    }

    async fn attend(&self, schedule: Schedule, now: Timestamp) -> Result<(), StorageError> {
        let zones = zones_of(&*self.ports.zones, &schedule).await?;
        if let Some(due) = schedule.course.forsaken() {
            return self.note(schedule, due, &zones, now).await;
        }
        match decide(&schedule, &zones, now) {
            Decision::Wait(_) => {
                let decided_until = schedule.course.decided_until;
                let nothing = Settlement {
                    seen: decided_until,
                    decided_until,
                    wakes_at: None,
                    asked_at: None,
                    last_runs: BTreeMap::new(),
                    firing: None,
                };
                self.settle(schedule, nothing, &zones, now).await
            }
            Decision::Miss(slot) => {
                let missed = self.settlement(&schedule, &slot, FiringOutcome::Missed, now);
                self.settle(schedule, missed, &zones, now).await
            }
            Decision::Start(slot) => self.start(schedule, &slot, &zones, now).await,
        }
    }

    /// Notes the run of a node that died before it could, of a schedule that was changed since:
    /// what it would start now is another one, or none.
    async fn note(
        &self,
        schedule: Schedule,
        due: Timestamp,
        zones: &BTreeSet<Zone>,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let decided_until = schedule.course.decided_until;
        let slot = Slot { due, zones: BTreeSet::new(), decided_until, asked: false };
        let run = self.ports.launcher.launched(schedule.id, due).await?;
        let outcome = run.map_or(FiringOutcome::Missed, FiringOutcome::Started);
        let mut settlement = self.settlement(&schedule, &slot, outcome, now);
        settlement.last_runs =
            run.map_or_else(BTreeMap::new, |run| zones.iter().map(|zone| (*zone, run)).collect());
        self.settle(schedule, settlement, zones, now).await
    }

    async fn start(
        &self,
        schedule: Schedule,
        slot: &Slot,
        zones: &BTreeSet<Zone>,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let lease = Lease { owner: self.node, until: now + LEASED_FOR, due: slot.due };
        let seen = schedule.course.decided_until;
        if !self.ports.courses.lease(schedule.id, lease, seen, now).await? {
            return Ok(());
        }
        let free = self.free(&schedule, slot).await?;
        let outcome = if free.is_empty() {
            FiringOutcome::Overlapped
        } else {
            let narrowed = schedule.timing.is_agent_local() && !slot.asked;
            let only = narrowed.then_some(&free);
            match self.ports.launcher.launch(&schedule, slot.due, only).await {
                Ok(run) => FiringOutcome::Started(run),
                Err(LaunchError::Refused(reason)) => FiringOutcome::Failed(reason),
                Err(LaunchError::Storage(error)) => return Err(error),
            }
        };
        let mut settlement = self.settlement(&schedule, slot, outcome.clone(), now);
        if let FiringOutcome::Started(run) = outcome {
            settlement.last_runs = free.into_iter().map(|zone| (zone, run)).collect();
        }
        self.settle(schedule, settlement, zones, now).await
    }

    /// The zones of a slot in which no run is in the way.
    async fn free(&self, schedule: &Schedule, slot: &Slot) -> Result<BTreeSet<Zone>, StorageError> {
        let mut free = slot.zones.clone();
        if schedule.overlap == OverlapPolicy::Allow || slot.asked {
            return Ok(free);
        }
        for (zone, run) in &schedule.course.last_runs {
            if free.contains(zone) && !self.ports.launcher.has_ended(*run).await? {
                free.remove(zone);
            }
        }
        Ok(free)
    }

    fn settlement(
        &self,
        schedule: &Schedule,
        slot: &Slot,
        outcome: FiringOutcome,
        now: Timestamp,
    ) -> Settlement {
        let firing = Firing {
            id: FiringId::new(&*self.ports.clock, &*self.ports.entropy),
            schedule_id: schedule.id,
            due_at: slot.due,
            fired_at: now,
            outcome,
        };
        Settlement {
            seen: schedule.course.decided_until,
            decided_until: slot.decided_until,
            wakes_at: None,
            asked_at: slot.asked.then_some(slot.due),
            last_runs: BTreeMap::new(),
            firing: Some(firing),
        }
    }

    /// Writes what was done, and when the schedule has to be looked at next.
    async fn settle(
        &self,
        schedule: Schedule,
        mut settlement: Settlement,
        zones: &BTreeSet<Zone>,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let id = schedule.id;
        let moves = schedule.enabled && schedule.timing.is_agent_local();
        let next = match decide(&schedule.settled(&settlement), zones, now) {
            Decision::Wait(next) => next,
            Decision::Start(_) | Decision::Miss(_) => Some(now),
        };
        let latest = now + ZONES_STAY_FOR;
        settlement.wakes_at =
            if moves { Some(next.map_or(latest, |next| next.min(latest))) } else { next };
        self.ports.courses.settle(id, settlement).await
    }
}

/// The zones of a schedule's machines.
pub(super) async fn zones_of(
    port: &dyn AgentZones,
    schedule: &Schedule,
) -> Result<BTreeSet<Zone>, StorageError> {
    match schedule.timing.zone() {
        Some(zone) => Ok(BTreeSet::from([zone])),
        None => port.zones(schedule).await,
    }
}

#[cfg(test)]
mod tests;
