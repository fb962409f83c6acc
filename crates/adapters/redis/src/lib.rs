//! What several nodes share by Redis: wake-ups, presence, events, rate limits and tickets.
//!
//! - [`Redis`]: one node's link, which comes back by itself; [`Redis::run`] keeps it
//! - [`Here`] tells the other nodes who is connected to this one; [`Everywhere`] knows who is
//!   connected to any, and carries commands there: the ports `Presence` and `Courier`
//! - [`RedisFeed`], [`RedisEvents`]: news of commands and events of all nodes
//! - [`Relay`]: what happens to runs, told to the node that drives them
//! - [`RedisLimiter`], [`RedisTickets`]: rate limits and tickets over all nodes
//!
//! The truth is in the database. Redis may vanish at any moment: each part then falls back to this
//! process, and whoever waits for news is told again and again to look into the database. What a
//! node has to say is collected and sent in one pipeline; nobody ever waits for Redis to say
//! something. `docs/decisions/0018-nodes-share-by-redis.md` has the reasons.
//!
//! To share something more: give `words::Batch` a field, and hear it in a `Hearer`.

mod events;
mod feed;
mod limits;
mod link;
mod presence;
mod relay;
mod scripts;
#[cfg(test)]
mod testing;
mod tickets;
mod url;
mod words;

pub use events::RedisEvents;
pub use feed::RedisFeed;
pub use limits::RedisLimiter;
pub use link::Redis;
pub use presence::{Everywhere, Here};
pub use relay::{Relay, Words};
pub use tickets::RedisTickets;
pub use url::{InvalidRedisUrl, RedisUrl};
