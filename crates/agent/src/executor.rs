//! Runs one command, from its start to the end of its last process.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_protocol::{Execute, Finished, Outcome};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use crate::mask::{Masker, Secrets};
use crate::platform::{Tree, set_arguments};
use crate::shell;
use crate::spool::Spool;

/// How long a process tree has to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How long what a command left running may keep its output open.
const STRAGGLERS: Duration = Duration::from_secs(2);
/// In every process of a command: tells an agent that was killed which processes are orphans.
pub(crate) const COMMAND_VARIABLE: &str = "MUSTER_COMMAND_ID";

/// What tells a command to end before its time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stops {
    /// Somebody cancelled it.
    pub(crate) cancelled: CancellationToken,
    /// The agent is ending.
    pub(crate) stopping: CancellationToken,
}

/// The two streams of a command.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) stdout: Arc<Spool>,
    pub(crate) stderr: Arc<Spool>,
    /// Bytes of each that are kept.
    pub(crate) limit: u64,
}

/// Why a command ended.
enum Ended {
    ByItself(std::io::Result<ExitStatus>),
    TimedOut,
    Cancelled,
    Stopped,
}

/// Runs `execute`, which is the script in a file when there is one; `started` hears the process's
/// id, `wrote` that there is more output. No secret gets into the output.
pub(crate) async fn run(
    execute: &Execute,
    script: Option<&Path>,
    output: &Output,
    stops: &Stops,
    started: impl FnOnce(u32),
    wrote: impl Fn() + Clone + Send + 'static,
) -> Finished {
    let command = match prepare(execute, script) {
        Ok(command) => command,
        Err((code, detail)) => {
            return finished(execute, Outcome::Refused, Some(code), Some(detail));
        }
    };
    let begun = Instant::now();
    let mut tree = match Tree::spawn(command) {
        Ok(tree) => tree,
        Err(error) => {
            let detail = describe_spawn_error(execute, &error);
            return finished(execute, Outcome::Failed, Some("SPAWN_FAILED"), Some(detail));
        }
    };
    started(tree.id().unwrap_or(0));
    let (stdout, stderr) = tree.take_output();
    let secrets = Secrets::new(execute.secrets.values().map(String::as_str));
    let sink = |spool: &Arc<Spool>| Sink {
        spool: Arc::clone(spool),
        limit: output.limit,
        masker: secrets.masker(),
        wrote: wrote.clone(),
    };
    let pumps = [
        stdout.map(|pipe| tokio::spawn(pump(pipe, sink(&output.stdout)).in_current_span())),
        stderr.map(|pipe| tokio::spawn(pump(pipe, sink(&output.stderr)).in_current_span())),
    ];
    let timeout = Duration::try_from_secs_f64(execute.timeout).unwrap_or(Duration::MAX);
    let ended = tokio::select! {
        status = tree.wait() => Ended::ByItself(status),
        () = tokio::time::sleep(timeout) => Ended::TimedOut,
        () = stops.cancelled.cancelled() => Ended::Cancelled,
        () = stops.stopping.cancelled() => Ended::Stopped,
    };
    let execution_time = begun.elapsed();
    if !matches!(ended, Ended::ByItself(_)) {
        tree.terminate();
        let _ = tokio::time::timeout(GRACE, tree.wait()).await;
        tree.kill();
        let _ = tree.wait().await;
    }
    let mut pumps: Vec<_> = pumps.into_iter().flatten().collect();
    let drained = futures_util::future::join_all(pumps.iter_mut());
    if tokio::time::timeout(STRAGGLERS, drained).await.is_err() {
        // Something outlived the command and holds its output open: it ends with it.
        tree.kill();
        let drained = futures_util::future::join_all(pumps.iter_mut());
        if tokio::time::timeout(STRAGGLERS, drained).await.is_err() {
            pumps.iter().for_each(tokio::task::JoinHandle::abort);
        }
    }
    Finished { execution_time: Some(execution_time.as_secs_f64()), ..verdict(execute, ended) }
}

fn prepare(execute: &Execute, script: Option<&Path>) -> Result<Command, (&'static str, String)> {
    let shell = execute.shell_type;
    let program = shell::find(shell).ok_or_else(|| {
        ("SHELL_NOT_AVAILABLE", format!("{} is not installed on this machine", shell::name(shell)))
    })?;
    let arguments = match script {
        Some(file) => shell::script_arguments(shell, file, &execute.args),
        None => shell::arguments(shell, &execute.command, &execute.args),
    };
    let arguments = arguments.map_err(|error| ("UNSAFE_ARGUMENT", error.to_string()))?;
    let mut command = Command::new(program);
    set_arguments(&mut command, arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What the agent was told in confidence is not for what it runs.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("MUSTER_")) {
            command.env_remove(name);
        }
    }
    command.envs(&execute.environment).envs(&execute.secrets);
    command.env(COMMAND_VARIABLE, execute.command_id.to_string());
    if let Some(folder) = &execute.working_directory {
        command.current_dir(folder);
    }
    Ok(command)
}

