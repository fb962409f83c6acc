//! What server and agent owe each other after a connection was lost.

use std::collections::BTreeMap;

use muster_kernel::{CommandId, Timestamp};

use crate::{Command, Event};

/// How far a command is in the agent's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Journalled or running.
    Accepted,
    /// Ended; the agent holds the result.
    Finished,
}

/// What the server has to do about one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Take its output and result up where they were left.
    Resume,
    /// Take it up, and tell the agent to end it.
    ResumeAndCancel,
    /// Hand it over (again): the agent does not have it.
    Deliver,
    /// The result is kept: the agent may forget it.
    Acknowledge,
    /// Record what follows from the agent's not having it.
    Record(Closing),
}

/// What follows from an agent's not having a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// It had accepted it: its journal is gone.
    Lost,
    /// It never got it, and now it is cancelled or too late.
    Expired,
}

impl Closing {
    /// The event that records it.
    pub const fn event(self, at: Timestamp) -> Event {
        match self {
            Self::Lost => Event::Lost { at },
            Self::Expired => Event::Expired { at },
        }
    }
}

/// Compares what the server knows (`commands`: all of the agent's that have not ended, and those
/// of the journal's that the server knows at all) with the agent's `journal`. A journalled command
/// that the server does not know is acknowledged: nobody waits for it.
pub fn reconcile(
    commands: &BTreeMap<CommandId, Command>,
    journal: &BTreeMap<CommandId, Progress>,
    now: Timestamp,
) -> Vec<(CommandId, Step)> {
    let journalled = journal.iter().map(|(id, progress)| {
        let step = match (commands.get(id), progress) {
            (None, _) => Step::Acknowledge,
            (Some(command), progress) => journalled(command, *progress),
        };
        (*id, step)
    });
    let missing = commands
        .iter()
        .filter(|(id, command)| !journal.contains_key(id) && !command.status().is_end())
        .map(|(id, command)| (*id, missing(command, now)));
    journalled.chain(missing).collect()
}

fn journalled(command: &Command, progress: Progress) -> Step {
    match (command.end(), progress) {
        // The agent's own word may still correct what the server believed.
        (Some(_), _) if command.awaits_the_agents_word() => Step::Resume,
        (Some(_), Progress::Finished) => Step::Acknowledge,
        (Some(_), Progress::Accepted) => Step::ResumeAndCancel,
        (None, Progress::Accepted) if command.cancel_requested_at.is_some() => {
            Step::ResumeAndCancel
        }
        (None, Progress::Accepted | Progress::Finished) => Step::Resume,
    }
}

fn missing(command: &Command, now: Timestamp) -> Step {
    if command.is_accepted() {
        Step::Record(Closing::Lost)
    } else if command.cancel_requested_at.is_some() || now >= command.expires_at {
        Step::Record(Closing::Expired)
    } else {
        Step::Deliver
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{command, completed, noon};

    /// What is to be done about a command after `events`, with this `progress` at the agent.
    fn step(events: &[Event], progress: Option<Progress>) -> Option<Step> {
        let mut command = command(1);
        for event in events {
            command.apply(event);
        }
        let id = command.id;
        let journal = progress.map(|progress| (id, progress)).into_iter().collect();
        reconcile(&[(id, command)].into(), &journal, noon()).first().map(|(_, step)| *step)
    }

    #[test]
    fn what_the_agent_runs_or_ran_is_taken_up() {
        for event in [Event::Dispatched { at: noon() }, Event::Started { at: noon(), pid: None }] {
            for progress in [Progress::Accepted, Progress::Finished] {
                assert_eq!(step(std::slice::from_ref(&event), Some(progress)), Some(Step::Resume));
            }
        }
    }

    #[test]
    fn what_the_agent_does_not_have_is_delivered_again() {
        assert_eq!(step(&[], None), Some(Step::Deliver));
        assert_eq!(step(&[Event::Dispatched { at: noon() }], None), Some(Step::Deliver));
    }

    #[test]
    fn what_the_agent_lost_is_never_delivered_again() {
        let lost = Some(Step::Record(Closing::Lost));
        assert_eq!(step(&[Event::Accepted { at: noon() }], None), lost);
        assert_eq!(step(&[Event::Started { at: noon(), pid: None }], None), lost);
    }

    #[test]
    fn what_was_cancelled_meanwhile_is_not_delivered() {
        let at = noon();
        let cancelled = [Event::Dispatched { at }, Event::CancelRequested { at }];
        assert_eq!(step(&cancelled, None), Some(Step::Record(Closing::Expired)));
        assert_eq!(step(&cancelled, Some(Progress::Accepted)), Some(Step::ResumeAndCancel));
    }

    #[test]
    fn a_result_that_is_kept_is_acknowledged_and_not_asked_for_again() {
        let done = [Event::Finished(completed(noon()))];
        assert_eq!(step(&done, Some(Progress::Finished)), Some(Step::Acknowledge));
        assert_eq!(step(&done, None), None);
    }

    #[test]
    fn a_command_that_the_server_believed_expired_is_taken_up_when_the_agent_has_it() {
        let expired = [Event::Dispatched { at: noon() }, Event::Expired { at: noon() }];
        for progress in [Progress::Accepted, Progress::Finished] {
            assert_eq!(step(&expired, Some(progress)), Some(Step::Resume));
        }
    }

    #[test]
    fn a_journalled_command_that_nobody_waits_for_is_acknowledged() {
        let id = command(1).id;
        let journal = [(id, Progress::Finished)].into();
        assert_eq!(reconcile(&BTreeMap::new(), &journal, noon()), [(id, Step::Acknowledge)]);
    }
}
