//! What happens to a command, and the one function that decides what follows from it.

use std::time::Duration;

use muster_kernel::Timestamp;

use crate::command::{Command, End, Failure, Outcome, OutputBytes, OutputStream, State};

/// `failure.code` of a command whose agent died while it ran.
pub const INTERRUPTED: &str = "INTERRUPTED";
/// `failure.detail` of a command that the server gave up.
const UNHEARD: &str = "nothing was heard of it in time; how far the command came is unknown";

/// Something that happened to a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Its run lets it go.
    Released {
        /// When.
        at: Timestamp,
    },
    /// It is being handed to a connection: from now on the agent may have it.
    Dispatched {
        /// When.
        at: Timestamp,
    },
    /// The agent has it in its journal.
    Accepted {
        /// When the server learnt of it.
        at: Timestamp,
    },
    /// Its process runs.
    Started {
        /// Since when.
        at: Timestamp,
        /// Its process id.
        pid: Option<u32>,
    },
    /// It is being given to an agent that keeps no journal, which has it from now on and is not given
    /// it again.
    Entrusted {
        /// When.
        at: Timestamp,
    },
    /// The agent reports the end.
    Finished(Report),
    /// Somebody wants it to end.
    CancelRequested {
        /// When.
        at: Timestamp,
    },
    /// The agent no longer knows a command that it had accepted: its journal is lost.
    Lost {
        /// When the server learnt of it.
        at: Timestamp,
    },
    /// An agent that keeps no journal has said nothing of a command for too long.
    Unheard {
        /// When the server gave it up.
        at: Timestamp,
    },
    /// Its time to begin is over.
    Expired {
        /// When the server noticed.
        at: Timestamp,
    },
    /// Its agent was removed.
    AgentRemoved {
        /// When the server noticed.
        at: Timestamp,
    },
}

/// The agent's word on how a command ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How.
    pub outcome: Outcome,
    /// When the server learnt of it.
    pub at: Timestamp,
    /// The process's exit code, when it had one.
    pub exit_code: Option<i32>,
    /// From the start of the process to its end.
    pub execution_time: Option<Duration>,
    /// What the process wrote, also what was not kept.
    pub written: OutputBytes,
}

/// What a chunk of output means beside what is kept already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Append {
    /// It goes on where the stream ends, after `skip` bytes that are kept already.
    From {
        /// How many of its bytes to leave out.
        skip: usize,
    },
    /// All of it is kept already.
    Known,
    /// Bytes are missing in between: the peer has broken the protocol.
    Gap,
}

impl Command {
    /// Takes `event` in and says whether that changed anything. The same event again never does,
    /// and what has ended stays as it ended, save that the agent's own word on a command outweighs
    /// the server's belief that it expired.
    pub fn apply(&mut self, event: &Event) -> bool {
        match event {
            Event::Released { .. } => {
                let held = self.held && self.end().is_none();
                self.held = false;
                held
            }
            Event::Dispatched { at } => self.dispatch(*at),
            Event::Accepted { at } => match &mut self.state {
                State::Pending { accepted_at: accepted_at @ None } => {
                    *accepted_at = Some(*at);
                    self.dispatched_at.get_or_insert(*at);
                    true
                }
                State::Pending { .. } | State::Running { .. } | State::Ended { .. } => false,
            },
            Event::Started { at, pid } => match self.state {
                State::Pending { .. } => {
                    self.dispatched_at.get_or_insert(*at);
                    self.state = State::Running { started_at: *at, pid: *pid };
                    true
                }
                State::Running { .. } | State::Ended { .. } => false,
            },
            Event::Entrusted { at } => self.entrust(*at),
            Event::Finished(report) => self.finish(report),
            Event::CancelRequested { at } => self.request_cancel(*at),
            Event::Lost { at } => {
                if matches!(self.state, State::Ended { .. }) {
                    return false;
                }
                let detail = "the agent's journal was lost; how far the command came is unknown";
                self.interrupt(detail, *at)
            }
            Event::Unheard { at } => self.end().is_none() && self.interrupt(UNHEARD, *at),
            Event::Expired { at } => match self.state {
                State::Pending { accepted_at: None } => {
                    let cancelled = self.cancel_requested_at.is_some();
                    let outcome = if cancelled { Outcome::Cancelled } else { Outcome::Expired };
                    self.end_with(outcome, *at)
                }
                State::Pending { .. } | State::Running { .. } | State::Ended { .. } => false,
            },
            Event::AgentRemoved { at } => match self.state {
                State::Pending { accepted_at: None } => self.end_with(Outcome::Cancelled, *at),
                State::Ended { .. } => false,
                State::Pending { .. } | State::Running { .. } => {
                    self.interrupt("the agent was removed while it had the command", *at)
                }
            },
        }
    }

