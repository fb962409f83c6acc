//! What is to run, where, and how carefully, as runs and schedules take it.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_commands::runs::{ParameterValue, Parameters, Strategy, Target, Wording, Work};
use muster_kernel::{AgentId, CustomerId, GroupId, SavedCommandId, ScriptId, Tags};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::agent_query::OsTypeParameter;
use super::commands::Shell;
use crate::Problem;
use crate::extract::null_as_default;
use crate::problem::pointer_token;

/// Which machines: those that everything which is given applies to.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TargetBody {
    /// These, one by one.
    #[serde(deserialize_with = "null_as_default")]
    agent_ids: Vec<Uuid>,
    /// Those with all of these tags.
    #[serde(deserialize_with = "null_as_default")]
    tags: Vec<String>,
    /// Members of at least one of these groups, at the moment when it begins.
    #[serde(deserialize_with = "null_as_default")]
    group_ids: Vec<Uuid>,
    /// Those of this customer.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// Those with this family of operating systems.
    #[schema(inline)]
    os_type: Option<OsTypeParameter>,
    /// Every machine that you may use; has to be said, and narrows nothing.
    #[serde(deserialize_with = "null_as_default")]
    all: bool,
}

impl TryFrom<TargetBody> for Target {
    type Error = Problem;

    fn try_from(body: TargetBody) -> Result<Self, Problem> {
        let tags =
            Tags::parse(body.tags).map_err(|error| Problem::invalid("/target/tags", error.0))?;
        Ok(Self {
            agent_ids: body.agent_ids.into_iter().map(AgentId::from_uuid).collect(),
            tags: tags.iter().map(ToOwned::to_owned).collect(),
            group_ids: body.group_ids.into_iter().map(GroupId::from_uuid).collect(),
            customer_id: body.customer_id.map(CustomerId::from_uuid),
            os_type: body.os_type.map(Into::into),
            all: body.all,
        })
    }
}

impl From<Target> for TargetBody {
    fn from(target: Target) -> Self {
        Self {
            agent_ids: target.agent_ids.into_iter().map(AgentId::as_uuid).collect(),
            tags: target.tags.into_iter().collect(),
            group_ids: target.group_ids.into_iter().map(GroupId::as_uuid).collect(),
            customer_id: target.customer_id.map(CustomerId::as_uuid),
            os_type: target.os_type.map(Into::into),
            all: target.all,
        }
    }
}

/// What runs: `command` with what belongs to it, or `script_id` or `saved_command_id` with
/// `parameters`. It stands among other fields, which is why those that are not known are refused
/// by whatever it is part of.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct WorkBody {
    /// The text for the shell, at most 64 KiB.
    #[serde(alias = "payload", skip_serializing_if = "Option::is_none")]
    #[schema(example = "uptime")]
    command: Option<String>,
    /// Arguments, each handed over as it is and never read as code.
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Vec<String>>,
    /// `sh` unless given, on Windows `powershell`.
    #[serde(alias = "shell", skip_serializing_if = "Option::is_none")]
    shell_type: Option<Shell>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_directory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<BTreeMap<String, String>>,
    /// A script of the library, as it is when it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    script_id: Option<Uuid>,
    /// A saved command of the library, as it is when it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    saved_command_id: Option<Uuid>,
    /// Texts, numbers and booleans by the names of the script's or saved command's parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    parameters: Option<BTreeMap<String, Value>>,
    /// Seconds that it may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<f64>,
}

