//! Spans for a collector.

/// The target of spans that go to a collector of traces. They have the level `TRACE`: where none is
/// configured, nothing is made of them.
pub const TRACES: &str = "muster::traces";
