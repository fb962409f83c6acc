//! From heartbeats to what is kept.
//!
//! A row costs about the same however many samples are in it: most of it is the page of the index
//! that is written with it. So samples of a machine wait for one another, as long as it takes: each
//! write takes the packs that wait longest, and no more than a bounded number. Few machines get a
//! row for every sample, thousands get one for ten.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use muster_kernel::{AgentId, StorageError, Timestamp};
use parking_lot::Mutex;

use super::heartbeats::{Heartbeat, HeartbeatListener, Heartbeats};
use super::ports::{MetricsStore, Pack};
use super::sample::{Sample, Step};

/// How many packs a write takes at least, if so many wait.
const PACKS_AT_ONCE: usize = 600;
/// After how many writes a sample is written at the latest, however many wait.
const WRITES_AT_MOST: usize = 30;
/// How many samples may wait, with some 56 bytes each. The oldest give way.
const MAX_WAITING: usize = 500_000;

/// What a write did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// How many samples are kept now that were not before.
    pub samples: usize,
    /// In how many packs.
    pub packs: usize,
    /// How many samples wait.
    pub waiting: usize,
    /// How many were lost because too many waited.
    pub lost: u64,
}

/// Samples of one machine within one hour of the clock.
type Key = (AgentId, Timestamp);

#[derive(Debug, Default)]
struct Waiting {
    packs: HashMap<Key, Vec<Sample>>,
    /// Those of `packs`, by their first samples.
    order: VecDeque<Key>,
    /// Those that are being written.
    leaving: Arc<Vec<(Key, Vec<Sample>)>>,
    samples: usize,
    lost: u64,
}

/// Packs samples, writes them and tells listeners of them.
#[derive(Debug)]
pub struct Recorder {
    heartbeats: Heartbeats,
    store: Arc<dyn MetricsStore>,
    listeners: Vec<Arc<dyn HeartbeatListener>>,
    waiting: Mutex<Waiting>,
}

impl Recorder {
    /// Made of its ports; `listeners` hear of every heartbeat.
    pub fn new(
        heartbeats: Heartbeats,
        store: Arc<dyn MetricsStore>,
        listeners: Vec<Arc<dyn HeartbeatListener>>,
    ) -> Self {
        Self { heartbeats, store, listeners, waiting: Mutex::default() }
    }

    /// Takes what came since the last call, writes what has waited longest and tells listeners.
    /// Only one call is under way at a time.
    ///
    /// # Errors
    /// When the storage fails; what was not written waits for the next call.
    pub async fn write(&self) -> Result<Written, StorageError> {
        let (heartbeats, lost) = self.heartbeats.take();
        let leaving = {
            let mut waiting = self.waiting.lock();
            waiting.lost += lost;
            waiting.absorb(&heartbeats);
            let number = PACKS_AT_ONCE.max(waiting.order.len().div_ceil(WRITES_AT_MOST));
            waiting.leave(number)
        };
        let written = self.keep(&leaving).await;
        for listener in &self.listeners {
            listener.heard(&heartbeats);
        }
        written
    }

    /// Writes all that waits.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn write_all(&self) -> Result<(), StorageError> {
        while self.write().await?.waiting > 0 {}
        Ok(())
    }

    /// The samples of a machine from `from` until before `to` that wait, in the order of their
    /// times.
    pub(super) fn samples(&self, id: AgentId, from: Timestamp, to: Timestamp) -> Vec<Sample> {
        let waiting = self.waiting.lock();
        let leaving = waiting.leaving.iter().map(|(key, samples)| (key, samples));
        let of_it = waiting.packs.iter().chain(leaving).filter(|((agent, _), _)| *agent == id);
        let within = |sample: &&Sample| (from..to).contains(&sample.at);
        let mut samples: Vec<_> =
            of_it.flat_map(|(_, samples)| samples.iter().filter(within).copied()).collect();
        samples.sort_unstable_by_key(|sample| sample.at);
        samples
    }

    /// The hour of the clock in which the oldest sample arrived that waits.
    pub(super) fn oldest_hour(&self) -> Option<Timestamp> {
        let waiting = self.waiting.lock();
        let leaving = waiting.leaving.iter().map(|((_, hour), _)| *hour);
        waiting.packs.keys().map(|(_, hour)| *hour).chain(leaving).min()
    }

    async fn keep(&self, leaving: &[(Key, Vec<Sample>)]) -> Result<Written, StorageError> {
        let packs: Vec<Pack> = leaving
            .iter()
            .map(|((agent_id, _), samples)| Pack { agent_id: *agent_id, samples: samples.clone() })
            .collect();
        let (number, samples) = (packs.len(), leaving.iter().map(|pack| pack.1.len()).sum());
        let kept = if packs.is_empty() { Ok(()) } else { self.store.append(packs).await };
        let mut waiting = self.waiting.lock();
        waiting.leaving = Arc::default();
        if let Err(error) = kept {
            waiting.come_back(leaving);
            return Err(error);
        }
        waiting.samples -= samples;
        let lost = std::mem::take(&mut waiting.lost);
        Ok(Written { samples, packs: number, waiting: waiting.samples, lost })
    }
}

