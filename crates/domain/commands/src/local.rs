//! Running commands on the server itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use muster_kernel::{
    Author, Clock, CommandId, Deed, Entropy, Permit, Place, StorageError, Timestamp, act,
};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::safety::{Assessment, SafetyLevel};
use crate::spec::{InvalidSpec, Limits, ShellType, Spec, SpecRequest};
use crate::{Failure, Outcome};

/// How many commands run at a time; more wait. Each may hold the whole of its output in memory.
const AT_ONCE: usize = 4;

/// The server's own shells.
#[async_trait]
pub trait LocalShell: Send + Sync + std::fmt::Debug {
    /// The one that reads a text when nobody says which: what the system comes with.
    fn default_shell(&self) -> ShellType;

    /// Runs `spec` to its end, at the latest that of its timeout, when every process that it
    /// started ends with it. Its environment holds none of what Muster was told in confidence.
    /// Dropping the future ends them as well.
    async fn run(&self, spec: &Spec) -> LocalReport;
}

/// The audit log, for what changes nothing that Muster keeps.
#[async_trait]
pub trait LocalTrail: Send + Sync + std::fmt::Debug {
    /// Enters a deed, durably.
    async fn enter(&self, author: &Author, at: Timestamp, deed: Deed) -> Result<(), StorageError>;
}

/// How a command on the server ended.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalReport {
    /// Completed or failed.
    pub outcome: Outcome,
    /// The exit code, if there was one.
    pub exit_code: Option<i32>,
    /// The beginning of what it wrote, as much as is kept.
    pub stdout: Bytes,
    /// The same of its errors.
    pub stderr: Bytes,
    /// Whether it wrote more than that.
    pub truncated: bool,
    /// From the start of the process to its end.
    pub execution_time: Duration,
}

impl LocalReport {
    /// A command that no process came of.
    pub fn not_started(code: &str, detail: String) -> Self {
        Self {
            outcome: Outcome::Failed(Failure { code: code.to_owned(), detail: Some(detail) }),
            exit_code: None,
            stdout: Bytes::new(),
            stderr: Bytes::new(),
            truncated: false,
            execution_time: Duration::ZERO,
        }
    }

    fn facts(&self) -> Value {
        let failure = match &self.outcome {
            Outcome::Failed(failure) => Some(failure.code.as_str()),
            Outcome::Completed | Outcome::Cancelled | Outcome::Expired => None,
        };
        json!({
            "failure": failure,
            "exit_code": self.exit_code,
            "execution_time": self.execution_time.as_secs_f64(),
        })
    }
}

/// What came of a command on the server.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalRun {
    /// Which one it is in the audit log.
    pub id: CommandId,
    /// What ran.
    pub spec: Spec,
    /// How dangerous it was thought to be.
    pub safety_level: SafetyLevel,
    /// When it began.
    pub started_at: Timestamp,
    /// How it ended.
    pub report: LocalReport,
}

/// A wish to run something on the server.
#[derive(Debug, Clone, Default)]
pub struct LocalRequest {
    /// What.
    pub spec: SpecRequest,
    /// Whether whoever asks knows that it may be dangerous.
    pub confirm: bool,
}

/// In which way several commands run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchOrder {
    /// Some at a time, all of them.
    Parallel,
    /// One after the other.
    InTurn {
        /// Whether none begins after one that failed.
        stop_on_error: bool,
    },
}

