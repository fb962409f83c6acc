//! Time as the domain sees it: an instant handed in, never taken.

use chrono::{DateTime, SubsecRound, Utc};

/// An instant in UTC, with microseconds, the finest that every supported database keeps.
pub type Timestamp = DateTime<Utc>;

/// Tells the time.
///
/// An implementation MUST return instants rounded to microseconds, so that what is written to a
/// database equals what is read back.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// Cuts `at` to the microseconds that [`Clock`] promises.
pub fn to_micros(at: Timestamp) -> Timestamp {
    at.trunc_subsecs(6)
}
