//! One execution on one agent, and what can become of it.

use std::time::Duration;

use muster_kernel::{
    Actor, AgentId, ApiKeyId, Audited, CommandId, CustomerId, Place, RolloutId, RunId, Timestamp,
    UserId,
};
use uuid::Uuid;

use crate::{SafetyLevel, Spec};

/// One of the two streams that a command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputStream {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// How much of a command's text the audit log shows, in characters; the command has all of it.
pub(crate) const AUDITED_TEXT: usize = 1000;

/// Who asked for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requester {
    /// A person.
    User(UserId),
    /// A program with a customer's key.
    ApiKey(ApiKeyId),
}

impl Requester {
    /// The requester that an actor is; machines and Muster itself ask for nothing.
    pub const fn of(actor: &Actor) -> Option<Self> {
        match actor {
            Actor::User { id, .. } => Some(Self::User(*id)),
            Actor::ApiKey { id, .. } => Some(Self::ApiKey(*id)),
            Actor::System | Actor::Anonymous | Actor::Agent(_) | Actor::EnrollmentToken(_) => None,
        }
    }
}

impl Requester {
    /// Whose id it is.
    pub const fn id(self) -> Uuid {
        match self {
            Self::User(id) => id.as_uuid(),
            Self::ApiKey(id) => id.as_uuid(),
        }
    }
}

impl Audited for Command {
    fn place(&self) -> Place {
        Place { kind: "command", id: self.id.as_uuid(), customer_id: Some(self.customer_id) }
    }

    /// The values of environment variables are not among the facts: they may be secrets.
    fn facts(&self) -> serde_json::Value {
        serde_json::json!({
            "agent_id": self.agent_id,
            "command": self.spec.command.chars().take(AUDITED_TEXT).collect::<String>(),
            "args": self.spec.args,
            "shell_type": self.spec.shell_type.as_str(),
            "working_directory": self.spec.working_directory,
            "environment": self.spec.environment.keys().collect::<Vec<_>>(),
            "script_version_id": self.spec.script.map(|script| script.version_id),
            "run_id": self.run_id,
            "rollout_id": self.rollout_id,
            "safety_level": self.safety_level.as_str(),
        })
    }
}

/// How many bytes of each stream there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct OutputBytes {
    /// Of standard output.
    pub stdout: u64,
    /// Of standard error.
    pub stderr: u64,
}

impl OutputBytes {
    /// Of one stream.
    pub const fn of(self, stream: OutputStream) -> u64 {
        match stream {
            OutputStream::Stdout => self.stdout,
            OutputStream::Stderr => self.stderr,
        }
    }

    pub(crate) const fn of_mut(&mut self, stream: OutputStream) -> &mut u64 {
        match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }

    /// Whether there are none at all.
    pub const fn is_empty(self) -> bool {
        self.stdout == 0 && self.stderr == 0
    }
}

/// Why a command did not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For machines: `EXIT_CODE`, `TIMED_OUT`, `INTERRUPTED`, `REFUSED`, `SPAWN_FAILED`, …
    pub code: String,
    /// For people.
    pub detail: Option<String>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Completed,
    /// Any other end.
    Failed(Failure),
    /// Somebody cancelled it, or its agent was removed before it began.
    Cancelled,
    /// Its agent did not come for it in time.
    Expired,
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// How.
    pub outcome: Outcome,
    /// When the server learnt of it.
    pub at: Timestamp,
    /// The process's exit code, when it had one.
    pub exit_code: Option<i32>,
    /// From the start of the process to its end.
    pub execution_time: Option<Duration>,
    /// What the process wrote, also what was not kept.
    pub written: OutputBytes,
}

/// How far a command is.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Not begun, as far as the server knows.
    Pending {
        /// When the agent said that it will run it.
        accepted_at: Option<Timestamp>,
    },
    /// The process runs.
    Running {
        /// Since when.
        started_at: Timestamp,
        /// Its process id on the machine.
        pid: Option<u32>,
    },
    /// Over.
    Ended {
        /// When its process began, if it did.
        started_at: Option<Timestamp>,
        /// How it ended.
        end: End,
    },
}

/// The state's name in the API and the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of State and Outcome")]
pub enum Status {
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
    Expired,
}

impl Status {
    /// Every status.
    pub const ALL: &[Self] = &[
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Reads what [`Status::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text)
    }

    /// Whether nothing more will happen.
    pub const fn is_end(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

/// One execution on one agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Its id; an agent never runs the same one twice.
    pub id: CommandId,
    /// Where it runs.
    pub agent_id: AgentId,
    /// Whose machine that was when the command was given.
    pub customer_id: CustomerId,
    /// What runs.
    pub spec: Spec,
    /// The run that it is part of.
    pub run_id: Option<RunId>,
    /// The rollout that it is part of.
    pub rollout_id: Option<RolloutId>,
    /// Whether its run holds it back: nobody gets it before the run lets it go.
    pub held: bool,
    /// Who gave it.
    pub requested_by: Requester,
    /// How dangerous it was thought to be when it was given.
    pub safety_level: SafetyLevel,
    /// When it was given.
    pub created_at: Timestamp,
    /// It may not begin later than this.
    pub expires_at: Timestamp,
    /// When it was first handed to a connection; from then on the agent may have it.
    pub dispatched_at: Option<Timestamp>,
    /// When somebody asked to cancel it.
    pub cancel_requested_at: Option<Timestamp>,
    /// How far it is.
    pub state: State,
    /// What is kept of its output.
    pub output: OutputBytes,
}

impl Command {
    /// The state's name.
    pub const fn status(&self) -> Status {
        match &self.state {
            State::Pending { .. } => Status::Pending,
            State::Running { .. } => Status::Running,
            State::Ended { end, .. } => match end.outcome {
                Outcome::Completed => Status::Completed,
                Outcome::Failed(_) => Status::Failed,
                Outcome::Cancelled => Status::Cancelled,
                Outcome::Expired => Status::Expired,
            },
        }
    }

    /// When its process began.
    pub const fn started_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Pending { .. } => None,
            State::Running { started_at, .. } => Some(started_at),
            State::Ended { started_at, .. } => started_at,
        }
    }

    /// How it ended, if it has.
    pub const fn end(&self) -> Option<&End> {
        match &self.state {
            State::Ended { end, .. } => Some(end),
            State::Pending { .. } | State::Running { .. } => None,
        }
    }

    /// Whether the agent confirmed that it has the command.
    pub const fn is_accepted(&self) -> bool {
        !matches!(self.state, State::Pending { accepted_at: None })
    }

    /// Whether the process wrote more than is kept.
    pub fn output_truncated(&self) -> bool {
        self.end().is_some_and(|end| {
            OutputStream::ALL.iter().any(|stream| end.written.of(*stream) > self.output.of(*stream))
        })
    }
}
