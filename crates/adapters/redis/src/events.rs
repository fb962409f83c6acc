//! Events of all nodes, in streams that Redis keeps. An event gets its number there, so that its id
//! means the same on every node; each node reads a channel once, into a log that all of its
//! listeners share.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use muster_kernel::NodeId;
use muster_kernel::events::{
    Channel, Event, EventBus, From as Since, Heard, Listener, Log, LogListener, Logs, Topic,
};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult};
use tokio::sync::{Notify, watch};

use crate::link::{Hearer, Redis, stream_of};
use crate::words::Batch;

/// How many events are read at a time.
const READ_AT_ONCE: usize = 1000;
/// What an event takes beside its text, in bytes.
const OVERHEAD: usize = 160;
/// How many names of events there may be: they are constants of the program.
const MOST_NAMES: usize = 256;

/// Events of all nodes.
#[derive(Debug, Clone)]
pub struct RedisEvents(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    redis: Redis,
    logs: Logs,
    /// The channels whose logs have what Redis had.
    loaded: watch::Sender<HashSet<Channel>>,
    /// What is to be read; whether the channel is closed after that.
    unread: Mutex<HashMap<Channel, bool>>,
    told: Notify,
    /// How often Redis was lost: events that are told meanwhile have numbers of their own.
    losses: AtomicU64,
}

/// One entry of a stream: its id and its fields.
type Entry = (String, HashMap<String, String>);

impl RedisEvents {
    /// By this link.
    pub fn new(redis: &Redis) -> Self {
        let events = Self(Arc::new(Inner {
            redis: redis.clone(),
            logs: Logs::default(),
            loaded: watch::Sender::new(HashSet::new()),
            unread: Mutex::default(),
            told: Notify::new(),
            losses: AtomicU64::new(0),
        }));
        events.log(Channel::Everything);
        redis.joined_by(Arc::new(events.clone()));
        events
    }

    fn epoch(&self) -> String {
        format!("{}.{}", self.0.redis.node(), self.0.losses.load(Ordering::Relaxed))
    }

    /// The log of a channel; a new one is read as soon as Redis is there.
    fn log(&self, channel: Channel) -> Arc<Log> {
        let made = || {
            if self.0.redis.is_up() {
                self.0.loaded.send_if_modified(|loaded| loaded.remove(&channel));
                self.read_soon(channel, false);
                Log::new("".into())
            } else {
                Log::new(self.epoch().into())
            }
        };
        self.0.logs.of(channel, made)
    }

    fn read_soon(&self, channel: Channel, closed: bool) {
        *self.0.unread.lock().entry(channel).or_default() |= closed;
        self.0.told.notify_one();
    }

    /// Reads what a channel has that its log has not.
    async fn read(
        &self,
        connection: &mut MultiplexedConnection,
        channel: Channel,
        log: &Log,
    ) -> RedisResult<()> {
        let key = self.0.redis.name(&stream_of(channel));
        let (epoch, number) = log.position();
        let follows = epoch.parse::<u64>().is_ok();
        let mut from = if follows { format!("{epoch}-{number}") } else { "-".to_owned() };
        let mut kept = Vec::new();
        loop {
            let entries: Vec<Entry> = redis::cmd("XRANGE")
                .arg(&key)
                .arg(&from)
                .arg("+")
                .arg("COUNT")
                .arg(READ_AT_ONCE)
                .query_async(connection)
                .await?;
            let all = entries.len() < READ_AT_ONCE;
            for (id, fields) in entries {
                let Some((epoch, number, event)) = event(&id, &fields) else { continue };
                if follows {
                    log.take_in(epoch, number, event);
                } else {
                    kept.push((epoch.to_owned(), number, event));
                }
                from = format!("({id}");
            }
            if all {
                break;
            }
        }
        if !follows {
            let first = kept.first().map(|(epoch, number, _)| (epoch.clone(), *number));
            let (epoch, first) = first.unwrap_or_default();
            log.replace(&epoch, first, kept.into_iter().map(|(_, _, event)| event));
        }
        Ok(())
    }
}

