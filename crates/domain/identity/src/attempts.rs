//! Failed attempts to sign in, by name. They live in memory: a restart forgives.

use std::collections::HashMap;

use chrono::TimeDelta;
use muster_kernel::Timestamp;
use parking_lot::Mutex;

/// When a name or address is locked, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How many failures in a row lock it.
    failures: u32,
    /// How long the first time; each further lock lasts twice as long, up to the longest.
    first: TimeDelta,
    /// Failures are forgotten when there was none for as long.
    longest: TimeDelta,
}

/// Somebody who knows an account's password mistypes it a few times at most.
pub(crate) const ACCOUNT: Patience =
    Patience { failures: 5, first: TimeDelta::minutes(15), longest: TimeDelta::hours(2) };
/// Behind one address there may be a whole office.
pub(crate) const ADDRESS: Patience =
    Patience { failures: 30, first: TimeDelta::minutes(1), longest: TimeDelta::hours(1) };

/// How many names are remembered; beyond that the longest untouched is forgotten.
const MAX_NAMES: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Attempt {
    failures: u32,
    last: Timestamp,
    locked_until: Option<Timestamp>,
}

/// An attempt that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun {
    /// Whether it would be the one failure too many.
    locks: bool,
}

/// Failed attempts to sign in, by account or by address.
#[derive(Debug)]
pub(crate) struct Attempts {
    patience: Patience,
    attempts: Mutex<HashMap<String, Attempt>>,
}

impl Attempts {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { patience, attempts: Mutex::default() }
    }

    /// Counts an attempt as failed before it is made, so that any number of them at the same time
    /// are no more than one after the other. [`Attempts::succeeded`] and [`Attempts::take_back`] undo that.
    ///
    /// # Errors
    /// How long `name` is locked still; such an attempt must not be made and does not count.
    pub(crate) fn begin(&self, name: &str, now: Timestamp) -> Result<Begun, TimeDelta> {
        let mut attempts = self.attempts.lock();
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
        let Patience { failures, first, longest } = self.patience;
        let since = attempt.locked_until.unwrap_or(attempt.last).max(attempt.last);
        if now - since >= longest {
            *attempt = fresh;
        }
        attempt.failures = attempt.failures.saturating_add(1);
        attempt.last = now;
        let locks = attempt.failures.is_multiple_of(failures);
        if locks {
            let doublings = (attempt.failures / failures - 1).min(7);
            let lock = first * 2_i32.pow(doublings);
            attempt.locked_until = Some(now + lock.min(longest));
        }
        Ok(Begun { locks })
    }

    /// The attempt was good, and so everything before it is forgiven.
    pub(crate) fn succeeded(&self, name: &str) {
        self.attempts.lock().remove(name);
    }

    /// The attempt was good, and says nothing of those before it: a lock that others brought about
    /// stays.
    pub(crate) fn take_back(&self, name: &str, begun: Begun) {
        if let Some(attempt) = self.attempts.lock().get_mut(name) {
            attempt.failures = attempt.failures.saturating_sub(1);
            if begun.locks {
                attempt.locked_until = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_kernel::Clock;
    use muster_kernel::testing::FakeClock;

    #[test]
    fn five_failures_lock_a_name_and_every_further_five_for_longer() {
        let (attempts, now) = (Attempts::new(ACCOUNT), FakeClock::default().now());
        let fail = |name, at| attempts.begin(name, at).map(|_| ());
        for _ in 0..5 {
            assert_eq!(fail("ann", now), Ok(()));
        }
        assert_eq!(fail("ann", now), Err(ACCOUNT.first));
        assert_eq!(fail("bob", now), Ok(()));
        let later = now + ACCOUNT.first;
        for _ in 0..5 {
            assert_eq!(fail("ann", later), Ok(()));
        }
        assert_eq!(fail("ann", later), Err(ACCOUNT.first * 2));
        attempts.succeeded("ann");
        assert_eq!(fail("ann", later), Ok(()));
    }

    #[test]
    fn failures_are_forgotten_after_a_while_without_any() {
        let (attempts, now) = (Attempts::new(ACCOUNT), FakeClock::default().now());
        for at in [now, now + ACCOUNT.longest] {
            for _ in 0..4 {
                attempts.begin("ann", at).unwrap();
            }
        }
        assert!(
            attempts.begin("ann", now + ACCOUNT.longest).is_ok(),
            "the first four are forgotten"
        );
        assert!(attempts.begin("ann", now + ACCOUNT.longest).is_err());
    }

    #[test]
    fn no_flood_of_names_fills_the_memory() {
        let (attempts, now) = (Attempts::new(ACCOUNT), FakeClock::default().now());
        for n in 0..MAX_NAMES + 10 {
            assert!(attempts.begin(&n.to_string(), now).is_ok());
        }
        assert_eq!(attempts.attempts.lock().len(), MAX_NAMES);
    }

    #[test]
    fn a_good_sign_in_from_an_address_does_not_forgive_the_bad_ones() {
        let (attempts, now) = (Attempts::new(ADDRESS), FakeClock::default().now());
        for _ in 0..29 {
            assert!(attempts.begin("10.0.0.1", now).is_ok());
        }
        let good = attempts.begin("10.0.0.1", now).unwrap();
        attempts.take_back("10.0.0.1", good);
        assert!(attempts.begin("10.0.0.1", now).is_ok());
        assert_eq!(attempts.begin("10.0.0.1", now), Err(ADDRESS.first));
    }

    #[test]
    fn a_good_sign_in_does_not_lift_a_lock_that_others_brought_about() {
        let (attempts, now) = (Attempts::new(ADDRESS), FakeClock::default().now());
        let good = attempts.begin("10.0.0.1", now).unwrap();
        for _ in 1..30 {
            assert!(attempts.begin("10.0.0.1", now).is_ok());
        }
        attempts.take_back("10.0.0.1", good);
        assert_eq!(attempts.begin("10.0.0.1", now), Err(ADDRESS.first));
    }
}