    /// Whether the agent could still correct how the command ended: the server only believes that
    /// a command expired which an agent out of reach may have had, or that one was interrupted of
    /// which it heard nothing.
    pub fn awaits_the_agents_word(&self) -> bool {
        let believed = self.end().is_some_and(|end| match &end.outcome {
            Outcome::Expired => true,
            Outcome::Failed(failure) => failure.detail.as_deref() == Some(UNHEARD),
            Outcome::Completed | Outcome::Cancelled => false,
        });
        believed && self.dispatched_at.is_some()
    }

    /// What to do with `length` bytes that begin at `offset` of `stream`.
    pub fn place(&self, stream: OutputStream, offset: u64, length: usize) -> Append {
        let kept = self.output.of(stream);
        match kept.checked_sub(offset) {
            None => Append::Gap,
            Some(known) => match usize::try_from(known) {
                Ok(skip) if skip < length => Append::From { skip },
                Ok(_) | Err(_) => Append::Known,
            },
        }
    }

    /// Counts `length` bytes more of `stream` as kept.
    pub fn keep(&mut self, stream: OutputStream, length: usize) {
        let kept = self.output.of_mut(stream);
        *kept = kept.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }

    fn dispatch(&mut self, at: Timestamp) -> bool {
        let free = !self.held && self.dispatched_at.is_none();
        let first = free && !matches!(self.state, State::Ended { .. });
        if first {
            self.dispatched_at = Some(at);
        }
        first
    }

    /// Gives it to an agent that has it then: only if nobody has it, and it is still wanted.
    fn entrust(&mut self, at: Timestamp) -> bool {
        let free = matches!(self.state, State::Pending { accepted_at: None });
        let wanted = !self.held && self.cancel_requested_at.is_none() && at < self.expires_at;
        if !(free && wanted) {
            return false;
        }
        self.dispatched_at.get_or_insert(at);
        self.state = State::Running { started_at: at, pid: None };
        true
    }

    fn interrupt(&mut self, detail: &str, at: Timestamp) -> bool {
        let failure = Failure { code: INTERRUPTED.into(), detail: Some(detail.to_owned()) };
        self.end_with(Outcome::Failed(failure), at)
    }

    fn finish(&mut self, report: &Report) -> bool {
        if self.end().is_some() && !self.awaits_the_agents_word() {
            return false;
        }
        let end = End {
            outcome: report.outcome.clone(),
            at: report.at,
            exit_code: report.exit_code,
            execution_time: report.execution_time,
            written: report.written,
        };
        // A second word on what expired counts only if it says something else.
        if self.end().is_some_and(|known| known.outcome == end.outcome) {
            return false;
        }
        self.state = State::Ended { started_at: self.started_at(), end };
        true
    }

    fn request_cancel(&mut self, at: Timestamp) -> bool {
        if matches!(self.state, State::Ended { .. }) || self.cancel_requested_at.is_some() {
            return false;
        }
        self.cancel_requested_at = Some(at);
        // Nobody has it yet, so nobody can have begun: it is over here and now.
        if self.dispatched_at.is_none() {
            return self.end_with(Outcome::Cancelled, at);
        }
        true
    }

