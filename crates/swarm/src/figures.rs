//! How long things took, how often they happened and what went wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use crate::times::Times;
use crate::{Failure, Record};

/// How long something took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latency {
    /// How often it happened.
    pub count: u64,
    /// Half of the times were shorter.
    pub p50: f64,
    /// Nine of ten were shorter.
    pub p90: f64,
    /// All but one in a hundred were shorter.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Latency {
    fn of(times: &Mutex<Times>) -> Self {
        let times = times.lock();
        let milliseconds = |took: Duration| took.as_secs_f64() * 1000.0;
        let within = |percent| milliseconds(times.within(percent));
        let (p50, p90, p99, max) =
            (within(50), within(90), within(99), milliseconds(times.longest()));
        Self { count: times.count(), p50, p90, p99, max }
    }
}

/// What is measured while a swarm works.
#[derive(Debug)]
pub struct Figures {
    begun: Instant,
    enrol: Mutex<Times>,
    connect: Mutex<Times>,
    heartbeat: Mutex<Times>,
    command: Mutex<Times>,
    connects: AtomicU64,
    ends: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    all_connected: Mutex<Option<Duration>>,
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            enrol: Mutex::default(),
            connect: Mutex::default(),
            heartbeat: Mutex::default(),
            command: Mutex::default(),
            connects: AtomicU64::new(0),
            ends: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            all_connected: Mutex::default(),
            errors: Mutex::default(),
        }
    }
}

impl Figures {
    /// How long it took from the begin of the first connection until all machines were connected
    /// at the same time; `None` while they are not.
    pub fn all_connected(&self) -> Option<Duration> {
        *self.all_connected.lock()
    }

    /// How many results came back from the server.
    pub fn commands(&self) -> u64 {
        self.command.lock().count()
    }

    pub(crate) fn enrolled(&self, took: Duration) {
        self.enrol.lock().add(took);
    }

    pub(crate) fn connected(&self, took: Duration) {
        self.connects.fetch_add(1, Ordering::Relaxed);
        self.connect.lock().add(took);
    }

    pub(crate) fn all_are_connected(&self, took: Duration) {
        self.all_connected.lock().get_or_insert(took);
    }

    pub(crate) fn beat(&self, took: Duration) {
        self.heartbeat.lock().add(took);
    }

    pub(crate) fn acknowledged(&self, took: Duration) {
        self.command.lock().add(took);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    /// A connection ended that was there.
    pub(crate) fn ended(&self) {
        self.ends.fetch_add(1, Ordering::Relaxed);
    }

    /// Something went wrong.
    pub(crate) fn failed(&self, failure: &Failure) {
        *self.errors.lock().entry(failure.to_string()).or_default() += 1;
    }

    /// All of it, and what `record` says, about `agents` machines.
    pub fn summary(&self, agents: usize, record: &Record) -> Summary {
        let connects = self.connects.load(Ordering::Relaxed);
        let all_connected = self.all_connected().map(|took| took.as_secs_f64());
        let first = u32::try_from(agents).map_or(f64::INFINITY, f64::from);
        Summary {
            agents,
            seconds: self.begun.elapsed().as_secs_f64(),
            connected: record.connected(),
            all_connected_after: all_connected,
            connects_per_second: all_connected.map(|took| first / took.max(1e-6)),
            connects,
            connections_lost: self.ends.load(Ordering::Relaxed),
            enrol_ms: Latency::of(&self.enrol),
            connect_ms: Latency::of(&self.connect),
            heartbeat_ms: Latency::of(&self.heartbeat),
            command_ms: Latency::of(&self.command),
            commands_started: record.started(),
            commands_started_again: record.started_again(),
            commands_ordered_again: record.ordered_again(),
            results_acknowledged: record.acknowledged(),
            bytes_received: self.received.load(Ordering::Relaxed),
            bytes_sent: self.sent.load(Ordering::Relaxed),
            errors: self.errors.lock().clone(),
        }
    }
}

/// What a swarm did and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How many machines there are.
    pub agents: usize,
    /// For how many seconds they have been at it.
    pub seconds: f64,
    /// How many are connected.
    pub connected: usize,
    /// Seconds from the begin of the first connection until all were connected.
    pub all_connected_after: Option<f64>,
    /// How many connected each second until then.
    pub connects_per_second: Option<f64>,
    /// How many connections came about.
    pub connects: u64,
    /// How many of these ended, the machines' own will included.
    pub connections_lost: u64,
    /// From the request to the answer of an enrolment.
    pub enrol_ms: Latency,
    /// From the begin of a connection to its welcome.
    pub connect_ms: Latency,
    /// From a heartbeat to its acknowledgement.
    pub heartbeat_ms: Latency,
    /// From the order to the acknowledgement of the result, what the command takes included.
    pub command_ms: Latency,
    /// How many commands began.
    pub commands_started: usize,
    /// How many of them began more than once, which must not happen.
    pub commands_started_again: usize,
    /// How many orders came for commands that were known already, which is harmless.
    pub commands_ordered_again: usize,
    /// How many results the server has acknowledged.
    pub results_acknowledged: usize,
    /// Bytes of messages and streams that came.
    pub bytes_received: u64,
    /// Bytes of messages and streams that went.
    pub bytes_sent: u64,
    /// What went wrong, and how often.
    pub errors: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_in_milliseconds_how_long_most_took_and_the_longest() {
        let figures = Figures::default();
        (1..=100).for_each(|took| figures.beat(Duration::from_millis(took)));
        let beats = figures.summary(1, &Record::default()).heartbeat_ms;
        assert!(
            (49.0..52.0).contains(&beats.p50) && (98.0..101.0).contains(&beats.p99),
            "{beats:?}"
        );
        assert!((beats.max - 100.0).abs() < 1e-9 && beats.count == 100, "{beats:?}");
    }

    #[test]
    fn what_goes_wrong_is_counted_by_its_kind() {
        let figures = Figures::default();
        for status in [401, 503, 401] {
            figures.failed(&Failure::Answered(status));
        }
        let errors = figures.summary(1, &Record::default()).errors;
        assert_eq!(errors["the server answered 401"], 2);
        assert_eq!(errors["the server answered 503"], 1);
    }
}
