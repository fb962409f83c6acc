//! What is to run where, as bodies say it and answers show it: the same for runs and schedules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_agents::OsType;
use muster_commands::runs::{
    ParameterValue, Parameters, Strategy, Target, Template, Wording, Work,
};
use muster_commands::{InvalidSpec, ShellType};
use muster_kernel::{AgentId, CustomerId, SavedCommandId, ScriptId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::agents::OsTypeParameter;
use super::commands::Shell;
use crate::Problem;

/// Which machines are meant: those that everything which is given applies to.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetBody {
    /// These, one by one.
    #[serde(default, alias = "device_ids", deserialize_with = "crate::extract::null_as_default")]
    agent_ids: BTreeSet<Uuid>,
    /// Those with all of these tags.
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    tags: BTreeSet<String>,
    /// Those of this customer.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// Those with this family of operating systems.
    #[schema(inline)]
    os_type: Option<OsTypeParameter>,
    /// Every machine that you may use; narrows nothing, and has to be said.
    #[serde(default)]
    all: bool,
}

impl From<TargetBody> for Target {
    fn from(body: TargetBody) -> Self {
        Self {
            agent_ids: body.agent_ids.into_iter().map(AgentId::from_uuid).collect(),
            tags: body.tags,
            customer_id: body.customer_id.map(CustomerId::from_uuid),
            os_type: body.os_type.map(Into::into),
            all: body.all,
        }
    }
}

/// How carefully it goes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StrategyBody {
    /// On how many machines at a time; on all unless given.
    max_concurrency: Option<u32>,
    /// On so many first; on the others when all of these have completed.
    canary: Option<u32>,
    /// When more machines than this have failed, no other one begins. Without `max_concurrency` it
    /// bounds how many are under way as well: never more could fail than one beyond it.
    max_failures: Option<u32>,
}

impl From<StrategyBody> for Strategy {
    fn from(body: StrategyBody) -> Self {
        Self {
            max_concurrency: body.max_concurrency,
            canary: body.canary,
            max_failures: body.max_failures,
        }
    }
}

/// The value of a parameter.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ValueBody {
    Boolean(bool),
    Number(f64),
    Text(String),
}

impl From<ValueBody> for ParameterValue {
    fn from(body: ValueBody) -> Self {
        match body {
            ValueBody::Boolean(value) => Self::Boolean(value),
            ValueBody::Number(value) => Self::Number(value),
            ValueBody::Text(value) => Self::Text(value),
        }
    }
}

/// What runs, as a body names it: `command`, `script_id` or `saved_command_id`.
#[derive(Debug, Default)]
pub(crate) struct WorkBody {
    pub(crate) command: Option<String>,
    pub(crate) script_id: Option<Uuid>,
    pub(crate) saved_command_id: Option<Uuid>,
    pub(crate) args: Vec<String>,
    pub(crate) shell_type: Option<Shell>,
    pub(crate) timeout: Option<f64>,
    pub(crate) working_directory: Option<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) parameters: BTreeMap<String, ValueBody>,
}

impl TryFrom<WorkBody> for Work {
    type Error = Problem;

    fn try_from(body: WorkBody) -> Result<Self, Problem> {
        let parameters: Parameters =
            body.parameters.into_iter().map(|(name, value)| (name, value.into())).collect();
        let timeout = body.timeout;
        match (body.command, body.script_id, body.saved_command_id) {
            (Some(command), None, None) => {
                if !parameters.is_empty() {
                    let rule = "a command has args and environment; parameters are for scripts \
                        and saved commands";
                    return Err(Problem::invalid("/parameters", rule));
                }
                Ok(Self::Command(Wording {
                    command,
                    args: body.args,
                    shell_type: body.shell_type.map(Into::into),
                    timeout,
                    working_directory: body.working_directory,
                    environment: body.environment,
                }))
            }
            (None, Some(id), None) => {
                Ok(Self::Script { script_id: ScriptId::from_uuid(id), parameters, timeout })
            }
            (None, None, Some(id)) => {
                let saved_command_id = SavedCommandId::from_uuid(id);
                Ok(Self::SavedCommand { saved_command_id, parameters, timeout })
            }
            _ => {
                let rule = "one of command, script_id and saved_command_id is expected";
                Err(Problem::invalid("/command", rule))
            }
        }
    }
}