    fn end_with(&mut self, outcome: Outcome, at: Timestamp) -> bool {
        let end = End { outcome, at, exit_code: None, execution_time: None, written: self.output };
        self.state = State::Ended { started_at: self.started_at(), end };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;
    use crate::testing::{command, completed, noon};
    use chrono::TimeDelta;
    use proptest::prelude::*;

    fn event() -> impl Strategy<Value = Event> {
        (0..11_u8, 0..100_i64).prop_map(|(kind, seconds)| {
            let at = noon() + TimeDelta::seconds(seconds);
            match kind {
                0 => Event::Dispatched { at },
                1 => Event::Accepted { at },
                2 => Event::Started { at, pid: Some(7) },
                3 => Event::Finished(completed(at)),
                4 => Event::CancelRequested { at },
                5 => Event::Lost { at },
                6 => Event::Expired { at },
                7 => Event::Entrusted { at },
                8 => Event::Unheard { at },
                9 => Event::Finished(Report { outcome: Outcome::Expired, ..completed(at) }),
                _ => Event::AgentRemoved { at },
            }
        })
    }

    fn after(events: &[Event]) -> Command {
        let mut command = command(1);
        for event in events {
            command.apply(event);
        }
        command
    }

    proptest! {
        #[test]
        fn the_same_event_again_changes_nothing(events in prop::collection::vec(event(), 1..12)) {
            let mut command = after(&events);
            let before = command.clone();
            if let Some(last) = events.last() {
                prop_assert!(!command.apply(last));
            }
            prop_assert_eq!(command, before);
        }

        #[test]
        fn what_has_ended_stays_as_it_ended(
            events in prop::collection::vec(event(), 1..12), more in event()
        ) {
            let mut command = after(&events);
            let before = command.clone();
            let corrected = command.apply(&more);
            if before.status().is_end() && !before.awaits_the_agents_word() {
                prop_assert!(!corrected);
                prop_assert_eq!(command, before);
            }
        }

        #[test]
        fn a_change_is_told_if_and_only_if_there_is_one(
            events in prop::collection::vec(event(), 0..12), more in event()
        ) {
            let mut command = after(&events);
            let before = command.clone();
            prop_assert_eq!(command.apply(&more), command != before);
        }

        #[test]
        fn a_command_that_nobody_had_never_counts_as_run(
            events in prop::collection::vec(event(), 0..12)
        ) {
            let command = after(&events);
            if command.dispatched_at.is_none() && !events.iter().any(|e| matches!(e, Event::Finished(_))) {
                prop_assert!(!matches!(command.status(), Status::Running | Status::Completed));
            }
        }

        #[test]
        fn a_command_is_entrusted_once_and_only_while_it_is_wanted(
            events in prop::collection::vec(event(), 0..12), seconds in 0..100_i64
        ) {
            let mut command = after(&events);
            let before = command.clone();
            let at = noon() + TimeDelta::seconds(seconds);
            if command.apply(&Event::Entrusted { at }) {
                prop_assert_eq!(before.status(), Status::Pending);
                prop_assert!(!before.is_accepted() && before.cancel_requested_at.is_none());
                prop_assert!(at < before.expires_at);
                let again = command.apply(&Event::Entrusted { at });
                prop_assert!(!again);
            }
        }

        #[test]
        fn output_placed_in_any_order_and_overlap_is_kept_once(
            chunks in prop::collection::vec((0_u8..40, 1_u8..20), 0..60)
        ) {
            let mut command = command(1);
            for (offset, length) in chunks {
                let (offset, end) = (u64::from(offset), u64::from(offset) + u64::from(length));
                let length = usize::from(length);
                let kept = command.output.stdout;
                match command.place(OutputStream::Stdout, offset, length) {
                    Append::Gap => prop_assert!(offset > kept),
                    Append::Known => prop_assert!(end <= kept),
                    Append::From { skip } => {
                        command.keep(OutputStream::Stdout, length - skip);
                        prop_assert_eq!(command.output.stdout, end);
                    }
                }
            }
        }
    }

    #[test]
    fn a_command_nobody_has_is_cancelled_at_once() {
        let command = after(&[Event::CancelRequested { at: noon() }]);
        assert_eq!(command.status(), Status::Cancelled);
    }

    #[test]
    fn a_command_that_an_agent_may_have_waits_for_the_agent_to_be_cancelled() {
        let at = noon();
        let mut command = after(&[Event::Dispatched { at }, Event::CancelRequested { at }]);
        assert_eq!(command.status(), Status::Pending);
        command.apply(&Event::Expired { at });
        assert_eq!(command.status(), Status::Cancelled, "the agent never came for it");
    }

    #[test]
    fn a_result_that_comes_after_the_deadline_still_counts() {
        let at = noon();
        let late =
            [Event::Dispatched { at }, Event::Expired { at }, Event::Finished(completed(at))];
        assert_eq!(after(&late).status(), Status::Completed);
    }

    #[test]
    fn a_running_command_does_not_expire() {
        let at = noon();
        let running = after(&[Event::Started { at, pid: None }, Event::Expired { at }]);
        assert_eq!(running.status(), Status::Running);
    }

    #[test]
    fn a_lost_journal_ends_the_command_as_interrupted() {
        let at = noon();
        let lost = after(&[Event::Accepted { at }, Event::Lost { at }]);
        let failed =
            |end: &End| matches!(&end.outcome, Outcome::Failed(f) if f.code == INTERRUPTED);
        assert!(lost.end().is_some_and(failed));
    }
}
