//! Commands and events on their way to a commit.
//!
//! Entries of all callers wait in one queue. A write job takes everything that is in the queue
//! when its turn comes, reads the commands concerned by one statement, lets the domain decide
//! entry by entry, and writes each command once, however much happened to it. So one commit
//! carries what came while the last one was under way.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_commands::{Command, CommandLedger, Entry, Once, Recorded, Recording, Submitted};
use muster_kernel::{AgentId, Author, CommandId, StorageError, TRACES};
use parking_lot::Mutex;
use sea_orm::DbErr;
use tokio::sync::oneshot;
use tracing::{Instrument, trace_span};

use super::SeaCommands;
use super::batch::{self, Written};
use super::transitions;
use crate::DatabaseError;

/// How long an entry that can wait does so, for a commit that somebody else pays for.
const PATIENCE: Duration = Duration::from_millis(20);

type Reply<T> = oneshot::Sender<Result<T, StorageError>>;

/// What waits for the next commit.
#[derive(Default)]
pub(super) struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    work: Work,
    replies: Replies,
    /// Whether a write job is on its way that will take everything.
    called: bool,
    /// Whether a timer runs that will call one.
    timed: bool,
}

/// What is to be written. Nobody reports on a command before it was committed, so submissions go
/// first.
#[derive(Default)]
pub(super) struct Work {
    pub(super) submissions: Vec<(Command, Option<Once>, Author)>,
    pub(super) entries: Vec<(AgentId, CommandId, Entry)>,
}

/// Who is told, in the order of the work.
#[derive(Default)]
struct Replies {
    submitted: Vec<Reply<Submitted>>,
    recorded: Vec<Reply<Option<Recorded>>>,
}

impl Replies {
    fn send(self, outcome: Result<Written, StorageError>) {
        match outcome {
            Ok(written) => {
                for (reply, submitted) in self.submitted.into_iter().zip(written.submitted) {
                    let _ = reply.send(Ok(submitted));
                }
                for (reply, recorded) in self.recorded.into_iter().zip(written.recorded) {
                    let _ = reply.send(Ok(recorded));
                }
            }
            Err(error) => {
                for reply in self.submitted {
                    let _ = reply.send(Err(error.clone()));
                }
                for reply in self.recorded {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    fn take(&self) -> (Work, Replies) {
        let mut waiting = self.0.lock();
        waiting.called = false;
        (std::mem::take(&mut waiting.work), std::mem::take(&mut waiting.replies))
    }

    /// Says that a write job is on its way, unless one is already; answers whether to send one.
    fn call(waiting: &mut Waiting) -> bool {
        !std::mem::replace(&mut waiting.called, true)
    }
}

#[async_trait]
impl CommandLedger for SeaCommands {
    async fn submit(
        &self,
        command: Command,
        once: Option<Once>,
        author: Author,
    ) -> Result<Submitted, StorageError> {
        let span = trace_span!(
            target: TRACES, "command.submit",
            muster.command_id = %command.id, muster.agent_id = %command.agent_id,
        );
        let (reply, answer) = oneshot::channel();
        let send = {
            let mut waiting = self.queue.0.lock();
            waiting.work.submissions.push((command, once, author));
            waiting.replies.submitted.push(reply);
            Queue::call(&mut waiting)
        };
        if send {
            self.send_job();
        }
        answer.instrument(span).await.unwrap_or_else(|_| Err(stopped()))
    }

    fn record(&self, agent_id: AgentId, id: CommandId, entry: Entry) -> Recording {
        let (reply, answer) = oneshot::channel();
        let can_wait = entry.can_wait();
        let (send, wait) = {
            let mut waiting = self.queue.0.lock();
            waiting.work.entries.push((agent_id, id, entry));
            waiting.replies.recorded.push(reply);
            let wait = can_wait && !waiting.called && !std::mem::replace(&mut waiting.timed, true);
            (!can_wait && Queue::call(&mut waiting), wait)
        };
        if send {
            self.send_job();
        }
        if wait {
            tokio::spawn(self.clone().send_job_soon());
        }
        async move { answer.await.unwrap_or_else(|_| Err(stopped())) }.boxed()
    }
}

fn stopped() -> StorageError {
    DatabaseError::new("writing", DbErr::Custom("the writer has stopped".into())).into()
}

impl SeaCommands {
    async fn send_job_soon(self) {
        tokio::time::sleep(PATIENCE).await;
        let send = {
            let mut waiting = self.queue.0.lock();
            waiting.timed = false;
            !waiting.work.entries.is_empty() && Queue::call(&mut waiting)
        };
        if send {
            self.send_job();
        }
    }

    /// Queues a write job that takes everything which waits when its turn comes.
    fn send_job(&self) {
        let queue = Arc::clone(&self.queue);
        let replies = Arc::new(Mutex::new(None));
        let taken = Arc::clone(&replies);
        let trail = self.database.trail();
        let written = self.database.write(move |transaction| {
            async move {
                let (work, replies) = queue.take();
                *taken.lock() = Some(replies);
                batch::write(transaction, &trail, work).await
            }
            .boxed()
        });
        let queue = Arc::clone(&self.queue);
        tokio::spawn(async move {
            let outcome: Result<Written, DatabaseError> = written.await;
            let taken = replies.lock().take();
            if let Ok(written) = &outcome {
                transitions::count(&written.became);
            }
            // Where no transaction could be begun, nothing was taken from the queue.
            let replies = taken.unwrap_or_else(|| queue.take().1);
            replies.send(outcome.map_err(StorageError::from));
        });
    }
}
