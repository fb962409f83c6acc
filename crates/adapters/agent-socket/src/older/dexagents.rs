//! The words of `DexAgents`.

use muster_agents::RegistrationRequest;
use muster_commands::PlainCommand;
use muster_kernel::{ConnectionId, Dialect, Timestamp};
use serde_json::{Value, json};

use super::heard::Fields;
use super::{Codec, Heard, Introduction, Unreadable};

/// The words of `DexAgents`, whose agents run `PowerShell`.
#[derive(Debug, Clone, Copy)]
pub struct DexAgents;

impl Codec for DexAgents {
    fn dialect(&self) -> Dialect {
        Dialect::DexAgents
    }

    fn read(&self, message: &Value) -> Result<Heard, Unreadable> {
        let fields = Fields::of(message);
        let load = || {
            let within = fields.within(&["system_metrics", "metrics", "system_info"]);
            within.and_then(Fields::metrics).or_else(|| fields.metrics())
        };
        match fields.kind() {
            "register" => {
                let name = fields.text(&["agent_id", "id"]).ok_or(Unreadable("agent_id"))?;
                let machine = RegistrationRequest {
                    hostname: fields.text(&["hostname"]).unwrap_or_else(|| name.clone()),
                    ip_address: fields.text(&["ip", "ip_address"]),
                    os: fields.text(&["os", "platform"]),
                    version: fields.text(&["version"]),
                    ..RegistrationRequest::default()
                };
                Ok(Heard::Register(Box::new(Introduction { name, machine, metrics: load() })))
            }
            "heartbeat" => Ok(Heard::Heartbeat(load())),
            "system_info_update" => Ok(Heard::SystemInfo(load())),
            "command_result" | "powershell_result" => {
                let id = fields.command_id(&["command_id", "request_id"]);
                let id = id.ok_or(Unreadable("command_id"))?;
                let success = fields.get(&["success"]).and_then(Value::as_bool);
                let well = success.or_else(|| fields.exit_code().map(|code| code == 0));
                Ok(Heard::Result(id, fields.end(well.ok_or(Unreadable("success"))?)))
            }
            _ => Ok(Heard::Nothing),
        }
    }

    fn welcome(&self, name: &str, connection: ConnectionId) -> Option<Value> {
        Some(json!({
            "type": "welcome",
            "data": {
                "agent_id": name,
                "connection_id": connection,
                "message": "Connected to Muster",
            },
        }))
    }

    fn command(&self, command: &PlainCommand) -> Value {
        json!({
            "type": "execute_command",
            "command_id": command.id,
            "command": command.text,
            "timeout": command.timeout,
            "working_directory": command.working_directory,
        })
    }

    fn heartbeat_ack(&self, _now: Timestamp) -> Option<Value> {
        None
    }

    fn system_info_request(&self, now: Timestamp) -> Option<Value> {
        Some(json!({ "type": "system_info_request", "timestamp": now }))
    }

    fn ping(&self, now: Timestamp) -> Option<Value> {
        Some(json!({ "type": "ping", "timestamp": now }))
    }
}
