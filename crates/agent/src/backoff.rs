//! How long to wait before the next attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_mins(1);

/// Exponential backoff with full jitter, so that a fleet does not come back all at once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next pause: anything up to a bound that doubles from 0.5 s to 60 s.
    pub(crate) fn pause(&mut self) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(7)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(rand::random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_start_short_and_never_exceed_a_minute() {
        let mut backoff = Backoff::default();
        assert!(backoff.pause() <= FIRST);
        assert!((0..100).all(|_| backoff.pause() <= LONGEST));
    }
}
