//! What a schedule does when: decided here, done elsewhere.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use muster_kernel::Timestamp;

use super::{MissedPolicy, Schedule, Zone};

/// How late a run may begin and still count as on time: a tick that is late, or another node that
/// takes over, misses nothing.
pub(super) const ON_TIME: TimeDelta = TimeDelta::minutes(1);
/// How many runs that were missed are passed over in one decision; the next one goes on there.
const PASSED_AT_ONCE: usize = 2000;

/// One run, or what takes the place of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// When it came due. With the schedule's id this is what the run is known by.
    pub due: Timestamp,
    /// For machines in which zones; for all when somebody asked for it.
    pub zones: BTreeSet<Zone>,
    /// Everything that came due up to here is decided with it.
    pub decided_until: Timestamp,
    /// Whether somebody asked for it, whatever the schedule's times are.
    pub asked: bool,
}

/// What is to be done about a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing before this instant; nothing ever when there is none.
    Wait(Option<Timestamp>),
    /// Start a run.
    Start(Slot),
    /// Note that it was missed.
    Miss(Slot),
}

/// Decides what is to be done now about a schedule whose machines are in `zones`.
///
/// - What comes due in a maintenance window is held to the window's end, and is one run however
///   often that was. The random delay comes on top, but never so much that a run would begin in
///   the next window or after the next run.
/// - A run that can begin at most a minute late is on time. Whatever is later was missed: it is
///   left out, or all of it is made up for by one run as soon as no window holds it back.
/// - A run that some node had begun to start is started by whoever comes next, however late.
pub fn decide(schedule: &Schedule, zones: &BTreeSet<Zone>, now: Timestamp) -> Decision {
    let course = &schedule.course;
    if let Some(due) = course.asked_at {
        let decided_until = course.decided_until;
        return Decision::Start(Slot { due, zones: zones.clone(), decided_until, asked: true });
    }
    if !schedule.enabled {
        return Decision::Wait(None);
    }
    let plan = Plan { schedule, zones };
    let Some(next) = plan.next(course.decided_until) else { return Decision::Wait(None) };
    if next.begins > now {
        return Decision::Wait(Some(next.begins));
    }
    let slot = |decided_until| plan.slot(&next, decided_until);
    let begun = course.lease.as_ref().is_some_and(|lease| lease.due == next.due);
    if now - next.begins <= ON_TIME {
        return Decision::Start(slot(next.release));
    }
    match schedule.missed_runs {
        MissedPolicy::Skip if begun => Decision::Start(slot(next.release)),
        MissedPolicy::Skip => Decision::Miss(slot(plan.pass(course.decided_until, now - ON_TIME))),
        MissedPolicy::RunOnce => match schedule.windows.open_from(now) {
            open if open > now && !begun => Decision::Wait(Some(open)),
            _ => Decision::Start(slot(now)),
        },
    }
}

/// When the next runs begin, at most `number`, as far as it can be known now.
pub fn next_runs(
    schedule: &Schedule,
    zones: &BTreeSet<Zone>,
    now: Timestamp,
    number: usize,
) -> Vec<Timestamp> {
    if !schedule.enabled {
        return Vec::new();
    }
    let plan = Plan { schedule, zones };
    let mut after = plan.pass(schedule.course.decided_until, now);
    std::iter::from_fn(|| {
        let next = plan.next(after)?;
        after = next.release;
        Some(next.begins)
    })
    .take(number)
    .collect()
}

/// The next run.
#[derive(Debug)]
struct Next {
    /// When it comes due.
    due: Timestamp,
    /// When no window holds it back any more.
    release: Timestamp,
    /// When it is to begin, its random delay over.
    begins: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Plan<'a> {
    schedule: &'a Schedule,
    zones: &'a BTreeSet<Zone>,
}

impl Plan<'_> {
    /// The next run when all that came due up to `after` is decided.
    fn next(self, after: Timestamp) -> Option<Next> {
        let windows = &self.schedule.windows;
        let due = self.schedule.timing.next(after, self.zones)?;
        let release = windows.open_from(due);
        let delayed = release + self.delay(due, release);
        let begins = if windows.is_open(delayed) { delayed } else { release };
        Some(Next { due, release, begins })
    }

    /// The random delay of a run, in whole seconds: the same each time it is asked for, and less
    /// than there is until the next run.
    fn delay(self, due: Timestamp, release: Timestamp) -> TimeDelta {
        let jitter = self.schedule.jitter;
        if jitter.is_zero() {
            return TimeDelta::zero();
        }
        let next = self.schedule.timing.next(release, self.zones);
        let room =
            next.and_then(|next| (self.schedule.windows.open_from(next) - release).to_std().ok());
        let room = room.map_or(jitter, |room| room.min(jitter));
        let id = self.schedule.id.as_uuid().as_u128();
        let draw = mixed(id ^ u128::from(due.timestamp_micros().unsigned_abs()));
        TimeDelta::from_std(part(room, draw)).unwrap_or_default()
    }

    fn slot(self, next: &Next, decided_until: Timestamp) -> Slot {
        let after = self.schedule.course.decided_until;
        let timing = &self.schedule.timing;
        let comes_due =
            |zone: &&Zone| timing.next_in(after, **zone).is_some_and(|due| due <= decided_until);
        let zones = self.zones.iter().filter(comes_due).copied().collect();
        Slot { due: next.due, zones, decided_until, asked: false }
    }

    /// Up to where everything is decided when the runs that were to begin before `limit` are
    /// passed over.
    fn pass(self, after: Timestamp, limit: Timestamp) -> Timestamp {
        let jitter = TimeDelta::from_std(self.schedule.jitter).unwrap_or_default();
        // What is released so long before was to begin before, too.
        let far = self.schedule.windows.open_until(limit - jitter - TimeDelta::microseconds(1));
        let mut decided = after.max(far);
        for _ in 0..PASSED_AT_ONCE {
            match self.next(decided) {
                Some(next) if next.begins < limit => decided = next.release,
                _ => break,
            }
        }
        decided
    }
}

/// `SplitMix64` of both halves: neighbours get numbers that have nothing to do with each other.
fn mixed(seed: u128) -> u64 {
    let mix = |word: u64| {
        let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    let half = |part: u128| u64::try_from(part & u128::from(u64::MAX)).unwrap_or(0);
    mix(half(seed) ^ mix(half(seed >> 64)))
}

/// The `draw`th part of 2^64 of a time, in whole seconds.
fn part(whole: Duration, draw: u64) -> Duration {
    let seconds = (u128::from(whole.as_secs()) * u128::from(draw)) >> 64;
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests;
