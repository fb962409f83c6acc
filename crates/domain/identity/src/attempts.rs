//! Failed attempts to sign in, by name. They live in memory: a restart forgives.

use std::collections::HashMap;

use chrono::TimeDelta;
use muster_kernel::Timestamp;
use parking_lot::Mutex;

/// How many failures in a row lock a name.
const FAILURES: u32 = 5;
/// How long the first time; each further lock lasts twice as long, up to a day.
const FIRST_LOCK: TimeDelta = TimeDelta::minutes(15);
const LONGEST_LOCK: TimeDelta = TimeDelta::days(1);
/// How many names are remembered; beyond that the longest untouched is forgotten.
const MAX_NAMES: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Attempt {
    failures: u32,
    last: Timestamp,
    locked_until: Option<Timestamp>,
}

/// Failed attempts to sign in, by the one form of the name that was tried.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<String, Attempt>>);

impl Attempts {
    /// Counts an attempt as failed before it is made, so that any number of them at the same time
    /// are no more than one after the other. [`Attempts::succeeded`] takes it back.
    ///
    /// # Errors
    /// How long `name` is locked still; such an attempt must not be made and does not count.
    pub(crate) fn begin(&self, name: &str, now: Timestamp) -> Result<(), TimeDelta> {
        let mut attempts = self.0.lock();
        let locked_until = attempts.get(name).and_then(|attempt| attempt.locked_until);
        if let Some(until) = locked_until.filter(|until| now < *until) {
            return Err(until - now);
        }
        if attempts.len() >= MAX_NAMES
            && !attempts.contains_key(name)
            && let Some(oldest) = attempts
                .iter()
                .min_by_key(|(_, attempt)| attempt.last)
                .map(|(name, _)| name.clone())
        {
            attempts.remove(&oldest);
        }
        let fresh = Attempt { failures: 0, last: now, locked_until: None };
        let attempt = attempts.entry(name.to_owned()).or_insert(fresh);
        attempt.failures = attempt.failures.saturating_add(1);
        attempt.last = now;
        if attempt.failures.is_multiple_of(FAILURES) {
            let doublings = (attempt.failures / FAILURES - 1).min(7);
            let lock = FIRST_LOCK * 2_i32.pow(doublings);
            attempt.locked_until = Some(now + lock.min(LONGEST_LOCK));
        }
        Ok(())
    }

    pub(crate) fn succeeded(&self, name: &str) {
        self.0.lock().remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_kernel::Clock;
    use muster_kernel::testing::FakeClock;

    #[test]
    fn five_failures_lock_a_name_and_every_further_five_for_longer() {
        let (attempts, now) = (Attempts::default(), FakeClock::default().now());
        for _ in 0..5 {
            assert_eq!(attempts.begin("ann", now), Ok(()));
        }
        assert_eq!(attempts.begin("ann", now), Err(FIRST_LOCK));
        assert_eq!(attempts.begin("bob", now), Ok(()));
        let later = now + FIRST_LOCK;
        for _ in 0..5 {
            assert_eq!(attempts.begin("ann", later), Ok(()));
        }
        assert_eq!(attempts.begin("ann", later), Err(FIRST_LOCK * 2));
        attempts.succeeded("ann");
        assert_eq!(attempts.begin("ann", later), Ok(()));
    }

    #[test]
    fn no_flood_of_names_fills_the_memory() {
        let (attempts, now) = (Attempts::default(), FakeClock::default().now());
        for n in 0..MAX_NAMES + 10 {
            assert_eq!(attempts.begin(&n.to_string(), now), Ok(()));
        }
        assert_eq!(attempts.0.lock().len(), MAX_NAMES);
    }
}
