//! One managed machine.

use std::collections::BTreeSet;
use std::fmt;

use chrono::TimeDelta;
use muster_kernel::{AgentId, Audited, CustomerId, Dialect, GroupId, Place, Tags, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{AgentChange, MachineCopy};

/// How long after its last frame an agent still counts as online.
pub const ONLINE_FOR: TimeDelta = TimeDelta::seconds(60);

/// A family of operating systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OsType {
    /// Any Linux.
    Linux,
    /// Microsoft Windows.
    Windows,
    /// Apple macOS.
    Macos,
    /// Anything else.
    Other,
}

impl OsType {
    /// Every family.
    pub const ALL: &[Self] = &[Self::Linux, Self::Windows, Self::Macos, Self::Other];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Windows => "windows",
            Self::Macos => "macos",
            Self::Other => "other",
        }
    }

    /// Reads what [`OsType::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|os_type| os_type.as_str() == text)
    }

    /// The family that a machine means by what it calls itself, such as `Windows 11` or `darwin`.
    pub fn guess(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        if text.contains("darwin") || text.contains("macos") || text.contains("mac os") {
            Self::Macos
        } else if text.contains("win") {
            Self::Windows
        } else if text.contains("linux") {
            Self::Linux
        } else {
            Self::Other
        }
    }
}

/// Whether a machine can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentStatus {
    /// Connected, or seen less than [`ONLINE_FOR`] ago.
    Online,
    /// Neither.
    Offline,
}

impl AgentStatus {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }
}

impl fmt::Display for AgentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Agent {
    /// The agent after a change.
    #[must_use]
    pub fn changed(mut self, change: AgentChange, now: Timestamp) -> Self {
        self.hostname = change.hostname.unwrap_or(self.hostname);
        self.tags = change.tags.unwrap_or(self.tags);
        self.customer_id = change.customer_id.unwrap_or(self.customer_id);
        self.notes = change.notes.or(self.notes).filter(|notes| !notes.is_empty());
        self.groups = change.groups.unwrap_or(self.groups);
        self.updated_at = now;
        self
    }
}

impl Audited for Agent {
    fn place(&self) -> Place {
        Place { kind: "agent", id: self.id.as_uuid(), customer_id: Some(self.customer_id) }
    }

    fn facts(&self) -> serde_json::Value {
        serde_json::json!({
            "hostname": self.hostname,
            "customer_id": self.customer_id,
            "os_type": self.os_type.as_str(),
            "machine_id": self.machine_id,
            "dialect": self.dialect,
            "tags": self.tags,
            "notes": self.notes,
            "group_ids": self.groups,
        })
    }
}

/// A managed machine, as the registry knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Its id, never used again for another machine.
    pub id: AgentId,
    /// Whose it is.
    pub customer_id: CustomerId,
    /// What it calls itself, or what people call it.
    pub hostname: String,
    /// The address it told when it enrolled.
    pub ip_address: Option<String>,
    /// Its family of operating systems.
    pub os_type: OsType,
    /// Its operating system as people call it.
    pub os: Option<String>,
    /// The version of the agent program.
    pub version: Option<String>,
    /// What the agent can do, such as `shell:bash`.
    pub capabilities: Vec<String>,
    /// What people sort it by.
    pub tags: Tags,
    /// What people noted.
    pub notes: Option<String>,
    /// The groups that somebody put it into. Those with a filter are not among them.
    pub groups: BTreeSet<GroupId>,
    /// What tells this machine from others with the same host name.
    pub machine_id: Option<String>,
    /// What it speaks, where it is an older product's agent.
    pub dialect: Option<Dialect>,
    /// What it last told about itself.
    pub system_info: Option<SystemInfo>,
    /// When a frame of it last came, to the precision of the batches in which this is written.
    pub last_seen: Option<Timestamp>,
    /// When it first enrolled.
    pub created_at: Timestamp,
    /// When the registry's entry last changed.
    pub updated_at: Timestamp,
}

