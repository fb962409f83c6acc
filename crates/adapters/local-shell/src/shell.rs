//! Runs one command, from its start to the end of its last process.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use muster_commands::local::{LocalReport, LocalShell};
use muster_commands::{Failure, Outcome, ShellType, Spec};
use tokio::process::Command;

use crate::arguments::{arguments, find};
use crate::output::Stream;
use crate::platform::{Tree, set_arguments};

/// How long a process tree has to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How long what a command left running may keep its output open.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// The shells of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Shells {
    output_limit: usize,
}

impl Shells {
    /// Keeps `output_limit` bytes of each stream of a command.
    pub const fn new(output_limit: usize) -> Self {
        Self { output_limit }
    }
}

#[async_trait]
impl LocalShell for Shells {
    fn default_shell(&self) -> ShellType {
        if cfg!(windows) { ShellType::Powershell } else { ShellType::Sh }
    }

    async fn run(&self, spec: &Spec) -> LocalReport {
        let command = match prepare(spec) {
            Ok(command) => command,
            Err((code, detail)) => return LocalReport::not_started(code, detail),
        };
        let begun = Instant::now();
        let mut tree = match Tree::spawn(command) {
            Ok(tree) => tree,
            Err(error) => {
                let detail = format!("the process could not be started: {error}");
                return LocalReport::not_started("SPAWN_FAILED", detail);
            }
        };
        let (stdout, stderr) = tree.take_output();
        let stdout = stdout.map(|pipe| Stream::read(pipe, self.output_limit));
        let stderr = stderr.map(|pipe| Stream::read(pipe, self.output_limit));
        let mut streams = [stdout, stderr];
        let ended = tokio::time::timeout(spec.timeout, tree.wait()).await.ok();
        let execution_time = begun.elapsed();
        if ended.is_none() {
            end(&mut tree).await;
        }
        drain(&tree, &mut streams).await;
        tree.release();
        let [(stdout, more_out), (stderr, more_err)] =
            streams.map(|stream| stream.map(|stream| stream.take()).unwrap_or_default());
        let (outcome, exit_code) = verdict(spec, ended);
        let truncated = more_out || more_err;
        LocalReport { outcome, exit_code, stdout, stderr, truncated, execution_time }
    }
}

fn prepare(spec: &Spec) -> Result<Command, (&'static str, String)> {
    let shell = spec.shell_type;
    let program = find(shell).ok_or_else(|| {
        ("SHELL_NOT_AVAILABLE", format!("{} is not installed on the server", shell.as_str()))
    })?;
    let arguments = arguments(shell, &spec.command, &spec.args).ok_or_else(|| {
        ("UNSAFE_ARGUMENT", "cmd would read arguments as code: use pwsh".to_owned())
    })?;
    let mut command = Command::new(program);
    set_arguments(&mut command, arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What the server was told in confidence is not for what it runs.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_ours) {
            command.env_remove(name);
        }
    }
    command.envs(&spec.environment);
    if let Some(folder) = &spec.working_directory {
        command.current_dir(folder);
    }
    Ok(command)
}

/// Whether a variable configures Muster.
fn is_ours(name: &str) -> bool {
    name.starts_with("MUSTER_") || name == "DATABASE_URL"
}

/// Asks all of the tree to end, and sees to it that it does.
async fn end(tree: &mut Tree) {
    tree.terminate();
    let _ = tokio::time::timeout(GRACE, tree.wait()).await;
    tree.kill();
    let _ = tree.wait().await;
}

/// Waits for the end of the output. Something that outlived the command and holds it open ends
/// with it.
async fn drain(tree: &Tree, streams: &mut [Option<Stream>]) {
    for _ in 0..2 {
        let tasks = streams.iter_mut().flatten().map(|stream| &mut stream.task);
        let unfinished = tasks.filter(|task| !task.is_finished());
        let drained = futures_util::future::join_all(unfinished);
        if tokio::time::timeout(STRAGGLERS, drained).await.is_ok() {
            return;
        }
        tree.kill();
    }
}

fn verdict(spec: &Spec, ended: Option<std::io::Result<ExitStatus>>) -> (Outcome, Option<i32>) {
    let failed = |code: &str, detail: Option<String>| {
        Outcome::Failed(Failure { code: code.to_owned(), detail })
    };
    match ended {
        None => {
            let detail = format!("not done after {} seconds", spec.timeout.as_secs_f64());
            (failed("TIMED_OUT", Some(detail)), None)
        }
        Some(Err(error)) => (failed("WAIT_FAILED", Some(error.to_string())), None),
        Some(Ok(status)) => match status.code() {
            Some(0) => (Outcome::Completed, Some(0)),
            Some(code) => (failed("EXIT_CODE", None), Some(code)),
            None => {
                let detail = format!("the process was ended by a signal ({status})");
                (failed("SIGNALLED", Some(detail)), None)
            }
        },
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
