//! What time does to metrics: samples become buckets of five minutes, those become hours, and what
//! is old enough goes.

use std::sync::Arc;

use chrono::TimeDelta;
use muster_kernel::{AgentId, Clock, StorageError, Timestamp};

use super::bucket::{Bucket, coarsen, roll};
use super::ports::{Ageing, Keeping, KeepingPolicy, MetricsStore, Rolled};
use super::recorder::Recorder;
use super::sample::{Resolution, SILENCE, Sample, Step};

/// How many machines are looked after at a time: other writes go on in between.
const MACHINES_AT_ONCE: u64 = 50;
/// How long after its end an hour is rolled up: by then every process has written what it heard in
/// it.
const GRACE: TimeDelta = TimeDelta::minutes(15);

/// Which machines were looked after.
#[derive(Debug)]
pub struct LookedAfter {
    /// The last of them; `None` when there were no more.
    pub last: Option<AgentId>,
    /// Those whose metrics can't be read, and why: they keep nobody else from it.
    pub passed_over: Vec<(AgentId, StorageError)>,
}

/// Looks after what is kept.
#[derive(Debug, Clone)]
pub struct Upkeep {
    store: Arc<dyn MetricsStore>,
    recorder: Arc<Recorder>,
    policy: Arc<dyn KeepingPolicy>,
    clock: Arc<dyn Clock>,
}

impl Upkeep {
    /// Made of its ports; what waits in `recorder` is not rolled up without it.
    pub fn new(
        store: Arc<dyn MetricsStore>,
        recorder: Arc<Recorder>,
        policy: Arc<dyn KeepingPolicy>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, recorder, policy, clock }
    }

    /// Looks after some machines, those that come after `after`. Doing it again changes nothing.
    ///
    /// # Errors
    /// When the storage fails; what was done by then stays so.
    pub async fn some(&self, after: Option<AgentId>) -> Result<LookedAfter, StorageError> {
        let machines = self.store.machines(after, MACHINES_AT_ONCE).await?;
        let (now, keeping) = (self.clock.now(), self.policy.keeping());
        let closed = Step::HOUR.floor(now - GRACE);
        let closed = self.recorder.oldest_hour().map_or(closed, |hour| closed.min(hour));
        let (mut ageings, mut passed_over) = (Vec::new(), Vec::new());
        for (agent_id, is_there) in &machines {
            if !*is_there {
                let forget = everything();
                ageings.push(Ageing { agent_id: *agent_id, rolled: Vec::new(), forget });
                continue;
            }
            match self.ageing(*agent_id, closed, now, &keeping).await {
                Ok(ageing) => ageings.push(ageing),
                Err(error) => passed_over.push((*agent_id, error)),
            }
        }
        if ageings.is_empty() {
            // All of them at a time: it is not the machines.
            if let Some((_, error)) = passed_over.pop() {
                return Err(error);
            }
        } else {
            self.store.age(ageings).await?;
        }
        Ok(LookedAfter { last: machines.last().map(|(id, _)| *id), passed_over })
    }

    async fn ageing(
        &self,
        agent_id: AgentId,
        closed: Timestamp,
        now: Timestamp,
        keeping: &Keeping,
    ) -> Result<Ageing, StorageError> {
        let fine = self.five_minutes(agent_id, closed).await?;
        let coarse = self.hours(agent_id, closed, &fine).await?;
        let mut rolled = packs(Resolution::FiveMinutes, fine);
        rolled.extend(packs(Resolution::Hours, coarse));
        let forget = vec![
            // What has yet to be rolled up stays.
            (Resolution::Samples, closed.min(now - keeping.samples)),
            (Resolution::FiveMinutes, Step::DAY.floor(closed).min(now - keeping.five_minutes)),
            (Resolution::Hours, now - keeping.hours),
        ];
        Ok(Ageing { agent_id, rolled, forget })
    }

    /// What the samples come to of the hours that have ended and are not rolled up.
    async fn five_minutes(
        &self,
        agent_id: AgentId,
        closed: Timestamp,
    ) -> Result<Vec<Bucket>, StorageError> {
        let from = self.end(agent_id, Resolution::FiveMinutes, closed).await?;
        if from >= closed {
            return Ok(Vec::new());
        }
        let before = from.checked_sub_signed(SILENCE).unwrap_or(from);
        let samples = self.store.samples(agent_id, before, closed).await?;
        let first = samples.partition_point(|sample| sample.at < from);
        let (known, new) = samples.split_at_checked(first).unwrap_or_default();
        Ok(roll(Step::FIVE_MINUTES, known.last(), new))
    }

    /// What five minutes come to of the days that have ended and are not rolled up; `fresh` are
    /// those that are not kept yet.
    async fn hours(
        &self,
        agent_id: AgentId,
        closed: Timestamp,
        fresh: &[Bucket],
    ) -> Result<Vec<Bucket>, StorageError> {
        let closed = Step::DAY.floor(closed);
        let from = self.end(agent_id, Resolution::Hours, closed).await?;
        if from >= closed {
            return Ok(Vec::new());
        }
        let kept = self.store.buckets(agent_id, Resolution::FiveMinutes, from, closed).await?;
        let fresh = fresh.iter().copied().filter(|bucket| (from..closed).contains(&bucket.at));
        Ok(coarsen(Step::HOUR, kept.into_iter().chain(fresh)))
    }

    /// Until when everything is rolled up.
    async fn end(
        &self,
        agent_id: AgentId,
        resolution: Resolution,
        closed: Timestamp,
    ) -> Result<Timestamp, StorageError> {
        let last = self.store.last_pack(agent_id, resolution, closed).await?;
        Ok(last.map_or(Timestamp::UNIX_EPOCH, |at| at + resolution.pack().length()))
    }
}

