//! What is decided, for schedules of all kinds at all times.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::schedules::{Lease, MaintenanceWindow, MaintenanceWindows, Timing, WindowWish};
use crate::testing::noon;
use crate::testing::schedules::{cron, schedule};
use muster_kernel::NodeId;
use muster_kernel::testing::{FakeClock, SeededEntropy};

fn utc() -> BTreeSet<Zone> {
    [Zone::UTC].into()
}

fn hourly(missed_runs: MissedPolicy) -> Schedule {
    Schedule { missed_runs, timing: cron("0 * * * *", "UTC"), ..schedule(1) }
}

fn windows(start: &str, hours: u32) -> MaintenanceWindows {
    let duration = f64::from(hours) * 3600.0;
    let time_zone = "UTC".to_owned();
    let wish = WindowWish { days: Vec::new(), start: start.into(), duration, time_zone };
    MaintenanceWindows::new(vec![MaintenanceWindow::parse(&wish).unwrap()], noon()).unwrap()
}

fn hours(hours: i64) -> TimeDelta {
    TimeDelta::hours(hours)
}

fn begun(mut schedule: Schedule, due: Timestamp) -> Schedule {
    let owner = NodeId::new(&FakeClock::default(), &SeededEntropy::new(1));
    schedule.course.lease = Some(Lease { owner, until: due, due });
    schedule
}

/// When a decision starts a run that came due.
fn started(decision: &Decision) -> Option<Timestamp> {
    match decision {
        Decision::Start(slot) => Some(slot.due),
        Decision::Wait(_) | Decision::Miss(_) => None,
    }
}

#[test]
fn it_waits_until_something_is_due_and_then_starts_it() {
    let schedule = hourly(MissedPolicy::Skip);
    let due = noon() + hours(1);
    assert_eq!(decide(&schedule, &utc(), noon()), Decision::Wait(Some(due)));
    let expected = Slot { due, zones: utc(), decided_until: due, asked: false };
    assert_eq!(decide(&schedule, &utc(), due + ON_TIME), Decision::Start(expected));
}

#[test]
fn what_does_not_run_waits_for_ever() {
    let off = Schedule { enabled: false, ..hourly(MissedPolicy::Skip) };
    assert_eq!(decide(&off, &utc(), noon() + hours(5)), Decision::Wait(None));
    assert!(next_runs(&off, &utc(), noon(), 5).is_empty());
    let over = Schedule { timing: Timing::Once { at: noon() }, ..hourly(MissedPolicy::Skip) };
    assert_eq!(decide(&over, &utc(), noon() + hours(5)), Decision::Wait(None));
}

