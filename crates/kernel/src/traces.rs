//! Spans for a collector.

/// The target of spans that go to a collector of traces. But for the one of a request, which the log
/// shows, they have the level `TRACE`: where no collector is configured, nothing is made of them.
pub const TRACES: &str = "muster::traces";
