//! One node's link to Redis. It is there or it is lost, and comes back by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use muster_kernel::NodeId;
use muster_kernel::events::{Channel, KEPT_AFTER_CLOSING};
use parking_lot::Mutex;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{AsyncConnectionConfig, Pipeline, RedisError, RedisResult};
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::scripts;
use crate::url::RedisUrl;
use crate::words::{Batch, Move, Outbox};

/// How long Redis may take with a sign of life.
const PING_PATIENCE: Duration = Duration::from_secs(1);
/// How long Redis may take to answer before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it is waited before it is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(250);
/// How often a node says that it is there.
const PULSE: Duration = Duration::from_secs(1);
/// How long a node may not hear its own pulse before it counts the link as lost.
const DEAF: Duration = Duration::from_secs(3);
/// How long a node counts as there that says nothing.
pub(crate) const NODE_LIVES: Duration = Duration::from_secs(6);
/// The field that each node's presence has, whoever is connected.
const SELF: &str = "node";
/// How often everybody who waits is told to look into the database while Redis is lost.
const LOST_TICK: Duration = Duration::from_secs(2);
/// How much may wait to be sent, in bytes: beyond it Redis is too slow, and counts as lost.
const MOST_WAITING: usize = 32 * 1024 * 1024;

/// Why a link ends that is not lost.
const GOING: &str = "this node goes";

/// A part that hears what nodes say.
#[async_trait]
pub(crate) trait Hearer: Send + Sync + std::fmt::Debug {
    /// Takes in what a node says, this one among them.
    fn hear(&self, _from: NodeId, _batch: &Batch) {}

    /// Reads what it has to know before it hears anything.
    async fn load(&self, _connection: &mut MultiplexedConnection) -> RedisResult<()> {
        Ok(())
    }

    /// Whether it has to load again.
    fn wants_to_load(&self) -> bool {
        false
    }

    /// What it does while the link is there, until it fails.
    async fn work(&self, _connection: MultiplexedConnection) -> RedisError {
        std::future::pending().await
    }

    /// Redis is there.
    fn up(&self) {}

    /// A node is not there any more.
    fn gone(&self) {}

    /// Redis is lost.
    fn down(&self) {}

    /// Redis is lost still.
    fn lost(&self) {}
}

struct Shared {
    client: redis::Client,
    /// What all names in Redis begin with: others may use the same one.
    prefix: String,
    node: NodeId,
    /// `None` while Redis is lost.
    connection: Mutex<Option<MultiplexedConnection>>,
    state: watch::Sender<bool>,
    outbox: Mutex<Outbox>,
    filled: Notify,
    hearers: Mutex<Vec<Arc<dyn Hearer>>>,
    losses: AtomicU64,
}

/// One node's link to Redis; cheap to clone.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("up", &self.is_up()).finish_non_exhaustive()
    }
}

/// Why a link ended.
fn ended(what: &'static str) -> RedisError {
    RedisError::from((redis::ErrorKind::Io, what))
}

impl Redis {
    /// The link of `node`, not yet there. All nodes of an installation have the same `prefix`, and
    /// no other installation has it.
    ///
    /// # Errors
    /// When the address can't be used.
    pub fn new(url: &RedisUrl, prefix: &str, node: NodeId) -> RedisResult<Self> {
        Ok(Self(Arc::new(Shared {
            client: redis::Client::open(url.as_str())?,
            prefix: format!("muster:{prefix}:"),
            node,
            connection: Mutex::default(),
            state: watch::Sender::new(false),
            outbox: Mutex::default(),
            filled: Notify::new(),
            hearers: Mutex::default(),
            losses: AtomicU64::new(0),
        })))
    }

    /// Which node this is.
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// Whether Redis is there.
    pub fn is_up(&self) -> bool {
        *self.0.state.borrow()
    }

    /// Whether Redis answers, within a second.
    pub async fn ping(&self) -> bool {
        let Some(mut connection) = self.connection() else { return false };
        let ping = redis::cmd("PING");
        let answer = ping.query_async::<String>(&mut connection);
        matches!(tokio::time::timeout(PING_PATIENCE, answer).await, Ok(Ok(_)))
    }