/// Why nothing ran on the server.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Nobody switched it on.
    #[error(
        "commands on the server itself are switched off: start it with local_execution = true in \
         muster.toml, or MUSTER_LOCAL_EXECUTION=true"
    )]
    SwitchedOff,
    /// What is to run breaks a rule.
    #[error("the command at {at}: {error}")]
    Invalid {
        /// Which one of several.
        at: usize,
        /// The rule.
        error: InvalidSpec,
    },
    /// It is dangerous, and nobody said that they know.
    #[error(
        "the command at {at} is dangerous: it {}; send confirm: true with it if you mean it",
        .reasons.join(", and ")
    )]
    Dangerous {
        /// Which one of several.
        at: usize,
        /// Why.
        reasons: Vec<&'static str>,
    },
    /// It could not be entered in the audit log, so it did not run.
    #[error(transparent)]
    NotEntered(#[from] StorageError),
    /// It ran, and something failed behind it.
    #[error("the command ran, and what came of it could not be entered in the audit log")]
    EndNotEntered(#[source] StorageError),
    /// It was under way when the server stopped.
    #[error("the server is stopping; the command was ended")]
    Stopped,
}

/// Runs commands on the server itself, for who may do everything already. Each is entered in the
/// audit log with its whole text before it begins, and again when it has ended: there is no other
/// trace of it.
#[derive(Debug, Clone)]
pub struct LocalExecution {
    ports: LocalPorts,
    limits: Limits,
    places: Arc<Semaphore>,
}

/// The ports of [`LocalExecution`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct LocalPorts {
    /// None when it is switched off: what is not there can't be reached by a mistake.
    pub shell: Option<Arc<dyn LocalShell>>,
    pub trail: Arc<dyn LocalTrail>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// What was checked and may run.
#[derive(Debug)]
struct Checked {
    spec: Spec,
    safety_level: SafetyLevel,
}

impl LocalExecution {
    /// Made of its ports and what the installation allows.
    pub fn new(ports: LocalPorts, limits: Limits) -> Self {
        Self { ports, limits, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Runs one command and waits for its end. One that has begun runs to its end, whether or not
    /// anybody still waits.
    ///
    /// # Errors
    /// [`LocalError`]; all but the last two say that nothing ran.
    pub async fn run(
        &self,
        permit: &Permit<act::RunLocally>,
        request: LocalRequest,
    ) -> Result<LocalRun, LocalError> {
        let shell = self.shell()?;
        let checked = self.check(&*shell, 0, request)?;
        self.execute(shell, permit.author(), checked).await
    }

    /// Runs several commands; answers with what came of those that ran, in the order in which they
    /// were asked for. All are checked before any begins.
    ///
    /// # Errors
    /// Those of [`LocalExecution::run`].
    pub async fn run_batch(
        &self,
        permit: &Permit<act::RunLocally>,
        requests: Vec<LocalRequest>,
        order: BatchOrder,
    ) -> Result<Vec<LocalRun>, LocalError> {
        let shell = self.shell()?;
        let checked = requests.into_iter().enumerate();
        let checked = checked.map(|(at, request)| self.check(&*shell, at, request));
        let checked = checked.collect::<Result<Vec<_>, _>>()?;
        let execute = |one| self.execute(Arc::clone(&shell), permit.author(), one);
        let stop_on_error = match order {
            BatchOrder::Parallel => {
                let runs = futures_util::future::join_all(checked.into_iter().map(execute)).await;
                return runs.into_iter().collect();
            }
            BatchOrder::InTurn { stop_on_error } => stop_on_error,
        };
        let mut runs = Vec::with_capacity(checked.len());
        for one in checked {
            let run = execute(one).await?;
            let failed = run.report.outcome != Outcome::Completed;
            runs.push(run);
            if failed && stop_on_error {
                break;
            }
        }
        Ok(runs)
    }

    fn shell(&self) -> Result<Arc<dyn LocalShell>, LocalError> {
        self.ports.shell.clone().ok_or(LocalError::SwitchedOff)
    }

    fn check(
        &self,
        shell: &dyn LocalShell,
        at: usize,
        request: LocalRequest,
    ) -> Result<Checked, LocalError> {
        let spec = Spec::parse(request.spec, shell.default_shell(), self.limits)
            .map_err(|error| LocalError::Invalid { at, error })?;
        match spec.assess() {
            Assessment { level: SafetyLevel::Dangerous, reasons } if !request.confirm => {
                Err(LocalError::Dangerous { at, reasons })
            }
            Assessment { level, .. } => Ok(Checked { spec, safety_level: level }),
        }
    }

    async fn execute(
        &self,
        shell: Arc<dyn LocalShell>,
        author: &Author,
        checked: Checked,
    ) -> Result<LocalRun, LocalError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| LocalError::Stopped)?;
        // A task of its own: whoever asked may hang up, and its end is entered all the same.
        let run = execute(self.ports.clone(), shell, author.clone(), checked, place);
        tokio::spawn(run).await.map_err(|_| LocalError::Stopped)?
    }
}

async fn execute(
    ports: LocalPorts,
    shell: Arc<dyn LocalShell>,
    author: Author,
    Checked { spec, safety_level }: Checked,
    _place: OwnedSemaphorePermit,
) -> Result<LocalRun, LocalError> {
    let id = CommandId::new(&*ports.clock, &*ports.entropy);
    let place = Place { kind: "local_command", id: id.as_uuid(), customer_id: None };
    let enter = async |action, facts: Value| {
        let deed = Deed::done(action, place, Some(facts));
        ports.trail.enter(&author, ports.clock.now(), deed).await
    };
    let started_at = ports.clock.now();
    enter("local_command.run", facts(&spec, safety_level)).await?;
    let report = shell.run(&spec).await;
    let entered = enter("local_command.end", report.facts()).await;
    entered.map_err(LocalError::EndNotEntered)?;
    Ok(LocalRun { id, spec, safety_level, started_at, report })
}

/// All of it but the values of variables, which may be secrets.
fn facts(spec: &Spec, safety_level: SafetyLevel) -> Value {
    json!({
        "command": spec.command,
        "args": spec.args,
        "shell_type": spec.shell_type.as_str(),
        "timeout": spec.timeout.as_secs_f64(),
        "working_directory": spec.working_directory,
        "environment": spec.environment.keys().collect::<Vec<_>>(),
        "safety_level": safety_level.as_str(),
    })
}

#[cfg(test)]
mod tests;
