//! Metrics in memory, and the contract that every store of them keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{AgentId, CustomerId, StorageError, Timestamp};
use parking_lot::Mutex;

use crate::Metrics;
use crate::metrics::{
    Ageing, Bucket, Heartbeat, Keeping, KeepingPolicy, MetricsStore, Pack, Resolution, Rolled,
    Sample, Step, roll,
};

mod contract;

pub use contract::{Subject, contract};

/// How many packs of a machine and resolution go at a time.
const AT_ONCE: usize = 200;

/// Noon of some day.
///
/// # Panics
/// Never.
pub fn noon() -> Timestamp {
    DateTime::from_timestamp(1_795_262_400, 0).expect("it is a time")
}

/// The machine `number`; they sort by their numbers.
pub fn agent(number: u64) -> AgentId {
    let clock = FakeClock::at(noon() + TimeDelta::milliseconds(number.cast_signed()));
    AgentId::new(&clock, &SeededEntropy::new(number))
}

/// A heartbeat of the machine `number`, so many seconds after noon.
pub fn heartbeat(number: u64, second: i64) -> Heartbeat {
    let metrics = Metrics {
        cpu_percent: 12.5,
        memory_percent: 50.0,
        disk_percent: 70.25,
        network_rx_bytes: 1_000_000,
        network_tx_bytes: 2_000_000,
        processes: 120,
        uptime_seconds: 5000,
    };
    let at = noon() + TimeDelta::seconds(second);
    let customer_id = CustomerId::new(&FakeClock::at(noon()), &SeededEntropy::new(number));
    Heartbeat { agent_id: agent(number), customer_id, metrics, at }
}

/// What a machine says every 30 seconds on the day of [`noon`]; it reboots in the afternoon.
pub fn day_of_samples() -> Vec<Sample> {
    let midnight = Step::DAY.floor(noon());
    let sample = |number: u32| {
        let since_boot = if number < 1700 { number } else { number - 1700 };
        Sample {
            at: midnight + TimeDelta::milliseconds(30_000 * i64::from(number) + 417),
            cpu: number * 7 % 10_000,
            memory: 4000 + number % 100,
            disk: 7025,
            processes: 100 + number % 13,
            received: 90_000 * u64::from(since_boot),
            sent: 1500 * u64::from(since_boot),
            uptime: 30 * u64::from(since_boot),
        }
    };
    (0..2880).map(sample).collect()
}

/// Keeps everything as long as the settings do when nobody changed them.
#[derive(Debug, Default)]
pub struct Fixed;

impl KeepingPolicy for Fixed {
    fn keeping(&self) -> Keeping {
        Keeping {
            samples: TimeDelta::hours(24),
            five_minutes: TimeDelta::days(30),
            hours: TimeDelta::days(365),
        }
    }
}

type Rows<T> = BTreeMap<(AgentId, Resolution, Timestamp), Vec<T>>;

/// Metrics in memory.
#[derive(Debug, Default)]
pub struct FakeMetrics {
    samples: Mutex<Rows<Sample>>,
    buckets: Mutex<Rows<Bucket>>,
    gone: Mutex<BTreeSet<AgentId>>,
    fails: AtomicBool,
}

impl FakeMetrics {
    /// From now on writing fails, or does so no more.
    pub fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }

    /// From now on the machine is not registered.
    pub fn remove(&self, id: AgentId) {
        self.gone.lock().insert(id);
    }

    /// Keeps samples of a machine, hour by hour.
    ///
    /// # Panics
    /// When it was told to fail.
    pub async fn keep(&self, agent_id: AgentId, samples: &[Sample]) {
        let hours = samples.chunk_by(|a, b| Step::HOUR.floor(a.at) == Step::HOUR.floor(b.at));
        let packs = hours.map(|samples| Pack { agent_id, samples: samples.to_vec() });
        self.append(packs.collect()).await.expect("the fake was not told to fail");
    }

    fn check(&self) -> Result<(), StorageError> {
        let fails = self.fails.load(Ordering::Relaxed);
        if fails { Err(StorageError::new(std::fmt::Error)) } else { Ok(()) }
    }
}

