//! Windows: a job object for each command, which ends with the agent whatever happens to it.

use std::fs::File;
use std::io;
use std::os::windows::fs::FileExt;
use std::process::ExitStatus;

use process_wrap::tokio::{ChildWrapper, CommandWrap, JobObject, KillOnDrop};
use tokio::process::{ChildStderr, ChildStdout, Command};

use crate::shell::Arguments;

/// A process and everything that it starts.
#[derive(Debug)]
pub(crate) struct Tree {
    child: parking_lot::Mutex<Box<dyn ChildWrapper>>,
    id: Option<u32>,
}

impl Tree {
    /// Starts `command` in a job object of its own.
    pub(crate) fn spawn(command: Command) -> io::Result<Self> {
        let child = CommandWrap::from(command).wrap(KillOnDrop).wrap(JobObject).spawn()?;
        let id = child.id();
        Ok(Self { child: parking_lot::Mutex::new(child), id })
    }

    /// The process's id.
    pub(crate) fn id(&self) -> Option<u32> {
        self.id
    }

    /// What the process writes; the first call takes it.
    pub(crate) fn take_output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        let child = self.child.get_mut();
        (child.stdout().take(), child.stderr().take())
    }

    /// Waits for the process.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.get_mut().wait().await
    }

    /// Windows has no way to ask a console program without one: see [`Tree::kill`].
    pub(crate) fn terminate(&self) {}

    /// Ends all of it.
    pub(crate) fn kill(&self) {
        let _ = self.child.lock().start_kill();
    }
}

/// Reads from `file` at `offset`; it stands behind what was read then.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}

/// Hands `arguments` to a shell; cmd gets its line without the quoting that other programs undo.
pub(crate) fn set_arguments(command: &mut Command, arguments: Arguments) {
    command.args(arguments.words);
    if let Some(line) = arguments.line {
        command.raw_arg(line);
    }
}
