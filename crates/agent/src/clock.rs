//! The machine's clock, and the server's time reckoned from it.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

/// The machine's own idea of the time: for display only, it may be a day off.
#[expect(clippy::disallowed_methods, reason = "the one place where the agent asks the machine")]
pub(crate) fn machine_time() -> DateTime<Utc> {
    Utc::now()
}

/// The server's time: what it last said, moved on by the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerTime {
    said: DateTime<Utc>,
    heard: Instant,
}

impl ServerTime {
    /// The server says that it is `said` now.
    pub(crate) fn heard_now(said: DateTime<Utc>) -> Self {
        Self { said, heard: Instant::now() }
    }

    /// The server's time now.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        TimeDelta::from_std(self.heard.elapsed())
            .ok()
            .and_then(|passed| self.said.checked_add_signed(passed))
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}
