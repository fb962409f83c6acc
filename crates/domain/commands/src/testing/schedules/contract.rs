//! The contract that every repository of schedules keeps.

use std::time::Duration;

use chrono::{TimeDelta, Weekday};
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    Author, CustomerId, FiringId, NodeId, PageRequest, RunId, ScriptId, TenantScope, Timestamp,
};

use super::{customer, maker, noon, schedule, template};
use crate::runs::{ParameterValue, Template, Work};
use crate::schedules::{
    Course, Firing, FiringOutcome, Lease, MaintenanceWindow, MaintenanceWindows, MissedPolicy,
    OverlapPolicy, Schedule, ScheduleChange, ScheduleCourses, ScheduleFilter, ScheduleRepository,
    Settlement, Timing, WindowWish, Zone,
};

/// The contract of [`ScheduleRepository`] and [`ScheduleCourses`] on the same rows, of which there
/// are none; the two customers exist.
///
/// # Panics
/// When they break it.
pub async fn contract(
    repository: &dyn ScheduleRepository,
    courses: &dyn ScheduleCourses,
    customers: [CustomerId; 2],
) {
    let [one, two, all] = people_see_theirs(repository, customers).await;
    changes_are_kept(repository, &one).await;
    time_wakes_in_order(courses, [&one, &two, &all]).await;
    history_is_kept(repository, courses, &two).await;
    what_is_deleted_is_gone(repository, courses, &two).await;
}

fn author() -> Author {
    Author::system()
}

/// Three schedules: of each customer one, and one for all of them.
async fn people_see_theirs(
    repository: &dyn ScheduleRepository,
    [mine, other]: [CustomerId; 2],
) -> [Schedule; 3] {
    let one = Schedule { customer_id: Some(mine), ..schedule(1) };
    let two = Schedule {
        customer_id: Some(other),
        timing: Timing::Once { at: noon() + TimeDelta::days(3) },
        windows: windows(),
        template: script(),
        jitter: Duration::from_mins(5),
        enabled: false,
        course: Course { wakes_at: None, ..Course::from(noon()) },
        ..schedule(2)
    };
    let all = Schedule { customer_id: None, description: None, ..schedule(3) };
    for schedule in [&one, &two, &all] {
        assert!(repository.create(schedule.clone(), &author()).await.unwrap());
    }
    let homeless = Schedule { customer_id: Some(customer(99)), ..schedule(4) };
    assert!(!repository.create(homeless, &author()).await.unwrap());

    let mine = TenantScope::one(mine);
    assert_eq!(repository.find(&mine, one.id).await.unwrap(), Some(one.clone()));
    assert_eq!(repository.find(&mine, two.id).await.unwrap(), None);
    assert_eq!(repository.find(&mine, all.id).await.unwrap(), None, "it is for all");
    for schedule in [&two, &all] {
        let found = repository.find(&TenantScope::All, schedule.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(schedule));
    }
    lists(repository, &mine, [&one, &two, &all]).await;
    [one, two, all]
}

async fn lists(
    repository: &dyn ScheduleRepository,
    mine: &TenantScope,
    [one, two, all]: [&Schedule; 3],
) {
    let list = async |scope: &TenantScope, filter: ScheduleFilter| {
        let page = repository.list(scope, &filter, &PageRequest::default()).await.unwrap();
        assert_eq!(page.total, u64::try_from(page.items.len()).unwrap());
        page.items.into_iter().map(|schedule| schedule.id).collect::<Vec<_>>()
    };
    let any = ScheduleFilter::default;
    assert_eq!(list(mine, any()).await, [one.id]);
    assert_eq!(list(&TenantScope::All, any()).await, [one.id, two.id, all.id]);
    let named = ScheduleFilter { q: Some("DULE 2".into()), ..any() };
    assert_eq!(list(&TenantScope::All, named).await, [two.id]);
    let off = ScheduleFilter { enabled: Some(false), ..any() };
    assert_eq!(list(&TenantScope::All, off).await, [two.id]);
    let of_one = ScheduleFilter { customer_id: one.customer_id, ..any() };
    assert_eq!(list(&TenantScope::All, of_one).await, [one.id]);
    let first = PageRequest::new(2, None);
    let first = repository.list(&TenantScope::All, &any(), &first).await.unwrap();
    let rest = PageRequest::new(2, first.next_cursor);
    let rest = repository.list(&TenantScope::All, &any(), &rest).await.unwrap();
    assert_eq!((rest.items.len(), rest.next_cursor, rest.total), (1, None, 3));
}

