//! What commands wrote, in files, until the server has it: a command never waits for the network,
//! and no output is held in memory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::identity::private;
use crate::platform::read_at;

/// What a command writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Stdout,
    Stderr,
}

/// One stream of one command.
#[derive(Debug)]
pub(crate) struct Spool {
    file: Mutex<File>,
    path: PathBuf,
    /// Bytes in the file.
    kept: AtomicU64,
    /// Bytes that the command wrote, also those beyond the limit.
    written: AtomicU64,
}

impl Spool {
    /// Opens the stream's file, with what an earlier process left in it.
    pub(crate) fn open(folder: &Path, id: Uuid, stream: Written) -> io::Result<Self> {
        let name = match stream {
            Written::Stdout => "out",
            Written::Stderr => "err",
        };
        let path = folder.join(format!("{id}.{name}"));
        let file = private().create(true).append(true).read(true).open(&path)?;
        let kept = file.metadata()?.len();
        let (kept, written) = (AtomicU64::new(kept), AtomicU64::new(kept));
        Ok(Self { file: Mutex::new(file), path, kept, written })
    }

    /// Appends `bytes`, as far as `limit` allows, and counts all of them.
    pub(crate) fn append(&self, bytes: &[u8], limit: u64) -> io::Result<()> {
        let kept = self.kept.load(Ordering::Acquire);
        let room = usize::try_from(limit.saturating_sub(kept)).unwrap_or(usize::MAX);
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.written.fetch_add(length(bytes), Ordering::AcqRel);
        if !taken.is_empty() {
            self.file.lock().write_all(taken)?;
            self.kept.fetch_add(length(taken), Ordering::AcqRel);
        }
        Ok(())
    }

    /// Reads up to `most` bytes from `offset` on.
    pub(crate) fn read(&self, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let there = self.kept().saturating_sub(offset);
        let mut buffer = vec![0; most.min(usize::try_from(there).unwrap_or(most))];
        let read = read_at(&self.file.lock(), &mut buffer, offset)?;
        buffer.truncate(read);
        Ok(buffer)
    }

    /// Bytes in the file.
    pub(crate) fn kept(&self) -> u64 {
        self.kept.load(Ordering::Acquire)
    }

    /// Bytes that the command wrote.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Removes the file: the server has what was in it.
    pub(crate) fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(file = %self.path.display(), %error, "a spool file stays behind");
        }
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Removes the files of commands that nobody waits for any more.
pub(crate) fn sweep(folder: &Path, known: impl Fn(Uuid) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if !id.is_some_and(&known) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_beyond_the_limit_is_counted_and_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), Uuid::nil(), Written::Stdout).unwrap();
        for text in ["hello ", "world", "!"] {
            spool.append(text.as_bytes(), 8).unwrap();
        }
        assert_eq!((spool.kept(), spool.written()), (8, 12));
        assert_eq!(spool.read(0, 100).unwrap(), b"hello wo");
        assert_eq!(spool.read(6, 1).unwrap(), b"w");
        assert_eq!(spool.read(8, 100).unwrap(), b"");
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Spool::open(folder.path(), Uuid::nil(), Written::Stderr).unwrap();
        open().append(b"before", 100).unwrap();
        let spool = open();
        spool.append(b" after", 100).unwrap();
        assert_eq!(spool.read(0, 100).unwrap(), b"before after");
        sweep(folder.path(), |_| false).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
