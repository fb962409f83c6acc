//! Whether a load has been too high for too long, and whether that is over.

use std::time::Duration;

use muster_kernel::Timestamp;

/// Readings that are further apart say nothing about the time between them.
pub const GAP: Duration = Duration::from_mins(2);

/// What counts as too high, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Above this.
    pub above: f64,
    /// For so long.
    pub hold: Duration,
    /// It is over below this
    pub resolve_below: f64,
    /// for so long.
    pub resolve_for: Duration,
}

/// How a load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing to speak of.
    Calm,
    /// Too high, not for long enough yet.
    Rising {
        /// Since when.
        since: Timestamp,
    },
    /// Too high.
    High {
        /// Since when it seems to be over.
        clear_since: Option<Timestamp>,
    },
}

/// How a load is, and when that was last known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// How it is.
    pub phase: Phase,
    /// When it was last read.
    pub read_at: Timestamp,
}

impl Level {
    /// A load of which nothing is known at `now`.
    pub const fn calm(now: Timestamp) -> Self {
        Self { phase: Phase::Calm, read_at: now }
    }

    /// Whether it is too high, for long enough.
    pub const fn is_high(self) -> bool {
        matches!(self.phase, Phase::High { .. })
    }

    /// How it is after a reading. One that is older than the last changes nothing.
    #[must_use]
    pub fn read(self, value: f64, at: Timestamp, limits: &Limits) -> Self {
        if at < self.read_at {
            return self;
        }
        let unknown = at - self.read_at > chrono::TimeDelta::from_std(GAP).unwrap_or_default();
        let (high, low) = (value > limits.above, value < limits.resolve_below);
        // At the very limit of both it is neither.
        let low = low || (!high && limits.resolve_below >= limits.above);
        let phase = match self.phase {
            Phase::Calm | Phase::Rising { .. } if !high => Phase::Calm,
            Phase::Calm => Self::rising(at, at, limits),
            Phase::Rising { since } => Self::rising(if unknown { at } else { since }, at, limits),
            Phase::High { clear_since } if low => {
                let since = clear_since.filter(|_| !unknown).unwrap_or(at);
                if at - since >= delta(limits.resolve_for) {
                    Phase::Calm
                } else {
                    Phase::High { clear_since: Some(since) }
                }
            }
            Phase::High { .. } => Phase::High { clear_since: None },
        };
        Self { phase, read_at: at }
    }

    fn rising(since: Timestamp, at: Timestamp, limits: &Limits) -> Phase {
        if at - since >= delta(limits.hold) {
            Phase::High { clear_since: None }
        } else {
            Phase::Rising { since }
        }
    }
}

fn delta(time: Duration) -> chrono::TimeDelta {
    chrono::TimeDelta::from_std(time).unwrap_or(chrono::TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        above: 90.0,
        hold: Duration::from_mins(1),
        resolve_below: 80.0,
        resolve_for: Duration::from_secs(30),
    };

    fn second(second: u64) -> Timestamp {
        "2026-01-05T00:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(second)
    }

    /// What comes of a reading every ten seconds.
    fn read(values: &[f64]) -> Vec<Phase> {
        let mut level = Level::calm(second(0));
        let seconds = (0..).step_by(10);
        values
            .iter()
            .zip(seconds)
            .map(|(value, at)| {
                level = level.read(*value, second(at), &LIMITS);
                level.phase
            })
            .collect()
    }

    #[test]
    fn a_load_is_high_when_it_was_for_the_whole_time_and_over_when_it_was_low_for_long_enough() {
        let phases =
            read(&[95.0, 95.0, 95.0, 95.0, 95.0, 95.0, 95.0, 85.0, 70.0, 70.0, 70.0, 70.0]);
        assert_eq!(phases[5], Phase::Rising { since: second(0) });
        assert_eq!(phases[6], Phase::High { clear_since: None });
        assert_eq!(phases[7], Phase::High { clear_since: None }, "between the two limits");
        assert_eq!(phases[10], Phase::High { clear_since: Some(second(80)) });
        assert_eq!(phases[11], Phase::Calm);
    }

    #[test]
    fn a_moment_below_begins_the_time_anew() {
        let phases = read(&[95.0, 95.0, 95.0, 95.0, 89.0, 95.0, 95.0]);
        assert_eq!(phases[6], Phase::Rising { since: second(50) });
    }

    #[test]
    fn time_of_which_nothing_is_known_does_not_count() {
        let rising = Level { phase: Phase::Rising { since: second(0) }, read_at: second(50) };
        let after = rising.read(95.0, second(3600), &LIMITS);
        assert_eq!(after.phase, Phase::Rising { since: second(3600) });
        // A restart of a minute is none.
        let after = rising.read(95.0, second(110), &LIMITS);
        assert_eq!(after.phase, Phase::High { clear_since: None });
    }

    proptest! {
        #[test]
        fn a_load_that_keeps_crossing_the_limit_never_flaps(
            values in prop::collection::vec(0.0..100.0_f64, 1..200),
        ) {
            let phases = read(&values);
            for (index, phase) in phases.iter().enumerate() {
                let high = matches!(phase, Phase::High { .. });
                let was_high = index > 0 && matches!(phases[index - 1], Phase::High { .. });
                if high && !was_high {
                    // The last minute was above the limit, all of it.
                    prop_assert!(index >= 6 && values[index - 6..=index].iter().all(|v| *v > 90.0));
                }
                if !high && was_high {
                    prop_assert!(values[index - 3..=index].iter().all(|value| *value < 80.0));
                }
            }
        }

        #[test]
        fn a_reading_that_comes_late_changes_nothing(value in 0.0..100.0_f64, at in 0_u64..49) {
            let level = Level { phase: Phase::Rising { since: second(0) }, read_at: second(50) };
            prop_assert_eq!(level.read(value, second(at), &LIMITS), level);
        }
    }
}
