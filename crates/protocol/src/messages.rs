//! The messages that need no signature.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::order::Signed;

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentMessage {
    /// The first message of a connection.
    Hello(Box<Hello>),
    /// Alive, and how it feels.
    Heartbeat(Heartbeat),
    /// What kind of machine this is: after the welcome, on change, and when asked.
    SystemInfo(Box<SystemInfo>),
    /// The command is in the journal and will not be started twice.
    Accepted(Accepted),
    /// The process runs.
    Started(Started),
    /// The command ended; sent again on every connection until acknowledged.
    Finished(Finished),
    /// Something that the server sent could not be used.
    Error(ErrorMessage),
    /// A type that this version does not know: ignored and counted.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// An [`Order`](crate::Order) with its signature; the welcome is the first of a connection.
    Signed(Signed),
    /// The answer to a heartbeat.
    HeartbeatAck(HeartbeatAck),
    /// Asks for a fresh `system_info`.
    SystemInfoRequest,
    /// The result is durable: the agent may forget the command.
    FinishedAck(FinishedAck),
    /// The agent may send more of a stream.
    Credit(Credit),
    /// Something that the agent sent could not be used.
    Error(ErrorMessage),
    /// A type that this version does not know: ignored and counted.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// The first message of a connection: who speaks, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hello {
    /// The agent program's version.
    pub version: String,
    /// `linux`, `windows` or `macos`.
    pub os_type: String,
    /// The operating system as people call it, such as `Debian GNU/Linux 12`.
    pub os: String,
    /// The machine's host name.
    pub hostname: String,
    /// What the agent can do, such as `shell:bash`.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Changes when the machine boots.
    pub boot_id: String,
    /// Changes when the agent's process starts: tells two copies of a data folder on one machine
    /// apart. Older agents leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// How many attempts to connect failed since the agent's last connection; older agents leave
    /// it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnect_attempts: Option<u32>,
    /// Why the agent's last connection ended, as the agent saw it, for people; absent at the first
    /// of a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_end: Option<String>,
    /// Random, new for every connection: the server's orders repeat it, which makes an order
    /// recorded on one connection worthless on any other.
    pub nonce: String,
    /// The agent's clock, so that the server can show how far off it is.
    pub agent_time: DateTime<Utc>,
    /// Every command in the journal that the server has not acknowledged as finished.
    #[serde(default)]
    pub journal: Vec<JournalEntry>,
}

/// A command in the agent's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JournalEntry {
    /// Which.
    pub command_id: Uuid,
    /// How far it is.
    pub progress: CommandProgress,
}

/// How far a command in the agent's journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandProgress {
    /// Journalled or running.
    Accepted,
    /// Ended; its result follows after the welcome.
    Finished,
}

/// A sign of life with the machine's load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// The load.
    pub metrics: Metrics,
}

/// The load of a machine at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metrics {
    /// Busy share of all processors, 0 to 100.
    pub cpu_percent: f32,
    /// Used share of the memory, 0 to 100.
    pub memory_percent: f32,
    /// Used share of all disks together, 0 to 100.
    pub disk_percent: f32,
    /// Bytes received since the machine booted.
    pub network_rx_bytes: u64,
    /// Bytes sent since the machine booted.
    pub network_tx_bytes: u64,
    /// Processes that run.
    pub processes: u32,
    /// Seconds since the machine booted.
    pub uptime_seconds: u64,
}

/// What kind of machine this is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SystemInfo {
    /// The machine's host name.
    pub hostname: String,
    /// `linux`, `windows` or `macos`.
    pub os_type: String,
    /// The operating system as people call it.
    pub os: String,
    /// The version of the operating system.
    pub os_version: String,
    /// The version of the kernel.
    pub kernel_version: String,
    /// Such as `x86_64`.
    pub architecture: String,
    /// The processor as its maker calls it.
    pub cpu_model: String,
    /// Logical processors.
    pub cpu_count: u32,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Space on all disks together, in bytes.
    pub disk_bytes: u64,
    /// The network interfaces that have an address.
    #[serde(default)]
    pub interfaces: Vec<NetworkInterface>,
    /// Names of the users who are logged in.
    #[serde(default)]
    pub logged_in_users: Vec<String>,
    /// Whether the operating system waits for a restart; absent when it can't tell.
    #[serde(default)]
    pub pending_reboot: Option<bool>,
    /// The zone that the machine's clock shows, such as `Europe/Berlin`, where it can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// A network interface with its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkInterface {
    /// Such as `eth0`.
    pub name: String,
    /// The hardware address, such as `52:54:00:12:34:56`.
    pub mac_address: String,
    /// Addresses with their prefix length, such as `192.168.1.20/24`.
    pub addresses: Vec<String>,
}

