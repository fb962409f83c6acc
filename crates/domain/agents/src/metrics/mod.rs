//! How machines fare over time.
//!
//! - [`Heartbeats`]: what came and was not looked at yet; all that a heartbeat costs
//! - [`Recorder`]: packs samples and writes those that wait longest
//! - [`Upkeep`]: rolls samples up into [`Bucket`]s and lets go of what is old
//! - [`History`]: what people read
//!
//! The time of a sample is when it arrived: no machine's clock counts, and what comes late is late.
//! To add something that is measured: a field in [`Sample`] and in [`Bucket`], and a new version of
//! both encodings in the adapter.

mod bucket;
mod heartbeats;
mod history;
mod ports;
mod recorder;
mod sample;
mod upkeep;

pub use bucket::{Bucket, Gauge, Traffic, coarsen, roll};
pub use heartbeats::{Heartbeat, HeartbeatListener, Heartbeats};
pub use history::{Field, History, InvalidSpan, MAX_POINTS, MetricsError, Series, Span};
pub use ports::{Ageing, Keeping, KeepingPolicy, MetricsStore, Pack, Rolled};
pub use recorder::{Recorder, Written};
pub use sample::{Resolution, SILENCE, Sample, Step};
pub use upkeep::{LookedAfter, Upkeep};
