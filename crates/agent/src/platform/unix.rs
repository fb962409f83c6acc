//! Unix: a process group for each command.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::process::ExitStatus;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::shell::Arguments;

/// A process and everything that it starts.
#[derive(Debug)]
pub(crate) struct Tree {
    child: Child,
    group: Option<Pid>,
}

impl Tree {
    /// Starts `command` as the leader of a process group of its own.
    pub(crate) fn spawn(mut command: Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Self { child, group })
    }

    /// The process's id.
    pub(crate) fn id(&self) -> Option<u32> {
        self.group.and_then(|group| u32::try_from(group.as_raw()).ok())
    }

    /// What the process writes; the first call takes it.
    pub(crate) fn take_output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Waits for the process itself; what it started may live on.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks all of it to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Ends all of it.
    pub(crate) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// A group that has ended already is what was wanted.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            let _ = killpg(group, signal);
        }
    }
}

/// Reads from `file` at `offset`, wherever it stands.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

/// Hands `arguments` to a shell.
pub(crate) fn set_arguments(command: &mut Command, arguments: Arguments) {
    command.args(arguments.words).args(arguments.line);
}
