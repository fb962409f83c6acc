//! What a machine must not forget: as a real agent's journal, but in memory, so that it lives as
//! long as the swarm does and through any number of connections.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use muster_protocol::{CommandProgress, JournalEntry, Outcome, ResumePoint};
use tokio::time::Instant;
use uuid::Uuid;

/// How many commands that are over and done with are remembered, so that none of them begins again.
const FORGOTTEN: usize = 64;

/// A command that the server has not acknowledged as finished.
#[derive(Debug)]
pub(crate) struct Work {
    /// When its order came for the first time.
    pub(crate) since: Instant,
    /// When it ends, or ended.
    pub(crate) ends: Instant,
    /// How it will end.
    pub(crate) outcome: Outcome,
    /// Whether it has ended.
    pub(crate) over: bool,
    /// How it is sent on this connection; `None` before the server has said.
    pub(crate) sending: Option<Sending>,
}

/// How output goes over one connection.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) stream_id: u32,
    pub(crate) sent: u64,
    pub(crate) credit: u64,
    pub(crate) said: bool,
}

/// What became of an order to run something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is new and begins.
    New,
    /// It is known already.
    Known,
    /// It is over and done with.
    Forgotten,
}

/// The commands of one machine.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    open: BTreeMap<Uuid, Work>,
    forgotten: VecDeque<Uuid>,
}

impl Journal {
    /// What the server is told at the begin of a connection; nothing is on its way any more.
    pub(crate) fn entries(&mut self) -> Vec<JournalEntry> {
        let tell = |(id, work): (&Uuid, &mut Work)| {
            work.sending = None;
            let progress =
                if work.over { CommandProgress::Finished } else { CommandProgress::Accepted };
            JournalEntry { command_id: *id, progress }
        };
        self.open.iter_mut().map(tell).collect()
    }

    /// Takes an order in; `work` is what it becomes if it is new.
    pub(crate) fn take(&mut self, id: Uuid, work: impl FnOnce() -> Work) -> Taken {
        if self.forgotten.contains(&id) {
            return Taken::Forgotten;
        }
        match self.open.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert(work());
                Taken::New
            }
            Entry::Occupied(_) => Taken::Known,
        }
    }

    /// Output of the command goes over this stream from now on.
    pub(crate) fn assign(&mut self, id: Uuid, stream_id: u32, sent: u64, credit: u64) {
        if let Some(work) = self.open.get_mut(&id) {
            work.sending.get_or_insert(Sending { stream_id, sent, credit, said: false });
        }
    }

    /// Output goes on where the server says.
    pub(crate) fn resume(&mut self, point: &ResumePoint, credit: u64) {
        self.assign(point.command_id, point.stream_id, point.stdout_bytes, credit);
    }

    pub(crate) fn get_mut(&mut self, id: Uuid) -> Option<&mut Work> {
        self.open.get_mut(&id)
    }

    /// Gives credit; says to which command.
    pub(crate) fn credit(&mut self, stream_id: u32, bytes: u64) -> Option<Uuid> {
        self.open.iter_mut().find_map(|(id, work)| {
            let sending = work.sending.as_mut().filter(|sending| sending.stream_id == stream_id)?;
            sending.credit = sending.credit.saturating_add(bytes);
            Some(*id)
        })
    }

    /// When the next command ends.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.open.values().filter(|work| !work.over).map(|work| work.ends).min()
    }

    /// Ends what has to have ended by `now`.
    pub(crate) fn end(&mut self, now: Instant) -> Vec<Uuid> {
        let due = |(id, work): (&Uuid, &mut Work)| {
            let due = !work.over && work.ends <= now;
            work.over |= due;
            due.then_some(*id)
        };
        self.open.iter_mut().filter_map(due).collect()
    }

    /// Commands that have something to send, or nothing but their beginning.
    pub(crate) fn ids(&self) -> Vec<Uuid> {
        self.open.keys().copied().collect()
    }

    /// The server has the result; says since when the command was there.
    pub(crate) fn forget(&mut self, id: Uuid) -> Option<Instant> {
        let work = self.open.remove(&id)?;
        if self.forgotten.len() == FORGOTTEN {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back(id);
        Some(work.since)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn work(takes: u64) -> Work {
        let since = Instant::now();
        let ends = since + Duration::from_secs(takes);
        Work { since, ends, outcome: Outcome::Completed, over: false, sending: None }
    }

    #[test]
    fn a_command_begins_once_however_often_it_is_ordered() {
        let (mut journal, id) = (Journal::default(), Uuid::from_u128(1));
        assert_eq!(journal.take(id, || work(0)), Taken::New);
        assert_eq!(journal.take(id, || work(0)), Taken::Known);
        assert!(journal.forget(id).is_some());
        assert_eq!(journal.take(id, || work(0)), Taken::Forgotten);
        assert!(journal.forget(id).is_none());
    }

    #[test]
    fn what_was_not_acknowledged_is_told_on_the_next_connection() {
        let mut journal = Journal::default();
        let (done, running) = (Uuid::from_u128(1), Uuid::from_u128(2));
        journal.take(done, || work(0));
        journal.take(running, || work(60));
        journal.assign(done, 1, 0, 100);
        assert_eq!(journal.end(Instant::now()), [done]);
        let told: Vec<_> = journal.entries().iter().map(|entry| entry.progress).collect();
        assert_eq!(told, [CommandProgress::Finished, CommandProgress::Accepted]);
        assert!(journal.get_mut(done).unwrap().sending.is_none(), "the stream was another one");
    }

    #[test]
    fn credit_goes_to_the_command_of_the_stream() {
        let (mut journal, id) = (Journal::default(), Uuid::from_u128(1));
        journal.take(id, || work(0));
        journal.assign(id, 7, 3, 100);
        assert_eq!(journal.credit(8, 5), None);
        assert_eq!(journal.credit(7, 5), Some(id));
        let sending = journal.get_mut(id).unwrap().sending.as_ref().unwrap();
        assert_eq!((sending.sent, sending.credit), (3, 105));
    }
}