impl WorkBody {
    /// What is to run; `None` when nothing is said about it.
    pub(crate) fn given(self) -> Result<Option<Work>, Problem> {
        let chosen = [self.script_id.is_some(), self.saved_command_id.is_some()];
        if chosen.iter().filter(|chosen| **chosen).count() + usize::from(self.command.is_some()) > 1
        {
            let rule = "one of command, script_id and saved_command_id is expected";
            return Err(Problem::invalid("/command", rule));
        }
        if let Some(script_id) = self.script_id {
            let (parameters, timeout) = self.of_library("/script_id")?;
            let script_id = ScriptId::from_uuid(script_id);
            return Ok(Some(Work::Script { script_id, parameters, timeout }));
        }
        if let Some(id) = self.saved_command_id {
            let (parameters, timeout) = self.of_library("/saved_command_id")?;
            let saved_command_id = SavedCommandId::from_uuid(id);
            return Ok(Some(Work::SavedCommand { saved_command_id, parameters, timeout }));
        }
        if self.parameters.is_some() {
            let rule = "they belong to a script_id or saved_command_id, which is expected as well";
            return Err(Problem::invalid("/parameters", rule));
        }
        let Some(command) = self.command else {
            let rest = self.args.is_some()
                || self.shell_type.is_some()
                || self.working_directory.is_some()
                || self.environment.is_some()
                || self.timeout.is_some();
            return if rest { Err(nothing_to_run()) } else { Ok(None) };
        };
        Ok(Some(Work::Command(Wording {
            command,
            args: self.args.unwrap_or_default(),
            shell_type: self.shell_type.map(Into::into),
            timeout: self.timeout,
            working_directory: self.working_directory,
            environment: self.environment.unwrap_or_default(),
        })))
    }

    /// The parameters and the timeout of something from the library, which brings the rest along.
    fn of_library(self, pointer: &str) -> Result<(Parameters, Option<f64>), Problem> {
        if self.args.is_some()
            || self.shell_type.is_some()
            || self.working_directory.is_some()
            || self.environment.is_some()
        {
            let rule = "it says itself what runs, and how: give parameters and timeout at most";
            return Err(Problem::invalid(pointer, rule));
        }
        Ok((parameters(self.parameters.unwrap_or_default())?, self.timeout))
    }
}

/// Values of parameters, as a body gives them.
pub(crate) fn parameters(given: BTreeMap<String, Value>) -> Result<Parameters, Problem> {
    let values = given.into_iter().map(|(name, value)| {
        let value = parameter(value).ok_or_else(|| {
            let pointer = format!("/parameters/{}", pointer_token(&name));
            Problem::invalid(pointer, "a text, a number or a boolean is expected")
        })?;
        Ok((name, value))
    });
    values.collect()
}

/// The same as bodies give them.
pub(crate) fn values(parameters: Parameters) -> BTreeMap<String, Value> {
    let value = |value| match value {
        ParameterValue::Boolean(value) => Value::from(value),
        ParameterValue::Number(value) => Value::from(value),
        ParameterValue::Text(value) => Value::from(value),
    };
    parameters.into_iter().map(|(name, it)| (name, value(it))).collect()
}

fn nothing_to_run() -> Problem {
    Problem::invalid("/command", "a command, script_id or saved_command_id is expected")
}

