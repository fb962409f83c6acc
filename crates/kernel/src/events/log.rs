//! The latest events of a channel. All listeners read the same log at their own pace; whoever falls
//! behind its oldest event was too slow, and nobody ever waits for them.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Channel, Event, From, Heard, KEPT_AFTER_CLOSING, Listener, Told};

/// How many bytes of events a log keeps.
pub const KEPT_BYTES: usize = 8 * 1024 * 1024;
/// How many closed logs are kept.
const KEPT_CLOSED: usize = 16;
/// What an event costs beside its text, in bytes.
const OVERHEAD: usize = 160;

/// The latest events of a channel. Events are numbered from 0 on within an epoch, and the id of one
/// is `EPOCH-NUMBER`.
pub struct Log {
    entries: Mutex<Entries>,
    /// Grows with whatever listeners have to look at.
    changes: watch::Sender<u64>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("end", &self.entries.lock().end()).finish_non_exhaustive()
    }
}

struct Entries {
    /// Tells these numbers from those of any other sequence.
    epoch: Arc<str>,
    kept: VecDeque<Arc<Told>>,
    bytes: usize,
    /// The number of the first one that is kept.
    first: u64,
    /// How often everybody was told to look anew.
    resets: u64,
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

    fn push(&mut self, event: Event) {
        let id = format!("{}-{}", self.epoch, self.end()).into();
        let told = Arc::new(Told { id, event });
        self.bytes += cost(&told);
        self.kept.push_back(told);
        while self.bytes > KEPT_BYTES {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= cost(&oldest);
            self.first += 1;
        }
    }

    fn restart(&mut self, epoch: Arc<str>, first: u64) {
        self.kept.clear();
        (self.epoch, self.bytes, self.first) = (epoch, 0, first);
    }

    /// The number of the first event that a listener gets, and whether it missed some.
    fn start(&self, from: From<'_>) -> (u64, bool) {
        let after = match from {
            From::Now => return (self.end(), false),
            From::Beginning => Some(0),
            From::After(id) => id
                .rsplit_once('-')
                .filter(|(epoch, _)| *epoch == &*self.epoch)
                .and_then(|(_, number)| number.parse::<u64>().ok())
                .and_then(|number| number.checked_add(1)),
        };
        match after {
            Some(next) if (self.first..=self.end()).contains(&next) => (next, false),
            _ => (self.end(), true),
        }
    }
}

fn cost(told: &Told) -> usize {
    told.event.data.len() + OVERHEAD
}

