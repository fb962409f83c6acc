//! What drives runs on: with no memory but the database's, so that any process goes on where
//! another was killed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use muster_kernel::{AgentId, Author, CommandId, RunId, StorageError, TenantScope};
use parking_lot::Mutex;

use super::board::Board;
use super::ports::RunChange;
use super::progress::{Step, next_step};
use super::run::{Run, RunStatus, StopReason};
use super::usecase::{LOOK_AGAIN, Runs};
use crate::ports::Entry;
use crate::reach::reachable;
use crate::{Event, Recorded};

/// How many machines are let go in one write.
const RELEASED_AT_ONCE: usize = 1000;
/// How long listeners wait for the latest tally at most: many changes are told together.
const TOLD_EVERY: Duration = Duration::from_millis(200);

impl Runs {
    /// Takes up the runs that go on: at the start, and whenever another process may have begun
    /// some.
    ///
    /// # Errors
    /// When the storage fails; those that were taken up by then are driven.
    pub async fn take_up(&self) -> Result<(), StorageError> {
        for run in self.ports.repository.active().await? {
            if self.boards.get(run.id).is_none() {
                let id = run.id;
                let members = self.ports.repository.members(id).await?;
                let board = self.boards.put(run, members);
                // What changed before the board was there to hear of it is in the database now.
                let members = self.ports.repository.members(id).await?;
                let run = self.ports.repository.find(&TenantScope::All, id).await?;
                let mut board = board.lock();
                for member in members {
                    board.correct(member);
                }
                if let Some(run) = run {
                    (board.run.status, board.run.stop) = (run.status, run.stop);
                }
                board.begun = true;
            }
        }
        Ok(())
    }

    /// Waits until a run may have something to do, or for a second.
    pub async fn wait(&self) {
        let _ = tokio::time::timeout(LOOK_AGAIN, self.boards.poked()).await;
    }

