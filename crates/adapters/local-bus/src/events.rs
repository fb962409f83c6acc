//! Events: each channel is a log of its latest ones, which all listeners read at their own pace.
//! Whoever falls behind the log's oldest event was too slow; nobody ever waits for them.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use metrics::{Counter, Histogram, counter, histogram};
use muster_kernel::events::{
    Channel, Event, EventBus, From, Heard, KEPT_AFTER_CLOSING, Listener, Told,
};
use parking_lot::Mutex;
use tokio::sync::watch;

/// How many bytes of events a channel keeps.
const KEPT_BYTES: usize = 8 * 1024 * 1024;
/// How many closed channels are kept.
const KEPT_CLOSED: usize = 16;
/// What an event costs beside its text, in bytes.
const OVERHEAD: usize = 160;

/// Events within one process.
pub struct LocalEvents {
    /// Tells the events of this process from those of others, before and after it.
    epoch: Arc<str>,
    channels: Mutex<HashMap<Channel, Arc<Log>>>,
    figures: Figures,
}

/// What is told of listeners.
#[derive(Clone)]
struct Figures {
    /// How many events were behind the one that a listener took.
    lag: Histogram,
    /// Listeners that were too slow.
    too_slow: Counter,
}

impl Figures {
    fn new() -> Self {
        Self {
            lag: histogram!("muster_event_listener_lag_events"),
            too_slow: counter!("muster_event_listeners_too_slow_total"),
        }
    }
}

impl fmt::Debug for LocalEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalEvents({})", self.channels.lock().len())
    }
}

/// The latest events of a channel.
struct Log {
    entries: Mutex<Entries>,
    /// How many events there were, for listeners to wait on.
    length: watch::Sender<u64>,
}

#[derive(Default)]
struct Entries {
    kept: VecDeque<Arc<Told>>,
    bytes: usize,
    /// The number of the first one that is kept, counted from 0.
    first: u64,
    closed_at: Option<Instant>,
}

impl Entries {
    fn end(&self) -> u64 {
        self.first + u64::try_from(self.kept.len()).unwrap_or(0)
    }

    fn get(&self, number: u64) -> Option<Arc<Told>> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.kept.get(index).cloned()
    }
}

impl Log {
    fn new() -> Arc<Self> {
        Arc::new(Self { entries: Mutex::default(), length: watch::Sender::new(0) })
    }
}

fn cost(told: &Told) -> usize {
    told.event.data.len() + OVERHEAD
}

impl LocalEvents {
    /// With nothing told; `epoch` is another one in each process.
    pub fn new(epoch: impl Into<Arc<str>>) -> Self {
        Self { epoch: epoch.into(), channels: Mutex::default(), figures: Figures::new() }
    }

    fn log(&self, channel: Channel) -> Arc<Log> {
        let mut channels = self.channels.lock();
        if let Some(log) = channels.get(&channel) {
            return Arc::clone(log);
        }
        tidy(&mut channels);
        let log = Log::new();
        channels.insert(channel, Arc::clone(&log));
        log
    }

    /// The number of the first event that a listener gets, and whether it missed some.
    fn start(&self, entries: &Entries, from: From<'_>) -> (u64, bool) {
        let after = match from {
            From::Now => return (entries.end(), false),
            From::Beginning => Some(0),
            From::After(id) => id
                .split_once('-')
                .filter(|(epoch, _)| *epoch == &*self.epoch)
                .and_then(|(_, number)| number.parse::<u64>().ok())
                .and_then(|number| number.checked_add(1)),
        };
        match after {
            Some(next) if (entries.first..=entries.end()).contains(&next) => (next, false),
            _ => (entries.end(), true),
        }
    }
}

/// Lets go of channels that were closed long ago, and of the oldest of too many.
fn tidy(channels: &mut HashMap<Channel, Arc<Log>>) {
    let mut closed: Vec<_> = channels
        .iter()
        .filter_map(|(channel, log)| Some((log.entries.lock().closed_at?, *channel)))
        .collect();
    closed.sort_unstable_by_key(|(at, _)| *at);
    let too_many = closed.len().saturating_sub(KEPT_CLOSED);
    for (number, (at, channel)) in closed.into_iter().enumerate() {
        if number < too_many || at.elapsed() > KEPT_AFTER_CLOSING {
            channels.remove(&channel);
        }
    }
}

impl EventBus for LocalEvents {
    fn tell(&self, channel: Channel, event: Event) {
        let log = self.log(channel);
        let end = {
            let mut entries = log.entries.lock();
            let id = format!("{}-{}", self.epoch, entries.end()).into();
            let told = Arc::new(Told { id, event });
            entries.bytes += cost(&told);
            entries.kept.push_back(told);
            while entries.bytes > KEPT_BYTES {
                let Some(oldest) = entries.kept.pop_front() else { break };
                entries.bytes -= cost(&oldest);
                entries.first += 1;
            }
            entries.end()
        };
        // Two that tell at once may come here in either order.
        log.length.send_if_modified(|length| {
            let longer = end > *length;
            *length = end.max(*length);
            longer
        });
    }

