//! What agents of older products say, in the words of the domain, and how its parts are read.

use std::time::Duration;

use bytes::Bytes;
use muster_agents::{Metrics, RegistrationRequest};
use muster_commands::{Outcome, Said};
use muster_kernel::CommandId;
use serde::Deserialize;
use serde_json::Value;

/// The longest text that an agent is told from, in characters.
const MAX_TEXT: usize = 200;

/// What an agent of an older product says.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Who it is.
    Register(Box<Introduction>),
    /// That it is there, and how loaded.
    Heartbeat(Option<Metrics>),
    /// What it was asked of its machine.
    SystemInfo(Option<Metrics>),
    /// How a command ended.
    Result(CommandId, Said),
    /// How far a command is; an end only counts if nothing else is said of it.
    Status(CommandId, Said),
    /// Nothing that matters here.
    Nothing,
}

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Introduction {
    /// The id that it has in its product.
    pub name: String,
    /// Its machine.
    pub machine: RegistrationRequest,
    /// How loaded that is.
    pub metrics: Option<Metrics>,
}

/// A message that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing in the message, or not what it has to be")]
pub struct Unreadable(pub &'static str);

/// A message, whose fields stand in it or in its `data`.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    pub(super) const fn of(message: &'a Value) -> Self {
        Self(message)
    }

    pub(super) fn kind(self) -> &'a str {
        self.0.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// The first of these fields that is there and says something.
    pub(super) fn get(self, names: &[&str]) -> Option<&'a Value> {
        let data = self.0.get("data");
        let places = [data, Some(self.0)].into_iter().flatten();
        let found = places.flat_map(|place| names.iter().filter_map(|name| place.get(*name)));
        found.into_iter().find(|value| !value.is_null())
    }

    /// The fields within this one.
    pub(super) fn within(self, names: &[&str]) -> Option<Self> {
        self.get(names).filter(|value| value.is_object()).map(Self)
    }

    /// A short text.
    pub(super) fn text(self, names: &[&str]) -> Option<String> {
        let text = match self.get(names)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
        (!text.is_empty() && text.chars().count() <= MAX_TEXT).then_some(text)
    }

    /// A text of any length; what is not text is told as the JSON that it is.
    pub(super) fn output(self, names: &[&str]) -> Bytes {
        match self.get(names) {
            None => Bytes::new(),
            Some(Value::String(text)) => Bytes::copy_from_slice(text.as_bytes()),
            Some(other) => Bytes::from(other.to_string()),
        }
    }

    pub(super) fn command_id(self, names: &[&str]) -> Option<CommandId> {
        self.get(names)?.as_str()?.parse().ok()
    }

    pub(super) fn exit_code(self) -> Option<i32> {
        self.get(&["exit_code", "return_code"])?.as_i64().map(muster_commands::exit_code)
    }

    pub(super) fn execution_time(self) -> Option<Duration> {
        let seconds = self.get(&["execution_time", "duration"])?.as_f64()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The load, if anything is said of it.
    pub(super) fn metrics(self) -> Option<Metrics> {
        let share = |names: &[&str]| self.get(names).and_then(share);
        let count = |names: &[&str]| self.get(names).and_then(Value::as_u64);
        let cpu = share(&["cpu_percent", "cpu_usage", "cpu"]);
        let memory = share(&["memory_percent", "memory_usage", "memory"]);
        let disk = share(&["disk_percent", "disk_usage", "disk"]);
        cpu.or(memory).or(disk)?;
        let processes = count(&["processes", "process_count"]);
        Some(Metrics {
            cpu_percent: cpu.unwrap_or_default(),
            memory_percent: memory.unwrap_or_default(),
            disk_percent: disk.unwrap_or_default(),
            network_rx_bytes: count(&["network_rx_bytes", "bytes_recv"]).unwrap_or_default(),
            network_tx_bytes: count(&["network_tx_bytes", "bytes_sent"]).unwrap_or_default(),
            processes: processes.and_then(|count| count.try_into().ok()).unwrap_or_default(),
            uptime_seconds: count(&["uptime_seconds", "uptime"]).unwrap_or_default(),
        })
    }

    /// How a command ended that went well or not, as its agent says.
    pub(super) fn end(self, well: bool) -> Said {
        let exit_code = self.exit_code();
        let outcome = if well && exit_code.unwrap_or(0) == 0 {
            Outcome::Completed
        } else {
            Said::failure("EXIT_CODE", None)
        };
        Said::Finished {
            outcome,
            exit_code,
            execution_time: self.execution_time(),
            stdout: self.output(&["output", "stdout", "result"]),
            stderr: self.output(&["error", "stderr"]),
        }
    }
}

/// A share of a hundred, whatever was said.
fn share(told: &Value) -> Option<f32> {
    let told = f32::deserialize(told).ok()?;
    told.is_finite().then(|| told.clamp(0.0, 100.0))
}
