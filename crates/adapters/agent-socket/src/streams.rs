//! The streams of one connection: which command each belongs to, and how much it may still send.

use std::collections::HashMap;

use muster_kernel::CommandId;

/// How many bytes of a command's output may be on their way at a time.
pub(crate) const WINDOW: u64 = 256 * 1024;
/// Credit is given in pieces of at least this size, so that it costs few frames.
const PIECE: u64 = WINDOW / 4;

#[derive(Debug)]
struct Stream {
    command_id: CommandId,
    /// Bytes that may still come.
    credit: u64,
    /// Bytes that are kept and not yet credited again.
    kept: u64,
}

/// The streams of one connection.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    next: u32,
    by_id: HashMap<u32, Stream>,
    of_command: HashMap<CommandId, u32>,
}

/// The peer sent more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overrun;

impl Streams {
    /// The stream of a command; the same one for the whole connection.
    pub(crate) fn open(&mut self, command_id: CommandId) -> u32 {
        if let Some(id) = self.of_command.get(&command_id) {
            return *id;
        }
        self.next = self.next.wrapping_add(1);
        let stream = Stream { command_id, credit: WINDOW, kept: 0 };
        self.by_id.insert(self.next, stream);
        self.of_command.insert(command_id, self.next);
        self.next
    }

    pub(crate) fn close(&mut self, command_id: CommandId) {
        if let Some(id) = self.of_command.remove(&command_id) {
            self.by_id.remove(&id);
        }
    }

    /// Counts `bytes` that came on the stream `id`, and says for which command they are; `None`
    /// for a stream that is not open.
    pub(crate) fn receive(&mut self, id: u32, bytes: usize) -> Option<Result<CommandId, Overrun>> {
        let stream = self.by_id.get_mut(&id)?;
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        Some(match stream.credit.checked_sub(bytes) {
            Some(rest) => {
                stream.credit = rest;
                Ok(stream.command_id)
            }
            None => Err(Overrun),
        })
    }

    /// Counts `bytes` of the stream `id` as dealt with, and says how much credit to give for it,
    /// if it is worth a frame.
    pub(crate) fn keep(&mut self, id: u32, bytes: usize) -> Option<u64> {
        let stream = self.by_id.get_mut(&id)?;
        stream.kept += u64::try_from(bytes).unwrap_or(0);
        if stream.kept < PIECE {
            return None;
        }
        let credit = std::mem::take(&mut stream.kept);
        stream.credit += credit;
        Some(credit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_commands::testing::command;

    #[test]
    fn a_peer_can_go_on_for_ever_and_never_has_more_on_the_way_than_the_window() {
        let mut streams = Streams::default();
        let id = streams.open(command(1).id);
        let (mut on_the_way, mut may_send, chunk) = (0, WINDOW, 60_000_u64);
        for _ in 0..1000 {
            while may_send >= chunk {
                assert!(matches!(streams.receive(id, 60_000), Some(Ok(_))));
                may_send -= chunk;
                on_the_way += 1;
            }
            assert!(on_the_way * chunk <= WINDOW && on_the_way > 0);
            on_the_way -= 1;
            may_send += streams.keep(id, 60_000).unwrap_or(0);
        }
    }

    #[test]
    fn a_peer_that_sends_more_than_it_may_is_found_out() {
        let mut streams = Streams::default();
        let id = streams.open(command(1).id);
        assert_eq!(streams.receive(id, 256 * 1024 + 1), Some(Err(Overrun)));
        assert_eq!(streams.receive(id + 1, 1), None);
    }

    #[test]
    fn a_command_keeps_its_stream_until_it_is_closed() {
        let mut streams = Streams::default();
        let (one, two) = (command(1).id, command(2).id);
        let first = streams.open(one);
        assert_eq!(streams.open(one), first);
        assert_ne!(streams.open(two), first);
        streams.close(one);
        assert_eq!(streams.receive(first, 1), None);
    }
}
