//! Group commit: one task owns the write connection, takes all the work that waits, does it in
//! one transaction and answers everybody after the commit.
//!
//! A commit costs a synced write to the disk however much is in it, so under load the cost of
//! durability is shared; a lone caller pays for one commit and waits for nobody. SQLite allows
//! one writer anyway, and with all writes in one place none ever meets a locked database. On
//! PostgreSQL the writers of all processes take turns.

use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use metrics::{Gauge, Histogram, gauge, histogram};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use tokio::sync::{mpsc, oneshot};

use crate::DatabaseError;

/// How much work one transaction takes at most.
const MAX_BATCH: usize = 256;
/// What writers take turns by on PostgreSQL: the letters of `muster` as a number.
const TURN: i64 = 0x6d75_7374_6572;

/// Answers a caller once it is known whether the commit succeeded.
type Answer = Box<dyn FnOnce(Result<(), DatabaseError>) + Send>;

/// Work for a transaction: does its writes and leaves its answer for after the commit. Where no
/// transaction could be had it gets the reason instead, to tell its caller.
type Job = Box<
    dyn for<'t> FnOnce(Result<&'t DatabaseTransaction, DatabaseError>) -> BoxFuture<'t, Done>
        + Send,
>;

/// What a job leaves behind.
struct Done {
    /// Whether its writes are to be kept.
    keep: bool,
    answer: Answer,
}

/// The way to the writing task; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    jobs: mpsc::UnboundedSender<Job>,
    figures: Figures,
}

/// What is told of the writing task.
#[derive(Debug, Clone)]
struct Figures {
    /// Jobs that wait or are being done.
    waiting: Gauge,
    /// Jobs of a transaction.
    jobs: Histogram,
    /// How long a transaction took, in seconds.
    duration: Histogram,
}

impl Figures {
    fn new() -> Self {
        Self {
            waiting: gauge!("muster_database_writer_queue_jobs"),
            jobs: histogram!("muster_database_commit_jobs"),
            duration: histogram!("muster_database_commit_duration_seconds"),
        }
    }

    fn committed(&self, jobs: usize, since: Instant) {
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
        self.waiting.decrement(jobs);
        self.jobs.record(jobs);
        self.duration.record(since.elapsed());
    }
}

impl Writer {
    /// Starts the task on `connection`, which has to be the only one that writes.
    pub(crate) fn start(connection: DatabaseConnection) -> Self {
        let (jobs, queue) = mpsc::unbounded_channel();
        let figures = Figures::new();
        tokio::spawn(run(connection, queue, figures.clone()));
        Self { jobs, figures }
    }

    /// Does `work` in a transaction. What is queued first is done first, at the latest when the
    /// returned future is polled for the first time; queueing happens at the call itself.
    pub(crate) fn write<T, E, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, E>> + Send + use<T, E, W>
    where
        W: for<'t> FnOnce(&'t DatabaseTransaction) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |transaction| {
            async move {
                let outcome = match transaction {
                    Ok(transaction) => work(transaction).await,
                    Err(error) => Err(error.into()),
                };
                let keep = outcome.is_ok();
                let answer: Answer = Box::new(move |committed| {
                    let _ = reply.send(match committed {
                        Ok(()) => outcome,
                        Err(error) => outcome.and_then(|_| Err(error.into())),
                    });
                });
                Done { keep, answer }
            }
            .boxed()
        });
        self.figures.waiting.increment(1);
        let queued = self.jobs.send(job);
        async move {
            let gone = || {
                DatabaseError::new(
                    "writing",
                    sea_orm::DbErr::Custom("the writer has stopped".into()),
                )
            };
            queued.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        }
    }
}

async fn run(
    connection: DatabaseConnection,
    mut queue: mpsc::UnboundedReceiver<Job>,
    figures: Figures,
) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    loop {
        let jobs = queue.recv_many(&mut batch, MAX_BATCH).await;
        if jobs == 0 {
            return;
        }
        let begun = Instant::now();
        commit(&connection, std::mem::take(&mut batch)).await;
        figures.committed(jobs, begun);
    }
}

/// Waits until no other process writes, and keeps them waiting until the transaction has ended:
/// what is read in it stays true until its commit.
pub(crate) async fn take_turn(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    if transaction.get_database_backend() == DbBackend::Postgres {
        let lock = format!("SELECT pg_advisory_xact_lock({TURN})");
        transaction.execute_unprepared(&lock).await?;
    }
    Ok(())
}

async fn begin(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let transaction = connection.begin_with_options(options).await?;
    take_turn(&transaction).await?;
    Ok(transaction)
}

async fn commit(connection: &DatabaseConnection, jobs: Vec<Job>) {
    let transaction = match begin(connection).await {
        Ok(transaction) => transaction,
        Err(error) => {
            let error = DatabaseError::new("beginning a transaction", error);
            for job in jobs {
                refuse(job, error.clone()).await;
            }
            return;
        }
    };
    let alone = jobs.len() == 1;
    let mut answers = Vec::with_capacity(jobs.len());
    for job in jobs {
        if alone {
            return commit_one(transaction, job).await;
        }
        answers.extend(within_savepoint(&transaction, job).await);
    }
    let committed = transaction
        .commit()
        .await
        .map_err(|error| DatabaseError::new("committing a transaction", error));
    for answer in answers {
        answer(committed.clone());
    }
}

/// A lone job needs no savepoint: the transaction itself is rolled back when it fails.
async fn commit_one(transaction: DatabaseTransaction, job: Job) {
    let done = job(Ok(&transaction)).await;
    let ended = if done.keep { transaction.commit().await } else { transaction.rollback().await };
    (done.answer)(ended.map_err(|error| DatabaseError::new("committing a transaction", error)));
}

/// Does one job of many so that its failure undoes its own writes and nobody else's.
async fn within_savepoint(transaction: &DatabaseTransaction, job: Job) -> Option<Answer> {
    let savepoint = match transaction.begin().await {
        Ok(savepoint) => savepoint,
        Err(error) => {
            refuse(job, DatabaseError::new("setting a savepoint", error)).await;
            return None;
        }
    };
    let done = job(Ok(&savepoint)).await;
    let ended = if done.keep { savepoint.commit().await } else { savepoint.rollback().await };
    match ended {
        Ok(()) => Some(done.answer),
        Err(error) => {
            (done.answer)(Err(DatabaseError::new("ending a savepoint", error)));
            None
        }
    }
}

/// Tells a job's caller that nothing was written, and why.
async fn refuse(job: Job, error: DatabaseError) {
    let done = job(Err(error)).await;
    (done.answer)(Ok(()));
}