/// The event in an entry, with its epoch and number.
fn event<'a>(id: &'a str, fields: &HashMap<String, String>) -> Option<(&'a str, u64, Event)> {
    let (epoch, number) = id.split_once('-')?;
    let event = Event {
        topic: Topic::parse(fields.get("t")?)?,
        name: name(fields.get("n")?)?,
        customer_id: fields.get("c").and_then(|id| id.parse().ok()),
        data: fields.get("d")?.as_str().into(),
    };
    Some((epoch, number.parse().ok()?, event))
}

/// The name of an event, as the constant that it is in the program.
fn name(text: &str) -> Option<&'static str> {
    static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut names = NAMES.lock();
    if let Some(known) = names.iter().find(|known| **known == text) {
        return Some(known);
    }
    if names.len() >= MOST_NAMES {
        return None;
    }
    let name: &'static str = Box::leak(text.into());
    names.push(name);
    Some(name)
}

impl EventBus for RedisEvents {
    fn tell(&self, channel: Channel, event: Event) {
        let size = event.data.len() + OVERHEAD;
        let mut event = Some(event);
        self.0.redis.say(size, |outbox| outbox.events.extend(event.take().map(|it| (channel, it))));
        if let Some(event) = event {
            self.log(channel).tell(event);
        }
    }

    fn close(&self, channel: Channel) {
        let there = self.0.redis.say(OVERHEAD, |outbox| {
            outbox.batch.closed.insert(channel);
        });
        if !there {
            self.log(channel).close();
        }
    }

    fn listen(&self, channel: Channel, from: Since<'_>) -> Box<dyn Listener> {
        let log = self.log(channel);
        let loaded = self.0.loaded.subscribe();
        let from = match from {
            Since::Beginning => From::Beginning,
            Since::Now => From::Now,
            Since::After(id) => From::After(id.to_owned()),
        };
        let redis = self.0.redis.clone();
        // From now on its log stays, whenever it is read.
        let listener = log.listen(Since::Now);
        Box::new(RedisListener { redis, channel, log, loaded, from: Some(from), listener })
    }
}

#[derive(Debug)]
enum From {
    Beginning,
    Now,
    After(String),
}

#[derive(Debug)]
struct RedisListener {
    redis: Redis,
    channel: Channel,
    log: Arc<Log>,
    loaded: watch::Receiver<HashSet<Channel>>,
    /// From where on, until the log has what Redis had.
    from: Option<From>,
    listener: LogListener,
}

#[async_trait]
impl Listener for RedisListener {
    async fn next(&mut self) -> Heard {
        if self.from.is_some() {
            let (redis, channel) = (&self.redis, self.channel);
            let there = |loaded: &HashSet<Channel>| loaded.contains(&channel) || !redis.is_up();
            let _ = self.loaded.wait_for(there).await;
        }
        if let Some(from) = self.from.take() {
            self.listener = self.log.listen(match &from {
                From::Beginning => Since::Beginning,
                From::Now => Since::Now,
                From::After(id) => Since::After(id),
            });
        }
        self.listener.next().await
    }

    fn behind(&self) -> u64 {
        self.listener.behind()
    }
}

#[async_trait]
impl Hearer for RedisEvents {
    fn hear(&self, _: NodeId, batch: &Batch) {
        for (names, closed) in [(&batch.told, false), (&batch.closed, true)] {
            for channel in names.iter().copied() {
                if self.0.logs.get(channel).is_none() {
                    continue;
                }
                // What nobody listens to is read again when somebody does.
                if channel != Channel::Everything && self.0.logs.forget_unheard(channel) {
                    continue;
                }
                self.read_soon(channel, closed);
            }
        }
    }

    fn up(&self) {
        for (channel, _) in self.0.logs.all() {
            self.read_soon(channel, false);
        }
    }

    fn down(&self) {
        self.0.losses.fetch_add(1, Ordering::Relaxed);
        let epoch = self.epoch();
        for (_, log) in self.0.logs.all() {
            log.restart(&epoch, 0);
        }
        // Whoever waits until a log is read does not any more.
        self.0.loaded.send_modify(HashSet::clear);
    }

    fn lost(&self) {
        for (_, log) in self.0.logs.all() {
            log.reset();
        }
    }

