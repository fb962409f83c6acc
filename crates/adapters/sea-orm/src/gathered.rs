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

impl<T: Clone + Send + 'static, R: Send + 'static> Gathered<T, R> {
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
        let taken = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&taken);
        let written = database.write(move |transaction| {
            async move {
                let all = std::mem::take(&mut *waiting.lock());
                let items = all.items.clone();
                *keep.lock() = Some(all);
                work(transaction, items).await
            }
            .boxed()
        });
        let (waiting, database) = (Arc::clone(&self.waiting), database.clone());
        tokio::spawn(async move {
            let outcome: Result<Vec<R>, DatabaseError> = written.await;
            let taken = taken.lock().take();
            // Where no transaction could be begun, nothing was taken from the queue.
            let began = taken.is_some();
            let all = taken.unwrap_or_else(|| std::mem::take(&mut *waiting.lock()));
            match outcome {
                Ok(results) => {
                    for (reply, result) in all.replies.into_iter().zip(results) {
                        let _ = reply.send(Ok(result));
                    }
                }
                Err(error) if began && all.items.len() > 1 => {
                    tracing::warn!(error.cause = %error, "a shared write failed; one by one");
                    one_by_one(&database, work, all).await;
                }
                Err(error) => refuse(all.replies, &error.into()),
            }
        });
    }
}

/// Writes each item by itself: one that can't be written keeps nobody else's from it.
async fn one_by_one<T: Send + 'static, R: Send + 'static>(
    database: &Database,
    work: Work<T, R>,
    all: Waiting<T, R>,
) {
    for (item, reply) in all.items.into_iter().zip(all.replies) {
        let written: Result<Vec<R>, DatabaseError> =
            database.write(move |transaction| work(transaction, vec![item])).await;
        let result = written.map(|mut results| results.pop()).map_err(StorageError::from);
        // Who is answered with nothing hears that the writer has stopped.
        if let Some(result) = result.transpose() {
            let _ = reply.send(result);
        }
    }
}

fn refuse<R>(replies: Replies<R>, error: &StorageError) {
    for reply in replies {
        let _ = reply.send(Err(error.clone()));
    }
}