/// Seconds as a duration; `field` is where they stood.
pub(crate) fn seconds(
    field: &'static str,
    value: Option<f64>,
) -> Result<Option<Duration>, Problem> {
    let duration = value.map(Duration::try_from_secs_f64).transpose();
    duration.map_err(|_| {
        let rule = "a number of seconds is expected".to_owned();
        InvalidSpec { field, rule }.into()
    })
}

/// Which machines were meant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TargetAnswer {
    agent_ids: Vec<Uuid>,
    tags: Vec<String>,
    customer_id: Option<Uuid>,
    os_type: Option<&'static str>,
    all: bool,
}

impl From<&Target> for TargetAnswer {
    fn from(target: &Target) -> Self {
        Self {
            agent_ids: target.agent_ids.iter().map(|id| id.as_uuid()).collect(),
            tags: target.tags.iter().cloned().collect(),
            customer_id: target.customer_id.map(CustomerId::as_uuid),
            os_type: target.os_type.map(OsType::as_str),
            all: target.all,
        }
    }
}

/// How carefully it goes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StrategyAnswer {
    max_concurrency: Option<u32>,
    canary: Option<u32>,
    max_failures: Option<u32>,
}

impl From<&Strategy> for StrategyAnswer {
    fn from(strategy: &Strategy) -> Self {
        let Strategy { max_concurrency, canary, max_failures } = *strategy;
        Self { max_concurrency, canary, max_failures }
    }
}

/// What runs, where and how carefully.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplateAnswer {
    target: TargetAnswer,
    /// What runs, when it is a command in the words of whoever asked.
    command: Option<String>,
    script_id: Option<Uuid>,
    saved_command_id: Option<Uuid>,
    args: Vec<String>,
    shell_type: Option<&'static str>,
    /// Seconds that it may run.
    timeout: Option<f64>,
    working_directory: Option<String>,
    environment: BTreeMap<String, String>,
    /// The parameters, without those that are secret.
    #[schema(value_type = BTreeMap<String, ValueBody>)]
    parameters: Parameters,
    strategy: StrategyAnswer,
    /// Seconds that a machine which is out of reach may come back for it.
    expires_in: Option<f64>,
}

impl From<&Template> for TemplateAnswer {
    fn from(template: &Template) -> Self {
        let answer = Self {
            target: (&template.target).into(),
            command: None,
            script_id: None,
            saved_command_id: None,
            args: Vec::new(),
            shell_type: None,
            timeout: None,
            working_directory: None,
            environment: BTreeMap::new(),
            parameters: Parameters::new(),
            strategy: (&template.strategy).into(),
            expires_in: template.expires_in.map(|time| time.as_secs_f64()),
        };
        match &template.work {
            Work::Command(wording) => Self {
                command: Some(wording.command.clone()),
                args: wording.args.clone(),
                shell_type: wording.shell_type.map(ShellType::as_str),
                timeout: wording.timeout,
                working_directory: wording.working_directory.clone(),
                environment: wording.environment.clone(),
                ..answer
            },
            Work::Script { script_id, parameters, timeout } => Self {
                script_id: Some(script_id.as_uuid()),
                parameters: parameters.clone(),
                timeout: *timeout,
                ..answer
            },
            Work::SavedCommand { saved_command_id, parameters, timeout } => Self {
                saved_command_id: Some(saved_command_id.as_uuid()),
                parameters: parameters.clone(),
                timeout: *timeout,
                ..answer
            },
        }
    }
}