    async fn work(&self, mut connection: MultiplexedConnection) -> RedisError {
        loop {
            let unread = std::mem::take(&mut *self.0.unread.lock());
            if unread.is_empty() {
                self.0.told.notified().await;
            }
            for (channel, closed) in unread {
                let Some(log) = self.0.logs.get(channel) else { continue };
                if let Err(error) = self.read(&mut connection, channel, &log).await {
                    return error;
                }
                if closed {
                    log.close();
                }
                self.0.loaded.send_if_modified(|loaded| loaded.insert(channel));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{RedisServer, join, up};
    use muster_kernel::RunId;
    use muster_kernel::testing::{FakeClock, SeededEntropy};
    use std::time::Duration;

    fn run() -> Channel {
        Channel::Run(RunId::new(&FakeClock::default(), &SeededEntropy::new(1)))
    }

    fn event(data: &str) -> Event {
        Event { topic: Topic::Runs, name: "command", customer_id: None, data: data.into() }
    }

    async fn heard(listener: &mut Box<dyn Listener>) -> (String, String) {
        match listener.next().await {
            Heard::Event(told) => (told.id.to_string(), told.event.data.to_string()),
            other => (String::new(), format!("{other:?}")),
        }
    }

    async fn data(listener: &mut Box<dyn Listener>) -> String {
        heard(listener).await.1
    }

    #[tokio::test]
    async fn an_event_reaches_listeners_on_every_node_and_whoever_moves_to_another_goes_on() {
        let server = RedisServer::start();
        let (one, other) = (server.node(1), server.node(2));
        let (here, there) = (RedisEvents::new(&one), RedisEvents::new(&other));
        let _joined = (join(&one).await, join(&other).await);
        let channel = run();
        let mut early = there.listen(channel, Since::Beginning);
        for data in ["0", "1", "2"] {
            here.tell(channel, event(data));
        }
        let (id, first) = heard(&mut early).await;
        assert_eq!(first, "0");
        assert_eq!([data(&mut early).await, data(&mut early).await], ["1", "2"]);
        let mut moved = here.listen(channel, Since::After(&id));
        assert_eq!([data(&mut moved).await, data(&mut moved).await], ["1", "2"]);
        here.close(channel);
        assert_eq!(data(&mut early).await, "Over");
        assert_eq!(data(&mut moved).await, "Over");
        let mut foreign = here.listen(channel, Since::After("7-0"));
        assert_eq!(data(&mut foreign).await, "Reset");
    }

    #[tokio::test]
    async fn an_event_for_which_redis_has_no_room_is_lost_and_nothing_else() {
        let server = RedisServer::start();
        let redis = server.node(1);
        let events = RedisEvents::new(&redis);
        let _joined = join(&redis).await;
        let mut connection = redis.connection().unwrap();
        let mut limit = async |bytes: u64| {
            let mut set = redis::cmd("CONFIG");
            set.arg("SET").arg("maxmemory").arg(bytes);
            let () = set.query_async(&mut connection).await.unwrap();
        };
        let mut listener = events.listen(Channel::Everything, Since::Now);
        events.tell(Channel::Everything, event("before"));
        assert_eq!(data(&mut listener).await, "before");
        limit(1).await;
        events.tell(Channel::Everything, event("too much"));
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(redis.is_up(), "the node goes on");
        limit(0).await;
        events.tell(Channel::Everything, event("after"));
        assert_eq!(data(&mut listener).await, "after");
    }

    #[tokio::test]
    async fn without_redis_events_of_the_own_node_are_heard_and_everybody_looks_anew() {
        let mut server = RedisServer::start();
        let redis = server.node(1);
        let events = RedisEvents::new(&redis);
        let joined = join(&redis).await;
        let mut listener = events.listen(Channel::Everything, Since::Now);
        events.tell(Channel::Everything, event("before"));
        assert_eq!(data(&mut listener).await, "before");
        server.kill();
        up(&redis, false).await;
        assert_eq!(data(&mut listener).await, "Reset");
        events.tell(Channel::Everything, event("meanwhile"));
        assert_eq!(data(&mut listener).await, "meanwhile");
        assert_eq!(data(&mut listener).await, "Reset", "again and again");
        server.restart();
        up(&redis, true).await;
        assert_eq!(data(&mut listener).await, "Reset", "it is there again");
        // What is told before everybody looks anew needs not be told again.
        loop {
            events.tell(Channel::Everything, event("after"));
            let next = tokio::time::timeout(Duration::from_millis(100), data(&mut listener));
            if next.await.is_ok_and(|next| next == "after") {
                break;
            }
        }
        joined.leave().await;
    }
}