fn parameter(value: Value) -> Option<ParameterValue> {
    match value {
        Value::Bool(value) => Some(ParameterValue::Boolean(value)),
        Value::Number(value) => value.as_f64().map(ParameterValue::Number),
        Value::String(value) => Some(ParameterValue::Text(value)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl TryFrom<WorkBody> for Work {
    type Error = Problem;

    fn try_from(body: WorkBody) -> Result<Self, Problem> {
        body.given()?.ok_or_else(nothing_to_run)
    }
}

impl From<Work> for WorkBody {
    fn from(work: Work) -> Self {
        match work {
            Work::Command(wording) => Self {
                command: Some(wording.command),
                args: Some(wording.args),
                shell_type: wording.shell_type.map(Into::into),
                working_directory: wording.working_directory,
                environment: Some(wording.environment),
                timeout: wording.timeout,
                ..Self::default()
            },
            Work::Script { script_id, parameters, timeout } => Self {
                script_id: Some(script_id.as_uuid()),
                parameters: Some(values(parameters)),
                timeout,
                ..Self::default()
            },
            Work::SavedCommand { saved_command_id, parameters, timeout } => Self {
                saved_command_id: Some(saved_command_id.as_uuid()),
                parameters: Some(values(parameters)),
                timeout,
                ..Self::default()
            },
        }
    }
}

/// How carefully.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StrategyBody {
    /// On how many machines at a time; on all when null.
    max_concurrency: Option<u32>,
    /// On so many first; on the others when all of these have completed.
    canary: Option<u32>,
    /// When more machines than this have failed, no other one begins.
    max_failures: Option<u32>,
}

impl From<StrategyBody> for Strategy {
    fn from(body: StrategyBody) -> Self {
        let StrategyBody { max_concurrency, canary, max_failures } = body;
        Self { max_concurrency, canary, max_failures }
    }
}

impl From<Strategy> for StrategyBody {
    fn from(strategy: Strategy) -> Self {
        let Strategy { max_concurrency, canary, max_failures } = strategy;
        Self { max_concurrency, canary, max_failures }
    }
}

/// A time in seconds, as the field at `pointer`.
pub(crate) fn seconds(value: Option<f64>, pointer: &str) -> Result<Option<Duration>, Problem> {
    let time = value.map(Duration::try_from_secs_f64).transpose();
    time.map_err(|_| Problem::invalid(pointer, "a number of seconds is expected"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_agents::OsType;
    use serde_json::json;

    fn work(body: Value) -> Result<Work, String> {
        let body: WorkBody = serde_json::from_value(body).unwrap();
        Work::try_from(body).map_err(|problem| problem.document(None))
    }

    #[test]
    fn work_is_a_command_or_something_from_the_library() {
        let command =
            work(json!({ "payload": "uptime", "shell": "bash", "args": ["-p"] })).unwrap();
        let Work::Command(wording) = &command else { panic!("{command:?}") };
        assert_eq!(
            (wording.command.as_str(), wording.args.as_slice()),
            ("uptime", &["-p".into()][..])
        );
        let id = Uuid::nil();
        let parameters = json!({ "force": true, "size": 2, "name": "x" });
        let script = work(json!({ "script_id": id, "parameters": parameters })).unwrap();
        let Work::Script { parameters, .. } = &script else { panic!("{script:?}") };
        assert_eq!(parameters["size"], ParameterValue::Number(2.0));
        for work in [command, script] {
            assert_eq!(Work::try_from(WorkBody::from(work.clone())).unwrap(), work);
        }
    }

    #[test]
    fn work_that_is_none_or_several_is_pointed_at() {
        let id = Uuid::nil();
        let cases = [
            (json!({}), "/command"),
            (json!({ "timeout": 3 }), "/command"),
            (json!({ "command": "a", "script_id": id }), "/command"),
            (json!({ "script_id": id, "saved_command_id": id }), "/command"),
            (json!({ "command": "a", "parameters": {} }), "/parameters"),
            (json!({ "script_id": id, "args": ["a"] }), "/script_id"),
            (json!({ "saved_command_id": id, "parameters": { "a/b": [] } }), "/parameters/a~1b"),
        ];
        for (body, pointer) in cases {
            let document = work(body.clone()).unwrap_err();
            assert!(document.contains(&format!("\"{pointer}\"")), "{body}: {document}");
        }
    }

    #[test]
    fn a_target_reads_back_as_it_was_said() {
        let said = json!({
            "tags": ["b", "a"], "os_type": "macos", "customer_uuid": Uuid::nil(),
            "group_ids": [Uuid::nil()],
        });
        let target = Target::try_from(serde_json::from_value::<TargetBody>(said).unwrap()).unwrap();
        assert_eq!(target.os_type, Some(OsType::Macos));
        assert_eq!(Target::try_from(TargetBody::from(target.clone())).unwrap(), target);
        assert!(serde_json::from_value::<TargetBody>(json!({ "tag": "a" })).is_err());
    }
}