#[test]
fn missed_runs_are_left_out_where_it_says_so() {
    let schedule = hourly(MissedPolicy::Skip);
    let now = noon() + hours(5) + TimeDelta::minutes(30);
    let decided_until = noon() + hours(5);
    let missed = Slot { due: noon() + hours(1), zones: utc(), decided_until, asked: false };
    match decide(&schedule, &utc(), now) {
        Decision::Miss(slot) => {
            assert!(slot.decided_until >= decided_until && slot.decided_until < now);
            assert_eq!(Slot { decided_until, ..slot }, missed);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn missed_runs_are_made_up_for_by_one_where_it_says_so() {
    let schedule = hourly(MissedPolicy::RunOnce);
    let now = noon() + hours(5) + TimeDelta::minutes(30);
    let due = noon() + hours(1);
    let expected = Slot { due, zones: utc(), decided_until: now, asked: false };
    assert_eq!(decide(&schedule, &utc(), now), Decision::Start(expected));
}

#[test]
fn a_run_that_was_begun_is_started_however_late() {
    let schedule = begun(hourly(MissedPolicy::Skip), noon() + hours(1));
    let decision = decide(&schedule, &utc(), noon() + hours(5));
    assert_eq!(started(&decision), Some(noon() + hours(1)));
}

#[test]
fn runs_that_come_due_in_a_window_are_one_at_its_end() {
    let held = Schedule { windows: windows("13:00", 3), ..hourly(MissedPolicy::Skip) };
    let end = noon() + hours(4);
    assert_eq!(decide(&held, &utc(), noon() + hours(2)), Decision::Wait(Some(end)));
    let due = noon() + hours(1);
    let expected = Slot { due, zones: utc(), decided_until: end, asked: false };
    assert_eq!(decide(&held, &utc(), end), Decision::Start(expected));
    assert_eq!(next_runs(&held, &utc(), noon(), 2), [end, end + hours(1)]);
}

#[test]
fn a_missed_run_is_not_made_up_for_in_a_window() {
    let held = Schedule { windows: windows("14:30", 3), ..hourly(MissedPolicy::RunOnce) };
    let (now, end) = (noon() + hours(3), noon() + hours(5) + TimeDelta::minutes(30));
    assert_eq!(decide(&held, &utc(), now), Decision::Wait(Some(end)));
    assert_eq!(started(&decide(&held, &utc(), end)), Some(noon() + hours(1)));
}

#[test]
fn missing_a_run_loses_none_that_a_window_holds() {
    let daily = Schedule {
        timing: cron("0 13,15 * * *", "UTC"),
        windows: windows("14:30", 3),
        ..schedule(1)
    };
    let Decision::Miss(slot) = decide(&daily, &utc(), noon() + hours(4)) else { panic!() };
    assert!(slot.decided_until < noon() + hours(3));
}

#[test]
fn each_agent_has_its_own_two_in_the_morning() {
    let zones = ["Europe/Berlin", "Europe/Paris", "America/New_York"];
    let zones: BTreeSet<_> = zones.into_iter().filter_map(Zone::parse).collect();
    let local = Schedule { timing: cron("0 2 * * *", "agent"), ..schedule(1) };
    // Noon is on 1 January 2026.
    let europe = "2026-01-02T01:00:00Z".parse().unwrap();
    let Decision::Start(slot) = decide(&local, &zones, europe) else { panic!() };
    let names: Vec<_> = slot.zones.iter().map(|zone| zone.name()).collect();
    assert_eq!(names, ["Europe/Berlin", "Europe/Paris"]);
    let next = next_runs(&local, &zones, noon(), 3);
    assert_eq!(next, [europe, europe + hours(6), europe + hours(24)]);
}

#[test]
fn somebody_who_asks_gets_a_run_whatever_else_is_said() {
    let off = Schedule { enabled: false, windows: windows("11:00", 9), ..schedule(1) };
    let decision = decide(&off.asked(noon()), &utc(), noon());
    let course = noon();
    let expected = Slot { due: noon(), zones: utc(), decided_until: course, asked: true };
    assert_eq!(decision, Decision::Start(expected));
}

#[test]
fn delays_are_spread_over_the_time_there_is() {
    let jitter = Duration::from_hours(2);
    let schedule = Schedule { jitter, ..hourly(MissedPolicy::Skip) };
    let runs = next_runs(&schedule, &utc(), noon(), 200);
    let delay = |run: &Timestamp| run.timestamp().rem_euclid(3600);
    assert!(runs.is_sorted());
    let early = runs.iter().filter(|run| delay(run) < 1800).count();
    assert!((60..140).contains(&early), "{early} of 200 in the first half hour");
    assert_eq!(runs, next_runs(&schedule, &utc(), noon(), 200), "and are the same each time");
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let expressions =
        ["0 * * * *", "*/7 * * * *", "30 2 * * *", "0 13,15 * * MON", "*/40 0-30/10 12 * * *"];
    let zones = ["UTC", "Europe/Berlin", "America/St_Johns", "agent"];
    (
        prop::sample::select(expressions.to_vec()),
        prop::sample::select(zones.to_vec()),
        prop::sample::select(vec![MissedPolicy::Skip, MissedPolicy::RunOnce]),
        prop::sample::select(vec![0_u64, 45, 3000]),
        prop::option::of((0_u32..24, 1_u32..20)),
    )
        .prop_map(|(expression, zone, missed_runs, jitter, window)| Schedule {
            timing: cron(expression, zone),
            missed_runs,
            jitter: Duration::from_secs(jitter),
            windows: window
                .map(|(start, hours)| windows(&format!("{start:02}:00"), hours))
                .unwrap_or_default(),
            ..schedule(1)
        })
}

proptest! {
    /// However late and seldom somebody looks: everything that comes due is decided once and in
    /// order, nothing begins before it is due or in a window, and nothing is asked for without end.
    #[test]
    fn everything_that_comes_due_is_decided_once(
        mut schedule in any_schedule(),
        pauses in prop::collection::vec(1_i64..20_000, 1..60),
    ) {
        let zones: BTreeSet<_> =
            [schedule.timing.zone().unwrap_or(Zone::UTC), Zone::parse("Asia/Kathmandu").unwrap()]
                .into_iter()
                .take(if schedule.timing.is_agent_local() { 2 } else { 1 })
                .collect();
        let mut now = noon();
        let mut dues = Vec::new();
        for pause in pauses {
            now += TimeDelta::seconds(pause);
            for round in 0.. {
                prop_assert!(round < 2000, "it never waits");
                let seen = schedule.course.decided_until;
                let expected = schedule.timing.next(seen, &zones);
                let slot = match decide(&schedule, &zones, now) {
                    Decision::Wait(until) => {
                        prop_assert!(until.is_none_or(|until| until > now));
                        break;
                    }
                    Decision::Miss(slot) => {
                        prop_assert_eq!(schedule.missed_runs, MissedPolicy::Skip);
                        slot
                    }
                    Decision::Start(slot) => {
                        let on_time = schedule.windows.is_open(now)
                            || schedule.windows.is_open(now - ON_TIME);
                        prop_assert!(on_time, "{} begins in a window", slot.due);
                        slot
                    }
                };
                prop_assert_eq!(Some(slot.due), expected, "one was left out");
                prop_assert!(slot.due <= now && slot.due <= slot.decided_until);
                prop_assert!(slot.decided_until > seen && slot.decided_until <= now);
                prop_assert!(!slot.zones.is_empty());
                dues.push(slot.due);
                schedule.course.decided_until = slot.decided_until;
            }
        }
        prop_assert!(dues.windows(2).all(|pair| pair[0] < pair[1]), "one came twice");
    }

    #[test]
    fn the_runs_that_are_shown_are_those_that_begin(schedule in any_schedule()) {
        let zones: BTreeSet<_> = [schedule.timing.zone().unwrap_or(Zone::UTC)].into();
        let shown = next_runs(&schedule, &zones, noon(), 20);
        let mut running = schedule;
        for run in shown {
            let early = decide(&running, &zones, run - TimeDelta::microseconds(1));
            prop_assert_eq!(early, Decision::Wait(Some(run)));
            let Decision::Start(slot) = decide(&running, &zones, run) else {
                return Err(TestCaseError::fail("it does not begin"));
            };
            running.course.decided_until = slot.decided_until;
        }
    }
}