/// The command is in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// Which.
    pub command_id: Uuid,
}

/// The process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// Which command.
    pub command_id: Uuid,
    /// The process id.
    pub pid: u32,
    /// When it started, by the server's clock as the agent knows it.
    pub started_at: DateTime<Utc>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finished {
    /// Which.
    pub command_id: Uuid,
    /// How.
    pub outcome: Outcome,
    /// The process's exit code, when it had one.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Seconds from the start of the process to its end.
    #[serde(default)]
    pub execution_time: Option<f64>,
    /// Bytes that the process wrote to its standard output, also those not kept.
    #[serde(default)]
    pub stdout_bytes: u64,
    /// Bytes that the process wrote to its standard error, also those not kept.
    #[serde(default)]
    pub stderr_bytes: u64,
    /// What went wrong, for machines, such as `SPAWN_FAILED`.
    #[serde(default)]
    pub failure_code: Option<String>,
    /// What went wrong, for people.
    #[serde(default)]
    pub detail: Option<String>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Exit code 0.
    Completed,
    /// Another exit code, a signal, or no start at all.
    Failed,
    /// Its time was up; the whole process tree was ended.
    TimedOut,
    /// It was cancelled; the whole process tree was ended.
    Cancelled,
    /// The agent died while it ran: how far it came is unknown.
    Interrupted,
    /// The agent would not run it.
    Refused,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatAck {
    /// The server's clock.
    pub server_time: DateTime<Utc>,
}

/// The result is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FinishedAck {
    /// Of which command.
    pub command_id: Uuid,
}

/// Leave to send more of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Credit {
    /// Which stream.
    pub stream_id: u32,
    /// How many bytes more.
    pub bytes: u64,
}

/// Something that the peer sent could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorMessage {
    /// For machines, such as `BAD_SIGNATURE`.
    pub code: String,
    /// For people.
    pub detail: String,
    /// The command that it is about, if one.
    #[serde(default)]
    pub command_id: Option<Uuid>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_from_the_future_is_unknown_rather_than_an_error() {
        let read: ServerMessage = serde_json::from_str(r#"{"type":"dance","steps":3}"#).unwrap();
        assert_eq!(read, ServerMessage::Unknown);
        let read: AgentMessage = serde_json::from_str(r#"{"type":"dance"}"#).unwrap();
        assert_eq!(read, AgentMessage::Unknown);
    }

    #[test]
    fn a_field_from_the_future_is_ignored() {
        let text =
            r#"{"type":"accepted","command_id":"0190163d-8694-739b-aea5-966c26f8ad91","x":1}"#;
        let AgentMessage::Accepted(accepted) = serde_json::from_str(text).unwrap() else {
            panic!("not accepted");
        };
        assert_eq!(accepted.command_id.to_string(), "0190163d-8694-739b-aea5-966c26f8ad91");
    }

    #[test]
    fn a_hello_of_an_older_agent_is_understood() {
        let text = r#"{"type":"hello","version":"0","os_type":"linux","os":"Linux","hostname":"h",
            "boot_id":"b","nonce":"n","agent_time":"2026-11-21T12:00:00Z"}"#;
        let AgentMessage::Hello(hello) = serde_json::from_str(text).unwrap() else {
            panic!("not hello");
        };
        assert_eq!(
            (hello.instance_id, hello.reconnect_attempts, hello.last_end),
            (None, None, None)
        );
    }

    #[test]
    fn a_message_without_its_type_or_with_a_wrong_field_is_an_error() {
        for text in [r#"{"command_id":"x"}"#, r#"{"type":"accepted","command_id":7}"#, "[]", ""] {
            assert!(serde_json::from_str::<AgentMessage>(text).is_err(), "{text}");
        }
    }
}
