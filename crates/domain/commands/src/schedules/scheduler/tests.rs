//! What time does, with schedules in memory and a clock that stands still.

use std::sync::Arc;

use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{Author, ScheduleId, TenantScope};

use super::*;
use crate::schedules::{MissedPolicy, ScheduleChange, ScheduleRepository, Timing};
use crate::testing::noon;
use crate::testing::schedules::{
    FakeLauncher, FakeSchedules, FakeZones, Launched, cron, customer, maker, schedule,
};

struct World {
    rows: Arc<FakeSchedules>,
    launcher: Arc<FakeLauncher>,
    zones: Arc<FakeZones>,
    clock: Arc<FakeClock>,
    id: ScheduleId,
}

impl World {
    /// One schedule, with its clock at noon.
    async fn with(schedule: Schedule) -> Self {
        let world = Self {
            rows: Arc::new(FakeSchedules::of([customer(1)])),
            launcher: Arc::default(),
            zones: Arc::default(),
            clock: Arc::new(FakeClock::at(noon())),
            id: schedule.id,
        };
        world.rows.create(schedule, &Author::system()).await.unwrap();
        world
    }

    fn node(&self, seed: u64) -> Scheduler {
        Scheduler::new(SchedulerPorts {
            courses: self.rows.clone(),
            launcher: self.launcher.clone(),
            zones: self.zones.clone(),
            clock: self.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(seed)),
        })
    }

    /// Does all that is due at an instant.
    async fn at(&self, node: &Scheduler, now: Timestamp) {
        self.clock.advance(now - self.clock.now());
        while node.tick().await.unwrap() <= now {}
    }

    fn launched(&self) -> Vec<Launched> {
        self.launcher.launched.lock().clone()
    }

    fn history(&self) -> Vec<FiringOutcome> {
        self.rows.all_history().into_iter().map(|firing| firing.outcome).collect()
    }
}

fn hours(hours: i64) -> TimeDelta {
    TimeDelta::hours(hours)
}

fn hourly() -> Schedule {
    Schedule { timing: cron("0 * * * *", "UTC"), ..schedule(1) }
}

#[tokio::test]
async fn each_run_is_started_once_and_told_of() {
    let world = World::with(hourly()).await;
    let node = world.node(1);
    for hour in 0..4 {
        world.at(&node, noon() + hours(hour)).await;
        world.at(&node, noon() + hours(hour) + TimeDelta::seconds(10)).await;
    }
    let launched = world.launched();
    let dues: Vec<_> = launched.iter().map(|run| run.due).collect();
    assert_eq!(dues, [1, 2, 3].map(|hour| noon() + hours(hour)));
    assert!(launched.iter().all(|run| run.only.is_none()));
    let runs: Vec<_> = launched.iter().map(|run| FiringOutcome::Started(run.run)).collect();
    assert_eq!(world.history(), runs);
    assert_eq!(world.rows.one(world.id).course.wakes_at, Some(noon() + hours(4)));
}

#[tokio::test]
async fn it_comes_back_when_the_next_one_is_due_and_each_second_at_least() {
    let world = World::with(hourly()).await;
    let node = world.node(1);
    world.at(&node, noon()).await;
    assert_eq!(node.tick().await.unwrap(), noon() + LOOK_EVERY);
    world.clock.advance(hours(1) - TimeDelta::milliseconds(300));
    assert_eq!(node.tick().await.unwrap(), noon() + hours(1));
}

#[tokio::test]
async fn of_several_nodes_one_starts_a_run() {
    let world = World::with(hourly()).await;
    let nodes = [world.node(1), world.node(2), world.node(3)];
    world.at(&nodes[0], noon()).await;
    world.clock.advance(hours(1));
    join_all(nodes.iter().map(Scheduler::tick)).await;
    assert_eq!((world.launched().len(), world.history().len()), (1, 1));
}

#[tokio::test]
async fn a_run_is_one_run_when_a_process_dies_before_it_noted_it() {
    let world = World::with(hourly()).await;
    world.at(&world.node(1), noon()).await;
    world.clock.advance(hours(1));
    *world.launcher.loses_answers.lock() = true;
    assert!(world.node(1).tick().await.is_err());
    *world.launcher.loses_answers.lock() = false;
    assert!(world.history().is_empty());
    let other = world.node(2);
    other.tick().await.unwrap();
    assert!(world.history().is_empty(), "the lease is not over");
    // However late the other one comes: the run was begun.
    world.at(&other, noon() + hours(1) + TimeDelta::minutes(10)).await;
    assert_eq!(world.launched().len(), 1);
    assert_eq!(world.history(), [FiringOutcome::Started(world.launched()[0].run)]);
}

#[tokio::test]
async fn a_run_is_told_of_when_the_schedule_was_switched_off_before_its_process_died() {
    let world = World::with(hourly()).await;
    world.at(&world.node(1), noon()).await;
    world.clock.advance(hours(1));
    *world.launcher.loses_answers.lock() = true;
    assert!(world.node(1).tick().await.is_err());
    *world.launcher.loses_answers.lock() = false;
    let off = ScheduleChange { enabled: Some(false), ..ScheduleChange::default() };
    let now = world.clock.now();
    let rows = &world.rows;
    rows.update(&TenantScope::All, world.id, off, maker(1), &Author::system(), now).await.unwrap();
    world.at(&world.node(2), now + TimeDelta::minutes(10)).await;
    assert_eq!(world.launched().len(), 1);
    assert_eq!(world.history(), [FiringOutcome::Started(world.launched()[0].run)]);
    let course = world.rows.one(world.id).course;
    assert_eq!((course.lease, course.wakes_at), (None, None));
}

