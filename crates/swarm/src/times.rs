//! Times of one kind: how often each came, in a few KiB however many there are.

use std::time::Duration;

/// As many steps has each doubling: a time is told to within 1/64.
const STEPS_BITS: u32 = 6;

/// How often each time came.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// By the step that the time is in.
    counts: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Times {
    pub(crate) fn add(&mut self, took: Duration) {
        let step = step(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if self.counts.len() <= step {
            self.counts.resize(step + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(step) {
            *count += 1;
        }
        self.count += 1;
        self.longest = self.longest.max(took);
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    pub(crate) const fn longest(&self) -> Duration {
        self.longest
    }

    /// What `percent` of a hundred of them did not exceed.
    pub(crate) fn within(&self, percent: u64) -> Duration {
        let wanted = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Duration::from_micros(found.map_or(0, end)).min(self.longest)
    }
}

/// The step that a time is in, in microseconds: steps are as long as the doubling they are in is
/// divided, and one microsecond at least.
fn step(micros: u64) -> usize {
    let doubling = (u64::BITS - micros.leading_zeros()).saturating_sub(STEPS_BITS + 1);
    let step = (u64::from(doubling) << STEPS_BITS) + (micros >> doubling);
    usize::try_from(step).unwrap_or(usize::MAX)
}

/// The last time of a step.
fn end(step: usize) -> u64 {
    let step = u64::try_from(step).unwrap_or(u64::MAX);
    let doubling = (step >> STEPS_BITS).saturating_sub(1);
    let first = (step - (doubling << STEPS_BITS)) << doubling;
    first + ((1 << doubling) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_is_told_to_within_a_sixty_fourth(micros in 0_u64..1 << 50) {
            let told = end(step(micros));
            prop_assert!(told >= micros && told - micros <= micros / 64, "{micros}: {told}");
        }
    }

    #[test]
    fn most_did_not_exceed_what_is_said() {
        let mut times = Times::default();
        assert_eq!((times.within(99), times.longest()), (Duration::ZERO, Duration::ZERO));
        (1..=1000).for_each(|took| times.add(Duration::from_millis(took)));
        let close = |percent, to: f64| (times.within(percent).as_secs_f64() - to).abs() < to / 60.0;
        assert!(close(50, 0.5) && close(90, 0.9) && close(99, 0.99));
        assert_eq!((times.within(100), times.count()), (Duration::from_secs(1), 1000));
    }
}
