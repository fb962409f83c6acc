use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use muster_commands::INTERRUPTED;
use muster_commands::testing::noon;
use proptest::prelude::*;
use uuid::Uuid;

use super::super::plan::Shape;
use super::*;
use crate::testing::frozen;

fn id(number: u32) -> CommandId {
    CommandId::from_uuid(Uuid::from_u128(u128::from(number)))
}

fn device() -> Device {
    let (agent, customer) = (Uuid::from_u128(1), Uuid::from_u128(2));
    Device::queued(AgentId::from_uuid(agent), CustomerId::from_uuid(customer), OsType::Linux)
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Plain),
        any::<bool>().prop_map(|verified| Shape::Steady { verified }),
        any::<bool>().prop_map(|only_if_changed| Shape::Reboot {
            only_if_changed,
            within: Duration::from_mins(1),
        }),
        Just(Shape::Wait { interval: Duration::from_secs(5), within: Duration::from_secs(30) }),
    ]
}

fn tasks() -> impl Strategy<Value = Vec<FrozenTask>> {
    let task = (shape(), any::<bool>(), any::<bool>(), any::<bool>());
    prop::collection::vec(task, 1..6).prop_map(|tasks| {
        let task = |(number, (shape, checks, inverted, goes_on))| {
            let mut task = frozen(number, shape, checks);
            task.continue_on_error = goes_on;
            for parts in task.parts.values_mut() {
                parts.inverted = inverted;
                parts.exact = !inverted;
            }
            task
        };
        tasks.into_iter().enumerate().map(task).collect()
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let because = |code: &str| DeviceFailure::new(code, "because");
    prop_oneof![
        4 => Just(Verdict::Passed),
        3 => prop_oneof![Just(Some(1)), Just(Some(2)), Just(Some(127))].prop_map(move |exit_code| {
            Verdict::Refused { failure: because("EXIT_CODE"), exit_code }
        }),
        1 => Just(Verdict::Expired),
        2 => Just(Verdict::Interrupted(because(INTERRUPTED))),
        1 => Just(Verdict::Failed(because("TIMED_OUT"))),
        1 => Just(Verdict::Failed(because("SPAWN_FAILED"))),
        1 => Just(Verdict::Cancelled),
    ]
}

/// What a world may do to a machine.
#[derive(Debug, Clone)]
enum Doing {
    /// Its command ends.
    End(Verdict),
    /// A command that is not, or no longer, its own ends.
    EndAnother(Verdict),
    /// Anything else.
    Happen(Happening),
    /// So many seconds go by.
    Wait(i64),
    /// The process that knows the machine is killed; another one reads what was written.
    Restart,
}

fn doing() -> impl Strategy<Value = Doing> {
    prop_oneof![
        8 => verdict().prop_map(Doing::End),
        1 => verdict().prop_map(Doing::EndAnother),
        3 => Just(Doing::Happen(Happening::Released)),
        2 => Just(Doing::Happen(Happening::Booted)),
        2 => Just(Doing::Happen(Happening::Tick)),
        1 => Just(Doing::Happen(Happening::Cancelled)),
        1 => Just(Doing::Happen(Happening::LeftOut(SkipReason::Stopped))),
        1 => Just(Doing::Happen(Happening::AgentRemoved)),
        2 => Just(Doing::Happen(Happening::Retried)),
        2 => (1..40_i64).prop_map(Doing::Wait),
        2 => Just(Doing::Restart),
    ]
}

/// A machine, and what an honest witness saw of it.
struct World {
    tasks: Vec<FrozenTask>,
    dry_run: bool,
    device: Device,
    now: Timestamp,
    given: u32,
    /// Tasks that were recorded as done, or as not to be done.
    done: BTreeSet<usize>,
}

impl World {
    fn new(tasks: Vec<FrozenTask>, dry_run: bool) -> Self {
        let (device, now, done) = (device(), noon(), BTreeSet::new());
        Self { tasks, dry_run, device, now, given: 0, done }
    }

    fn take(&mut self, happening: &Happening) -> Result<(), TestCaseError> {
        let before = self.device.clone();
        let fresh = id(self.given + 1);
        let course = Course { tasks: &self.tasks, dry_run: self.dry_run };
        match self.device.take(course, happening, self.now, fresh) {
            Follows::Nothing => {
                prop_assert_eq!(&self.device, &before, "nothing follows, and yet it changed");
            }
            Follows::Change => prop_assert!(self.device.revision > before.revision),
            Follows::Order(order) => {
                prop_assert!(self.device.revision > before.revision);
                self.given += 1;
                self.check_order(&order)?;
            }
        }
        self.check(&before, happening)
    }

    fn check_order(&self, order: &Order) -> Result<(), TestCaseError> {
        prop_assert!(!self.done.contains(&order.task), "task {} is done again", order.task);
        prop_assert!(!self.dry_run || order.part == Part::Check, "a dry run changes something");
        let is_its_own = matches!(
            self.device.stage,
            Stage::Running { command_id, .. } if command_id == order.command_id
        );
        prop_assert!(is_its_own, "a command that nobody waits for");
        Ok(())
    }

    fn check(&mut self, before: &Device, happening: &Happening) -> Result<(), TestCaseError> {
        let device = &self.device;
        for result in &device.results {
            if matches!(result.outcome, TaskOutcome::Changed | TaskOutcome::Unchanged) {
                self.done.insert(result.task);
            }
        }
        let recorded: Vec<_> = device.results.iter().map(|result| result.task).collect();
        prop_assert_eq!(&recorded, &(0..recorded.len()).collect::<Vec<_>>(), "a task is left out");
        let failed_here = usize::from(device.stage == Stage::Failed);
        prop_assert_eq!(recorded.len(), device.position + failed_here);
        prop_assert_eq!(device.status().is_end(), device.finished_at.is_some());
        if device.stage == Stage::Done {
            prop_assert_eq!(device.position, self.tasks.len());
        }
        if before.status().is_end() && *happening != Happening::Retried {
            prop_assert_eq!(device, before, "what has ended stays as it ended");
        }
        let kept = before.results.iter().filter(|result| self.done.contains(&result.task));
        for result in kept {
            prop_assert!(device.results.contains(result), "what was recorded is gone");
        }
        Ok(())
    }

    fn command(&self) -> Option<CommandId> {
        match self.device.stage {
            Stage::Running { command_id, .. } => Some(command_id),
            _ => None,
        }
    }

    fn act(&mut self, doing: &Doing) -> Result<(), TestCaseError> {
        let ended = |command_id, verdict: &Verdict, at| Happening::Ended {
            command_id,
            verdict: verdict.clone(),
            started_at: Some(at),
        };
        match doing {
            Doing::End(verdict) => match self.command() {
                Some(command) => self.take(&ended(command, verdict, self.now)),
                None => Ok(()),
            },
            Doing::EndAnother(verdict) => {
                let before = self.device.clone();
                self.take(&ended(id(u32::MAX), verdict, self.now))?;
                prop_assert_eq!(&before, &self.device);
                Ok(())
            }
            Doing::Happen(happening) => self.take(happening),
            Doing::Wait(seconds) => {
                self.now += TimeDelta::seconds(*seconds);
                Ok(())
            }
            Doing::Restart => {
                let stage = serde_json::to_string(&self.device.stage).unwrap();
                let results = serde_json::to_string(&self.device.results).unwrap();
                self.device.stage = serde_json::from_str(&stage).unwrap();
                self.device.results = serde_json::from_str(&results).unwrap();
                Ok(())
            }
        }
    }

    /// Everything goes well from now on.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..self.tasks.len() * 6 + 6 {
            self.now += TimeDelta::seconds(5);
            let happening = match self.device.stage {
                Stage::Queued => Happening::Released,
                Stage::Running { command_id, .. } => Happening::Ended {
                    command_id,
                    verdict: Verdict::Passed,
                    started_at: Some(self.now),
                },
                Stage::Rebooting { .. } => Happening::Booted,
                Stage::Pausing { .. } => Happening::Tick,
                Stage::Done | Stage::Failed | Stage::Skipped { .. } | Stage::Cancelled => {
                    return Ok(());
                }
            };
            self.take(&happening)?;
        }
        Err(TestCaseError::fail(format!("it never ends: {:?}", self.device)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happens_a_machine_is_in_a_legal_state_and_no_task_that_is_done_is_done_again(
        tasks in tasks(), dry_run in any::<bool>(),
        doings in prop::collection::vec(doing(), 0..60),
    ) {
        let mut world = World::new(tasks, dry_run);
        for doing in &doings {
            world.act(doing)?;
        }
        world.finish()?;
        prop_assert!(world.device.status().is_end());
    }
}

fn played(tasks: Vec<FrozenTask>, happenings: &[(u32, Verdict)]) -> World {
    let mut world = World::new(tasks, false);
    world.take(&Happening::Released).unwrap();
    for (number, verdict) in happenings {
        let (command_id, verdict) = (id(*number), verdict.clone());
        let started_at = Some(world.now);
        world.take(&Happening::Ended { command_id, verdict, started_at }).unwrap();
    }
    world
}

fn refused() -> Verdict {
    let failure = DeviceFailure::new("EXIT_CODE", "exit code 1");
    Verdict::Refused { failure, exit_code: Some(1) }
}

fn outcomes(device: &Device) -> Vec<TaskOutcome> {
    device.results.iter().map(|result| result.outcome).collect()
}

#[test]
fn what_is_as_it_is_to_be_is_left_alone_and_what_is_not_is_done() {
    let tasks = || (0..2).map(|n| frozen(n, Shape::Plain, true)).collect::<Vec<_>>();
    let world = played(tasks(), &[(1, Verdict::Passed), (2, refused()), (3, Verdict::Passed)]);
    assert_eq!(world.device.stage, Stage::Done);
    assert_eq!(outcomes(&world.device), [TaskOutcome::Unchanged, TaskOutcome::Changed]);
}

#[test]
fn what_was_installed_and_is_not_there_has_failed() {
    let tasks = vec![frozen(0, Shape::Steady { verified: true }, true)];
    let world = played(tasks, &[(1, refused()), (2, Verdict::Passed), (3, refused())]);
    assert_eq!(world.device.stage, Stage::Failed);
    let failure = world.device.results[0].failure.as_ref().unwrap();
    assert_eq!(failure.code, "NOT_IN_EFFECT");
}

#[test]
fn a_machine_that_failed_goes_on_at_the_task_that_failed() {
    let tasks = (0..3).map(|n| frozen(n, Shape::Plain, false)).collect();
    let mut world = played(tasks, &[(1, Verdict::Passed), (2, refused())]);
    assert_eq!((world.device.stage, world.device.position), (Stage::Failed, 1));
    world.take(&Happening::Retried).unwrap();
    world.take(&Happening::Released).unwrap();
    assert_eq!((world.given, world.device.position, world.device.attempt), (3, 1, 2));
    world.finish().unwrap();
    assert_eq!(outcomes(&world.device), [TaskOutcome::Changed; 3]);
}

#[test]
fn a_command_whose_agent_died_is_not_run_again_and_what_looks_first_is() {
    let died = || Verdict::Interrupted(DeviceFailure::new(INTERRUPTED, "died"));
    let plain = played(vec![frozen(0, Shape::Plain, true)], &[(1, refused()), (2, died())]);
    assert_eq!(plain.device.stage, Stage::Failed);
    let steady = vec![frozen(0, Shape::Steady { verified: false }, true)];
    let steady = played(steady, &[(1, refused()), (2, died())]);
    let Stage::Running { part, died, .. } = steady.device.stage else { panic!() };
    assert_eq!((part, died), (Part::Check, 1), "it looks again what is left to do");
}

#[test]
fn what_its_agent_dies_of_again_and_again_has_failed() {
    let died = || Verdict::Interrupted(DeviceFailure::new(INTERRUPTED, "died"));
    let tasks = || vec![frozen(0, Shape::Steady { verified: false }, false)];
    let thrice = played(tasks(), &[(1, died()), (2, died()), (3, died())]);
    assert_eq!(thrice.device.status(), DeviceStatus::Running);
    let deaths: Vec<_> = (1..=4).map(|number| (number, died())).collect();
    assert_eq!(played(tasks(), &deaths).device.stage, Stage::Failed);
}

#[test]
fn a_look_that_breaks_is_no_answer() {
    let failure = || DeviceFailure::new("EXIT_CODE", "it broke");
    let ended = |exit_code| Verdict::Refused { failure: failure(), exit_code: Some(exit_code) };
    let stage = |exact, exit_code| {
        let mut task = frozen(0, Shape::Plain, true);
        task.parts.values_mut().for_each(|parts| parts.exact = exact);
        played(vec![task], &[(1, ended(exit_code))]).device.status()
    };
    let (failed, running) = (DeviceStatus::Failed, DeviceStatus::Running);
    assert_eq!([stage(false, 1), stage(false, 2), stage(false, 127)], [running, running, failed]);
    assert_eq!([stage(true, 1), stage(true, 2), stage(true, 127)], [running, failed, failed]);
}

#[test]
fn a_machine_that_is_away_is_not_asked_for_every_task() {
    let mut tasks: Vec<_> = (0..3).map(|n| frozen(n, Shape::Plain, true)).collect();
    for task in &mut tasks {
        task.continue_on_error = true;
    }
    for dry_run in [false, true] {
        let mut world = World::new(tasks.clone(), dry_run);
        world.take(&Happening::Released).unwrap();
        world.act(&Doing::End(Verdict::Expired)).unwrap();
        assert_eq!((world.device.stage, world.given), (Stage::Failed, 1));
    }
}

#[test]
fn the_time_that_a_machine_was_away_does_not_count_for_a_condition() {
    let shape = Shape::Wait { interval: Duration::from_secs(5), within: Duration::from_secs(30) };
    let mut world = World::new(vec![frozen(0, shape, false)], false);
    world.take(&Happening::Released).unwrap();
    world.now += TimeDelta::hours(9);
    world.act(&Doing::End(refused())).unwrap();
    assert!(matches!(world.device.stage, Stage::Pausing { .. }), "{:?}", world.device.stage);
}

#[test]
fn a_reboot_counts_what_changed_since_the_one_before() {
    let within = Duration::from_mins(1);
    let reboot = |n| frozen(n, Shape::Reboot { only_if_changed: true, within }, false);
    let first = frozen(0, Shape::Plain, true);
    let mut world =
        played(vec![first, reboot(1), reboot(2)], &[(1, refused()), (2, Verdict::Passed)]);
    world.act(&Doing::End(Verdict::Passed)).unwrap();
    world.take(&Happening::Booted).unwrap();
    assert_eq!(world.device.stage, Stage::Done);
    assert_eq!(
        outcomes(&world.device),
        [TaskOutcome::Changed, TaskOutcome::Changed, TaskOutcome::Unchanged]
    );
}

#[test]
fn a_machine_that_does_not_come_back_has_failed() {
    let within = Duration::from_mins(1);
    let tasks = vec![frozen(0, Shape::Reboot { only_if_changed: false, within }, false)];
    let mut world = played(tasks, &[(1, Verdict::Passed)]);
    assert_eq!(world.device.status(), DeviceStatus::WaitingForReboot);
    world.take(&Happening::Tick).unwrap();
    assert_eq!(world.device.status(), DeviceStatus::WaitingForReboot);
    world.now += TimeDelta::seconds(60);
    world.take(&Happening::Tick).unwrap();
    assert_eq!(world.device.status(), DeviceStatus::Failed);
}

#[test]
fn a_condition_is_tried_until_it_is_true_or_its_time_is_over() {
    let shape = Shape::Wait { interval: Duration::from_secs(5), within: Duration::from_secs(12) };
    let mut world = played(vec![frozen(0, shape, false)], &[(1, refused())]);
    for (given, ends) in [(2, false), (3, true)] {
        world.take(&Happening::Tick).unwrap();
        assert_eq!(world.given, given - 1, "not before its time");
        world.now += TimeDelta::seconds(5);
        world.take(&Happening::Tick).unwrap();
        assert_eq!(world.given, given);
        world.act(&Doing::End(refused())).unwrap();
        assert_eq!(world.device.status().is_end(), ends);
    }
    assert_eq!(world.device.results[0].failure.as_ref().unwrap().code, "TIMED_OUT");
}

#[test]
fn a_reboot_that_nothing_asks_for_is_left_out() {
    let within = Duration::from_mins(1);
    let reboot = || frozen(1, Shape::Reboot { only_if_changed: true, within }, false);
    let first = || frozen(0, Shape::Plain, true);
    let unchanged = played(vec![first(), reboot()], &[(1, Verdict::Passed)]);
    assert_eq!(unchanged.device.stage, Stage::Done);
    let changed = played(vec![first(), reboot()], &[(1, refused()), (2, Verdict::Passed)]);
    assert_eq!(changed.device.status(), DeviceStatus::Running);
}