#[tokio::test]
async fn what_nobody_could_start_is_missed_or_made_up_for() {
    for (missed_runs, expected) in [(MissedPolicy::Skip, 0), (MissedPolicy::RunOnce, 1)] {
        let world = World::with(Schedule { missed_runs, ..hourly() }).await;
        world.at(&world.node(1), noon()).await;
        let back = noon() + hours(5) + TimeDelta::minutes(20);
        world.at(&world.node(1), back).await;
        assert_eq!((world.launched().len(), world.history().len()), (expected, 1));
        world.at(&world.node(1), noon() + hours(6)).await;
        assert_eq!(world.launched().last().unwrap().due, noon() + hours(6));
    }
}

#[tokio::test]
async fn a_run_is_left_out_while_the_last_one_goes_on() {
    let world = World::with(Schedule { overlap: OverlapPolicy::Skip, ..hourly() }).await;
    let node = world.node(1);
    for hour in 0..3 {
        world.at(&node, noon() + hours(hour)).await;
    }
    let first = world.launched()[0].run;
    assert_eq!(world.history(), [FiringOutcome::Started(first), FiringOutcome::Overlapped]);
    world.launcher.ended.lock().insert(first);
    world.at(&node, noon() + hours(3)).await;
    assert_eq!(world.launched().len(), 2);
}

#[tokio::test]
async fn a_run_that_may_not_be_started_is_told_and_the_next_one_comes() {
    let world = World::with(hourly()).await;
    let node = world.node(1);
    world.at(&node, noon()).await;
    *world.launcher.refuses.lock() = Some("the script is gone".into());
    world.at(&node, noon() + hours(1)).await;
    *world.launcher.refuses.lock() = None;
    world.at(&node, noon() + hours(2)).await;
    assert_eq!(world.history()[0], FiringOutcome::Failed("the script is gone".into()));
    assert_eq!(world.launched().len(), 1);
}

#[tokio::test]
async fn what_is_planned_for_one_instant_runs_once_and_rests() {
    let at = noon() + TimeDelta::minutes(5);
    let world = World::with(Schedule { timing: Timing::Once { at }, ..schedule(1) }).await;
    let node = world.node(1);
    world.at(&node, at).await;
    world.at(&node, at + hours(30)).await;
    assert_eq!(world.launched().len(), 1);
    assert_eq!(world.rows.one(world.id).course.wakes_at, None);
}

#[tokio::test]
async fn machines_run_at_their_own_time_and_a_run_elsewhere_is_not_in_their_way() {
    let local = Schedule {
        timing: cron("0 14 * * *", "agent"),
        overlap: OverlapPolicy::Skip,
        ..schedule(1)
    };
    let world = World::with(local).await;
    let zones = ["Europe/Berlin", "Europe/London"].map(|name| Zone::parse(name).unwrap());
    world.zones.0.lock().extend(zones);
    let node = world.node(1);
    for hour in [0, 1, 2, 25] {
        world.at(&node, noon() + hours(hour)).await;
    }
    let only: Vec<_> = world.launched().into_iter().map(|run| run.only.unwrap()).collect();
    assert_eq!(only, [BTreeSet::from([zones[0]]), BTreeSet::from([zones[1]])]);
    assert_eq!(world.history().last(), Some(&FiringOutcome::Overlapped), "Berlin's next day");
}

#[tokio::test]
async fn a_machine_that_turns_up_in_another_zone_is_not_forgotten() {
    let local = Schedule { timing: cron("0 14 * * *", "agent"), ..schedule(1) };
    let world = World::with(local).await;
    let node = world.node(1);
    for minute in 0..=60 {
        if minute == 30 {
            world.zones.0.lock().insert(Zone::parse("Europe/Berlin").unwrap());
        }
        world.at(&node, noon() + TimeDelta::minutes(minute)).await;
    }
    assert_eq!(world.launched().len(), 1);
}

#[tokio::test]
async fn somebody_who_asks_gets_one_run_and_the_times_stay() {
    let world = World::with(hourly()).await;
    let node = world.node(1);
    let asked = noon() + TimeDelta::minutes(7);
    world.at(&node, noon()).await;
    for _ in 0..2 {
        world.rows.ask(&TenantScope::All, world.id, &Author::system(), asked).await.unwrap();
    }
    world.at(&node, asked).await;
    world.at(&node, noon() + hours(1)).await;
    let dues: Vec<_> = world.launched().into_iter().map(|run| run.due).collect();
    assert_eq!(dues, [asked, noon() + hours(1)]);
}

#[tokio::test]
async fn a_change_meanwhile_has_the_last_word() {
    let world = World::with(hourly()).await;
    world.at(&world.node(1), noon()).await;
    let before = world.rows.one(world.id);
    let change = ScheduleChange { enabled: Some(false), ..ScheduleChange::default() };
    let now = noon() + hours(1);
    let (scope, author) = (TenantScope::All, Author::system());
    world.rows.update(&scope, world.id, change, maker(1), &author, now).await.unwrap();
    // A node that still sees the schedule as it was before gets no lease for it.
    world.clock.advance(hours(1));
    world.node(1).attend(before, now).await.unwrap();
    assert!(world.launched().is_empty());
}
