//! When a machine has been out of reach for too long.
//!
//! The database knows when each machine was last seen, so the time counts on over a restart. Only
//! what happened while nobody watched counts for nothing: machines that were there when the last
//! process ended have the time from the start of this one, and everybody has a while to come back.

use std::time::Duration;

use muster_kernel::Timestamp;

/// A machine that is there was seen at most so long ago, as the database knows it.
pub const SEEN_WITHIN: Duration = Duration::from_mins(1);
/// How long after a start machines may take to come back, those of a whole fleet.
pub const RETURN_WITHIN: Duration = Duration::from_mins(1);

/// Since when it is watched who is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// Since then.
    pub since: Timestamp,
    /// Until when it was watched before that; `None` when it never was.
    pub before: Option<Timestamp>,
}

impl Watch {
    /// Whether a machine that was last seen then was there when the watch before this one ended.
    fn lost(&self, last_seen: Timestamp) -> bool {
        let before = self.before.is_some_and(|before| before - SEEN_WITHIN <= last_seen);
        before && last_seen < self.since
    }

    /// From when on it counts that a machine is out of reach, which was last seen at `last_seen`
    /// and was first missed at `missed`.
    ///
    /// Of a machine that was there a moment ago the database may be behind: it was missed when its
    /// connection was.
    pub fn absent_from(&self, last_seen: Timestamp, missed: Timestamp) -> Timestamp {
        let absent = if missed - SEEN_WITHIN <= last_seen { missed } else { last_seen };
        if self.lost(last_seen) { absent.max(self.since) } else { absent }
    }

    /// When it has been out of reach for `hold`, if it stays so.
    pub fn due(&self, last_seen: Timestamp, missed: Timestamp, hold: Duration) -> Timestamp {
        let due = self.absent_from(last_seen, missed) + hold;
        match self.before {
            Some(_) => due.max(self.since + RETURN_WITHIN),
            None => due,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOLD: Duration = Duration::from_mins(10);

    fn minute(minute: f64) -> Timestamp {
        let after = Duration::from_secs_f64((minute + 1000.0) * 60.0);
        "2026-01-05T00:00:00Z".parse::<Timestamp>().unwrap() + after
    }

    #[test]
    fn nine_of_ten_minutes_before_a_restart_count() {
        let watch = Watch { since: minute(9.1), before: Some(minute(9.0)) };
        let due = watch.due(minute(0.0), minute(9.1), HOLD);
        assert_eq!(due, minute(10.1), "a minute to come back, and not ten more");
        let watch = Watch { since: minute(5.1), before: Some(minute(5.0)) };
        assert_eq!(watch.due(minute(0.0), minute(5.1), HOLD), minute(10.0));
    }

    #[test]
    fn an_hour_in_which_nobody_watched_is_no_hour_out_of_reach() {
        let watch = Watch { since: minute(60.0), before: Some(minute(0.0)) };
        let due = watch.due(minute(-0.5), minute(60.0), HOLD);
        assert_eq!(due, minute(70.0), "it was there when the server went away");
        let due = watch.due(minute(-30.0), minute(60.0), HOLD);
        assert_eq!(due, minute(61.0), "it was not, and has a minute to come back");
    }

    #[test]
    fn a_machine_that_was_there_a_moment_ago_is_missed_from_now_on() {
        let watch = Watch { since: minute(0.0), before: None };
        let due = watch.due(minute(29.5), minute(30.0), Duration::from_secs(6));
        assert_eq!(due, minute(30.1), "the database was behind");
    }

    proptest! {
        #[test]
        fn nobody_is_missed_for_less_than_the_time_nor_before_they_could_come_back(
            seen in 0.0..100.0_f64, gap in 0.0..50.0_f64, start in 0.0..100.0_f64,
            missed in 0.0..100.0_f64, hold in 1_u64..3600,
        ) {
            let hold = Duration::from_secs(hold);
            let watch = Watch { since: minute(start), before: Some(minute(start - gap)) };
            let missed = minute(missed).max(watch.since);
            let seen = minute(seen).min(missed);
            let due = watch.due(seen, missed, hold);
            prop_assert!(due >= seen + hold);
            prop_assert!(due >= watch.since + RETURN_WITHIN);
            // Once it counts, it is not put off without end.
            prop_assert!(due <= missed.max(watch.since + RETURN_WITHIN) + hold);
        }
    }
}
