//! Runs with several nodes: one of them holds the boards and drives the runs. It hears from the
//! others what happens there, and finds in the database what it did not hear of.

use std::collections::BTreeMap;

use muster_kernel::{CommandId, RunId, StorageError, TenantScope};

use super::run::{Run, Tally};
use super::usecase::Runs;

/// How many commands are read at a time.
const AT_ONCE: usize = 500;

impl Runs {
    /// From now on this node drives the runs, or does not any more. What it held is let go of then;
    /// [`Runs::take_up`] finds what there is to drive.
    pub fn hold(&self, held: bool) {
        self.boards.hold(held);
    }

    /// Takes in what happened to commands of runs on other nodes, and tells listeners.
    ///
    /// # Errors
    /// When the storage fails; [`Runs::correct`] makes up for it.
    pub async fn hear_of(&self, commands: &[CommandId]) -> Result<(), StorageError> {
        for ids in commands.chunks(AT_ONCE) {
            for command in self.ports.repository.commands(ids).await? {
                self.boards.tell_command(&command);
            }
        }
        Ok(())
    }

    /// Takes in that runs were begun on other nodes, or are to go on otherwise.
    ///
    /// # Errors
    /// When the storage fails; [`Runs::correct`] makes up for it.
    pub async fn turn(&self, runs: &[RunId]) -> Result<(), StorageError> {
        let mut new = false;
        for id in runs {
            let Some(board) = self.boards.get(*id) else {
                new = true;
                continue;
            };
            if let Some(run) = self.ports.repository.find(&TenantScope::All, *id).await? {
                if run.status.is_end() {
                    self.boards.remove(*id);
                    continue;
                }
                let mut board = board.lock();
                board.untold |= (board.run.status, board.run.stop) != (run.status, run.stop);
                (board.run.status, board.run.stop) = (run.status, run.stop);
            }
        }
        if new {
            self.take_up().await?;
        }
        self.boards.poke();
        Ok(())
    }

    /// Compares all that goes on with the database and takes in what was not heard of.
    ///
    /// # Errors
    /// When the storage fails; the next call makes up for it.
    pub async fn correct(&self) -> Result<(), StorageError> {
        self.take_up().await?;
        let mut ids = Vec::new();
        for board in self.boards.all() {
            let (id, begun) = {
                let board = board.lock();
                (board.run.id, board.begun)
            };
            if begun {
                ids.push(id);
                let members = self.ports.repository.members(id).await?;
                let behind: Vec<_> = board.lock().behind(&members).collect();
                self.hear_of(&behind).await?;
            }
        }
        self.turn(&ids).await
    }

    /// Whether the run goes on and this node does not know how far it is.
    pub(super) fn is_elsewhere(&self, run: &Run) -> bool {
        !run.status.is_end() && self.boards.get(run.id).is_none()
    }

    /// How far these runs are in the database.
    pub(super) async fn count(
        &self,
        ids: &[RunId],
    ) -> Result<BTreeMap<RunId, Tally>, StorageError> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.ports.repository.tallies(ids).await
    }

    /// The run with the tally of this moment: its board's, or one of `counted`.
    pub(super) fn with_tally(&self, mut run: Run, counted: &BTreeMap<RunId, Tally>) -> Run {
        if run.status.is_end() {
            return run;
        }
        let board = self.boards.get(run.id).map(|board| board.lock().tally);
        if let Some(tally) = board.or_else(|| counted.get(&run.id).copied()) {
            run.tally = tally;
        }
        run
    }

    /// The run with the tally of this moment.
    pub(super) async fn as_it_is(&self, run: Run) -> Result<Run, StorageError> {
        let elsewhere: Vec<_> = self.is_elsewhere(&run).then_some(run.id).into_iter().collect();
        let counted = self.count(&elsewhere).await?;
        Ok(self.with_tally(run, &counted))
    }
}
