//! Times in which nothing may begin.

use chrono::TimeDelta;
use muster_kernel::Timestamp;
use muster_kernel::windows::{InvalidWindow, MaintenanceWindow};
use serde::{Deserialize, Serialize};

use crate::InvalidSpec;

/// How many windows a schedule has.
const MAX_WINDOWS: usize = 20;
/// Where nothing may begin for so long, nothing ever may.
const LONGEST_HOLD: TimeDelta = TimeDelta::days(15);
/// The finest step of time.
const MICROSECOND: TimeDelta = TimeDelta::microseconds(1);

impl From<InvalidWindow> for InvalidSpec {
    fn from(error: InvalidWindow) -> Self {
        invalid(error.0)
    }
}

/// The maintenance windows of a schedule. A run that comes due in one is held to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MaintenanceWindows(Vec<MaintenanceWindow>);

impl MaintenanceWindows {
    /// Takes windows that leave some time open.
    ///
    /// # Errors
    /// [`InvalidSpec`] for `maintenance_windows` when they are too many, or leave none.
    pub fn new(windows: Vec<MaintenanceWindow>, now: Timestamp) -> Result<Self, InvalidSpec> {
        if windows.len() > MAX_WINDOWS {
            return Err(invalid("at most 20 windows"));
        }
        let windows = Self(windows);
        if windows.open_from(now) - now >= LONGEST_HOLD {
            return Err(invalid("they leave no time in which anything could begin"));
        }
        Ok(windows)
    }

    /// The windows.
    pub fn iter(&self) -> impl Iterator<Item = &MaintenanceWindow> {
        self.0.iter()
    }

    /// The first instant from `at` on in which something may begin.
    pub(super) fn open_from(&self, at: Timestamp) -> Timestamp {
        let mut open = at;
        while open - at < LONGEST_HOLD
            && let Some((_, end)) = self.0.iter().find_map(|window| window.around(open))
        {
            open = end;
        }
        open
    }

    /// Whether something may begin.
    pub(super) fn is_open(&self, at: Timestamp) -> bool {
        self.0.iter().all(|window| window.around(at).is_none())
    }

    /// The last instant up to `at` in which something may begin.
    pub(super) fn open_until(&self, at: Timestamp) -> Timestamp {
        let mut open = at;
        while at - open < LONGEST_HOLD
            && let Some((start, _)) = self.0.iter().find_map(|window| window.around(open))
        {
            open = start - MICROSECOND;
        }
        open
    }
}

fn invalid(rule: &str) -> InvalidSpec {
    InvalidSpec { field: "maintenance_windows", rule: rule.to_owned() }
}

#[cfg(test)]
mod tests {
    use chrono::Weekday;
    use muster_kernel::windows::WindowWish;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn wish(days: &[Weekday], start: &str, hours: f64) -> WindowWish {
        let time_zone = "Europe/Berlin".to_owned();
        WindowWish { days: days.into(), start: start.into(), duration: hours * 3600.0, time_zone }
    }

    fn windows(wishes: &[WindowWish]) -> Result<MaintenanceWindows, InvalidSpec> {
        let windows = wishes.iter().map(MaintenanceWindow::parse);
        let windows = windows.collect::<Result<_, _>>()?;
        MaintenanceWindows::new(windows, at("2026-01-05T00:00:00Z"))
    }

    #[test]
    fn a_window_holds_from_its_start_to_its_end_over_midnight() {
        // Monday, 5 January 2026.
        let windows = windows(&[wish(&[Weekday::Mon], "22:00", 4.0)]).unwrap();
        let open = |text| windows.open_from(at(text));
        assert_eq!(open("2026-01-05T20:59:59Z"), at("2026-01-05T20:59:59Z"));
        assert_eq!(open("2026-01-05T21:00:00Z"), at("2026-01-06T01:00:00Z"));
        assert_eq!(open("2026-01-06T00:59:59Z"), at("2026-01-06T01:00:00Z"));
        assert!(windows.is_open(at("2026-01-06T01:00:00Z")));
        assert!(windows.is_open(at("2026-01-06T22:00:00Z")), "that is a Tuesday");
        let last = windows.open_until(at("2026-01-06T00:00:00Z"));
        assert_eq!(last, at("2026-01-05T20:59:59.999999Z"));
    }

    #[test]
    fn windows_that_touch_are_one() {
        let windows =
            windows(&[wish(&[], "01:00", 2.0), wish(&[], "02:30", 1.5), wish(&[], "04:00", 1.0)]);
        let (open, windows) = (at("2026-01-06T04:00:00Z"), windows.unwrap());
        assert_eq!(windows.open_from(at("2026-01-06T00:30:00Z")), open);
        assert_eq!(windows.open_until(open), open);
    }

    #[test]
    fn a_window_is_as_long_as_it_says_when_clocks_are_changed() {
        let windows = windows(&[wish(&[], "01:00", 2.0)]).unwrap();
        assert_eq!(windows.open_from(at("2026-03-29T00:00:00Z")), at("2026-03-29T02:00:00Z"));
        assert_eq!(windows.open_from(at("2026-10-24T23:00:00Z")), at("2026-10-25T01:00:00Z"));
    }

    #[test]
    fn windows_that_nobody_means_are_refused() {
        let bad_zone = WindowWish { time_zone: "Berlin".into(), ..wish(&[], "01:00", 1.0) };
        let cases = [
            vec![wish(&[], "25:00", 1.0)],
            vec![wish(&[], "1 o'clock", 1.0)],
            vec![wish(&[], "01:00", 0.0)],
            vec![wish(&[], "01:00", f64::NAN)],
            vec![wish(&[], "01:00", 24.0 * 8.0)],
            vec![wish(&[Weekday::Mon], "01:00", 24.0 * 7.0)],
            vec![wish(&[], "01:00", 12.0), wish(&[], "12:00", 13.0)],
            vec![wish(&[], "01:00", 0.1); 21],
            vec![bad_zone],
        ];
        for wishes in cases {
            let error = windows(&wishes).unwrap_err();
            assert_eq!(error.field, "maintenance_windows", "{wishes:?}");
        }
    }
}
