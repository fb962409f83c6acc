//! News of commands: every command that somebody listens to has a channel of its own. A listener
//! that takes its news too slowly is told that it missed some, and nobody waits for it.

use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use futures_util::{StreamExt, stream};
use muster_commands::{Command, CommandFeed, Heard, Notice, Subscription};
use muster_kernel::CommandId;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How many notices a listener may be behind.
const BACKLOG: usize = 64;

type Channels = DashMap<CommandId, broadcast::Sender<Arc<Notice>>>;

/// News of commands within one process.
#[derive(Debug, Default)]
pub struct LocalFeed {
    channels: Arc<Channels>,
}

/// A listener; its channel goes when the last one goes.
struct Listener {
    id: CommandId,
    receiver: Option<broadcast::Receiver<Arc<Notice>>>,
    channels: Arc<Channels>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.receiver.take());
        self.channels.remove_if(&self.id, |_, sender| sender.receiver_count() == 0);
    }
}

impl CommandFeed for LocalFeed {
    fn publish(&self, command: &Arc<Command>, notice: Notice) {
        if let Some(sender) = self.channels.get(&command.id) {
            let _ = sender.send(Arc::new(notice));
        }
    }

    fn subscribe(&self, id: CommandId) -> Subscription {
        let receiver = match self.channels.entry(id) {
            Entry::Occupied(entry) => entry.get().subscribe(),
            Entry::Vacant(entry) => {
                let (sender, receiver) = broadcast::channel(BACKLOG);
                entry.insert(sender);
                receiver
            }
        };
        let channels = Arc::clone(&self.channels);
        let listener = Listener { id, receiver: Some(receiver), channels };
        let next = |mut listener: Listener| async move {
            match listener.receiver.as_mut()?.recv().await {
                Ok(notice) => Some((Heard::Notice(notice), listener)),
                Err(RecvError::Lagged(_)) => Some((Heard::Missed, listener)),
                Err(RecvError::Closed) => None,
            }
        };
        stream::unfold(listener, next).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use muster_commands::OutputStream;
    use muster_commands::testing::command;

    fn output(offset: u64) -> Notice {
        Notice::Output { stream: OutputStream::Stdout, offset, bytes: Bytes::from_static(b"x") }
    }

    #[tokio::test]
    async fn a_listener_hears_its_own_command_in_order() {
        let feed = LocalFeed::default();
        let (one, other) = (Arc::new(command(1)), Arc::new(command(2)));
        let mut news = feed.subscribe(one.id);
        for (about, offset) in [(&one, 0), (&other, 7), (&one, 1)] {
            feed.publish(about, output(offset));
        }
        for expected in [output(0), output(1)] {
            let Some(Heard::Notice(heard)) = news.next().await else { panic!("nothing heard") };
            assert_eq!(*heard, expected);
        }
    }

    #[tokio::test]
    async fn a_listener_that_is_too_slow_is_told_so_and_goes_on() {
        let feed = LocalFeed::default();
        let one = Arc::new(command(1));
        let mut news = feed.subscribe(one.id);
        for offset in 0..100 {
            feed.publish(&one, output(offset));
        }
        assert!(matches!(news.next().await, Some(Heard::Missed)));
        assert!(matches!(news.next().await, Some(Heard::Notice(_))));
    }

    #[tokio::test]
    async fn nothing_is_kept_for_a_command_that_nobody_listens_to() {
        let feed = LocalFeed::default();
        let command = Arc::new(command(1));
        let (one, other) = (feed.subscribe(command.id), feed.subscribe(command.id));
        drop(one);
        assert_eq!(feed.channels.len(), 1);
        drop(other);
        feed.publish(&command, output(0));
        assert!(feed.channels.is_empty());
    }
}
