//! Maintenance windows: times of the week in which things are left alone.

use std::time::Duration;

use chrono::{Datelike, NaiveTime, TimeDelta, Timelike, Weekday};
use serde::{Deserialize, Serialize};

use crate::{Timestamp, Zone};

/// The longest window.
const MAX_DURATION: Duration = Duration::from_hours(7 * 24);

/// A window that breaks a rule; it says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidWindow(pub &'static str);

/// A maintenance window: a time of the week, by the clocks of a zone.
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
    /// [`InvalidWindow`] says what is expected.
    pub fn parse(wish: &WindowWish) -> Result<Self, InvalidWindow> {
        let start = NaiveTime::parse_from_str(&wish.start, "%H:%M")
            .map_err(|_| InvalidWindow("start: a time of day is expected, such as 22:00"))?;
        let duration = Duration::try_from_secs_f64(wish.duration)
            .ok()
            .filter(|it| (Duration::from_mins(1)..=MAX_DURATION).contains(it))
            .ok_or(InvalidWindow("duration: 60 to 604800 seconds are expected"))?;
        let mut days = wish.days.clone();
        if days.is_empty() {
            days.extend((0..7).filter_map(|day| Weekday::try_from(day).ok()));
        }
        days.sort_by_key(Weekday::num_days_from_monday);
        days.dedup();
        let zone = Zone::parse(&wish.time_zone).ok_or(InvalidWindow(
            "time_zone: the name of a time zone is expected, such as Europe/Berlin or UTC",
        ))?;
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
    pub fn around(&self, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_lasts_over_midnight_and_as_long_as_it_says_when_clocks_are_changed() {
        let (start, time_zone) = ("22:00".to_owned(), "Europe/Berlin".to_owned());
        let wish = WindowWish { days: vec![Weekday::Sat], start, duration: 21_600.0, time_zone };
        let window = MaintenanceWindow::parse(&wish).unwrap();
        let begun = (at("2026-03-28T21:00:00Z"), at("2026-03-29T03:00:00Z"));
        assert_eq!(window.around(at("2026-03-28T21:00:00Z")), Some(begun));
        assert_eq!(window.around(at("2026-03-29T02:59:59Z")), Some(begun));
        assert_eq!(window.around(at("2026-03-29T03:00:00Z")), None);
        assert_eq!(window.around(at("2026-03-29T21:00:00Z")), None, "that is a Sunday");
    }
}
