//! The commands of this agent, from their acceptance until the server has their results,
//! whatever connections come and go meanwhile.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use muster_protocol::{
    CommandProgress, Execute, Finished, JournalEntry, MAX_UNFINISHED_COMMANDS, Outcome,
};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, info_span};
use uuid::Uuid;

use crate::executor::{self, Output, Stops, ended_without_process};
use crate::identity::DataDir;
use crate::journal::{Journal, Record};
use crate::scripts::{ScriptFile, Scripts};
use crate::spool::{self, Spool, Written};

/// How long to wait before a result that could not be journalled is tried again.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);

/// What a connection is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// The command is in the journal.
    Accepted(Uuid),
    /// Its process runs.
    Started(Uuid),
    /// It wrote something, or ended.
    More(Uuid),
}

/// One command that the server does not have the result of.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) id: Uuid,
    pub(crate) stdout: Arc<Spool>,
    pub(crate) stderr: Arc<Spool>,
    finished: OnceLock<Finished>,
    started: OnceLock<(u32, Instant)>,
    cancelled: CancellationToken,
    /// Whether the connection was told of more and has not looked yet.
    told: AtomicBool,
}

impl Task {
    /// How it ended, once that is in the journal.
    pub(crate) fn finished(&self) -> Option<&Finished> {
        self.finished.get()
    }

    /// Its process's id and how long ago it was started, once it was.
    pub(crate) fn started(&self) -> Option<(u32, Duration)> {
        self.started.get().map(|(pid, at)| (*pid, at.elapsed()))
    }

    /// The connection looks now: what is written from here on is news again.
    pub(crate) fn look(&self) {
        self.told.store(false, Ordering::Release);
    }
}

/// An order to run something.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) execute: Execute,
    /// The text of the script that runs, when one does.
    pub(crate) script: Option<Bytes>,
}

/// What became of an order to run something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is new and will be run.
    New,
    /// It is known already: it runs, or has run.
    Known,
    /// It is over and done with.
    Forgotten,
}

/// The commands of this agent.
#[derive(Debug)]
pub(crate) struct Engine {
    journal: Journal,
    folder: PathBuf,
    scripts: Scripts,
    tasks: Mutex<HashMap<Uuid, Arc<Task>>>,
    forgotten: Mutex<HashSet<Uuid>>,
    listener: Mutex<Option<mpsc::UnboundedSender<News>>>,
    slots: Semaphore,
    stopping: CancellationToken,
    running: TaskTracker,
}

impl Engine {
    /// Opens the journal. Commands that ran when an earlier process died are ended now, if
    /// anything of them still runs, and count as interrupted.
    pub(crate) async fn open(data: &DataDir) -> anyhow::Result<Arc<Self>> {
        let folder = data.folder("spool")?;
        let (journal, contents) =
            Journal::open(data.file("journal")).context("can't open the journal")?;
        spool::sweep(&folder, |id| contents.open.contains_key(&id))
            .context("can't tidy the spool folder")?;
        let interrupted: Vec<_> = contents
            .open
            .iter()
            .filter(|(_, finished)| finished.is_none())
            .map(|(id, _)| *id)
            .collect();
        executor::end_orphans(&interrupted);
        let engine = Self {
            journal,
            folder,
            scripts: Scripts::open(data).context("can't tidy the folder of scripts")?,
            tasks: Mutex::default(),
            forgotten: Mutex::new(contents.forgotten.into_iter().collect()),
            listener: Mutex::default(),
            slots: Semaphore::new(MAX_UNFINISHED_COMMANDS),
            stopping: CancellationToken::new(),
            running: TaskTracker::new(),
        };
        for (id, finished) in contents.open {
            let task = engine.task_for(id).context("can't open the spool")?;
            let finished = match finished {
                Some(finished) => finished,
                None => engine.interrupted(&task).await?,
            };
            let _ = task.finished.set(finished);
            engine.tasks.lock().insert(id, Arc::new(task));
        }
        Ok(Arc::new(engine))
    }

