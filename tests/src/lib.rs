//! What black-box tests and benchmarks drive: the built programs, real ports, real processes.
//!
//! - [`Server`] is `muster serve` in a folder of its own; it can be killed and started again
//! - [`Agent`] is `muster-agent run`, likewise
//! - [`Nodes`] are several servers that are one, with a [`RedisServer`] of their own
//! - [`Api`] is a client of the HTTP API, signed in as the admin
//! - [`Fleet`] is many agents in one process, with the journals that agents keep
//! - [`collector::Collector`] takes traces
//! - [`EventSource`] is a client of event streams
//! - [`model::Model`] is the provider of a language model
//! - [`RawAgent`] speaks the agent protocol by hand, well or badly
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

mod api;
pub mod collector;
mod databases;
mod events;
mod fleet;
pub mod model;
mod nodes;
mod process;
pub mod provider;
mod raw_agent;

pub use api::Api;
pub use databases::fresh_postgres;
pub use events::{EventSource, ServerEvent};
pub use fleet::{Behaviour, Fleet, Record};
pub use nodes::{Nodes, RedisServer};
pub use process::{Agent, PASSWORD, Server, program, trusting};
pub use raw_agent::{Enrolled, RawAgent, now};

use std::time::{Duration, Instant};

/// Waits until `condition` has something to say, and says it.
///
/// # Panics
/// When that takes longer than 30 seconds.
pub async fn eventually<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(Duration::from_secs(30), what, condition).await
}

/// The same for what may take longer.
///
/// # Panics
/// When it takes longer than that.
pub async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        let seconds = patience.as_secs();
        assert!(begun.elapsed() < patience, "{what}: not within {seconds} seconds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
