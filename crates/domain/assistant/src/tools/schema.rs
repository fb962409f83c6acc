//! What models are told of tools.

use muster_commands::ShellType;
use serde_json::{Value, json};

use super::ToolName;
use crate::Tool;

impl ToolName {
    /// The tool as a model sees it.
    pub fn tool(self) -> Tool {
        Tool {
            name: self.as_str().to_owned(),
            description: self.description().to_owned(),
            parameters: self.parameters(),
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::SearchAgents => {
                "Find machines by a text, status, system or tags. Answers with at most 25 and how many \
                 there are."
            }
            Self::ReadAgent => {
                "What is known of one machine: system, hardware, network, shells, what it can do, tags, \
                 notes, when it was seen."
            }
            Self::ReadMetrics => {
                "How the processors, memory, disks and network of one machine fared in the last hours."
            }
            Self::ListCommands => {
                "Which commands ran, on one machine or on all, the latest 25, and how they ended."
            }
            Self::ReadCommand => "One command, how it ended and the beginning of what it wrote.",
            Self::ListScripts => {
                "Which scripts the library has: what they are for and their parameters."
            }
            Self::ProposeCommand => {
                "Propose a command on one machine. It runs nothing: a person sees it and decides."
            }
            Self::ProposeScript => {
                "Propose a script of the library on one machine. It runs nothing: a person sees it and \
                 decides."
            }
            Self::ProposeRun => {
                "Propose a command or a script of the library on several machines. It runs nothing: a \
                 person sees it and decides."
            }
        }
    }

    fn parameters(self) -> Value {
        let agent = || ("agent_id", json!({ "type": "string", "description": "the machine's id" }));
        let text = |what: &str| json!({ "type": "string", "description": what });
        match self {
            Self::SearchAgents => object(
                &[
                    ("q", text("part of a host name, address, system or note")),
                    ("status", json!({ "type": "string", "enum": ["online", "offline"] })),
                    ("os_type", os_type()),
                    ("tags", strings("all of these")),
                ],
                &[],
            ),
            Self::ReadAgent => object(&[agent()], &["agent_id"]),
            Self::ReadMetrics => {
                let hours = json!({ "type": "integer", "minimum": 1, "maximum": 168 });
                object(&[agent(), ("hours", hours)], &["agent_id"])
            }
            Self::ListCommands => {
                let all = ["pending", "running", "completed", "failed", "cancelled", "expired"];
                let status = json!({ "type": "string", "enum": all });
                object(&[agent(), ("status", status), ("q", text("part of the text"))], &[])
            }
            Self::ReadCommand => {
                object(&[("command_id", text("the command's id"))], &["command_id"])
            }
            Self::ListScripts => object(&[("q", text("part of the name"))], &[]),
            Self::ProposeCommand => {
                let own = [agent(), command(), shell()];
                proposal(&own, &["agent_id", "command", "shell_type"])
            }
            Self::ProposeScript => {
                let own = [agent(), script(), parameters()];
                proposal(&own, &["agent_id", "script_id"])
            }
            Self::ProposeRun => {
                let own = [
                    ("target", target()),
                    command(),
                    shell(),
                    script(),
                    parameters(),
                    ("strategy", strategy()),
                ];
                proposal(&own, &["target"])
            }
        }
    }
}

fn object(properties: &[(&str, Value)], required: &[&str]) -> Value {
    let properties: serde_json::Map<_, _> =
        properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// With what every proposal says.
fn proposal(own: &[(&str, Value)], required: &[&str]) -> Value {
    let mut properties = own.to_vec();
    let said = json!({ "type": "string", "description": "what it does, in a few sentences" });
    properties.push(("explanation", said));
    let levels = json!({ "type": "string", "enum": ["safe", "caution", "dangerous"] });
    properties.push(("safety_level", levels));
    properties.push(("safety_reasons", strings("why it is not safe, a few words each")));
    let replaces = "the id of a proposal that this one takes the place of";
    properties.push(("replaces", json!({ "type": "string", "description": replaces })));
    let mut all = required.to_vec();
    all.extend(["explanation", "safety_level"]);
    object(&properties, &all)
}

fn strings(description: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": description })
}

fn os_type() -> Value {
    json!({ "type": "string", "enum": ["linux", "windows", "macos", "other"] })
}

fn command() -> (&'static str, Value) {
    ("command", json!({ "type": "string", "description": "the bare text for the shell" }))
}

fn shell() -> (&'static str, Value) {
    let all: Vec<_> = ShellType::ALL.iter().map(|shell| shell.as_str()).collect();
    ("shell_type", json!({ "type": "string", "enum": all }))
}

fn script() -> (&'static str, Value) {
    ("script_id", json!({ "type": "string", "description": "the script's id, of list_scripts" }))
}

fn parameters() -> (&'static str, Value) {
    let description = "values of the script's parameters, by name";
    ("parameters", json!({ "type": "object", "description": description }))
}

fn target() -> Value {
    let ids = strings("these machines, by id");
    let all = json!({ "type": "boolean", "description": "every machine; has to be said" });
    let properties = [
        ("agent_ids", ids),
        ("tags", strings("machines with all of these tags")),
        ("os_type", os_type()),
        ("all", all),
    ];
    object(&properties, &[])
}

fn strategy() -> Value {
    let number = |what: &str| json!({ "type": "integer", "minimum": 0, "description": what });
    let properties = [
        ("max_concurrency", number("on so many machines at a time")),
        ("canary", number("on so many first, and on the others when these have completed")),
        ("max_failures", number("when more have failed, no other one begins")),
    ];
    object(&properties, &[])
}