    async fn interrupted(&self, task: &Task) -> anyhow::Result<Finished> {
        let detail = "the agent was killed while the command ran; how far it came is unknown";
        let ended = ended_without_process(
            task.id,
            Outcome::Interrupted,
            Some("INTERRUPTED"),
            Some(detail.to_owned()),
        );
        let finished = Finished {
            stdout_bytes: task.stdout.written(),
            stderr_bytes: task.stderr.written(),
            ..ended
        };
        let record = Record::Finished(finished.clone());
        self.journal.append(record).await.context("can't write the journal")?;
        Ok(finished)
    }

    fn task_for(&self, id: Uuid) -> std::io::Result<Task> {
        Ok(Task {
            id,
            stdout: Arc::new(Spool::open(&self.folder, id, Written::Stdout)?),
            stderr: Arc::new(Spool::open(&self.folder, id, Written::Stderr)?),
            finished: OnceLock::new(),
            started: OnceLock::new(),
            cancelled: self.stopping.child_token(),
            told: AtomicBool::new(false),
        })
    }

    /// What the server has to be told of at the beginning of a connection.
    pub(crate) fn journal_entries(&self) -> Vec<JournalEntry> {
        let progress = |task: &Task| match task.finished() {
            Some(_) => CommandProgress::Finished,
            None => CommandProgress::Accepted,
        };
        let tasks = self.tasks.lock();
        tasks
            .values()
            .map(|task| JournalEntry { command_id: task.id, progress: progress(task) })
            .collect()
    }

    /// News for a new connection; an earlier one gets none any more.
    pub(crate) fn listen(&self) -> mpsc::UnboundedReceiver<News> {
        let (sender, news) = mpsc::unbounded_channel();
        for task in self.tasks.lock().values() {
            task.look();
        }
        *self.listener.lock() = Some(sender);
        news
    }

    /// The command `id`, unless the server has its result.
    pub(crate) fn task(&self, id: Uuid) -> Option<Arc<Task>> {
        self.tasks.lock().get(&id).cloned()
    }

    /// Takes an order to run something. An id that the agent knows is never started again.
    pub(crate) fn execute(self: &Arc<Self>, job: Job, output_limit: u64) -> Taken {
        let id = job.execute.command_id;
        let mut tasks = self.tasks.lock();
        if tasks.contains_key(&id) {
            return Taken::Known;
        }
        if self.forgotten.lock().contains(&id) {
            return Taken::Forgotten;
        }
        match self.task_for(id) {
            Ok(task) => {
                let task = Arc::new(task);
                tasks.insert(id, Arc::clone(&task));
                drop(tasks);
                let engine = Arc::clone(self);
                let span = span(&job.execute);
                self.running.spawn(engine.carry_out(task, job, output_limit).instrument(span));
            }
            // Nothing was promised: the server sends the command again.
            Err(error) => tracing::error!(command.id = %id, %error, "can't keep output"),
        }
        Taken::New
    }

    async fn carry_out(self: Arc<Self>, task: Arc<Task>, job: Job, limit: u64) {
        let id = task.id;
        let accepted = self.journal.append(Record::Accepted { command_id: id }).await;
        if let Err(error) = accepted {
            let detail = format!("the agent can't write its journal: {error}");
            let code = Some("JOURNAL_FAILED");
            let refused = ended_without_process(id, Outcome::Refused, code, Some(detail));
            // It never began, so if even this is lost it may begin when it comes again.
            let _ = task.finished.set(refused);
            return self.tell_more(&task);
        }
        self.tell(News::Accepted(id));
        let slot = tokio::select! {
            slot = self.slots.acquire() => slot.ok(),
            () = task.cancelled.cancelled() => None,
        };
        let finished = if slot.is_none() || task.cancelled.is_cancelled() {
            if self.stopping.is_cancelled() {
                // It has not begun; the next start of the agent reports it as interrupted.
                return;
            }
            ended_without_process(id, Outcome::Cancelled, None, None)
        } else {
            self.run(&task, job, limit).await
        };
        self.conclude(&task, finished).await;
    }

