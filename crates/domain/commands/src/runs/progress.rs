//! What a run does next: the whole order of a run is decided here, from nothing but its strategy
//! and how far its machines are. So a run goes on after a restart as if there had been none.

use super::run::{RunStatus, StopReason, Tally};
use super::wish::Strategy;

/// What a run does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Wait for machines.
    Wait,
    /// Let so many more begin.
    Release(u32),
    /// Let no other machine begin: cancel all that have not.
    Stop(StopReason),
    /// It is over.
    End(RunStatus),
}

/// What a run of this `strategy` does next when its machines are as far as `tally` says. `stop` is
/// why no other machine begins, `paused` whether somebody wants none to for now.
///
/// - The first `canary` machines go first; the others only when all of these have completed.
/// - When more than `max_failures` machines have failed, no other one begins.
/// - At most `max_concurrency` are under way. Without it, `max_failures` bounds them as well: never
///   so many at once that more than one beyond it could fail.
pub fn next_step(
    strategy: &Strategy,
    tally: &Tally,
    stop: Option<StopReason>,
    paused: bool,
) -> Step {
    if tally.open() == 0 {
        return Step::End(match stop {
            Some(StopReason::Cancelled) => RunStatus::Cancelled,
            None if tally.unsuccessful() == 0 => RunStatus::Completed,
            _ => RunStatus::Failed,
        });
    }
    if let Some(reason) = stop {
        // Those that were held or pending when it was stopped may have been missed by a crash.
        return if tally.held > 0 { Step::Stop(reason) } else { Step::Wait };
    }
    if strategy.max_failures.is_some_and(|most| tally.failed > most) {
        return Step::Stop(StopReason::TooManyFailures);
    }
    let released = tally.total() - tally.held;
    let canary = strategy.canary.filter(|canary| released <= *canary);
    if canary.is_some() && tally.unsuccessful() > 0 {
        return Step::Stop(StopReason::CanaryFailed);
    }
    if paused {
        return Step::Wait;
    }
    let mut room = most_under_way(strategy, tally).saturating_sub(tally.in_flight());
    if let Some(canary) = canary.filter(|canary| tally.completed < *canary) {
        room = room.min(canary - released);
    }
    match room.min(tally.held) {
        0 => Step::Wait,
        room => Step::Release(room),
    }
}

