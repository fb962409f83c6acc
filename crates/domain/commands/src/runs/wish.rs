//! What is to run where, and how carefully.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_agents::Target;
use muster_kernel::{SavedCommandId, ScriptId, Sealed};
use serde::{Deserialize, Serialize};

use crate::command::AUDITED_TEXT;
use crate::{ShellType, SpecRequest};

/// How carefully.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Strategy {
    /// On how many machines at a time; on all when `None`.
    pub max_concurrency: Option<u32>,
    /// On so many first; on the others when all of these have completed.
    pub canary: Option<u32>,
    /// When more machines than this have failed, no other one begins.
    pub max_failures: Option<u32>,
}

/// The value of a parameter, as its kind says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParameterValue {
    /// Of a boolean.
    Boolean(bool),
    /// Of a number.
    Number(f64),
    /// Of a string, a choice or a secret.
    Text(String),
}

/// The values of parameters by name.
pub type Parameters = BTreeMap<String, ParameterValue>;

/// A command in the words of whoever asks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of Spec, unchecked")]
pub struct Wording {
    pub command: String,
    pub args: Vec<String>,
    pub shell_type: Option<ShellType>,
    pub timeout: Option<f64>,
    pub working_directory: Option<String>,
    pub environment: BTreeMap<String, String>,
}

impl From<Wording> for SpecRequest {
    fn from(wording: Wording) -> Self {
        Self {
            command: wording.command,
            args: wording.args,
            shell_type: wording.shell_type,
            timeout: wording.timeout,
            working_directory: wording.working_directory,
            environment: wording.environment,
        }
    }
}

impl From<SpecRequest> for Wording {
    fn from(request: SpecRequest) -> Self {
        Self {
            command: request.command,
            args: request.args,
            shell_type: request.shell_type,
            timeout: request.timeout,
            working_directory: request.working_directory,
            environment: request.environment,
        }
    }
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Work {
    /// A command in the words of whoever asks.
    Command(Wording),
    /// A script of the library, as it is when the run begins.
    Script {
        /// Which.
        script_id: ScriptId,
        /// Its parameters, without those that are secret.
        parameters: Parameters,
        /// Seconds that it may run.
        timeout: Option<f64>,
    },
    /// A saved command of the library, as it is when the run begins.
    SavedCommand {
        /// Which.
        saved_command_id: SavedCommandId,
        /// Its parameters, without those that are secret.
        parameters: Parameters,
        /// Seconds that it may run.
        timeout: Option<f64>,
    },
}

impl Work {
    /// What the audit log shows of it. The values of parameters and variables are not among it:
    /// they may be secrets.
    pub(crate) fn facts(&self) -> serde_json::Value {
        match self {
            Self::Command(wording) => serde_json::json!({
                "command": wording.command.chars().take(AUDITED_TEXT).collect::<String>(),
                "args": wording.args,
                "environment": wording.environment.keys().collect::<Vec<_>>(),
            }),
            Self::Script { script_id, parameters, .. } => serde_json::json!({
                "script_id": script_id, "parameters": parameters.keys().collect::<Vec<_>>(),
            }),
            Self::SavedCommand { saved_command_id, parameters, .. } => serde_json::json!({
                "saved_command_id": saved_command_id,
                "parameters": parameters.keys().collect::<Vec<_>>(),
            }),
        }
    }
}

/// What a run is made of. A schedule keeps one and makes a run of it each time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// On which machines.
    pub target: Target,
    /// What.
    pub work: Work,
    /// The secret parameters, a JSON object of names and values, sealed for the place that keeps
    /// the template.
    #[serde(skip)]
    pub secrets: Option<Sealed>,
    /// How carefully.
    pub strategy: Strategy,
    /// How long a machine that is out of reach may come back for it.
    pub expires_in: Option<Duration>,
}
