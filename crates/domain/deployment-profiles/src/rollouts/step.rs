//! What follows from what happens to a machine.

use std::time::Duration;

use chrono::TimeDelta;
use muster_kernel::{CommandId, Timestamp};

use super::device::{
    Course, Device, Follows, Happening, Order, Part, SkipReason, Stage, TaskOutcome, TaskResult,
};
use super::plan::{FrozenTask, Shape};
use super::verdict::{DeviceFailure, Verdict};

/// How often what may begin again does so by itself after its agent died.
const BEGINS_AGAIN: u8 = 3;

/// One step of the state machine.
pub(super) struct Step<'a> {
    pub(super) device: &'a mut Device,
    pub(super) course: Course<'a>,
    pub(super) now: Timestamp,
    pub(super) fresh: CommandId,
}

impl Step<'_> {
    pub(super) fn take(&mut self, happening: &Happening) -> Follows {
        match (self.device.stage, happening) {
            (Stage::Queued, Happening::Released) => {
                self.device.attempt = self.device.attempt.saturating_add(1);
                self.device.started_at.get_or_insert(self.now);
                self.go_on()
            }
            (Stage::Queued, Happening::LeftOut(reason)) => {
                self.end(Stage::Skipped { reason: *reason })
            }
            (
                Stage::Running { command_id, .. },
                Happening::Ended { command_id: ended, verdict, started_at },
            ) if command_id == *ended => self.ended(verdict, *started_at),
            (Stage::Running { cancelled: false, .. }, Happening::Cancelled) => {
                if let Stage::Running { cancelled, .. } = &mut self.device.stage {
                    *cancelled = true;
                }
                Follows::Change
            }
            (Stage::Rebooting { command_id, since, .. }, Happening::Booted) => {
                self.record(TaskOutcome::Changed, Some(command_id), None, since);
                self.go_on()
            }
            (Stage::Rebooting { command_id, since, until, .. }, Happening::Tick)
                if self.now >= until =>
            {
                let detail = "the machine was told to boot and did not come back from it in time";
                let failure = DeviceFailure::new("TIMED_OUT", detail);
                self.failed(failure, Some(command_id), since)
            }
            (Stage::Pausing { again_at, since, .. }, Happening::Tick) if self.now >= again_at => {
                self.give(Part::Work, since, 0)
            }
            (
                Stage::Queued | Stage::Rebooting { .. } | Stage::Pausing { .. },
                Happening::Cancelled,
            ) => self.end(Stage::Cancelled),
            (
                Stage::Queued
                | Stage::Running { .. }
                | Stage::Rebooting { .. }
                | Stage::Pausing { .. },
                Happening::AgentRemoved,
            ) => self.end(Stage::Skipped { reason: SkipReason::AgentRemoved }),
            (Stage::Skipped { reason: SkipReason::AgentRemoved }, _) => Follows::Nothing,
            (Stage::Failed | Stage::Cancelled | Stage::Skipped { .. }, Happening::Retried) => {
                // What failed is begun again; what was recorded before it stays.
                let position = self.device.position;
                self.device.results.retain(|result| result.task < position);
                self.device.stage = Stage::Queued;
                Follows::Change
            }
            _ => Follows::Nothing,
        }
    }

    fn end(&mut self, stage: Stage) -> Follows {
        self.device.stage = stage;
        Follows::Change
    }

    /// Goes to the next task that has something to be run.
    fn go_on(&mut self) -> Follows {
        loop {
            let Some(task) = self.course.tasks.get(self.device.position) else {
                self.device.stage = Stage::Done;
                return Follows::Change;
            };
            let looks = task.can_be_looked_at(self.device.os_type);
            if matches!(task.shape, Shape::Reboot { only_if_changed: true, .. })
                && !self.has_changed_since_boot()
            {
                self.record(TaskOutcome::Unchanged, None, None, self.now);
                continue;
            }
            if self.course.dry_run && !looks {
                self.record(TaskOutcome::WouldRun, None, None, self.now);
                continue;
            }
            return self.give(if looks { Part::Check } else { Part::Work }, self.now, 0);
        }
    }

    /// Whether a task changed something, or would, since the machine last booted for one.
    fn has_changed_since_boot(&self) -> bool {
        let boots = |result: &TaskResult| {
            let task = self.course.tasks.get(result.task);
            task.is_some_and(|task| matches!(task.shape, Shape::Reboot { .. }))
        };
        let changes = |result: &TaskResult| match result.outcome {
            TaskOutcome::Changed | TaskOutcome::WouldChange | TaskOutcome::WouldRun => true,
            TaskOutcome::Unchanged | TaskOutcome::Failed => false,
        };
        let results = self.device.results.iter().rev();
        results.take_while(|it| !(boots(it) && changes(it))).any(changes)
    }

    /// Has a part of the task begin.
    fn give(&mut self, part: Part, since: Timestamp, died: u8) -> Follows {
        let (task, command_id) = (self.device.position, self.fresh);
        self.device.stage = Stage::Running { part, command_id, since, died, cancelled: false };
        Follows::Order(Order { command_id, task, part })
    }

    /// A command of the task has ended.
    fn ended(&mut self, verdict: &Verdict, started_at: Option<Timestamp>) -> Follows {
        let Stage::Running { part, command_id, since, died, cancelled } = self.device.stage else {
            return Follows::Change;
        };
        let Some(task) = self.course.tasks.get(self.device.position) else {
            self.device.stage = Stage::Done;
            return Follows::Change;
        };
        if cancelled {
            return self.cancelled(part, verdict, command_id, since);
        }
        if *verdict == Verdict::Expired {
            // It is away: there is no use in trying the next task.
            return self.stopped(failure(verdict), Some(command_id), since);
        }
        let may_begin_again =
            part != Part::Work || matches!(task.shape, Shape::Steady { .. } | Shape::Wait { .. });
        if let Verdict::Interrupted(_) = verdict
            && may_begin_again
            && died < BEGINS_AGAIN
        {
            // Whether what died was done is found out first.
            let part = if task.can_be_looked_at(self.device.os_type) { Part::Check } else { part };
            return self.give(part, since, died.saturating_add(1));
        }
        match part {
            Part::Check => self.looked(task, verdict, command_id, since),
            Part::Work => self.worked(task, verdict, command_id, started_at, since),
            Part::Verify => {
                if self.is_as_wanted(task, verdict) == Some(true) {
                    self.record(TaskOutcome::Changed, Some(command_id), None, since);
                    return self.go_on();
                }
                let detail = "it was done without an error, and yet is not as it is to be";
                let failure = match verdict {
                    Verdict::Passed | Verdict::Refused { .. } => {
                        DeviceFailure::new("NOT_IN_EFFECT", detail)
                    }
                    unknown => failure(unknown),
                };
                self.failed(failure, Some(command_id), since)
            }
        }
    }

    /// Whether a check says that there is nothing to do; `None` when it could not tell.
    fn is_as_wanted(&self, task: &FrozenTask, verdict: &Verdict) -> Option<bool> {
        let parts = task.of(self.device.os_type);
        let inverted = parts.is_some_and(|parts| parts.inverted);
        let exact = parts.is_some_and(|parts| parts.exact);
        match verdict {
            Verdict::Passed => Some(!inverted),
            // 126 and 127 are what shells say of what can't be run, or is not there.
            Verdict::Refused { exit_code, .. }
                if !matches!(exit_code, Some(126 | 127)) && (!exact || *exit_code == Some(1)) =>
            {
                Some(inverted)
            }
            Verdict::Refused { .. }
            | Verdict::Interrupted(_)
            | Verdict::Failed(_)
            | Verdict::Expired
            | Verdict::Cancelled => None,
        }
    }

    fn looked(
        &mut self,
        task: &FrozenTask,
        verdict: &Verdict,
        command_id: CommandId,
        since: Timestamp,
    ) -> Follows {
        match self.is_as_wanted(task, verdict) {
            Some(true) => self.record(TaskOutcome::Unchanged, Some(command_id), None, since),
            Some(false) if self.course.dry_run => {
                self.record(TaskOutcome::WouldChange, Some(command_id), None, since);
            }
            Some(false) => return self.give(Part::Work, since, 0),
            None => {
                return self.failed(failure(verdict), Some(command_id), since);
            }
        }
        self.go_on()
    }

    fn worked(
        &mut self,
        task: &FrozenTask,
        verdict: &Verdict,
        command_id: CommandId,
        started_at: Option<Timestamp>,
        since: Timestamp,
    ) -> Follows {
        match (&task.shape, verdict) {
            (Shape::Steady { verified: true }, Verdict::Passed)
                if task.can_be_looked_at(self.device.os_type) =>
            {
                return self.give(Part::Verify, since, 0);
            }
            // A machine that boots often has no time to say so.
            (Shape::Reboot { within, .. }, verdict) if may_boot(verdict) => {
                let told_at = started_at.unwrap_or(since);
                let until = later(self.now, *within);
                self.device.stage = Stage::Rebooting { command_id, told_at, since, until };
                return Follows::Change;
            }
            (Shape::Wait { interval, within }, Verdict::Refused { .. } | Verdict::Failed(_)) => {
                // While the machine was away nothing was tried.
                let since = started_at.filter(|at| *at >= later(since, *within)).unwrap_or(since);
                let again_at = later(self.now, *interval);
                if again_at < later(since, *within) {
                    self.device.stage = Stage::Pausing { command_id, again_at, since };
                    return Follows::Change;
                }
                let detail = "the condition did not come true in time";
                let failure = DeviceFailure::new("TIMED_OUT", detail);
                return self.failed(failure, Some(command_id), since);
            }
            // To wait changes nothing.
            (Shape::Wait { .. }, Verdict::Passed) => {
                self.record(TaskOutcome::Unchanged, Some(command_id), None, since);
            }
            (_, Verdict::Passed) => {
                self.record(TaskOutcome::Changed, Some(command_id), None, since);
            }
            (_, verdict) => {
                return self.failed(failure(verdict), Some(command_id), since);
            }
        }
        self.go_on()
    }

    /// A command has ended that somebody wanted to end: what it still did is recorded.
    fn cancelled(
        &mut self,
        part: Part,
        verdict: &Verdict,
        command_id: CommandId,
        since: Timestamp,
    ) -> Follows {
        let plain = self.course.tasks.get(self.device.position).map(|task| &task.shape);
        if (part, verdict) == (Part::Work, &Verdict::Passed)
            && matches!(plain, Some(Shape::Plain | Shape::Steady { verified: false }))
        {
            self.record(TaskOutcome::Changed, Some(command_id), None, since);
        }
        let all = self.device.position == self.course.tasks.len();
        self.device.stage = if all { Stage::Done } else { Stage::Cancelled };
        Follows::Change
    }

    fn failed(
        &mut self,
        failure: DeviceFailure,
        command_id: Option<CommandId>,
        since: Timestamp,
    ) -> Follows {
        let goes_on = self.course.dry_run
            || self.course.tasks.get(self.device.position).is_some_and(|it| it.continue_on_error);
        if goes_on {
            self.record(TaskOutcome::Failed, command_id, Some(failure), since);
            return self.go_on();
        }
        self.stopped(failure, command_id, since)
    }

    /// The task failed, and the machine goes no further.
    fn stopped(
        &mut self,
        failure: DeviceFailure,
        command_id: Option<CommandId>,
        since: Timestamp,
    ) -> Follows {
        let position = self.device.position;
        self.record(TaskOutcome::Failed, command_id, Some(failure), since);
        // It is tried again from here.
        self.device.position = position;
        self.device.stage = Stage::Failed;
        Follows::Change
    }

    /// Records what came of the task, and leaves it.
    fn record(
        &mut self,
        outcome: TaskOutcome,
        command_id: Option<CommandId>,
        failure: Option<DeviceFailure>,
        started_at: Timestamp,
    ) {
        self.device.results.push(TaskResult {
            task: self.device.position,
            outcome,
            attempt: self.device.attempt,
            command_id,
            failure,
            started_at,
            finished_at: self.now,
        });
        self.device.position += 1;
    }
}

/// Whether a machine that was told to boot may be about to: what told it may have ended with it.
fn may_boot(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Passed | Verdict::Interrupted(_) => true,
        Verdict::Failed(failure) => failure.code == "SIGNALLED",
        Verdict::Refused { .. } | Verdict::Expired | Verdict::Cancelled => false,
    }
}

/// Why a command did not do what it was to do.
fn failure(verdict: &Verdict) -> DeviceFailure {
    match verdict {
        Verdict::Interrupted(failure)
        | Verdict::Failed(failure)
        | Verdict::Refused { failure, .. } => failure.clone(),
        Verdict::Expired => {
            DeviceFailure::new("EXPIRED", "the machine did not come for it in time")
        }
        Verdict::Cancelled | Verdict::Passed => {
            DeviceFailure::new("CANCELLED", "somebody cancelled the command")
        }
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
    at.checked_add_signed(by).unwrap_or(Timestamp::MAX_UTC)
}