fn most_under_way(strategy: &Strategy, tally: &Tally) -> u32 {
    match (strategy.max_concurrency, strategy.max_failures) {
        (Some(most), _) => most.max(1),
        (None, Some(failures)) => failures.saturating_sub(tally.failed).saturating_add(1),
        (None, None) => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::super::wish::Strategy;
    use super::*;
    use proptest::prelude::{Strategy as Generate, *};

    fn strategy() -> impl Generate<Value = Strategy> {
        let some = |range: std::ops::Range<u32>| prop::option::of(range);
        (some(1..6), some(1..6), some(0..4)).prop_map(|(max_concurrency, canary, max_failures)| {
            Strategy { max_concurrency, canary, max_failures }
        })
    }

    /// A run in which machines end as `ends` says: each picks one that is under way, and how.
    struct Played {
        tally: Tally,
        stop: Option<StopReason>,
        /// The most that were under way at a time, and how many ever began.
        peak: u32,
        began: u32,
        /// How many began while one of the first had not completed.
        began_in_canary: u32,
        status: Option<RunStatus>,
    }

    fn play(strategy: &Strategy, total: u32, ends: &[(u8, bool)]) -> Played {
        let mut played = Played {
            tally: Tally { held: total, ..Tally::default() },
            stop: None,
            peak: 0,
            began: 0,
            began_in_canary: 0,
            status: None,
        };
        let mut ends = ends.iter().cycle();
        for _ in 0..total * 20 + 20 {
            let tally = &mut played.tally;
            match next_step(strategy, tally, played.stop, false) {
                Step::Release(number) => {
                    tally.held -= number;
                    tally.pending += number;
                    played.began += number;
                    if tally.completed < strategy.canary.unwrap_or(0) {
                        played.began_in_canary += number;
                    }
                    played.peak = played.peak.max(tally.in_flight());
                }
                Step::Stop(reason) => {
                    played.stop = Some(reason);
                    tally.cancelled += std::mem::take(&mut tally.held);
                }
                Step::End(status) => {
                    played.status = Some(status);
                    break;
                }
                Step::Wait => {}
            }
            let tally = &mut played.tally;
            if tally.in_flight() > 0 {
                let (how, starts_first) = ends.next().copied().unwrap_or_default();
                if starts_first && tally.pending > 0 {
                    tally.pending -= 1;
                    tally.running += 1;
                } else {
                    let from =
                        if tally.running > 0 { &mut tally.running } else { &mut tally.pending };
                    *from -= 1;
                    match how {
                        0..=5 => tally.completed += 1,
                        6..=7 => tally.failed += 1,
                        8 => tally.expired += 1,
                        _ => tally.cancelled += 1,
                    }
                }
            }
        }
        played
    }

    proptest! {
        #[test]
        fn every_run_ends_whatever_its_machines_do(
            strategy in strategy(),
            total in 1..40_u32,
            ends in prop::collection::vec((0..10_u8, any::<bool>()), 1..60),
        ) {
            prop_assume!(ends.iter().any(|(_, starts)| !starts));
            let played = play(&strategy, total, &ends);
            let status = played.status;
            prop_assert!(status.is_some_and(RunStatus::is_end), "{:?}", played.tally);
            prop_assert_eq!(played.tally.total(), total);
            let all_good = played.tally.completed == total;
            prop_assert_eq!(status == Some(RunStatus::Completed), all_good);
        }

        #[test]
        fn no_machine_begins_beyond_what_the_strategy_allows(
            strategy in strategy(),
            total in 1..40_u32,
            ends in prop::collection::vec((0..10_u8, any::<bool>()), 1..60),
        ) {
            let played = play(&strategy, total, &ends);
            if let Some(most) = strategy.max_concurrency {
                prop_assert!(played.peak <= most);
            }
            if let Some(canary) = strategy.canary {
                prop_assert!(played.began_in_canary <= canary);
            }
            if let Some(most) = strategy.max_failures {
                let together = strategy.max_concurrency.unwrap_or(1);
                prop_assert!(played.tally.failed <= most + together);
            }
            if strategy == Strategy::default() {
                prop_assert_eq!(played.began, total);
            }
        }

        #[test]
        fn a_run_that_was_stopped_lets_nobody_begin(
            strategy in strategy(),
            held in 0..9_u32,
            pending in 0..9_u32,
            completed in 0..9_u32,
            failed in 0..9_u32,
            paused in any::<bool>(),
        ) {
            let tally = Tally { held, pending, completed, failed, ..Tally::default() };
            for reason in StopReason::ALL {
                let step = next_step(&strategy, &tally, Some(*reason), paused);
                prop_assert!(!matches!(step, Step::Release(_)));
            }
            let step = next_step(&strategy, &tally, None, true);
            prop_assert!(!matches!(step, Step::Release(_)));
        }
    }

    #[test]
    fn the_others_wait_for_the_first_machines_to_complete() {
        let strategy = Strategy { canary: Some(2), ..Strategy::default() };
        let step = |tally: Tally| next_step(&strategy, &tally, None, false);
        assert_eq!(step(Tally { held: 10, ..Tally::default() }), Step::Release(2));
        assert_eq!(step(Tally { held: 8, pending: 2, ..Tally::default() }), Step::Wait);
        let half = Tally { held: 8, running: 1, completed: 1, ..Tally::default() };
        assert_eq!(step(half), Step::Wait);
        let good = Tally { held: 8, completed: 2, ..Tally::default() };
        assert_eq!(step(good), Step::Release(8));
        let bad = Tally { held: 8, running: 1, failed: 1, ..Tally::default() };
        assert_eq!(step(bad), Step::Stop(StopReason::CanaryFailed));
        let late = Tally { held: 8, completed: 1, expired: 1, ..Tally::default() };
        assert_eq!(step(late), Step::Stop(StopReason::CanaryFailed));
    }

    #[test]
    fn more_failures_than_may_be_stop_a_run() {
        let strategy =
            Strategy { max_failures: Some(1), max_concurrency: Some(5), ..Strategy::default() };
        let tally = |failed| Tally { held: 5, failed, ..Tally::default() };
        assert_eq!(next_step(&strategy, &tally(1), None, false), Step::Release(5));
        let stop = Step::Stop(StopReason::TooManyFailures);
        assert_eq!(next_step(&strategy, &tally(2), None, false), stop);
    }

    #[test]
    fn a_bound_on_failures_alone_bounds_how_many_are_under_way() {
        let strategy = Strategy { max_failures: Some(2), ..Strategy::default() };
        let tally = Tally { held: 10, ..Tally::default() };
        assert_eq!(next_step(&strategy, &tally, None, false), Step::Release(3));
        let tally = Tally { held: 7, pending: 1, failed: 1, completed: 1, ..Tally::default() };
        assert_eq!(next_step(&strategy, &tally, None, false), Step::Release(1));
    }
}