fn forget<T>(rows: &mut Rows<T>, id: AgentId, resolution: Resolution, before: Timestamp) -> u64 {
    let start = (id, resolution, Timestamp::MIN_UTC);
    let old: Vec<_> = rows.range(start..(id, resolution, before)).take(AT_ONCE).collect();
    let old: Vec<_> = old.into_iter().map(|(key, _)| *key).collect();
    for key in &old {
        rows.remove(key);
    }
    u64::try_from(old.len()).unwrap_or(u64::MAX)
}

#[async_trait]
impl MetricsStore for FakeMetrics {
    async fn append(&self, packs: Vec<Pack>) -> Result<(), StorageError> {
        self.check()?;
        let mut rows = self.samples.lock();
        for pack in packs {
            let first = pack.samples.first().expect("a pack has a sample").at;
            rows.insert((pack.agent_id, Resolution::Samples, first), pack.samples);
        }
        Ok(())
    }

    async fn samples(
        &self,
        agent_id: AgentId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Sample>, StorageError> {
        let rows = self.samples.lock();
        let of_it = rows.iter().filter(|((id, _, _), _)| *id == agent_id);
        let mut samples: Vec<_> = of_it.flat_map(|(_, samples)| samples).copied().collect();
        samples.retain(|sample| (from..to).contains(&sample.at));
        samples.sort_by_key(|sample| sample.at);
        Ok(samples)
    }

    async fn buckets(
        &self,
        agent_id: AgentId,
        resolution: Resolution,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Bucket>, StorageError> {
        let rows = self.buckets.lock();
        let of_it = rows.iter().filter(|((id, of, _), _)| (*id, *of) == (agent_id, resolution));
        let buckets = of_it.flat_map(|(_, buckets)| buckets).copied();
        Ok(buckets.filter(|bucket| (from..to).contains(&bucket.at)).collect())
    }

    async fn last_pack(
        &self,
        agent_id: AgentId,
        resolution: Resolution,
        before: Timestamp,
    ) -> Result<Option<Timestamp>, StorageError> {
        let start = (agent_id, resolution, Timestamp::MIN_UTC);
        let end = (agent_id, resolution, before);
        let samples = self.samples.lock().range(start..end).next_back().map(|row| row.0.2);
        let buckets = self.buckets.lock().range(start..end).next_back().map(|row| row.0.2);
        Ok(samples.or(buckets))
    }

    async fn machines(
        &self,
        after: Option<AgentId>,
        limit: u64,
    ) -> Result<Vec<(AgentId, bool)>, StorageError> {
        let (samples, buckets) = (self.samples.lock(), self.buckets.lock());
        let all: BTreeSet<_> = samples.keys().chain(buckets.keys()).map(|(id, _, _)| *id).collect();
        let gone = self.gone.lock();
        let later = all.into_iter().filter(|id| after.is_none_or(|after| *id > after));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(later.take(limit).map(|id| (id, !gone.contains(&id))).collect())
    }

    async fn age(&self, ageings: Vec<Ageing>) -> Result<u64, StorageError> {
        self.check()?;
        let (mut samples, mut buckets) = (self.samples.lock(), self.buckets.lock());
        let mut gone = 0;
        for Ageing { agent_id, rolled, forget: old } in ageings {
            for Rolled { resolution, at, buckets: new } in rolled {
                buckets.insert((agent_id, resolution, at), new);
            }
            for (resolution, before) in old {
                gone += match resolution {
                    Resolution::Samples => forget(&mut samples, agent_id, resolution, before),
                    Resolution::FiveMinutes | Resolution::Hours => {
                        forget(&mut buckets, agent_id, resolution, before)
                    }
                };
            }
        }
        Ok(gone)
    }
}

/// What the samples of `hours` hours come to, rolled up as they would be kept.
pub(crate) fn rolled(hours: usize) -> Vec<Rolled> {
    let samples = day_of_samples();
    let buckets = roll(Step::FIVE_MINUTES, None, &samples[..hours * 120]);
    buckets
        .chunk_by(|a, b| Step::HOUR.floor(a.at) == Step::HOUR.floor(b.at))
        .map(|buckets| Rolled {
            resolution: Resolution::FiveMinutes,
            at: Step::HOUR.floor(buckets[0].at),
            buckets: buckets.to_vec(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fake_keeps_the_contract() {
        let store = FakeMetrics::default();
        let (agents, gone) = ([agent(1), agent(2)], agent(3));
        store.remove(gone);
        contract(&Subject { store: &store, agents, gone }).await;
    }
}
