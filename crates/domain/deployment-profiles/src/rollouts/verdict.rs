//! What came of a command, as far as a task cares.

use muster_commands::{Command, Failure, INTERRUPTED, Outcome};
use serde::{Deserialize, Serialize};

/// Why a task was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFailure {
    /// For machines.
    pub code: String,
    /// For people.
    pub detail: Option<String>,
}

impl DeviceFailure {
    pub(super) fn new(code: &str, detail: &str) -> Self {
        Self { code: code.to_owned(), detail: Some(detail.to_owned()) }
    }
}

impl From<&Failure> for DeviceFailure {
    fn from(failure: &Failure) -> Self {
        Self { code: failure.code.clone(), detail: failure.detail.clone() }
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Exit code 0.
    Passed,
    /// It ran to its end and says no.
    Refused {
        /// Why, as it is recorded.
        failure: DeviceFailure,
        /// What it ended with.
        exit_code: Option<i32>,
    },
    /// Its agent died, or lost it: nobody knows how far it came.
    Interrupted(DeviceFailure),
    /// It could not be run, or took too long.
    Failed(DeviceFailure),
    /// Its agent did not come for it in time.
    Expired,
    /// Somebody cancelled it.
    Cancelled,
}

impl Verdict {
    /// What came of a command that has ended; `None` while it has not.
    pub fn of(command: &Command) -> Option<Self> {
        let end = command.end()?;
        Some(match &end.outcome {
            Outcome::Completed => Self::Passed,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Expired => Self::Expired,
            Outcome::Failed(failure) if failure.code == INTERRUPTED => {
                Self::Interrupted(failure.into())
            }
            Outcome::Failed(failure) if failure.code == "EXIT_CODE" || end.exit_code.is_some() => {
                let detail = end.exit_code.map(|code| format!("exit code {code}"));
                let detail = detail.or_else(|| failure.detail.clone());
                let failure = DeviceFailure { code: "EXIT_CODE".to_owned(), detail };
                Self::Refused { failure, exit_code: end.exit_code }
            }
            Outcome::Failed(failure) => Self::Failed(failure.into()),
        })
    }
}
