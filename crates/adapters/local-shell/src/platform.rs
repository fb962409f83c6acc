//! What differs between operating systems: a process with everything that it starts, and how it is
//! handed its arguments. A tree that is dropped ends, unless it was released.

#[cfg(unix)]
mod unix {
    use std::io;
    use std::process::ExitStatus;

    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;
    use tokio::process::{Child, ChildStderr, ChildStdout, Command};

    use crate::arguments::Arguments;

    /// A process and everything that it starts: a process group.
    #[derive(Debug)]
    pub(crate) struct Tree {
        child: Child,
        group: Option<Pid>,
    }

    impl Tree {
        pub(crate) fn spawn(mut command: Command) -> io::Result<Self> {
            let child = command.process_group(0).spawn()?;
            let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
            Ok(Self { child, group })
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

        /// Has what is left of it live on: it keeps nothing of ours open. Another group may have
        /// its number one day.
        pub(crate) fn release(&mut self) {
            self.group = None;
        }

        /// A group that has ended already is what was wanted.
        fn signal(&self, signal: Signal) {
            if let Some(group) = self.group {
                let _ = killpg(group, signal);
            }
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            self.kill();
        }
    }

    pub(crate) fn set_arguments(command: &mut Command, arguments: Arguments) {
        command.args(arguments.words).args(arguments.line);
    }
}

#[cfg(windows)]
mod windows {
    use std::io;
    use std::process::ExitStatus;

    use process_wrap::tokio::{ChildWrapper, CommandWrap, JobObject, KillOnDrop};
    use tokio::process::{ChildStderr, ChildStdout, Command};

    use crate::arguments::Arguments;

    /// A process and everything that it starts: a job object.
    #[derive(Debug)]
    pub(crate) struct Tree {
        child: std::sync::Mutex<Box<dyn ChildWrapper>>,
    }

    impl Tree {
        pub(crate) fn spawn(command: Command) -> io::Result<Self> {
            let child = CommandWrap::from(command).wrap(KillOnDrop).wrap(JobObject).spawn()?;
            Ok(Self { child: std::sync::Mutex::new(child) })
        }

        fn child(&mut self) -> &mut Box<dyn ChildWrapper> {
            self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        /// What the process writes; the first call takes it.
        pub(crate) fn take_output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
            let child = self.child();
            (child.stdout().take(), child.stderr().take())
        }

        /// Waits for the process.
        pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
            self.child().wait().await
        }

        /// Windows has no way to ask a console program without one: see [`Tree::kill`].
        pub(crate) fn terminate(&self) {}

        /// Ends all of it.
        pub(crate) fn kill(&self) {
            let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let _ = child.start_kill();
        }

        /// What is in a job ends with it.
        pub(crate) fn release(&mut self) {}
    }

    pub(crate) fn set_arguments(command: &mut Command, arguments: Arguments) {
        command.args(arguments.words);
        if let Some(line) = arguments.line {
            command.raw_arg(line);
        }
    }
}

#[cfg(unix)]
pub(crate) use unix::{Tree, set_arguments};
#[cfg(windows)]
pub(crate) use windows::{Tree, set_arguments};