impl Agent {
    /// Whether the machine can be reached, given whether it is `connected` at `now`.
    pub fn status(&self, connected: bool, now: Timestamp) -> AgentStatus {
        let seen = self.last_seen.is_some_and(|seen| now - seen < ONLINE_FOR);
        if connected || seen { AgentStatus::Online } else { AgentStatus::Offline }
    }

    /// The agent that a copy of this machine becomes: the copy has nothing of what people added, and
    /// no machine id, which would be this machine's.
    #[must_use]
    pub fn separated(&self, copy: &MachineCopy, id: AgentId, now: Timestamp) -> Self {
        Self {
            id,
            customer_id: self.customer_id,
            hostname: copy.hostname.clone(),
            ip_address: None,
            os_type: self.os_type,
            os: self.os.clone(),
            version: self.version.clone(),
            capabilities: self.capabilities.clone(),
            tags: Tags::default(),
            groups: BTreeSet::new(),
            notes: None,
            machine_id: None,
            dialect: self.dialect,
            system_info: None,
            last_seen: None,
            created_at: now,
            updated_at: now,
        }
    }

    /// This newly registered agent when the machine was `known` before: what the machine says is
    /// new, what people and time added stays.
    #[must_use]
    pub fn succeeding(self, known: Self) -> Self {
        Self {
            id: known.id,
            tags: known.tags.with(self.tags),
            notes: known.notes,
            groups: &known.groups | &self.groups,
            // By its old name it goes on being known to its own product.
            machine_id: self
                .machine_id
                .or(known.machine_id.filter(|_| self.dialect == known.dialect)),
            system_info: known.system_info,
            last_seen: known.last_seen,
            created_at: known.created_at,
            ..self
        }
    }
}

/// What kind of machine it is, as it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemInfo {
    /// Its host name.
    pub hostname: String,
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
    /// Network interfaces that have an address.
    pub interfaces: Vec<NetworkInterface>,
    /// Users who were logged in.
    pub logged_in_users: Vec<String>,
    /// Whether the operating system waits for a restart; `None` when it can't tell.
    pub pending_reboot: Option<bool>,
    /// The zone of the IANA database that its clock shows, if it told one that is known.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// When the machine told this.
    pub reported_at: Timestamp,
}

/// A network interface with its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInterface {
    /// Such as `eth0`.
    pub name: String,
    /// The hardware address.
    pub mac_address: String,
    /// Addresses with their prefix length.
    pub addresses: Vec<String>,
}

/// The load of a machine at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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

impl Metrics {
    /// The same with shares that are some, whatever the machine says: no JSON tells another number
    /// than a finite one, and whoever passes it on to others must be able to.
    #[must_use]
    pub fn bounded(self) -> Self {
        let share = |told: f32| if told.is_finite() { told.clamp(0.0, 100.0) } else { 0.0 };
        Self {
            cpu_percent: share(self.cpu_percent),
            memory_percent: share(self.memory_percent),
            disk_percent: share(self.disk_percent),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_a_machine_makes_up_can_be_told_to_others() {
        let made_up = Metrics {
            cpu_percent: f32::INFINITY,
            memory_percent: -3.0,
            disk_percent: 250.0,
            network_rx_bytes: 1,
            network_tx_bytes: 2,
            processes: 3,
            uptime_seconds: 4,
        };
        let told = made_up.bounded();
        assert_eq!((told.cpu_percent, told.memory_percent, told.disk_percent), (0.0, 0.0, 100.0));
        let text = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<Metrics>(&text).unwrap(), told);
    }

    #[test]
    fn a_machine_is_sorted_by_what_it_calls_its_system() {
        for (text, os_type) in [
            ("Windows 11 Pro", OsType::Windows),
            ("windows", OsType::Windows),
            ("darwin", OsType::Macos),
            ("macOS 15", OsType::Macos),
            ("Debian GNU/Linux 12", OsType::Linux),
            ("Plan 9", OsType::Other),
        ] {
            assert_eq!(OsType::guess(text), os_type, "{text}");
        }
    }

    #[test]
    fn every_family_reads_back_from_its_name() {
        for os_type in OsType::ALL {
            assert_eq!(OsType::parse(os_type.as_str()), Some(*os_type));
        }
    }
}
