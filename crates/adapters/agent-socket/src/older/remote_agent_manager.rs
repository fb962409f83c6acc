//! The words of Remote Agent Manager.

use std::collections::BTreeMap;

use muster_commands::{PlainCommand, Said};
use muster_kernel::{CommandId, ConnectionId, Dialect, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::heard::Fields;
use super::{Codec, Heard, Unreadable};

/// The words of Remote Agent Manager, whose agents say who they are by the path.
#[derive(Debug, Clone, Copy)]
pub struct RemoteAgentManager;

/// A command, without the fields that say nothing.
#[derive(Serialize)]
struct Order<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    task_id: CommandId,
    command: &'a str,
    shell_type: &'static str,
    timeout: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_directory: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    environment: &'a BTreeMap<String, String>,
}

/// Which task, and its status.
fn task(fields: Fields<'_>) -> Result<(CommandId, &str), Unreadable> {
    let id = fields.command_id(&["task_id"]).ok_or(Unreadable("task_id"))?;
    let status = fields.get(&["status"]).and_then(Value::as_str).ok_or(Unreadable("status"))?;
    Ok((id, status))
}

impl Codec for RemoteAgentManager {
    fn dialect(&self) -> Dialect {
        Dialect::RemoteAgentManager
    }

    fn read(&self, message: &Value) -> Result<Heard, Unreadable> {
        let fields = Fields::of(message);
        match fields.kind() {
            "heartbeat" => Ok(Heard::Heartbeat(fields.metrics())),
            "task_result" => match task(fields)? {
                (id, "completed") => Ok(Heard::Result(id, fields.end(true))),
                (id, "failed") => Ok(Heard::Result(id, fields.end(false))),
                _ => Err(Unreadable("status")),
            },
            "task_status" => match task(fields)? {
                (id, "completed") => Ok(Heard::Status(id, fields.end(true))),
                (id, "failed") => Ok(Heard::Status(id, fields.end(false))),
                (id, "running" | "pending") => Ok(Heard::Status(id, Said::Started)),
                _ => Err(Unreadable("status")),
            },
            _ => Ok(Heard::Nothing),
        }
    }

    fn welcome(&self, _name: &str, _connection: ConnectionId) -> Option<Value> {
        None
    }

    fn command(&self, command: &PlainCommand) -> Value {
        json!(Order {
            kind: "command",
            task_id: command.id,
            command: &command.text,
            shell_type: command.shell.as_str(),
            timeout: command.timeout,
            working_directory: command.working_directory.as_deref(),
            environment: &command.environment,
        })
    }

    fn heartbeat_ack(&self, now: Timestamp) -> Option<Value> {
        Some(json!({ "type": "heartbeat_ack", "timestamp": now }))
    }

    fn system_info_request(&self, _now: Timestamp) -> Option<Value> {
        None
    }

    fn ping(&self, _now: Timestamp) -> Option<Value> {
        None
    }
}
