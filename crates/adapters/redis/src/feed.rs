//! News of commands, of all nodes: those of this one as they are, and of the others that there are
//! some. Whoever waits then looks into the archive, as one who missed something does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use muster_commands::{Command, CommandFeed, Heard, Notice, Subscription};
use muster_kernel::{CommandId, NodeId};
use parking_lot::Mutex;
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;

use crate::link::{Hearer, Redis};
use crate::words::Batch;

/// What a command's id takes in a batch, in bytes.
const ID_BYTES: usize = 40;
/// How often everybody who waits is told to look although Redis is there: a node that was killed may
/// have told nobody what it did last.
const LOOK_EVERY: Duration = Duration::from_secs(10);

type Waiters = Arc<Mutex<HashMap<CommandId, watch::Sender<u64>>>>;

/// News of commands, of all nodes.
#[derive(Debug, Clone)]
pub struct RedisFeed {
    redis: Redis,
    local: Arc<dyn CommandFeed>,
    /// Who waits here, for which command.
    waiters: Waiters,
}

impl RedisFeed {
    /// Beside the news of this process.
    pub fn new(redis: &Redis, local: Arc<dyn CommandFeed>) -> Self {
        let feed = Self { redis: redis.clone(), local, waiters: Arc::default() };
        redis.joined_by(Arc::new(feed.clone()));
        feed
    }

    fn wake_all(&self) {
        for waiter in self.waiters.lock().values() {
            waiter.send_modify(|news| *news += 1);
        }
    }
}

impl CommandFeed for RedisFeed {
    fn publish(&self, command: &Arc<Command>, notice: Notice) {
        self.redis.say(ID_BYTES, |outbox| {
            outbox.batch.commands.insert(command.id);
        });
        self.local.publish(command, notice);
    }

    fn subscribe(&self, id: CommandId) -> Subscription {
        let here = self.local.subscribe(id);
        let receiver = {
            let mut waiters = self.waiters.lock();
            waiters.entry(id).or_insert_with(|| watch::Sender::new(0)).subscribe()
        };
        let waiter = Waiter { id, receiver: Some(receiver), waiters: Arc::clone(&self.waiters) };
        let elsewhere = stream::unfold(waiter, |mut waiter| async move {
            waiter.receiver.as_mut()?.changed().await.ok()?;
            Some((Heard::Missed, waiter))
        });
        stream::select(here, elsewhere).boxed()
    }
}

/// Somebody who waits; the last one takes the entry along.
struct Waiter {
    id: CommandId,
    receiver: Option<watch::Receiver<u64>>,
    waiters: Waiters,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        drop(self.receiver.take());
        let mut waiters = self.waiters.lock();
        if waiters.get(&self.id).is_some_and(|waiter| waiter.receiver_count() == 0) {
            waiters.remove(&self.id);
        }
    }
}

#[async_trait]
impl Hearer for RedisFeed {
    fn hear(&self, from: NodeId, batch: &Batch) {
        if from == self.redis.node() || batch.commands.is_empty() {
            return;
        }
        let waiters = self.waiters.lock();
        if waiters.is_empty() {
            return;
        }
        for waiter in batch.commands.iter().filter_map(|id| waiters.get(id)) {
            waiter.send_modify(|news| *news += 1);
        }
    }

    fn up(&self) {
        self.wake_all();
    }

    async fn work(&self, _: MultiplexedConnection) -> RedisError {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.wake_all();
        }
    }

    // What it did last it may not have told.
    fn gone(&self) {
        self.wake_all();
    }

    fn lost(&self) {
        self.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{RedisServer, join, up};
    use muster_commands::testing::{FakeFeed, command};

    #[tokio::test]
    async fn whoever_waits_on_another_node_is_told_to_look_and_so_is_everybody_without_redis() {
        let mut server = RedisServer::start();
        let (one, other) = (server.node(1), server.node(2));
        let feeds = [&one, &other].map(|it| RedisFeed::new(it, Arc::new(FakeFeed::default())));
        let _joined = (join(&one).await, join(&other).await);
        let [about, another] = [1, 2].map(|seed| Arc::new(command(seed)));
        let mut here = feeds[0].subscribe(about.id);
        let mut there = feeds[1].subscribe(about.id);
        feeds[0].publish(&another, Notice::Changed(another.clone()));
        feeds[0].publish(&about, Notice::Changed(about.clone()));
        assert!(matches!(here.next().await, Some(Heard::Notice(_))));
        assert!(matches!(there.next().await, Some(Heard::Missed)));
        server.kill();
        up(&other, false).await;
        for _ in 0..2 {
            assert!(matches!(there.next().await, Some(Heard::Missed)));
        }
        drop((here, there));
        assert!(feeds.iter().all(|feed| feed.waiters.lock().is_empty()));
    }

    #[tokio::test]
    async fn what_a_node_says_before_it_goes_is_heard() {
        let server = RedisServer::start();
        let (one, other) = (server.node(1), server.node(2));
        let feeds = [&one, &other].map(|it| RedisFeed::new(it, Arc::new(FakeFeed::default())));
        let (going, _stays) = (join(&one).await, join(&other).await);
        let about = Arc::new(command(1));
        let mut there = feeds[1].subscribe(about.id);
        feeds[0].publish(&about, Notice::Changed(about.clone()));
        going.leave().await;
        let heard = tokio::time::timeout(LOOK_EVERY / 4, there.next()).await;
        assert!(matches!(heard, Ok(Some(Heard::Missed))));
    }

    #[tokio::test]
    async fn whoever_waits_looks_again_when_a_node_was_killed() {
        let server = RedisServer::start();
        let redis = server.node(1);
        let feed = RedisFeed::new(&redis, Arc::new(FakeFeed::default()));
        let _joined = join(&redis).await;
        let mut waiting = feed.subscribe(command(1).id);
        redis.misses_a_node();
        let heard = tokio::time::timeout(LOOK_EVERY / 4, waiting.next()).await;
        assert!(matches!(heard, Ok(Some(Heard::Missed))));
        let heard = tokio::time::timeout(LOOK_EVERY * 2, waiting.next()).await;
        assert!(matches!(heard, Ok(Some(Heard::Missed))), "and again after a while");
    }
}