async fn changes_are_kept(repository: &dyn ScheduleRepository, one: &Schedule) {
    let now = noon() + TimeDelta::minutes(1);
    let change = ScheduleChange {
        name: Some("Other".into()),
        description: Some(String::new()),
        template: Some(script()),
        missed_runs: Some(MissedPolicy::RunOnce),
        overlap: Some(OverlapPolicy::Skip),
        jitter: Some(Duration::from_secs(7)),
        windows: Some(windows()),
        ..ScheduleChange::default()
    };
    let elsewhere = TenantScope::one(customer(99));
    let update = async |scope: &TenantScope| {
        repository.update(scope, one.id, change.clone(), maker(9), &author(), now).await.unwrap()
    };
    assert_eq!(update(&elsewhere).await, None);
    let expected = one.clone().changed(change.clone(), maker(9), now);
    assert_eq!(update(&TenantScope::All).await, Some(expected.clone()));
    let found = repository.find(&TenantScope::All, one.id).await.unwrap();
    assert_eq!(found, Some(expected.clone()));

    assert!(!repository.ask(&elsewhere, one.id, &author(), now).await.unwrap());
    assert!(repository.ask(&TenantScope::All, one.id, &author(), now).await.unwrap());
    let found = repository.find(&TenantScope::All, one.id).await.unwrap();
    assert_eq!(found, Some(expected.asked(now)));
}

/// `one` was changed and asked for a minute past noon, `two` does not run, `all` wakes at noon.
async fn time_wakes_in_order(courses: &dyn ScheduleCourses, [one, two, all]: [&Schedule; 3]) {
    let now = noon() + TimeDelta::hours(1);
    let waking = async |until: Timestamp, now: Timestamp, limit| {
        let waking = courses.waking(until, now, limit).await.unwrap();
        waking.into_iter().map(|schedule| schedule.id).collect::<Vec<_>>()
    };
    assert_eq!(waking(noon(), now, 9).await, [all.id]);
    assert_eq!(waking(now, now, 9).await, [all.id, one.id]);
    assert_eq!(waking(now, now, 1).await, [all.id]);

    let lease = |seed| Lease {
        owner: NodeId::new(&FakeClock::at(noon()), &SeededEntropy::new(seed)),
        until: now + TimeDelta::seconds(30),
        due: noon(),
    };
    let seen = all.course.decided_until;
    let take = async |seed, seen, now| courses.lease(all.id, lease(seed), seen, now).await.unwrap();
    assert!(!take(1, seen - TimeDelta::seconds(1), now).await, "it is not what was seen");
    assert!(take(1, seen, now).await);
    assert!(!take(2, seen, now).await, "another node is at it");
    assert_eq!(waking(now, now, 9).await, [one.id]);
    let later = now + TimeDelta::seconds(30);
    assert_eq!(waking(later, later, 9).await, [all.id, one.id], "the node has died");
    let next = courses.waking(noon(), later, 1).await.unwrap();
    assert_eq!(next.first().unwrap().course.lease, Some(lease(1)));
    assert!(courses.lease(two.id, lease(3), two.course.decided_until, now).await.unwrap());
    assert!(!courses.lease(schedule(77).id, lease(3), seen, now).await.unwrap(), "there is none");
}