fn packs(resolution: Resolution, buckets: Vec<Bucket>) -> Vec<Rolled> {
    let mut packs: Vec<Rolled> = Vec::new();
    for bucket in buckets {
        let at = resolution.pack().floor(bucket.at);
        match packs.last_mut() {
            Some(pack) if pack.at == at => pack.buckets.push(bucket),
            Some(_) | None => packs.push(Rolled { resolution, at, buckets: vec![bucket] }),
        }
    }
    packs
}

fn everything() -> Vec<(Resolution, Timestamp)> {
    [Resolution::Samples, Resolution::FiveMinutes, Resolution::Hours]
        .map(|resolution| (resolution, Timestamp::MAX_UTC))
        .to_vec()
}

/// The samples of `sorted` and `more` in the order of their times, each instant once.
pub(super) fn joined(mut sorted: Vec<Sample>, more: Vec<Sample>) -> Vec<Sample> {
    sorted.extend(more);
    sorted.sort_by_key(|sample| sample.at);
    sorted.dedup_by_key(|sample| sample.at);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Heartbeats;
    use crate::testing::metrics::{FakeMetrics, Fixed, agent, day_of_samples, noon};
    use muster_kernel::testing::FakeClock;

    struct World {
        store: Arc<FakeMetrics>,
        clock: Arc<FakeClock>,
        upkeep: Upkeep,
        heartbeats: Heartbeats,
        recorder: Arc<Recorder>,
    }

    fn world() -> World {
        let (store, clock) = (Arc::new(FakeMetrics::default()), Arc::new(FakeClock::at(noon())));
        let heartbeats = Heartbeats::default();
        let recorder = Arc::new(Recorder::new(heartbeats.clone(), store.clone(), Vec::new()));
        let policy = Arc::new(Fixed);
        let upkeep = Upkeep::new(store.clone(), recorder.clone(), policy, clock.clone());
        World { store, clock, upkeep, heartbeats, recorder }
    }

    impl World {
        async fn round(&self) {
            let mut after = None;
            loop {
                after = self.upkeep.some(after).await.unwrap().last;
                if after.is_none() {
                    return;
                }
            }
        }

        async fn buckets(&self, resolution: Resolution) -> Vec<Bucket> {
            let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::MAX_UTC);
            self.store.buckets(agent(1), resolution, from, to).await.unwrap()
        }
    }

    #[tokio::test]
    async fn rounds_at_any_times_roll_up_the_same_as_one() {
        let samples = day_of_samples();
        let midnight = Step::DAY.floor(noon());
        let all = roll(Step::FIVE_MINUTES, None, &samples);
        let world = world();
        world.clock.advance(midnight - noon());
        let mut written = 0;
        for minutes in [37, 61, 5, 200, 130, 500, 400, 400] {
            world.clock.advance(TimeDelta::minutes(minutes));
            let now = world.clock.now();
            let until = samples.partition_point(|sample| sample.at < now);
            world.store.keep(agent(1), &samples[written..until]).await;
            written = until;
            world.round().await;
            world.round().await;
        }
        assert_eq!(written, samples.len());
        assert_eq!(world.buckets(Resolution::FiveMinutes).await, all);
        assert_eq!(world.buckets(Resolution::Hours).await, coarsen(Step::HOUR, all));
    }

    #[tokio::test]
    async fn an_hour_is_not_rolled_up_while_some_of_it_waits_to_be_written() {
        let world = world();
        world.store.keep(agent(1), &day_of_samples()[..10]).await;
        world.clock.advance(TimeDelta::hours(20));
        let first = day_of_samples()[10];
        world
            .heartbeats
            .hear(crate::Heartbeat { at: first.at, ..crate::testing::metrics::heartbeat(1, 0) });
        world.store.fail(true);
        assert!(world.recorder.write().await.is_err());
        world.store.fail(false);
        world.round().await;
        assert!(world.buckets(Resolution::FiveMinutes).await.is_empty());
        world.recorder.write_all().await.unwrap();
        world.round().await;
        let samples: u64 =
            world.buckets(Resolution::FiveMinutes).await.iter().map(|b| b.samples).sum();
        assert_eq!(samples, 11);
    }

    #[tokio::test]
    async fn each_resolution_goes_when_it_is_old_enough_and_is_rolled_up_by_then() {
        let world = world();
        world.store.keep(agent(1), &day_of_samples()).await;
        world.clock.advance(TimeDelta::days(3));
        // A server that was off for days still rolls up first.
        for _ in 0..3 {
            world.round().await;
        }
        let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::MAX_UTC);
        assert!(world.store.samples(agent(1), from, to).await.unwrap().is_empty());
        assert_eq!(world.buckets(Resolution::FiveMinutes).await.len(), 288);
        assert_eq!(world.buckets(Resolution::Hours).await.len(), 24);
        world.clock.advance(TimeDelta::days(30));
        world.round().await;
        assert!(world.buckets(Resolution::FiveMinutes).await.is_empty());
        world.clock.advance(TimeDelta::days(365));
        world.round().await;
        assert!(world.buckets(Resolution::Hours).await.is_empty());
    }

    #[tokio::test]
    async fn a_machine_that_is_no_more_is_forgotten() {
        let world = world();
        world.store.keep(agent(1), &day_of_samples()[..100]).await;
        world.store.remove(agent(1));
        world.round().await;
        assert_eq!(world.store.machines(None, 10).await.unwrap(), []);
    }
}