    /// Counts the moments since which another node may be gone: one was missed, or Redis was there
    /// again after a time in which nobody could have been.
    pub fn losses(&self) -> u64 {
        self.0.losses.load(Ordering::Relaxed)
    }

    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.0.prefix)
    }

    pub(crate) fn connection(&self) -> Option<MultiplexedConnection> {
        self.0.connection.lock().clone()
    }

    pub(crate) fn joined_by(&self, hearer: Arc<dyn Hearer>) {
        self.0.hearers.lock().push(hearer);
    }

    fn hearers(&self) -> Vec<Arc<dyn Hearer>> {
        self.0.hearers.lock().clone()
    }

    /// Says something, soon and together with what others say; of about `size` bytes. Says whether
    /// Redis is there to take it.
    pub(crate) fn say(&self, size: usize, something: impl FnOnce(&mut Outbox)) -> bool {
        if !self.is_up() {
            return false;
        }
        {
            let mut outbox = self.0.outbox.lock();
            something(&mut outbox);
            outbox.size += size;
        }
        self.0.filled.notify_one();
        true
    }

    /// Keeps the link until `stop`: connects, and connects again. What was said before `stop` is
    /// sent; nothing that is said after it is.
    pub async fn run(self, stop: CancellationToken) {
        let mut told = false;
        let mut waiting_since = Instant::now();
        while !stop.is_cancelled() {
            let outcome = self.live(&mut told, &stop).await;
            if stop.is_cancelled() {
                break;
            }
            if self.is_up() {
                tracing::warn!(error.cause = %outcome, "Redis is lost; going on without it");
                self.fall();
                (told, waiting_since) = (true, Instant::now());
            } else if !std::mem::replace(&mut told, true) {
                tracing::warn!(error.cause = %outcome, "Redis can't be reached; going on without it");
            }
            if waiting_since.elapsed() >= LOST_TICK {
                waiting_since = Instant::now();
                for hearer in self.hearers() {
                    hearer.lost();
                }
            }
            tokio::select! {
                () = tokio::time::sleep(TRY_AGAIN) => {}
                () = stop.cancelled() => {}
            }
        }
        self.leave().await;
        self.fall();
    }

    fn fall(&self) {
        *self.0.connection.lock() = None;
        if self.0.state.send_replace(false) {
            *self.0.outbox.lock() = Outbox::default();
            for hearer in self.hearers() {
                hearer.down();
            }
        }
    }

    /// The node is going: nobody counts on it any more.
    async fn leave(&self) {
        if let Some(mut connection) = self.connection() {
            let gone: RedisResult<()> = redis::pipe()
                .del(self.name(&presence_of(self.0.node)))
                .srem(self.name("nodes"), self.0.node.to_string())
                .query_async(&mut connection)
                .await;
            if let Err(error) = gone {
                tracing::debug!(error.cause = %error, "Redis was not told that this node goes");
            }
        }
    }

    /// Tells everybody here that a node is not there any more.
    pub(crate) fn misses_a_node(&self) {
        self.0.losses.fetch_add(1, Ordering::Relaxed);
        for hearer in self.hearers() {
            hearer.gone();
        }
    }

    /// Connects and lives on that connection; answers with why it ended.
    async fn live(&self, told: &mut bool, stop: &CancellationToken) -> RedisError {
        let connected = tokio::select! {
            connected = tokio::time::timeout(PATIENCE * 2, self.connect()) => connected,
            () = stop.cancelled() => return ended(GOING),
        };
        match connected {
            Ok(Ok((connection, messages))) => {
                if std::mem::take(told) {
                    tracing::info!("Redis is there again");
                }
                self.live_on(connection, messages, stop).await
            }
            Ok(Err(error)) => error,
            Err(_) => ended("no answer in time"),
        }
    }

    async fn connect(&self) -> RedisResult<(MultiplexedConnection, PubSubStream)> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let client = &self.0.client;
        let mut news = client.get_async_pubsub().await?;
        news.subscribe(self.name("all")).await?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        scripts::load(&mut connection).await?;
        // What is said meanwhile waits, and is heard after this.
        for hearer in self.hearers() {
            hearer.load(&mut connection).await?;
        }
        Ok((connection, news.into_on_message()))
    }

    async fn live_on(
        &self,
        connection: MultiplexedConnection,
        news: PubSubStream,
        stop: &CancellationToken,
    ) -> RedisError {
        *self.0.outbox.lock() = Outbox::default();
        *self.0.connection.lock() = Some(connection.clone());
        self.0.losses.fetch_add(1, Ordering::Relaxed);
        self.0.state.send_replace(true);
        let hearers = self.hearers();
        for hearer in &hearers {
            hearer.up();
        }
        let heard = Mutex::new(Instant::now());
        let mut works: FuturesUnordered<_> =
            hearers.iter().map(|hearer| hearer.work(connection.clone())).collect();
        tokio::select! {
            error = self.speak(connection.clone(), stop) => error,
            error = self.listen(connection.clone(), news, &heard) => error,
            error = self.beat(&heard) => error,
            Some(error) = works.next() => error,
        }
    }

    /// Sends what waits, as often as there is something, and at last that nobody is here any more.
    async fn speak(
        &self,
        mut connection: MultiplexedConnection,
        stop: &CancellationToken,
    ) -> RedisError {
        loop {
            let goes = tokio::select! {
                () = self.0.filled.notified() => false,
                () = stop.cancelled() => true,
            };
            let mut outbox = std::mem::take(&mut *self.0.outbox.lock());
            if goes {
                outbox.batch.moves.push(Move::Anew);
            }
            if outbox.size > MOST_WAITING {
                return ended("it takes too long to take what there is to say");
            }
            match self.pipeline(outbox) {
                Ok(pipeline) => {
                    if let Err(error) = pipeline.exec_async(&mut connection).await {
                        return error;
                    }
                }
                Err(error) => return error,
            }
            if goes {
                return ended(GOING);
            }
        }
    }

    fn pipeline(&self, outbox: Outbox) -> RedisResult<Pipeline> {
        let Outbox { mut batch, events, .. } = outbox;
        let mut pipeline = Pipeline::new();
        for (channel, event) in events {
            batch.told.insert(channel);
            scripts::tell(&mut pipeline, &self.name(&stream_of(channel)), channel, &event);
        }
        for closed in &batch.closed {
            let key = self.name(&stream_of(*closed));
            let kept = i64::try_from(KEPT_AFTER_CLOSING.as_secs()).unwrap_or(i64::MAX);
            pipeline.expire(key, kept).ignore();
        }
        let presence = self.name(&presence_of(self.0.node));
        for step in &batch.moves {
            match step {
                Move::Anew => {
                    let lives = i64::try_from(NODE_LIVES.as_secs()).unwrap_or(i64::MAX);
                    pipeline.sadd(self.name("nodes"), self.0.node.to_string()).ignore();
                    pipeline.del(&presence).ignore().hset(&presence, SELF, "").ignore();
                    pipeline.expire(&presence, lives).ignore();
                }
                Move::There(id, connection) => {
                    let text = written(connection)?;
                    pipeline.hset(&presence, id.to_string(), text).ignore();
                }
                Move::Left(id, _) => {
                    pipeline.hdel(&presence, id.to_string()).ignore();
                }
            }
        }
        batch.from = Some(self.0.node);
        pipeline.publish(self.name("all"), written(&batch)?).ignore();
        Ok(pipeline)
    }

    /// Hears what nodes say.
    async fn listen(
        &self,
        mut connection: MultiplexedConnection,
        mut news: PubSubStream,
        heard: &Mutex<Instant>,
    ) -> RedisError {
        let hearers = self.hearers();
        while let Some(message) = news.next().await {
            let Ok(batch) = serde_json::from_slice::<Batch>(message.get_payload_bytes()) else {
                // A node of another version says more than this one knows.
                continue;
            };
            let Some(from) = batch.from else { continue };
            if from == self.0.node {
                *heard.lock() = Instant::now();
            }
            for hearer in &hearers {
                hearer.hear(from, &batch);
                if hearer.wants_to_load()
                    && let Err(error) = hearer.load(&mut connection).await
                {
                    return error;
                }
            }
        }
        ended("the connection for news was closed")
    }

    /// Says that it is there, and looks whether it can be heard.
    async fn beat(&self, heard: &Mutex<Instant>) -> RedisError {
        loop {
            tokio::time::sleep(PULSE).await;
            if heard.lock().elapsed() >= DEAF {
                return ended("nothing is heard");
            }
            self.0.filled.notify_one();
        }
    }
}

/// Where it is kept who is connected to a node.
pub(crate) fn presence_of(node: NodeId) -> String {
    format!("presence:{node}")
}

/// Where the events of a channel are kept.
pub(crate) fn stream_of(channel: Channel) -> String {
    match channel {
        Channel::Everything => "events".to_owned(),
        Channel::Run(id) => format!("events:{id}"),
        Channel::Rollout(id) => format!("events:{id}"),
        Channel::Project(id) => format!("events:{id}"),
        Channel::Chat(id) => format!("events:{id}"),
    }
}

fn written(value: &impl Serialize) -> RedisResult<String> {
    serde_json::to_string(value).map_err(|error| {
        RedisError::from((redis::ErrorKind::Client, "writing JSON", error.to_string()))
    })
}