async fn history_is_kept(
    repository: &dyn ScheduleRepository,
    courses: &dyn ScheduleCourses,
    two: &Schedule,
) {
    let run = RunId::new(&FakeClock::at(noon()), &SeededEntropy::new(5));
    let outcomes = [
        FiringOutcome::Started(run),
        FiringOutcome::Missed,
        FiringOutcome::Overlapped,
        FiringOutcome::Failed("the script is gone".into()),
    ];
    let mut written = Vec::new();
    for (number, outcome) in (0..).zip(outcomes) {
        let at = noon() + TimeDelta::minutes(number);
        let firing = Firing {
            id: FiringId::new(&FakeClock::at(at), &SeededEntropy::new(6)),
            schedule_id: two.id,
            due_at: at - TimeDelta::seconds(1),
            fired_at: at,
            outcome,
        };
        let settlement = Settlement {
            seen: at - TimeDelta::minutes(i64::from(number > 0)),
            decided_until: at,
            wakes_at: Some(at + TimeDelta::hours(1)),
            asked_at: None,
            last_runs: [(Zone::UTC, run)].into(),
            firing: Some(firing.clone()),
        };
        courses.settle(two.id, settlement).await.unwrap();
        written.insert(0, firing);
    }
    let course = repository.find(&TenantScope::All, two.id).await.unwrap().unwrap().course;
    let last = noon() + TimeDelta::minutes(3);
    let expected = Course {
        decided_until: last,
        wakes_at: Some(last + TimeDelta::hours(1)),
        last_runs: [(Zone::UTC, run)].into(),
        ..Course::from(noon())
    };
    assert_eq!(course, expected);
    let page = repository.history(two.id, &PageRequest::new(3, None)).await.unwrap();
    assert_eq!((page.items.as_slice(), page.total), (written.get(..3).unwrap(), 4));
    let rest = PageRequest::new(3, page.next_cursor);
    let rest = repository.history(two.id, &rest).await.unwrap();
    assert_eq!((rest.items.as_slice(), rest.next_cursor), (written.get(3..).unwrap(), None));

    let before = noon() + TimeDelta::minutes(2);
    assert_eq!(courses.forget(before, 1).await.unwrap(), 1);
    assert_eq!(courses.forget(before, 9).await.unwrap(), 1);
    assert_eq!(courses.forget(before, 9).await.unwrap(), 0);
    let left = repository.history(two.id, &PageRequest::default()).await.unwrap();
    assert_eq!(left.items, written.get(..2).unwrap());
}

async fn what_is_deleted_is_gone(
    repository: &dyn ScheduleRepository,
    courses: &dyn ScheduleCourses,
    two: &Schedule,
) {
    let delete = async |scope: &TenantScope| {
        repository.delete(scope, two.id, &author(), noon()).await.unwrap()
    };
    assert!(!delete(&TenantScope::one(customer(99))).await);
    assert!(delete(&TenantScope::All).await);
    assert!(!delete(&TenantScope::All).await);
    assert_eq!(repository.find(&TenantScope::All, two.id).await.unwrap(), None);
    let page = repository.history(two.id, &PageRequest::default()).await.unwrap();
    assert_eq!(page.total, 0);
    let nothing = Settlement {
        seen: noon(),
        decided_until: noon(),
        wakes_at: None,
        asked_at: None,
        last_runs: [].into(),
        firing: None,
    };
    courses.settle(two.id, nothing).await.unwrap();
}

fn windows() -> MaintenanceWindows {
    let wish = WindowWish {
        days: vec![Weekday::Sun, Weekday::Mon],
        start: "22:30".into(),
        duration: 3600.0,
        time_zone: "America/New_York".into(),
    };
    MaintenanceWindows::new(vec![MaintenanceWindow::parse(&wish).unwrap()], noon()).unwrap()
}

fn script() -> Template {
    let script_id = ScriptId::new(&FakeClock::at(noon()), &SeededEntropy::new(8));
    let parameters = [
        ("force".to_owned(), ParameterValue::Boolean(true)),
        ("size".to_owned(), ParameterValue::Number(1.5)),
        ("name".to_owned(), ParameterValue::Text("x".into())),
    ];
    let work = Work::Script { script_id, parameters: parameters.into(), timeout: None };
    Template { work, expires_in: None, ..template() }
}