    fn close(&self, channel: Channel) {
        let log = self.log(channel);
        log.entries.lock().closed_at.get_or_insert_with(Instant::now);
        // Everybody looks once more.
        log.length.send_modify(|_| ());
    }

    fn listen(&self, channel: Channel, from: From<'_>) -> Box<dyn Listener> {
        let log = self.log(channel);
        let length = log.length.subscribe();
        let (next, missed) = self.start(&log.entries.lock(), from);
        let figures = self.figures.clone();
        Box::new(LocalListener { log, length, next, missed, figures })
    }
}

struct LocalListener {
    log: Arc<Log>,
    length: watch::Receiver<u64>,
    next: u64,
    missed: bool,
    figures: Figures,
}

impl fmt::Debug for LocalListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalListener").field("next", &self.next).finish_non_exhaustive()
    }
}

#[async_trait]
impl Listener for LocalListener {
    async fn next(&mut self) -> Heard {
        if std::mem::take(&mut self.missed) {
            return Heard::Reset;
        }
        loop {
            self.length.borrow_and_update();
            {
                let entries = self.log.entries.lock();
                if self.next < entries.first {
                    self.figures.too_slow.increment(1);
                    return Heard::TooSlow;
                }
                if let Some(told) = entries.get(self.next) {
                    self.next += 1;
                    let behind = entries.end().saturating_sub(self.next);
                    self.figures.lag.record(u32::try_from(behind).unwrap_or(u32::MAX));
                    return Heard::Event(told);
                }
                if entries.closed_at.is_some() {
                    return Heard::Over;
                }
            }
            if self.length.changed().await.is_err() {
                return Heard::Over;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_kernel::RunId;
    use muster_kernel::events::Topic;
    use uuid::Uuid;

    const RUN: Channel = Channel::Run(RunId::from_uuid(Uuid::nil()));

    fn event(data: &str) -> Event {
        Event { topic: Topic::Runs, name: "command", customer_id: None, data: data.into() }
    }

    async fn heard(listener: &mut Box<dyn Listener>) -> Arc<Told> {
        match listener.next().await {
            Heard::Event(told) => told,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_listener_hears_everything_in_order_and_then_that_it_is_over() {
        let bus = LocalEvents::new("e");
        bus.tell(RUN, event("0"));
        let mut all = bus.listen(RUN, From::Beginning);
        let mut late = bus.listen(RUN, From::Now);
        bus.tell(RUN, event("1"));
        bus.tell(Channel::Everything, event("elsewhere"));
        bus.close(RUN);
        assert_eq!(&*heard(&mut all).await.event.data, "0");
        assert_eq!(&*heard(&mut all).await.event.data, "1");
        assert!(matches!(all.next().await, Heard::Over));
        assert_eq!(&*heard(&mut late).await.event.data, "1");
    }

    #[tokio::test]
    async fn whoever_comes_back_goes_on_where_they_were() {
        let bus = LocalEvents::new("e");
        for data in ["0", "1", "2"] {
            bus.tell(RUN, event(data));
        }
        let first = heard(&mut bus.listen(RUN, From::Beginning)).await;
        let mut again = bus.listen(RUN, From::After(&first.id));
        assert_eq!(&*heard(&mut again).await.event.data, "1");
    }

    #[tokio::test]
    async fn whoever_comes_back_too_late_or_from_elsewhere_is_told_to_look_anew() {
        let bus = LocalEvents::new("e");
        bus.tell(RUN, event("0"));
        for id in ["other-0", "e-7", "e", "", "e-x", "e-18446744073709551615"] {
            let mut again = bus.listen(RUN, From::After(id));
            assert!(matches!(again.next().await, Heard::Reset), "{id}");
            bus.tell(RUN, event("new"));
            assert_eq!(&*heard(&mut again).await.event.data, "new");
        }
    }

    #[tokio::test]
    async fn a_listener_that_is_too_slow_is_let_go_and_costs_nothing() {
        let bus = LocalEvents::new("e");
        let mut slow = bus.listen(RUN, From::Now);
        let large = "x".repeat(KEPT_BYTES / 4);
        for _ in 0..8 {
            bus.tell(RUN, event(&large));
        }
        assert!(matches!(slow.next().await, Heard::TooSlow));
        assert!(matches!(bus.listen(RUN, From::Beginning).next().await, Heard::Reset));
        assert!(bus.log(RUN).entries.lock().bytes <= KEPT_BYTES);
    }

    #[tokio::test]
    async fn channels_that_are_over_are_forgotten_when_there_are_many() {
        let bus = LocalEvents::new("e");
        for number in 0..100 {
            let channel = Channel::Run(RunId::from_uuid(Uuid::from_u128(number)));
            bus.tell(channel, event("x"));
            bus.close(channel);
        }
        assert!(bus.channels.lock().len() <= KEPT_CLOSED + 1);
    }
}