    async fn run(self: &Arc<Self>, task: &Arc<Task>, job: Job, limit: u64) -> Finished {
        let Job { execute, script } = job;
        let id = task.id;
        let file = script.map(|text| self.scripts.write(id, execute.shell_type, &text)).transpose();
        let file = match file {
            Ok(file) => file,
            Err(error) => {
                let detail = format!("the agent can't write the script into its folder: {error}");
                let code = Some("SCRIPT_NOT_WRITTEN");
                return ended_without_process(id, Outcome::Failed, code, Some(detail));
            }
        };
        let stops = Stops { cancelled: task.cancelled.clone(), stopping: self.stopping.clone() };
        let (stdout, stderr) = (Arc::clone(&task.stdout), Arc::clone(&task.stderr));
        let output = Output { stdout, stderr, limit };
        let started = |pid| {
            let _ = task.started.set((pid, Instant::now()));
            self.tell(News::Started(id));
        };
        let (engine, writer) = (Arc::clone(self), Arc::clone(task));
        let wrote = move || engine.tell_more(&writer);
        let path = file.as_ref().map(ScriptFile::path);
        executor::run(&execute, path, &output, &stops, started, wrote).await
    }

    /// Journals the result, however long that takes, and then tells of it.
    async fn conclude(&self, task: &Task, finished: Finished) {
        let finished = Finished {
            stdout_bytes: task.stdout.written(),
            stderr_bytes: task.stderr.written(),
            ..finished
        };
        while let Err(error) = self.journal.append(Record::Finished(finished.clone())).await {
            tracing::error!(command.id = %task.id, %error, "a result can't be journalled yet");
            if self.stopping.is_cancelled() {
                return;
            }
            tokio::time::sleep(JOURNAL_RETRY).await;
        }
        tracing::debug!(
            command.id = %task.id, command.outcome = ?finished.outcome,
            command.exit_code = finished.exit_code, "a command has ended"
        );
        let _ = task.finished.set(finished);
        self.tell_more(task);
    }

    /// Ends a command, or makes sure that it never begins.
    pub(crate) fn cancel(self: &Arc<Self>, id: Uuid) {
        match self.task(id) {
            Some(task) => task.cancelled.cancel(),
            None => self.end_unknown(id, Outcome::Cancelled, None, None),
        }
    }

    /// Refuses a command that it does not know yet, and says why.
    pub(crate) fn refuse(self: &Arc<Self>, id: Uuid, code: &'static str, why: &str) {
        self.end_unknown(id, Outcome::Refused, Some(code), Some(why.to_owned()));
    }

    /// Gives a command that it does not know its end before it begins.
    fn end_unknown(
        self: &Arc<Self>,
        id: Uuid,
        outcome: Outcome,
        code: Option<&'static str>,
        detail: Option<String>,
    ) {
        let mut tasks = self.tasks.lock();
        if tasks.contains_key(&id) || self.forgotten.lock().contains(&id) {
            return;
        }
        let Ok(task) = self.task_for(id) else { return };
        let task = Arc::new(task);
        tasks.insert(id, Arc::clone(&task));
        drop(tasks);
        let engine = Arc::clone(self);
        self.running.spawn(async move {
            let ended = ended_without_process(id, outcome, code, detail);
            engine.conclude(&task, ended).await;
        });
    }

    /// The server has the result.
    pub(crate) fn forget(&self, id: Uuid) {
        if let Some(task) = self.tasks.lock().remove(&id) {
            task.cancelled.cancel();
            task.stdout.remove();
            task.stderr.remove();
            self.forgotten.lock().insert(id);
            // Nobody waits: if this is lost, the server acknowledges once more.
            drop(self.journal.append(Record::Forgotten { command_id: id }));
        }
    }

    /// Ends everything that runs, and returns when that is in the journal.
    pub(crate) async fn stop(&self) {
        self.stopping.cancel();
        self.running.close();
        self.running.wait().await;
    }

    fn tell_more(&self, task: &Task) {
        if !task.told.swap(true, Ordering::AcqRel) {
            self.tell(News::More(task.id));
        }
    }

    fn tell(&self, news: News) {
        if let Some(listener) = &*self.listener.lock() {
            // A connection that has ended misses nothing: the next one asks for everything.
            let _ = listener.send(news);
        }
    }
}

/// What the log says of a command that somebody follows, wherever something is logged about it.
fn span(execute: &Execute) -> Span {
    match &execute.traceparent {
        Some(traceparent) => info_span!("command", command.id = %execute.command_id, traceparent),
        None => Span::none(),
    }
}

#[cfg(test)]
mod tests;