impl Log {
    /// With nothing told.
    pub fn new(epoch: Arc<str>) -> Arc<Self> {
        let entries = Entries {
            epoch,
            kept: VecDeque::new(),
            bytes: 0,
            first: 0,
            resets: 0,
            closed_at: None,
        };
        Arc::new(Self { entries: Mutex::new(entries), changes: watch::Sender::new(0) })
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Tells an event, under the next number. A log that was closed is open again.
    pub fn tell(&self, event: Event) {
        let mut entries = self.entries.lock();
        entries.closed_at = None;
        entries.push(event);
        drop(entries);
        self.changed();
    }

    /// Takes in an event that was numbered elsewhere. One that is known already is passed over; of
    /// what came before a hole or another epoch nothing is kept, and listeners are told. A log whose
    /// epoch is empty takes that of its first event.
    pub fn take_in(&self, epoch: &str, number: u64, event: Event) {
        let mut entries = self.entries.lock();
        if entries.epoch.is_empty() && number == 0 {
            // Nothing was ever told before: nobody missed anything.
            entries.epoch = epoch.into();
        } else if *entries.epoch != *epoch {
            entries.restart(epoch.into(), number);
            entries.resets += 1;
        } else if number < entries.end() {
            return;
        } else if number > entries.end() {
            entries.restart(epoch.into(), number);
        }
        entries.closed_at = None;
        entries.push(event);
        drop(entries);
        self.changed();
    }

    /// Begins anew in another epoch, with the event `first`: nothing of before is to be had any
    /// more, and listeners are told to look anew.
    pub fn restart(&self, epoch: &str, first: u64) {
        let mut entries = self.entries.lock();
        entries.restart(epoch.into(), first);
        entries.resets += 1;
        drop(entries);
        self.changed();
    }

    /// Replaces all that is kept by these events, numbered from `first` on, and tells listeners to
    /// look anew, unless it has had no epoch yet: then nobody has heard anything.
    pub fn replace(&self, epoch: &str, first: u64, events: impl IntoIterator<Item = Event>) {
        let mut entries = self.entries.lock();
        entries.resets += u64::from(!entries.epoch.is_empty());
        entries.restart(epoch.into(), first);
        for event in events {
            entries.push(event);
        }
        drop(entries);
        self.changed();
    }

    /// Tells all listeners to look anew at what they follow.
    pub fn reset(&self) {
        self.entries.lock().resets += 1;
        self.changed();
    }

    /// The epoch, and the number of the next event.
    pub fn position(&self) -> (Arc<str>, u64) {
        let entries = self.entries.lock();
        (Arc::clone(&entries.epoch), entries.end())
    }

    /// Says that nothing more will be told; says whether that is news.
    pub fn close(&self) -> bool {
        let mut entries = self.entries.lock();
        let news = entries.closed_at.is_none();
        entries.closed_at.get_or_insert_with(Instant::now);
        drop(entries);
        // Everybody looks once more.
        self.changed();
        news
    }

    /// Listens, from wherever `from` says.
    pub fn listen(self: &Arc<Self>, from: From<'_>) -> LogListener {
        let changes = self.changes.subscribe();
        let entries = self.entries.lock();
        let (next, missed) = entries.start(from);
        let (epoch, resets) = (Arc::clone(&entries.epoch), entries.resets);
        drop(entries);
        LogListener { log: Arc::clone(self), changes, epoch, next, resets, missed }
    }
}

/// A listener of a [`Log`].
#[derive(Debug)]
pub struct LogListener {
    log: Arc<Log>,
    changes: watch::Receiver<u64>,
    epoch: Arc<str>,
    next: u64,
    resets: u64,
    missed: bool,
}

#[async_trait]
impl Listener for LogListener {
    async fn next(&mut self) -> Heard {
        if std::mem::take(&mut self.missed) {
            return Heard::Reset;
        }
        loop {
            self.changes.borrow_and_update();
            {
                let entries = self.log.entries.lock();
                if self.resets != entries.resets {
                    self.resets = entries.resets;
                    if self.epoch != entries.epoch {
                        // Whoever looks anew now sees what came of all that was told by now.
                        self.epoch = Arc::clone(&entries.epoch);
                        self.next = entries.end();
                    }
                    return Heard::Reset;
                }
                if self.next < entries.first {
                    return Heard::TooSlow;
                }
                if let Some(told) = entries.get(self.next) {
                    self.next += 1;
                    return Heard::Event(told);
                }
                if entries.closed_at.is_some() {
                    return Heard::Over;
                }
            }
            if self.changes.changed().await.is_err() {
                return Heard::Over;
            }
        }
    }

    fn behind(&self) -> u64 {
        self.log.entries.lock().end().saturating_sub(self.next)
    }
}

/// The logs of all channels.
#[derive(Debug, Default)]
pub struct Logs(Mutex<HashMap<Channel, Arc<Log>>>);

impl Logs {
    /// The log of a channel; `made` makes one when there is none.
    pub fn of(&self, channel: Channel, made: impl FnOnce() -> Arc<Log>) -> Arc<Log> {
        let mut logs = self.0.lock();
        if let Some(log) = logs.get(&channel) {
            return Arc::clone(log);
        }
        tidy(&mut logs);
        let log = made();
        logs.insert(channel, Arc::clone(&log));
        log
    }

    /// The log of a channel, if there is one.
    pub fn get(&self, channel: Channel) -> Option<Arc<Log>> {
        self.0.lock().get(&channel).cloned()
    }

    /// Lets go of the log of a channel that nobody listens to; says whether that was so.
    pub fn forget_unheard(&self, channel: Channel) -> bool {
        let mut logs = self.0.lock();
        let unheard = logs.get(&channel).is_some_and(|log| log.changes.receiver_count() == 0);
        if unheard {
            logs.remove(&channel);
        }
        unheard
    }

    /// All logs there are.
    pub fn all(&self) -> Vec<(Channel, Arc<Log>)> {
        self.0.lock().iter().map(|(channel, log)| (*channel, Arc::clone(log))).collect()
    }

