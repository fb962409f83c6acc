//! Times in which nothing may begin.

use std::time::Duration;

use chrono::{Datelike, NaiveTime, TimeDelta, Timelike, Weekday};
use muster_kernel::Timestamp;
use serde::{Deserialize, Serialize};

use super::Zone;
use super::timing::named_zone;
use crate::InvalidSpec;

/// How many windows a schedule has.
const MAX_WINDOWS: usize = 20;
/// The longest window.
const MAX_DURATION: Duration = Duration::from_hours(7 * 24);
/// Where nothing may begin for so long, nothing ever may.
const LONGEST_HOLD: TimeDelta = TimeDelta::days(15);
/// The finest step of time.
const MICROSECOND: TimeDelta = TimeDelta::microseconds(1);

/// A maintenance window: a time of the week in which nothing may begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceWindow {
    days: Vec<Weekday>,
    start: NaiveTime,
    duration: Duration,
    zone: Zone,
}

/// A maintenance window in the words of whoever asks.
#[derive(Debug, Clone)]
pub struct WindowWish {
    /// On which days it begins; on all when there is none.
    pub days: Vec<Weekday>,
    /// At what time of day, such as `22:00`.
    pub start: String,
    /// How many seconds it lasts.
    pub duration: f64,
    /// By the clocks of which zone.
    pub time_zone: String,
}

impl MaintenanceWindow {
    /// Checks what came in.
    ///
    /// # Errors
    /// [`InvalidSpec`] for `maintenance_windows`.
    pub fn parse(wish: &WindowWish) -> Result<Self, InvalidSpec> {
        let start = NaiveTime::parse_from_str(&wish.start, "%H:%M")
            .map_err(|_| invalid("start: a time of day is expected, such as 22:00"))?;
        let duration = Duration::try_from_secs_f64(wish.duration)
            .ok()
            .filter(|it| (Duration::from_mins(1)..=MAX_DURATION).contains(it))
            .ok_or_else(|| invalid("duration: 60 to 604800 seconds are expected"))?;
        let mut days = wish.days.clone();
        if days.is_empty() {
            days.extend((0..7).filter_map(|day| Weekday::try_from(day).ok()));
        }
        days.sort_by_key(Weekday::num_days_from_monday);
        days.dedup();
        let zone = named_zone(&wish.time_zone, "maintenance_windows")?;
        Ok(Self { days, start, duration: Duration::from_secs(duration.as_secs()), zone })
    }

    /// The days on which it begins.
    pub fn days(&self) -> &[Weekday] {
        &self.days
    }

    /// At what time of day, such as `22:00`.
    pub fn start(&self) -> String {
        format!("{:02}:{:02}", self.start.hour(), self.start.minute())
    }

    /// How long it lasts.
    pub const fn duration(&self) -> Duration {
        self.duration
    }

    /// By the clocks of which zone.
    pub const fn zone(&self) -> Zone {
        self.zone
    }

    /// Where the window around an instant begins and ends, the end being outside.
    fn around(&self, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let duration = TimeDelta::from_std(self.duration).ok()?;
        let today = self.zone.reading(at).date();
        // A window that began at most its length ago, and a day for clocks that were changed.
        let first = today.checked_sub_signed(duration + TimeDelta::days(1))?;
        first
            .iter_days()
            .take_while(|date| *date <= today)
            .filter(|date| self.days.contains(&date.weekday()))
            .map(|date| self.zone.first_instant(date.and_time(self.start)))
            .map(|start| (start, start + duration))
            .find(|(start, end)| *start <= at && at < *end)
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
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn wish(days: &[Weekday], start: &str, hours: f64) -> WindowWish {
        let time_zone = "Europe/Berlin".to_owned();
        WindowWish { days: days.into(), start: start.into(), duration: hours * 3600.0, time_zone }
    }

    fn windows(wishes: &[WindowWish]) -> Result<MaintenanceWindows, InvalidSpec> {
        let windows = wishes.iter().map(MaintenanceWindow::parse).collect::<Result<_, _>>()?;
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
