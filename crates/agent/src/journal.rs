//! What the agent must not forget, whatever happens to it: which commands it took on and how they
//! ended.
//!
//! The journal is a file that only grows: each record is its length, its CRC-32 and its JSON. One
//! thread writes; it takes all records that wait, writes them, syncs once and answers everybody.
//! What a crash left half-written at the end is cut off at the next start. When most of the file
//! is of no more use it is written anew.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use muster_protocol::Finished;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::identity::private;

/// From this size on the journal is written anew when its thread is idle anyway.
const COMPACT_FROM: u64 = 4 * 1024 * 1024;
/// How many forgotten ids are remembered, so that none of them is ever started again.
const FORGOTTEN: usize = 10_000;
/// No record is larger: a length beyond it was never written by an agent.
const MAX_RECORD: usize = 1024 * 1024;

/// Something that must not be forgotten.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(crate) enum Record {
    /// The command is this agent's and is never started a second time.
    Accepted { command_id: Uuid },
    /// The command has ended.
    Finished(Finished),
    /// The server has the result.
    Forgotten { command_id: Uuid },
}

/// What the journal says, taken together.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Contents {
    /// Commands whose result the server does not have; `None` while it is not known here either.
    pub(crate) open: BTreeMap<Uuid, Option<Finished>>,
    /// Commands that are over and done with, the latest last.
    pub(crate) forgotten: VecDeque<Uuid>,
}

impl Contents {
    fn take_in(&mut self, record: Record) {
        match record {
            Record::Accepted { command_id } => {
                self.open.entry(command_id).or_default();
            }
            Record::Finished(finished) => {
                self.open.insert(finished.command_id, Some(finished));
            }
            Record::Forgotten { command_id } => {
                self.open.remove(&command_id);
                self.forgotten.push_back(command_id);
                if self.forgotten.len() > FORGOTTEN {
                    self.forgotten.pop_front();
                }
            }
        }
    }

    fn records(&self) -> Vec<Record> {
        let forgotten = self.forgotten.iter().map(|id| Record::Forgotten { command_id: *id });
        let open = self.open.iter().map(|(id, finished)| match finished {
            Some(finished) => Record::Finished(finished.clone()),
            None => Record::Accepted { command_id: *id },
        });
        forgotten.chain(open).collect()
    }
}

type Job = (Record, oneshot::Sender<io::Result<()>>);

/// The way to the journal's thread.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    jobs: mpsc::Sender<Job>,
}

impl Journal {
    /// Opens the journal in `path`, makes it if there is none, and says what is in it.
    pub(crate) fn open(path: PathBuf) -> io::Result<(Self, Contents)> {
        let contents = read(&path)?;
        let file = rewrite(&path, &contents)?;
        let (jobs, queue) = mpsc::channel();
        let writer = Writer { path, length: file.metadata()?.len(), file, state: contents.clone() };
        std::thread::Builder::new().name("journal".into()).spawn(move || writer.run(&queue))?;
        Ok((Self { jobs }, contents))
    }

    /// Writes `record`; when this answers well, no crash makes the agent forget it.
    pub(crate) fn append(
        &self,
        record: Record,
    ) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let queued = self.jobs.send((record, reply));
        async move {
            let gone = || io::Error::other("the journal's thread has ended");
            queued.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        }
    }
}

struct Writer {
    path: PathBuf,
    file: File,
    length: u64,
    state: Contents,
}

impl Writer {
    fn run(mut self, queue: &mpsc::Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            let (records, replies): (Vec<_>, Vec<_>) =
                std::iter::once(first).chain(queue.try_iter()).unzip();
            let outcome = self.write(records).map_err(|error| (error.kind(), error.to_string()));
            for reply in replies {
                let outcome = outcome.clone();
                let _ = reply.send(outcome.map_err(|(kind, text)| io::Error::new(kind, text)));
            }
        }
    }

    fn write(&mut self, records: Vec<Record>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for record in &records {
            encode(record, &mut bytes)?;
        }
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a record must not stand between the next one and the start of the file.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += u64::try_from(bytes.len()).unwrap_or(0);
        for record in records {
            self.state.take_in(record);
        }
        if self.length > COMPACT_FROM
            && let Ok(file) = rewrite(&self.path, &self.state)
        {
            self.length = file.metadata().map_or(self.length, |data| data.len());
            self.file = file;
        }
        Ok(())
    }
}

fn encode(record: &Record, bytes: &mut Vec<u8>) -> io::Result<()> {
    let json = serde_json::to_vec(record)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&json).to_be_bytes());
    bytes.extend_from_slice(&json);
    Ok(())
}

/// Reads records until the end, or until one that a crash left half-written.
fn read(path: &Path) -> io::Result<Contents> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let mut contents = Contents::default();
    let mut rest = bytes.as_slice();
    while let Some((record, behind)) = decode(rest) {
        contents.take_in(record);
        rest = behind;
    }
    if !rest.is_empty() {
        tracing::warn!(journal.cut_bytes = rest.len(), "the end of the journal was half-written");
    }
    Ok(contents)
}

fn decode(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (length, bytes) = bytes.split_first_chunk::<4>()?;
    let (crc, bytes) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (json, behind) = bytes.split_at_checked(length).filter(|_| length <= MAX_RECORD)?;
    let whole = crc32fast::hash(json) == u32::from_be_bytes(*crc);
    Some((serde_json::from_slice(json).ok().filter(|_| whole)?, behind))
}

/// Replaces the journal by one that says the same with the fewest records.
fn rewrite(path: &Path, contents: &Contents) -> io::Result<File> {
    let mut bytes = Vec::new();
    for record in contents.records() {
        encode(&record, &mut bytes)?;
    }
    let new = path.with_extension("new");
    let mut file = private().create(true).write(true).truncate(true).open(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_protocol::Outcome;
    use proptest::prelude::*;

    fn finished(id: u128) -> Finished {
        Finished {
            command_id: Uuid::from_u128(id),
            outcome: Outcome::Completed,
            exit_code: Some(0),
            execution_time: Some(0.5),
            stdout_bytes: 3,
            stderr_bytes: 0,
            failure_code: None,
            detail: None,
        }
    }

    #[tokio::test]
    async fn what_was_written_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (journal, contents) = Journal::open(path.clone()).unwrap();
        assert_eq!(contents, Contents::default());
        for id in 1..=3 {
            let command_id = Uuid::from_u128(id);
            journal.append(Record::Accepted { command_id }).await.unwrap();
        }
        journal.append(Record::Finished(finished(2))).await.unwrap();
        journal.append(Record::Finished(finished(3))).await.unwrap();
        journal.append(Record::Forgotten { command_id: Uuid::from_u128(3) }).await.unwrap();
        drop(journal);
        let (_, contents) = Journal::open(path).unwrap();
        let open = [(Uuid::from_u128(1), None), (Uuid::from_u128(2), Some(finished(2)))];
        assert_eq!(contents.open, open.into());
        assert_eq!(contents.forgotten, [Uuid::from_u128(3)]);
    }

    #[test]
    fn a_half_written_end_is_cut_off_and_nothing_before_it_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut bytes = Vec::new();
        encode(&Record::Accepted { command_id: Uuid::from_u128(1) }, &mut bytes).unwrap();
        let whole = bytes.len();
        encode(&Record::Accepted { command_id: Uuid::from_u128(2) }, &mut bytes).unwrap();
        for length in whole..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            assert_eq!(read(&path).unwrap().open.len(), 1, "{length} bytes");
        }
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap().open.len(), 2);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("journal");
            fs::write(&path, &bytes).unwrap();
            let _ = read(&path).unwrap();
        }
    }
}
