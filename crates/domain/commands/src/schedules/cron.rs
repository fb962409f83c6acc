//! Cron expressions, and when they come due in a time zone.

use std::fmt;
use std::sync::Arc;

use chrono::{Datelike, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use croner::parser::{CronParser, Seconds, Year};
use croner::{CronComponent, CronPattern, Weekday};
use muster_kernel::Timestamp;

use super::Zone;
use crate::InvalidSpec;

/// The longest expression, in bytes.
const MAX_BYTES: usize = 200;
/// How many days are looked at: a 29 February that has to be a Monday, too, is at most 40 years
/// off. What does not come in that time never comes.
const SEARCHED_DAYS: usize = 41 * 366;
const SECOND: TimeDelta = TimeDelta::seconds(1);

/// A cron expression of five fields (minute, hour, day of the month, month, day of the week), or
/// of six with seconds before them; or a name such as `@daily`.
///
/// A day has to fit the day of the month or the day of the week where both are narrowed, as cron
/// always had it; with `+` before the day of the week, both.
///
/// Where clocks are changed it keeps what its author meant:
/// - With fixed times of day (`30 2 * * *`, also several: `30 2,14 * * *`) it comes due once for
///   each. A time that the clock skips comes due when the clock goes on; several such times and
///   the instant itself are one. A time that the clock reads twice comes due the first time.
/// - With intervals (a `*` or a step in seconds, minutes or hours: `*/15 * * * *`) it comes due
///   whenever the clock reads so. Time goes on evenly: what the clock skips is left out, what it
///   reads twice comes twice.
///
/// The library reads expressions and knows which days they mean. Its own search has other rules
/// where clocks change (it takes `30 2,14 * * *` for an interval), and takes long for what never
/// comes due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronExpression {
    text: String,
    pattern: Arc<CronPattern>,
    hours: Vec<u32>,
    minutes: Vec<u32>,
    seconds: Vec<u32>,
}

