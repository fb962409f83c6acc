//! Writes of many callers as one piece of work: when its turn in a transaction comes, it takes all
//! that wait. A fleet that comes back at once costs a few statements then, and not a few for each
//! machine.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use muster_kernel::StorageError;
use parking_lot::Mutex;
use sea_orm::{DatabaseTransaction, DbErr};
use tokio::sync::oneshot;

use crate::{Database, DatabaseError};

/// Writes all items, and answers each of them, in their order.
pub(crate) type Work<T, R> =
    for<'t> fn(&'t DatabaseTransaction, Vec<T>) -> BoxFuture<'t, Result<Vec<R>, DatabaseError>>;

type Replies<R> = Vec<oneshot::Sender<Result<R, StorageError>>>;

/// What waits for the next transaction; cheap to clone.
pub(crate) struct Gathered<T, R> {
    waiting: Arc<Mutex<Waiting<T, R>>>,
    work: Work<T, R>,
}

struct Waiting<T, R> {
    items: Vec<T>,
    replies: Replies<R>,
}

impl<T, R> Clone for Gathered<T, R> {
    fn clone(&self) -> Self {
        Self { waiting: Arc::clone(&self.waiting), work: self.work }
    }
}

impl<T, R> fmt::Debug for Gathered<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gathered").finish_non_exhaustive()
    }
}

impl<T, R> Default for Waiting<T, R> {
    fn default() -> Self {
        Self { items: Vec::new(), replies: Vec::new() }
    }
}

impl<T: Send + 'static, R: Send + 'static> Gathered<T, R> {
    /// Nothing waits yet; `work` is what is done with all that will.
    pub(crate) fn new(work: Work<T, R>) -> Self {
        Self { waiting: Arc::default(), work }
    }

    /// Writes `item` together with whatever else waits by then, and answers after the commit.
    pub(crate) async fn write(&self, database: &Database, item: T) -> Result<R, StorageError> {
        let (reply, answer) = oneshot::channel();
        let first = {
            let mut waiting = self.waiting.lock();
            waiting.items.push(item);
            waiting.replies.push(reply);
            waiting.items.len() == 1
        };
        if first {
            self.send_job(database);
        }
        answer.await.unwrap_or_else(|_| {
            let stopped = DbErr::Custom("the writer has stopped".into());
            Err(DatabaseError::new("writing", stopped).into())
        })
    }

    /// Queues a write job that takes everything which waits when its turn comes. It is seen
    /// through, whether or not the first caller still waits: others do.
    fn send_job(&self, database: &Database) {
        let (waiting, work) = (Arc::clone(&self.waiting), self.work);
        let replies = Arc::new(Mutex::new(None));
        let taken = Arc::clone(&replies);
        let written = database.write(move |transaction| {
            async move {
                let Waiting { items, replies } = std::mem::take(&mut *waiting.lock());
                *taken.lock() = Some(replies);
                work(transaction, items).await
            }
            .boxed()
        });
        let waiting = Arc::clone(&self.waiting);
        tokio::spawn(async move {
            let outcome: Result<Vec<R>, DatabaseError> = written.await;
            let taken = replies.lock().take();
            // Where no transaction could be begun, nothing was taken from the queue.
            let replies = taken.unwrap_or_else(|| std::mem::take(&mut *waiting.lock()).replies);
            tell(replies, outcome.map_err(StorageError::from));
        });
    }
}

fn tell<R>(replies: Replies<R>, outcome: Result<Vec<R>, StorageError>) {
    match outcome {
        Ok(results) => {
            for (reply, result) in replies.into_iter().zip(results) {
                let _ = reply.send(Ok(result));
            }
        }
        Err(error) => {
            for reply in replies {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}