fn describe_spawn_error(execute: &Execute, error: &std::io::Error) -> String {
    match &execute.working_directory {
        Some(folder) if !std::path::Path::new(folder).is_dir() => {
            format!("the working directory {folder} can't be used: {error}")
        }
        _ => format!("the process could not be started: {error}"),
    }
}

/// Where one stream of a command goes.
struct Sink<W> {
    spool: Arc<Spool>,
    limit: u64,
    masker: Masker,
    wrote: W,
}

impl<W: Fn()> Sink<W> {
    fn keep(&self, bytes: &[u8]) {
        // The file is written to the page cache: that takes no longer than waking a thread.
        if let Err(error) = self.spool.append(bytes, self.limit) {
            tracing::error!(%error, "output could not be kept");
        }
        (self.wrote)();
    }
}

/// Carries what the pipe gives into the spool, until its end, without the secrets.
async fn pump(mut pipe: impl AsyncRead + Unpin, mut sink: Sink<impl Fn()>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        let bytes = sink.masker.pass(buffer.get(..read).unwrap_or_default());
        sink.keep(&bytes);
    }
    let rest = sink.masker.finish();
    if !rest.is_empty() {
        sink.keep(&rest);
    }
}

fn verdict(execute: &Execute, ended: Ended) -> Finished {
    match ended {
        Ended::TimedOut => {
            let detail = format!("not done after {} seconds", execute.timeout);
            finished(execute, Outcome::TimedOut, Some("TIMED_OUT"), Some(detail))
        }
        Ended::Cancelled => finished(execute, Outcome::Cancelled, None, None),
        Ended::Stopped => {
            let detail = "the agent was stopped while the command ran".to_owned();
            finished(execute, Outcome::Interrupted, Some("INTERRUPTED"), Some(detail))
        }
        Ended::ByItself(Err(error)) => {
            finished(execute, Outcome::Failed, Some("WAIT_FAILED"), Some(error.to_string()))
        }
        Ended::ByItself(Ok(status)) => by_status(execute, status),
    }
}

fn by_status(execute: &Execute, status: ExitStatus) -> Finished {
    let exit_code = status.code();
    let done = match exit_code {
        Some(0) => finished(execute, Outcome::Completed, None, None),
        Some(_) => finished(execute, Outcome::Failed, Some("EXIT_CODE"), None),
        None => {
            let detail = Some(format!("the process was ended by a signal ({status})"));
            finished(execute, Outcome::Failed, Some("SIGNALLED"), detail)
        }
    };
    Finished { exit_code, ..done }
}

fn finished(
    execute: &Execute,
    outcome: Outcome,
    code: Option<&str>,
    detail: Option<String>,
) -> Finished {
    ended_without_process(execute.command_id, outcome, code, detail)
}

/// The result of a command that no process is behind.
pub(crate) fn ended_without_process(
    command_id: Uuid,
    outcome: Outcome,
    code: Option<&str>,
    detail: Option<String>,
) -> Finished {
    Finished {
        command_id,
        outcome,
        exit_code: None,
        execution_time: None,
        stdout_bytes: 0,
        stderr_bytes: 0,
        failure_code: code.map(ToOwned::to_owned),
        detail,
    }
}

/// Ends every process that an agent which was killed left behind of these commands.
pub(crate) fn end_orphans(ids: &[Uuid]) {
    if ids.is_empty() {
        return;
    }
    let Ok(mut system) = sysinfo::System::new() else { return };
    system.refresh_processes_specifics(
        sysinfo::ProcessesToUpdate::All,
        true,
        sysinfo::ProcessRefreshKind::nothing().with_environ(sysinfo::UpdateKind::Always),
    );
    let marks: Vec<_> = ids.iter().map(|id| format!("{COMMAND_VARIABLE}={id}")).collect();
    for process in system.processes().values() {
        let marked = process
            .environ()
            .iter()
            .any(|variable| variable.to_str().is_some_and(|v| marks.iter().any(|mark| mark == v)));
        if marked && process.kill() {
            tracing::warn!(process.id = %process.pid(), "ended what an earlier agent left running");
        }
    }
}