    /// How many logs there are.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

/// Lets go of logs that were closed long ago, and of the oldest of too many.
fn tidy(logs: &mut HashMap<Channel, Arc<Log>>) {
    let mut closed: Vec<_> = logs
        .iter()
        .filter_map(|(channel, log)| Some((log.entries.lock().closed_at?, *channel)))
        .collect();
    closed.sort_unstable_by_key(|(at, _)| *at);
    let too_many = closed.len().saturating_sub(KEPT_CLOSED);
    for (number, (at, channel)) in closed.into_iter().enumerate() {
        if number < too_many || at.elapsed() > KEPT_AFTER_CLOSING {
            logs.remove(&channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunId;
    use crate::events::Topic;
    use uuid::Uuid;

    fn event(data: &str) -> Event {
        Event { topic: Topic::Runs, name: "command", customer_id: None, data: data.into() }
    }

    async fn heard(listener: &mut LogListener) -> String {
        match listener.next().await {
            Heard::Event(told) => format!("{} {}", told.id, told.event.data),
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_told_after_the_end_is_heard() {
        let log = Log::new("7".into());
        log.tell(event("first"));
        log.close();
        let mut listener = log.listen(From::Beginning);
        assert_eq!(heard(&mut listener).await, "7-0 first");
        assert_eq!(heard(&mut listener).await, "Over");
        log.tell(event("more"));
        let mut listener = log.listen(From::After("7-0"));
        assert_eq!(heard(&mut listener).await, "7-1 more");
        assert!(log.close(), "it went on, and ends once more");
        assert_eq!(heard(&mut listener).await, "Over");
    }

    #[tokio::test]
    async fn events_that_were_numbered_elsewhere_keep_their_numbers_and_come_once() {
        let log = Log::new("none".into());
        log.restart("7", 3);
        let mut listener = log.listen(From::Now);
        for number in [3, 3, 4] {
            log.take_in("7", number, event(&number.to_string()));
        }
        assert_eq!(heard(&mut listener).await, "7-3 3");
        assert_eq!(heard(&mut listener).await, "7-4 4");
        assert_eq!(heard(&mut log.listen(From::After("7-3"))).await, "7-4 4");
        assert_eq!(heard(&mut log.listen(From::Beginning)).await, "Reset");
    }

    #[tokio::test]
    async fn whoever_listens_while_the_numbers_begin_anew_is_told_to_look_anew_and_goes_on() {
        let log = Log::new("a".into());
        log.tell(event("old"));
        let mut listener = log.listen(From::Now);
        log.restart("b", 0);
        assert_eq!(heard(&mut listener).await, "Reset");
        log.tell(event("new"));
        assert_eq!(heard(&mut listener).await, "b-0 new");
        log.reset();
        log.tell(event("newer"));
        assert_eq!(heard(&mut listener).await, "Reset");
        assert_eq!(heard(&mut listener).await, "b-1 newer");
        log.take_in("c", 9, event("elsewhere"));
        assert_eq!(heard(&mut listener).await, "Reset");
        log.take_in("c", 10, event("later"));
        assert_eq!(heard(&mut listener).await, "c-10 later");
    }

    #[tokio::test]
    async fn what_replaces_a_log_is_no_news_to_those_who_listen_and_there_for_those_who_come() {
        let log = Log::new("a".into());
        let mut listener = log.listen(From::Now);
        log.replace("7", 0, ["0", "1"].map(event));
        assert_eq!(heard(&mut listener).await, "Reset");
        assert_eq!(heard(&mut log.listen(From::Beginning)).await, "7-0 0");
        log.take_in("7", 2, event("2"));
        assert_eq!(heard(&mut listener).await, "7-2 2");
        let fresh = Log::new("".into());
        let mut early = fresh.listen(From::Now);
        fresh.replace("", 0, []);
        fresh.take_in("8", 0, event("first"));
        assert_eq!(heard(&mut early).await, "8-0 first");
    }

    #[tokio::test]
    async fn a_hole_in_the_numbers_is_not_passed_over_in_silence() {
        let log = Log::new("a".into());
        let mut listener = log.listen(From::Now);
        log.take_in("a", 0, event("0"));
        log.take_in("a", 2, event("2"));
        assert_eq!(heard(&mut listener).await, "TooSlow");
    }

    #[test]
    fn logs_that_are_over_are_forgotten_when_there_are_many() {
        let logs = Logs::default();
        for number in 0..100 {
            let channel = Channel::Run(RunId::from_uuid(Uuid::from_u128(number)));
            logs.of(channel, || Log::new("e".into())).close();
        }
        assert!(logs.len() <= KEPT_CLOSED + 1);
    }
}