impl Waiting {
    fn absorb(&mut self, heartbeats: &[Heartbeat]) {
        for heartbeat in heartbeats {
            let key = (heartbeat.agent_id, Step::HOUR.floor(heartbeat.at));
            let pack = self.packs.entry(key).or_insert_with(|| {
                self.order.push_back(key);
                Vec::new()
            });
            pack.push(Sample::new(heartbeat.at, &heartbeat.metrics));
            self.samples += 1;
        }
        self.shrink();
    }

    /// Lets the oldest go where too many wait.
    fn shrink(&mut self) {
        while self.samples > MAX_WAITING {
            let oldest = self.order.pop_front().and_then(|key| self.packs.remove(&key));
            let Some(samples) = oldest else { return };
            self.samples -= samples.len();
            self.lost += u64::try_from(samples.len()).unwrap_or(0);
        }
    }

    /// Takes out the `number` packs that wait longest.
    fn leave(&mut self, number: usize) -> Arc<Vec<(Key, Vec<Sample>)>> {
        let number = number.min(self.order.len());
        let keys = self.order.drain(..number);
        let leaving = keys.filter_map(|key| Some((key, self.packs.remove(&key)?)));
        self.leaving = Arc::new(leaving.collect());
        Arc::clone(&self.leaving)
    }

    /// Takes back what could not be written, before what came meanwhile.
    fn come_back(&mut self, leaving: &[(Key, Vec<Sample>)]) {
        for (key, samples) in leaving.iter().rev() {
            let known = self.packs.entry(*key).or_default();
            if known.is_empty() {
                self.order.push_front(*key);
            }
            known.splice(..0, samples.iter().copied());
        }
        self.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::metrics::{FakeMetrics, agent, heartbeat, noon};
    use chrono::TimeDelta;

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<Heartbeat>>);

    impl HeartbeatListener for Heard {
        fn heard(&self, heartbeats: &[Heartbeat]) {
            self.0.lock().extend(heartbeats);
        }
    }

    fn recorder() -> (Heartbeats, Arc<FakeMetrics>, Arc<Heard>, Recorder) {
        let (heartbeats, store) = (Heartbeats::default(), Arc::new(FakeMetrics::default()));
        let heard = Arc::new(Heard::default());
        let listeners: Vec<Arc<dyn HeartbeatListener>> = vec![heard.clone()];
        let recorder = Recorder::new(heartbeats.clone(), store.clone(), listeners);
        (heartbeats, store, heard, recorder)
    }

    fn day() -> (Timestamp, Timestamp) {
        (noon() - TimeDelta::days(1), noon() + TimeDelta::days(1))
    }

    #[tokio::test]
    async fn few_machines_have_every_sample_written_at_once() {
        let (heartbeats, store, heard, recorder) = recorder();
        for second in [0, 30, 60] {
            heartbeats.hear(heartbeat(1, second));
            let written = recorder.write().await.unwrap();
            assert_eq!((written.packs, written.samples, written.waiting), (1, 1, 0));
        }
        assert_eq!(store.samples(agent(1), day().0, day().1).await.unwrap().len(), 3);
        assert_eq!(heard.0.lock().len(), 3);
    }

    #[tokio::test]
    async fn thousands_of_machines_cost_a_bounded_write_and_none_waits_for_ever() {
        let (heartbeats, store, heard, recorder) = recorder();
        let machines = 60_000;
        for second in 0..i64::try_from(WRITES_AT_MOST).unwrap() {
            for machine in (1..=machines).filter(|machine| machine % 3 == second.unsigned_abs() % 3)
            {
                heartbeats.hear(heartbeat(machine, second * 10));
            }
            let written = recorder.write().await.unwrap();
            assert!(written.packs <= 2000, "{written:?}");
        }
        for machine in [1, 2, machines / 2] {
            let kept = store.samples(agent(machine), day().0, day().1).await.unwrap();
            assert!(!kept.is_empty(), "{machine}");
        }
        recorder.write_all().await.unwrap();
        assert_eq!(heard.0.lock().len(), 600_000);
        let kept = store.samples(agent(machines), day().0, day().1).await.unwrap();
        assert_eq!(kept.len(), 10);
    }

    #[tokio::test]
    async fn what_the_storage_did_not_take_waits_and_can_be_read_meanwhile() {
        let (heartbeats, store, _, recorder) = recorder();
        store.fail(true);
        for second in [0, 30] {
            heartbeats.hear(heartbeat(1, second));
            assert!(recorder.write().await.is_err());
        }
        assert_eq!(recorder.samples(agent(1), day().0, day().1).len(), 2);
        assert_eq!(recorder.oldest_hour(), Some(noon()));
        store.fail(false);
        assert_eq!(recorder.write().await.unwrap().samples, 2);
        assert_eq!(recorder.oldest_hour(), None);
        let kept = store.samples(agent(1), day().0, day().1).await.unwrap();
        assert!(kept.len() == 2 && kept.is_sorted_by_key(|sample| sample.at));
    }

    #[tokio::test]
    async fn while_the_storage_fails_the_oldest_give_way_and_are_counted() {
        let (heartbeats, store, _, recorder) = recorder();
        store.fail(true);
        for round in 0..6 {
            for machine in 1..=100_000 {
                heartbeats.hear(heartbeat(machine, round * 30));
            }
            let _ = recorder.write().await;
        }
        store.fail(false);
        let written = recorder.write().await.unwrap();
        assert_eq!(
            written.lost + u64::try_from(written.samples + written.waiting).unwrap(),
            600_000
        );
        assert!(written.samples + written.waiting <= MAX_WAITING);
    }
}
