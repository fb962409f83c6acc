//! Tasks as people say them, in requests and in files.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_commands::ShellType;
use muster_commands::runs::Wording;
use muster_deployment_profiles::{Action, Part, TRY_EVERY, Task, TaskWish};
use muster_kernel::{ScriptId, SoftwareId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::task_parts::{CheckBody, FileBody, OperationParameter, RebootBody, TaskKind, worded};
use crate::Problem;
use crate::extract::finite;
use crate::routes::commands::Shell;
use crate::routes::wish::{parameters, seconds, values};

/// One step of a profile. Which fields there are beside `name`, `description`, `order_index`,
/// `continue_on_error` and `timeout`, `action_type` says.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProfileTaskBody)]
pub(crate) struct TaskBody {
    /// 1 to 200 printable characters.
    name: String,
    /// What it is good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The tasks are done in this order; behind the last unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    order_index: Option<i32>,
    #[schema(inline)]
    action_type: TaskKind,
    /// Of `command` and `powershell_inline`: the text. Of `wait`: a command that must succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    /// Of `command` and `wait`: `sh` unless given, on Windows `powershell`.
    #[serde(skip_serializing_if = "Option::is_none")]
    shell_type: Option<Shell>,
    /// Of `command` and `powershell_inline`: arguments, each handed over as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Vec<String>>,
    /// Of `command` and `powershell_inline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<BTreeMap<String, String>>,
    /// Of `command` and `powershell_inline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    working_directory: Option<String>,
    /// Of `script`.
    #[serde(skip_serializing_if = "Option::is_none")]
    script_id: Option<Uuid>,
    /// The same in files, where scripts are known by their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<String>,
    /// Of `script`: texts, numbers and booleans by the names of its parameters. Those that are
    /// secret are never shown, and stay when they are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    parameters: Option<BTreeMap<String, Value>>,
    /// Of `software`.
    #[serde(skip_serializing_if = "Option::is_none")]
    software_id: Option<Uuid>,
    /// The same in files, where software is known by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    software: Option<String>,
    /// Of `software`; `ensure` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    operation: Option<OperationParameter>,
    /// Of `software`: which one, instead of the item's.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Of `file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<FileBody>,
    /// Of `reboot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reboot: Option<RebootBody>,
    /// Of `wait`: seconds from one try to the next, at most 300; 5 unless given.
    #[serde(default, deserialize_with = "finite", skip_serializing_if = "Option::is_none")]
    interval: Option<f64>,
    /// Of `command`, `script` and `reboot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<CheckBody>,
    /// Whether the next task is done although this one failed; `false` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    continue_on_error: Option<bool>,
    /// Seconds that it may take. Of `reboot`: until the machine is back, 900 unless given. Of
    /// `wait`: until the command succeeds, 300 unless given.
    #[serde(default, deserialize_with = "finite", skip_serializing_if = "Option::is_none")]
    timeout: Option<f64>,
}

/// What a task names of the library and the catalog, and how the fields are called that name it.
struct Named {
    script: Option<ScriptId>,
    software: Option<SoftwareId>,
    fields: [&'static str; 2],
}

impl TaskBody {
    /// What a request asks for.
    pub(super) fn wish(self) -> Result<TaskWish, Problem> {
        let in_files = [("script", self.script.is_some()), ("software", self.software.is_some())];
        refuse(&in_files, "only in files things are known by their names; give the id")?;
        let named = Named {
            script: self.script_id.map(ScriptId::from_uuid),
            software: self.software_id.map(SoftwareId::from_uuid),
            fields: ["script_id", "software_id"],
        };
        self.naming(&named)
    }

    /// What a file says.
    pub(super) fn part(self) -> Result<Part, Problem> {
        let ids =
            [("script_id", self.script_id.is_some()), ("software_id", self.software_id.is_some())];
        refuse(&ids, "ids differ from server to server; give the name, as script or software")?;
        let order = [("order_index", self.order_index.is_some())];
        refuse(&order, "in a file the tasks are done in the order in which they stand")?;
        let named = Named {
            script: self.script.is_some().then(|| ScriptId::from_uuid(Uuid::nil())),
            software: self.software.is_some().then(|| SoftwareId::from_uuid(Uuid::nil())),
            fields: ["script", "software"],
        };
        let name = self.script.clone().or_else(|| self.software.clone());
        let wish = self.naming(&named)?;
        Ok(Part { wish, named: name })
    }

    fn naming(self, named: &Named) -> Result<TaskWish, Problem> {
        let action_type = match self.action_type {
            TaskKind::PowershellInline if named.script.is_some() => TaskKind::Script,
            other => other,
        };
        self.check_fields(action_type)?;
        Ok(TaskWish {
            name: self.name.clone(),
            description: self.description.clone(),
            order_index: self.order_index,
            check: self.check.clone().map(Into::into),
            continue_on_error: self.continue_on_error.unwrap_or(false),
            timeout: self.timeout,
            action: self.action(action_type, named)?,
        })
    }

    /// That nothing is said which only counts for other kinds of tasks.
    fn check_fields(&self, action_type: TaskKind) -> Result<(), Problem> {
        use TaskKind::{Command, File, PowershellInline, Reboot, Script, Software, Wait};
        let texts: &[_] = &[Command, PowershellInline];
        let fields: [(&str, bool, &[TaskKind]); 14] = [
            ("payload", self.payload.is_some(), &[Command, PowershellInline, Wait]),
            ("shell_type", self.shell_type.is_some(), &[Command, Wait]),
            ("args", self.args.is_some(), texts),
            ("environment", self.environment.is_some(), texts),
            ("working_directory", self.working_directory.is_some(), texts),
            ("script_id", self.script_id.is_some(), &[Script]),
            ("script", self.script.is_some(), &[Script]),
            ("parameters", self.parameters.is_some(), &[Script]),
            ("software_id", self.software_id.is_some(), &[Software]),
            ("software", self.software.is_some(), &[Software]),
            ("operation", self.operation.is_some(), &[Software]),
            ("version", self.version.is_some(), &[Software]),
            ("file", self.file.is_some(), &[File]),
            ("reboot", self.reboot.is_some(), &[Reboot]),
        ];
        let odd = fields.iter().find(|(_, given, of)| *given && !of.contains(&action_type));
        let field = match odd {
            Some((field, ..)) => field,
            None if self.interval.is_some() && action_type != Wait => "interval",
            None => return Ok(()),
        };
        let rule = format!("a task of the kind {} has none", action_type.as_str());
        Err(Problem::invalid(format!("/{field}"), rule))
    }

    fn action(self, action_type: TaskKind, named: &Named) -> Result<Action, Problem> {
        let [script, software] = named.fields;
        let missing = |field: &str, rule: &str| Problem::invalid(format!("/{field}"), rule);
        let text = || missing("payload", "the text that is to run is expected");
        Ok(match action_type {
            TaskKind::Command | TaskKind::PowershellInline => {
                let shell_type = match action_type {
                    TaskKind::PowershellInline => Some(ShellType::Powershell),
                    _ => self.shell_type.map(Into::into),
                };
                Action::Command(Wording {
                    command: self.payload.ok_or_else(text)?,
                    args: self.args.unwrap_or_default(),
                    shell_type,
                    timeout: None,
                    working_directory: self.working_directory,
                    environment: self.environment.unwrap_or_default(),
                })
            }
            TaskKind::Script => Action::Script {
                script_id: named.script.ok_or_else(|| missing(script, "which one, is expected"))?,
                parameters: parameters(self.parameters.unwrap_or_default())?,
            },
            TaskKind::Software => Action::Software {
                software_id: named
                    .software
                    .ok_or_else(|| missing(software, "which one, is expected"))?,
                wanted: self.operation.map(Into::into).unwrap_or_default(),
                version: self.version,
            },
            TaskKind::File => {
                let file = self.file.ok_or_else(|| missing("file", "the file is expected"))?;
                Action::File(file.try_into()?)
            }
            TaskKind::Reboot => self.reboot.unwrap_or_default().try_into()?,
            TaskKind::Wait => Action::Wait {
                condition: worded(self.payload.ok_or_else(text)?, self.shell_type),
                interval: seconds(self.interval, "/interval")?.unwrap_or(TRY_EVERY),
            },
        })
    }

    /// A task as it is answered.
    pub(super) fn of(task: Task) -> Self {
        Self::saying(TaskWish {
            name: task.name,
            description: task.description,
            order_index: Some(task.order_index),
            action: task.action,
            check: task.check,
            continue_on_error: task.continue_on_error,
            timeout: task.timeout,
        })
    }

    /// A task as files have it: without what goes without saying.
    pub(super) fn of_part(part: Part) -> Self {
        let Part { wish, named } = part;
        let mut body = Self { order_index: None, ..Self::saying(wish) };
        if body.script_id.take().is_some() {
            body.script = named;
        } else if body.software_id.take().is_some() {
            body.software = named;
        }
        let is_default = |interval: &f64| Duration::try_from_secs_f64(*interval) == Ok(TRY_EVERY);
        body.interval = body.interval.filter(|interval| !is_default(interval));
        body.operation = body.operation.filter(|it| *it != OperationParameter::Ensure);
        body.continue_on_error = body.continue_on_error.filter(|goes_on| *goes_on);
        body.reboot = body.reboot.and_then(RebootBody::brief);
        body
    }

    fn saying(wish: TaskWish) -> Self {
        let body = Self {
            name: wish.name,
            description: wish.description,
            order_index: wish.order_index,
            action_type: TaskKind::Reboot,
            payload: None,
            shell_type: None,
            args: None,
            environment: None,
            working_directory: None,
            script_id: None,
            script: None,
            parameters: None,
            software_id: None,
            software: None,
            operation: None,
            version: None,
            file: None,
            reboot: None,
            interval: None,
            check: wish.check.map(Into::into),
            continue_on_error: Some(wish.continue_on_error),
            timeout: wish.timeout,
        };
        body.doing(wish.action)
    }

    /// The same of another kind.
    fn doing(self, action: Action) -> Self {
        match action {
            Action::Command(wording) => {
                let inline = wording.shell_type == Some(ShellType::Powershell);
                let args = Some(wording.args).filter(|args| !args.is_empty());
                let environment = Some(wording.environment).filter(|it| !it.is_empty());
                Self {
                    action_type: if inline {
                        TaskKind::PowershellInline
                    } else {
                        TaskKind::Command
                    },
                    payload: Some(wording.command),
                    shell_type: wording.shell_type.filter(|_| !inline).map(Into::into),
                    args,
                    environment,
                    working_directory: wording.working_directory,
                    ..self
                }
            }
            Action::Script { script_id, parameters } => Self {
                action_type: TaskKind::Script,
                script_id: Some(script_id.as_uuid()),
                parameters: Some(values(parameters)).filter(|values| !values.is_empty()),
                ..self
            },
            Action::Software { software_id, wanted, version } => Self {
                action_type: TaskKind::Software,
                software_id: Some(software_id.as_uuid()),
                operation: Some(wanted.into()),
                version,
                ..self
            },
            Action::File(file) => {
                Self { action_type: TaskKind::File, file: Some(file.into()), ..self }
            }
            Action::Reboot { only_if_changed, command } => {
                let reboot = RebootBody::of(only_if_changed, command);
                Self { action_type: TaskKind::Reboot, reboot: Some(reboot), ..self }
            }
            Action::Wait { condition, interval } => Self {
                action_type: TaskKind::Wait,
                payload: Some(condition.command),
                shell_type: condition.shell_type.map(Into::into),
                interval: Some(interval.as_secs_f64()),
                ..self
            },
        }
    }
}

/// Refuses the first of these fields that is given.
fn refuse(fields: &[(&str, bool)], rule: &str) -> Result<(), Problem> {
    match fields.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Problem::invalid(format!("/{field}"), rule)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wish(body: Value) -> Result<TaskWish, String> {
        let body: TaskBody = serde_json::from_value(body).unwrap();
        body.wish().map_err(|problem| problem.document(None))
    }

    fn task(kind: &str, fields: Value) -> Value {
        let mut task = json!({ "name": "x", "action_type": kind });
        let Value::Object(fields) = fields else { panic!("{fields}") };
        task.as_object_mut().unwrap().extend(fields);
        task
    }

    #[test]
    fn a_task_is_answered_as_it_was_asked_for() {
        let id = Uuid::nil();
        for said in [
            task("command", json!({ "payload": "id", "shell_type": "pwsh", "args": ["a"] })),
            task("powershell_inline", json!({ "payload": "date", "environment": { "a": "b" } })),
            task("script", json!({ "script_id": id, "parameters": { "n": 2.0, "t": "x" } })),
            task("software", json!({ "software_id": id, "operation": "uninstall" })),
            task("file", json!({ "file": { "path": "/a", "content": "b", "mode": "0644" } })),
            task("reboot", json!({ "reboot": { "only_if_changed": true, "command": "true" } })),
            task("wait", json!({ "payload": "true", "interval": 2.5, "timeout": 20.0 })),
            task("command", json!({ "payload": "id", "check": { "command": "false" } })),
        ] {
            let body = TaskBody::saying(wish(said.clone()).unwrap());
            let shown = serde_json::to_value(body).unwrap();
            for (field, value) in said.as_object().unwrap() {
                assert_eq!(shown[field], *value, "{field}");
            }
        }
    }

    #[test]
    fn what_is_said_in_other_words_is_understood() {
        let id = Uuid::nil();
        let script = wish(task("powershell_inline", json!({ "script_id": id }))).unwrap();
        assert_eq!(script.action.as_str(), "script");
        let said = json!({ "payload": "Get-Date", "shell_type": "powershell" });
        let inline = TaskBody::saying(wish(task("command", said)).unwrap());
        assert_eq!(inline.action_type, TaskKind::PowershellInline);
        assert!(inline.shell_type.is_none());
        let installed = json!({ "software_id": id, "operation": "install" });
        let ensured = TaskBody::saying(wish(task("software", installed)).unwrap());
        assert_eq!(ensured.operation, Some(OperationParameter::Ensure));
    }

    #[test]
    fn a_field_of_another_kind_is_pointed_at() {
        let id = Uuid::nil();
        let file = json!({ "path": "/a", "content": "b" });
        for (said, pointer) in [
            (task("command", json!({ "payload": "id", "file": file })), "/file"),
            (task("command", json!({ "payload": "id", "interval": 1 })), "/interval"),
            (task("powershell_inline", json!({ "payload": "a", "script_id": id })), "/payload"),
            (task("powershell_inline", json!({ "payload": "a", "parameters": {} })), "/parameters"),
            (task("file", json!({ "file": file, "shell_type": "sh" })), "/shell_type"),
            (task("wait", json!({ "payload": "id", "args": [] })), "/args"),
            (task("reboot", json!({ "payload": "id" })), "/payload"),
            (task("reboot", json!({ "reboot": { "shell_type": "sh" } })), "/reboot/shell_type"),
            (task("script", json!({ "script": "by name" })), "/script"),
            (task("software", json!({ "software": "by name" })), "/software"),
            (task("software", json!({})), "/software_id"),
            (task("file", json!({})), "/file"),
        ] {
            let document = wish(said.clone()).unwrap_err();
            assert!(document.contains(&format!("\"{pointer}\"")), "{said}: {document}");
        }
    }

    #[test]
    fn a_file_has_a_content_or_comes_from_elsewhere() {
        for (file, pointer) in [
            (json!({ "path": "/a" }), "/file/content"),
            (json!({ "path": "/a", "sha256": "0" }), "/file/content"),
            (json!({ "path": "/a", "url": "https://b" }), "/file/sha256"),
            (json!({ "path": "/a", "content": "", "sha256": "0" }), "/file/sha256"),
            (json!({ "path": "/a", "content": "", "url": "https://b" }), "/file/url"),
        ] {
            let document = wish(task("file", json!({ "file": file }))).unwrap_err();
            assert!(document.contains(&format!("\"{pointer}\"")), "{document}");
        }
    }
}