impl CronExpression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`InvalidSpec`] for `cron` when it is none, or when it never comes due.
    pub fn parse(text: &str) -> Result<Self, InvalidSpec> {
        let invalid = |rule: String| InvalidSpec { field: "cron", rule };
        let text = text.trim();
        if text.len() > MAX_BYTES {
            return Err(invalid(format!("at most {MAX_BYTES} characters are expected")));
        }
        let is_plain = |c: char| c == ' ' || c.is_ascii_graphic();
        let fields: Vec<_> = text.split(' ').filter(|field| !field.is_empty()).collect();
        let has_gap = |field: &&str| field.split(',').any(str::is_empty);
        if !text.chars().all(is_plain) || fields.iter().any(has_gap) {
            let rule = "minute, hour, day of the month, month and day of the week are expected, \
                or seconds before them, with spaces between";
            return Err(invalid(rule.into()));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed);
        let cron = parser.build().parse(text).map_err(|error| invalid(error.to_string()))?;
        let values =
            |field: &CronComponent| field.values().into_iter().map(u32::from).collect::<Vec<_>>();
        let expression = Self {
            text: fields.join(" "),
            hours: values(&cron.pattern.hours),
            minutes: values(&cron.pattern.minutes),
            seconds: values(&cron.pattern.seconds),
            pattern: Arc::new(cron.pattern),
        };
        match expression.reading_from(Timestamp::UNIX_EPOCH.naive_utc()) {
            Some(_) => Ok(expression),
            None => Err(invalid("it never comes due: there is no such day".into())),
        }
    }

    /// The expression as it was written, with single spaces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// When it next comes due after an instant, by the clocks of a zone.
    pub fn next(&self, after: Timestamp, zone: Zone) -> Option<Timestamp> {
        if self.goes_by_interval() {
            self.next_by_interval(after, zone)
        } else {
            self.next_fixed(after, zone)
        }
    }

    fn goes_by_interval(&self) -> bool {
        let pattern = &self.pattern;
        [&pattern.seconds, &pattern.minutes, &pattern.hours]
            .iter()
            .any(|field| field.from_wildcard || field.step > 1)
    }

    fn next_fixed(&self, after: Timestamp, zone: Zone) -> Option<Timestamp> {
        let mut from = next_second(zone.reading(after))?;
        loop {
            let reading = self.reading_from(from)?;
            let at = zone.first_instant(reading);
            if at > after {
                return Some(at);
            }
            // The clock reads it again: it came due the first time.
            from = next_second(reading)?;
        }
    }

    fn next_by_interval(&self, after: Timestamp, zone: Zone) -> Option<Timestamp> {
        let reading = zone.reading(after);
        if let MappedLocalTime::Ambiguous(_, again) = zone.instants(truncated(reading)?)
            && after < again
        {
            // The clock is about to be set back: first what it reads before, then what it reads
            // from that on.
            let set_back = zone.set_back_between(after, again);
            let next = self.reading_from(next_second(reading)?)?;
            let at = (next - (reading - after.naive_utc())).and_utc();
            if at < set_back {
                return Some(at);
            }
            return self.instant_from(zone.reading(set_back), set_back - SECOND, zone);
        }
        self.instant_from(next_second(reading)?, after, zone)
    }

    /// The first instant after `after` at which the clock reads something that is meant, from the
    /// reading `from` on.
    fn instant_from(
        &self,
        mut from: NaiveDateTime,
        after: Timestamp,
        zone: Zone,
    ) -> Option<Timestamp> {
        loop {
            let reading = self.reading_from(from)?;
            match zone.instants(reading) {
                // The first of both that lies ahead: they are tried in their order.
                MappedLocalTime::Single(at)
                | MappedLocalTime::Ambiguous(at, _)
                | MappedLocalTime::Ambiguous(_, at)
                    if at > after =>
                {
                    return Some(at);
                }
                _ => from = next_second(reading)?,
            }
        }
    }

    /// The first reading of a clock from `from` on that is meant.
    fn reading_from(&self, from: NaiveDateTime) -> Option<NaiveDateTime> {
        let date = from.date();
        if self.means(date)
            && let Some(time) = self.time_from(from.time())
        {
            return Some(date.and_time(time));
        }
        let first = self.time_from(NaiveTime::MIN)?;
        let mut later = date.iter_days().skip(1).take(SEARCHED_DAYS);
        later.find(|date| self.means(*date)).map(|date| date.and_time(first))
    }

    fn means(&self, date: NaiveDate) -> bool {
        let (year, month, day) = (date.year(), date.month(), date.day());
        let weekday = Weekday::from_days_from_sunday(date.weekday().num_days_from_sunday());
        self.pattern.month_match(month).unwrap_or(false)
            && self.pattern.day_match(year, month, day, weekday).unwrap_or(false)
    }

    /// The first time of day from `from` on that is meant.
    fn time_from(&self, from: NaiveTime) -> Option<NaiveTime> {
        let least = |values: &[u32], least: u32| values.iter().copied().find(|it| *it >= least);
        let (hour, minute) = (from.hour(), from.minute());
        let (first_minute, first_second) = (*self.minutes.first()?, *self.seconds.first()?);
        if self.hours.contains(&hour) {
            if self.minutes.contains(&minute)
                && let Some(second) = least(&self.seconds, from.second())
            {
                return NaiveTime::from_hms_opt(hour, minute, second);
            }
            if let Some(minute) = least(&self.minutes, minute + 1) {
                return NaiveTime::from_hms_opt(hour, minute, first_second);
            }
        }
        NaiveTime::from_hms_opt(least(&self.hours, hour + 1)?, first_minute, first_second)
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn truncated(reading: NaiveDateTime) -> Option<NaiveDateTime> {
    reading.with_nanosecond(0)
}

/// The next whole second.
fn next_second(reading: NaiveDateTime) -> Option<NaiveDateTime> {
    truncated(reading)?.checked_add_signed(SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// When an expression comes due in Berlin, `number` times.
    fn berlin(expression: &str, after: &str, number: usize) -> Vec<String> {
        let expression = CronExpression::parse(expression).unwrap();
        let zone = Zone::parse("Europe/Berlin").unwrap();
        let mut after = at(after);
        let mut due = Vec::new();
        for _ in 0..number {
            after = expression.next(after, zone).unwrap();
            due.push(after.format("%m-%dT%H:%M:%SZ").to_string());
        }
        due
    }

    #[test]
    fn seconds_may_be_given_and_names_stand_for_what_they_say() {
        assert_eq!(
            berlin("*/20 * * * * *", "2026-01-01T00:00:01Z", 2),
            ["01-01T00:00:20Z", "01-01T00:00:40Z",]
        );
        assert_eq!(berlin("@daily", "2026-01-01T00:00:00Z", 1), ["01-01T23:00:00Z"]);
        assert_eq!(
            berlin("0  9 * jan,mar MON-FRI", "2026-01-03T00:00:00Z", 1),
            ["01-05T08:00:00Z"]
        );
        assert_eq!(CronExpression::parse(" 0  9 * * 1 ").unwrap().as_str(), "0 9 * * 1");
    }

    #[test]
    fn a_fixed_time_that_the_clock_skips_comes_due_when_it_goes_on() {
        assert_eq!(
            berlin("30 2 * * *", "2026-03-28T02:00:00Z", 3),
            ["03-29T01:00:00Z", "03-30T00:30:00Z", "03-31T00:30:00Z",]
        );
        // Several of them, and the instant itself, are one.
        assert_eq!(
            berlin("0,30 2,3 * * *", "2026-03-29T00:59:59Z", 3),
            ["03-29T01:00:00Z", "03-29T01:30:00Z", "03-30T00:00:00Z",]
        );
    }

    #[test]
    fn a_fixed_time_that_the_clock_reads_twice_comes_due_once() {
        assert_eq!(
            berlin("30 2,14 * * *", "2026-10-24T20:00:00Z", 3),
            ["10-25T00:30:00Z", "10-25T13:30:00Z", "10-26T01:30:00Z",]
        );
        // Also when it is asked between the two.
        assert_eq!(berlin("30 2 * * *", "2026-10-25T01:10:00Z", 1), ["10-26T01:30:00Z"]);
    }

    #[test]
    fn an_interval_goes_on_evenly() {
        assert_eq!(
            berlin("*/30 * * * *", "2026-03-29T00:20:00Z", 3),
            ["03-29T00:30:00Z", "03-29T01:00:00Z", "03-29T01:30:00Z",]
        );
        assert_eq!(
            berlin("*/30 * * * *", "2026-10-24T23:40:00Z", 5),
            [
                "10-25T00:00:00Z",
                "10-25T00:30:00Z",
                "10-25T01:00:00Z",
                "10-25T01:30:00Z",
                "10-25T02:00:00Z",
            ]
        );
    }

    #[test]
    fn what_is_no_expression_or_never_comes_due_is_refused_at_once() {
        let wrong = [
            "",
            "*",
            "* * * *",
            "* * * * * * *",
            ", * * * *",
            "1,,2 * * * *",
            "*/0 * * * *",
            "60 * * * *",
            "* 24 * * *",
            "5-1 * * * *",
            "@reboot",
            "0 0 30 2 *",
            "0 0 31 4,6 *",
            "0 0 * * MON#6",
            "a b c d e",
            "0 0 1 1 * 2030",
            "0\n0 1 1 *",
            "0 0 1 1 é",
        ];
        for text in wrong {
            assert_eq!(CronExpression::parse(text).unwrap_err().field, "cron", "{text:?}");
        }
        let long = format!("{} * * * *", "1,".repeat(120) + "1");
        assert!(CronExpression::parse(&long).is_err());
    }

    #[test]
    fn a_rare_day_is_found() {
        let expression = CronExpression::parse("0 0 29 2 +MON").unwrap();
        let next = expression.next(at("2072-03-01T00:00:00Z"), Zone::UTC).unwrap();
        assert_eq!(next, at("2112-02-29T00:00:00Z"));
    }

    proptest! {
        #[test]
        fn no_text_panics_or_hangs(text in "[0-9*/,\\-#LW?+@ a-zA-Z]{0,40}") {
            if let Ok(expression) = CronExpression::parse(&text) {
                prop_assert!(expression.next(at("2026-01-01T00:00:00Z"), Zone::UTC).is_some());
            }
        }

        #[test]
        fn nor_does_any_other(text in ".{0,60}") {
            let _ = CronExpression::parse(&text);
        }

        #[test]
        fn what_is_due_next_lies_ahead_and_nothing_is_due_between(
            field in prop::sample::select(vec![
                "30 2 * * *", "0,30 2,3 * * *", "*/7 * * * *", "15 */2 * * *", "0 0 1 * MON",
                "5-45/10 1-3 * * *", "*/13 59 1 * * *",
            ]),
            zone in prop::sample::select(Zone::all().collect::<Vec<_>>()),
            second in 1_767_225_600_i64..1_798_761_600,
            back in 1_i64..90_000,
        ) {
            let expression = CronExpression::parse(field).unwrap();
            let after = Timestamp::from_timestamp(second, 0).unwrap();
            let next = expression.next(after, zone).unwrap();
            prop_assert!(next > after);
            // Seen from any instant before, the same comes, or something before it.
            let seen = expression.next(after - TimeDelta::seconds(back), zone).unwrap();
            prop_assert!(seen <= next);
            prop_assert_eq!(expression.next(next - TimeDelta::microseconds(1), zone), Some(next));
        }
    }
}
