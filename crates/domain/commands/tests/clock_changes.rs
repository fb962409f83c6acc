//! Every zone of the world and every clock change of a year: when schedules come due, compared with
//! an independent library that has a database of zones of its own.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::collections::BTreeSet;

use chrono::{
    DateTime, Datelike, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone,
    Timelike,
};
use chrono_tz::{TZ_VARIANTS, Tz};
use muster_commands::schedules::{CronExpression, Decision, Zone, decide, next_runs};
use muster_commands::testing::schedules::{cron, schedule};
use muster_kernel::testing::FakeClock;
use muster_kernel::{Clock, Timestamp};

/// A year that both databases know: the other library's is of early 2025, since when some countries
/// have given up changing their clocks.
const YEAR: i32 = 2025;

/// Zones in which it was found out later at what hour clocks are changed.
const CORRECTED: &[&str] = &["Europe/Chisinau", "Europe/Tiraspol"];

/// A zone as both libraries know it, and when its clocks are changed in the year.
struct Known {
    zone: Zone,
    other: Tz,
    changes: Vec<Timestamp>,
}

fn new_year(year: i32) -> Timestamp {
    NaiveDate::from_ymd_opt(year, 1, 1).unwrap().and_time(chrono::NaiveTime::MIN).and_utc()
}

fn ahead(zone: Tz, at: Timestamp) -> i32 {
    zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()
}

/// When the clocks of a zone are changed in the year.
fn changes(zone: Tz) -> Vec<Timestamp> {
    let quarters = (0..366 * 4).map(|quarter| new_year(YEAR) + TimeDelta::hours(6 * quarter));
    let changed = quarters.filter(|at| ahead(zone, *at) != ahead(zone, *at + TimeDelta::hours(6)));
    changed
        .map(|before| {
            let (mut early, mut late) = (before.timestamp(), before.timestamp() + 6 * 3600);
            while late - early > 1 {
                let middle = early.midpoint(late);
                if ahead(zone, DateTime::from_timestamp(middle, 0).unwrap()) == ahead(zone, before)
                {
                    early = middle;
                } else {
                    late = middle;
                }
            }
            DateTime::from_timestamp(late, 0).unwrap()
        })
        .collect()
}

fn zones() -> Vec<Known> {
    let same = TZ_VARIANTS.iter().filter(|zone| !CORRECTED.contains(&zone.name()));
    same.map(|other| {
        let zone = Zone::parse(other.name()).unwrap();
        Known { zone, other: *other, changes: changes(*other) }
    })
    .collect()
}

/// When a fixed time of day is meant, by the rules that [`CronExpression`] promises.
fn meant(zone: Tz, reading: NaiveDateTime, change: Timestamp) -> Timestamp {
    match zone.from_local_datetime(&reading) {
        MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => at.to_utc(),
        MappedLocalTime::None => change,
    }
}

#[test]
fn clocks_are_changed_in_many_zones_and_both_ways() {
    let zones = zones();
    let twice = zones.iter().filter(|known| known.changes.len() == 2).count();
    assert!(zones.len() > 500 && twice > 150, "{} zones, {twice} of them twice", zones.len());
}

#[test]
fn a_fixed_time_around_every_clock_change_comes_due_when_it_is_meant() {
    let mut looked = 0;
    for Known { zone, other, changes } in zones() {
        for change in changes {
            let around = change.with_timezone(&other).naive_local();
            for minutes in (-200..=200).step_by(10) {
                let reading = around + TimeDelta::minutes(minutes);
                let (minute, hour) = (reading.minute(), reading.hour());
                let text = format!("{minute} {hour} {} {} *", reading.day(), reading.month());
                let expression = CronExpression::parse(&text).unwrap();
                let due = meant(other, reading, change);
                let before = change - TimeDelta::days(2);
                assert_eq!(expression.next(before, zone), Some(due), "{zone}: {text}");
                // Once, and not again when the clock reads it again.
                let next = expression.next(due, zone).unwrap();
                assert!(next - due > TimeDelta::days(300), "{zone}: {text} again at {next}");
                looked += 1;
            }
        }
    }
    assert!(looked > 10_000);
}

#[test]
fn an_interval_around_every_clock_change_comes_due_whenever_the_clock_reads_so() {
    type Fits = fn(u32, u32) -> bool;
    let intervals: [(&str, Fits); 3] = [
        ("*/10 * * * *", |_, minute| minute % 10 == 0),
        ("0 */2 * * *", |hour, minute| hour % 2 == 0 && minute == 0),
        ("5-45/20 * * * *", |_, minute| [5, 25, 45].contains(&minute)),
    ];
    for Known { zone, other, changes } in zones() {
        for change in changes {
            for (text, fits) in intervals {
                let reads_so = |at: &Timestamp| {
                    let reading = at.with_timezone(&other);
                    reading.second() == 0 && fits(reading.hour(), reading.minute())
                };
                let begin = change - TimeDelta::hours(5);
                let instants = (1..=600).map(|minute| begin + TimeDelta::minutes(minute));
                let expression = CronExpression::parse(text).unwrap();
                let mut after = begin;
                for due in instants.filter(reads_so) {
                    let next = expression.next(after, zone).unwrap();
                    assert_eq!(next, due, "{zone}: {text} after {after}");
                    after = due;
                }
            }
        }
    }
}

#[test]
fn between_clock_changes_a_time_of_day_is_the_same_everywhere() {
    for Known { zone, other, .. } in zones() {
        let expression = CronExpression::parse("30 6 15 * *").unwrap();
        let mut after = new_year(YEAR);
        for month in 1..=12 {
            let reading = NaiveDate::from_ymd_opt(YEAR, month, 15).unwrap();
            let due = reading.and_hms_opt(6, 30, 0).unwrap().and_local_timezone(other).unwrap();
            after = expression.next(after, zone).unwrap();
            assert_eq!(after, due, "{zone}");
        }
    }
}

#[test]
fn a_schedule_runs_once_a_day_in_every_zone_that_changes_its_clocks() {
    for Known { zone, other, changes } in zones() {
        let Some(first) = changes.first() else { continue };
        let clock = FakeClock::at(*first - TimeDelta::days(10));
        let mut daily = schedule(1);
        daily.timing = cron("30 2 * * *", zone.name());
        daily.course.decided_until = clock.now();
        let only = BTreeSet::from([zone]);
        let mut days = BTreeSet::new();
        for _ in 0..300 {
            let Decision::Wait(Some(due)) = decide(&daily, &only, clock.now()) else {
                panic!("{zone}: it does not wait at {}", clock.now());
            };
            assert_eq!(next_runs(&daily, &only, clock.now(), 1), [due]);
            clock.advance(due - clock.now());
            let Decision::Start(slot) = decide(&daily, &only, clock.now()) else {
                panic!("{zone}: it does not start at {due}");
            };
            daily.course.decided_until = slot.decided_until;
            assert!(days.insert(due.with_timezone(&other).date_naive()), "{zone}: twice at {due}");
        }
        let whole = *days.last().unwrap() - *days.first().unwrap();
        assert_eq!(whole, TimeDelta::days(299), "{zone}: a day was left out");
    }
}