    /// Does what is to be done for each run and tells listeners how far it is.
    ///
    /// # Errors
    /// When the storage fails; what was not done is done by the next call.
    pub async fn drive(&self) -> Result<(), StorageError> {
        let mut outcome = Ok(());
        for board in self.boards.all() {
            if let Err(error) = self.advance(&board).await {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Tells listeners how far the runs are, for as long as it is polled.
    pub async fn tell(&self) {
        loop {
            tokio::time::sleep(TOLD_EVERY).await;
            for board in self.boards.all() {
                let mut board = board.lock();
                if board.begun {
                    self.boards.tell_progress(&mut board);
                }
            }
        }
    }

    async fn advance(&self, board: &Arc<Mutex<Board>>) -> Result<(), StorageError> {
        let (id, stopped, step) = {
            let board = board.lock();
            if !board.begun || !self.boards.are_held() {
                return Ok(());
            }
            let run = &board.run;
            let paused = run.status == RunStatus::Paused;
            (run.id, run.stop, next_step(run.strategy(), &board.tally, run.stop, paused))
        };
        match step {
            Step::Wait => match stopped {
                // A process that was killed may have stopped it and cancelled nobody.
                Some(reason) if !board.lock().swept => self.stop(board, id, reason).await,
                Some(_) | None => Ok(()),
            },
            Step::Release(room) => self.release(board, room).await,
            Step::Stop(reason) => self.stop(board, id, reason).await,
            Step::End(status) => self.end(board, id, status).await,
        }
    }

    /// Lets the next machines begin. Those that are out of reach are let go only when there is
    /// room for all: they would take a place for as long as they are away.
    async fn release(&self, board: &Arc<Mutex<Board>>, room: u32) -> Result<(), StorageError> {
        let chosen = self.choose(board, room).await?;
        let at = self.ports.clock.now();
        let record = |agent, id, event| self.channel.record(agent, id, Entry::Event(event));
        let mut recordings = Vec::with_capacity(chosen.len() * 2);
        for (agent, id) in &chosen {
            recordings.push(record(*agent, *id, Event::Released { at }));
            // In the same commit, so that it can leave at once.
            if self.ports.courier.has_room(*agent) {
                recordings.push(record(*agent, *id, Event::Dispatched { at }));
            }
        }
        let (mut recorded, failed) = self.heard(join_all(recordings).await);
        let mut latest = None;
        recorded.retain(|it| !it.command.held && it.command.end().is_none());
        for it in recorded.into_iter().rev() {
            // Of two words about a command the later one counts.
            if latest.replace(it.command.id) != Some(it.command.id) {
                self.ports.courier.deliver(it.command);
            }
        }
        if latest.is_some() {
            self.boards.poke();
        }
        failed
    }

    /// Who begins next.
    async fn choose(
        &self,
        board: &Arc<Mutex<Board>>,
        room: u32,
    ) -> Result<Vec<(AgentId, CommandId)>, StorageError> {
        let courier = &*self.ports.courier;
        let limit = usize::try_from(room).unwrap_or(usize::MAX).min(RELEASED_AT_ONCE);
        let held: Vec<_> = {
            let board = board.lock();
            let all = room >= board.tally.held;
            if all || courier.sees_all() {
                return Ok(board.held(limit, |agent| all || courier.is_connected(agent)));
            }
            board.held(usize::MAX, |_| true).into_iter().map(|(agent, _)| agent).collect()
        };
        let reached = reachable(courier, &*self.ports.agents, held, self.ports.clock.now()).await?;
        Ok(board.lock().held(limit, |agent| reached.contains(&agent)))
    }

    /// Has the boards take in what is durable, whether or not it is news to the database: what was
    /// done before and not heard of is made up for.
    fn heard(
        &self,
        recorded: Vec<Result<Option<Recorded>, StorageError>>,
    ) -> (Vec<Recorded>, Result<(), StorageError>) {
        let mut failed = Ok(());
        let mut durable = Vec::with_capacity(recorded.len());
        for recorded in recorded {
            match recorded {
                Ok(recorded) => durable.extend(recorded),
                Err(error) => failed = Err(error),
            }
        }
        for recorded in &durable {
            self.boards.hear(&recorded.command);
        }
        (durable, failed)
    }

    async fn stop(
        &self,
        board: &Arc<Mutex<Board>>,
        id: RunId,
        reason: StopReason,
    ) -> Result<(), StorageError> {
        if board.lock().run.stop.is_none() {
            self.make_change(id, RunChange::Stopped(reason), &Author::system()).await?;
        }
        let these = {
            let board = board.lock();
            if reason == StopReason::Cancelled { board.open() } else { board.pending() }
        };
        self.end_all(these).await?;
        board.lock().swept = true;
        Ok(())
    }

    /// Makes a change durable and lets the board know.
    pub(super) async fn make_change(
        &self,
        id: RunId,
        change: RunChange,
        author: &Author,
    ) -> Result<Option<Arc<Run>>, StorageError> {
        let now = self.ports.clock.now();
        let changed = self.ports.repository.change(id, change, author, now).await?;
        let Some((run, changed)) = changed else { return Ok(None) };
        if let Some(board) = self.boards.get(id) {
            let mut board = board.lock();
            (board.run.status, board.run.stop) = (run.status, run.stop);
            board.untold |= changed;
        }
        self.boards.turned(id);
        Ok(Some(run))
    }

    /// Asks for the end of whatever of a run has not ended.
    pub(super) async fn end_open(&self, id: RunId) -> Result<(), StorageError> {
        if let Some(board) = self.boards.get(id) {
            let open = board.lock().open();
            self.end_all(open).await?;
            board.lock().swept = true;
            self.boards.poke();
            return Ok(());
        }
        let members = self.ports.repository.members(id).await?;
        let open = members.iter().filter(|member| !member.status.is_end());
        self.end_all(open.map(|member| (member.agent_id, member.command_id)).collect()).await
    }

    /// Asks for the end of commands: of those that nobody has, here and now.
    async fn end_all(&self, commands: Vec<(AgentId, CommandId)>) -> Result<(), StorageError> {
        let at = self.ports.clock.now();
        let cancel = |(agent, id): &(AgentId, CommandId)| {
            self.channel.record(*agent, *id, Entry::Event(Event::CancelRequested { at }))
        };
        for commands in commands.chunks(RELEASED_AT_ONCE) {
            let recorded = join_all(commands.iter().map(cancel).collect::<Vec<_>>()).await;
            let (recorded, failed) = self.heard(recorded);
            for Recorded { command, .. } in recorded {
                if command.end().is_none() {
                    self.ports.courier.cancel(command.agent_id, command.id);
                }
            }
            failed?;
        }
        Ok(())
    }

    async fn end(
        &self,
        board: &Arc<Mutex<Board>>,
        id: RunId,
        status: RunStatus,
    ) -> Result<(), StorageError> {
        let (tally, now) = (board.lock().tally, self.ports.clock.now());
        let change = RunChange::Ended(status, tally, now);
        let changed = self.ports.repository.change(id, change, &Author::system(), now).await?;
        self.boards.tell_progress(&mut board.lock());
        self.boards.remove(id);
        if let Some((run, _)) = changed {
            self.boards.tell_end(&run);
        }
        Ok(())
    }
}
