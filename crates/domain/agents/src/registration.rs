//! What a machine says of itself when it enrols, checked.

use std::collections::BTreeSet;

use muster_kernel::{AgentId, CustomerId, Dialect, InvalidTags, Tags, Timestamp};

use crate::{Agent, OsType};

/// The longest host name, in bytes, as the domain name system has it.
const MAX_HOSTNAME: usize = 253;
/// The longest of the other texts, in characters.
const MAX_TEXT: usize = 200;
/// How many capabilities a machine may have.
const MAX_ENTRIES: usize = 64;

/// Which field breaks a rule, and which rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct InvalidRegistration {
    /// Where.
    pub field: Field,
    /// What is expected there.
    pub rule: &'static str,
}

impl From<InvalidTags> for InvalidRegistration {
    fn from(InvalidTags(rule): InvalidTags) -> Self {
        Self { field: Field::Tags, rule }
    }
}

/// A field of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The host name.
    Hostname,
    /// The address.
    IpAddress,
    /// The operating system.
    Os,
    /// The agent's version.
    Version,
    /// The agent's capabilities.
    Capabilities,
    /// The tags.
    Tags,
    /// The machine id.
    MachineId,
    /// The notes.
    Notes,
}

impl Field {
    /// The field's name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hostname => "hostname",
            Self::IpAddress => "ip_address",
            Self::Os => "os",
            Self::Version => "version",
            Self::Capabilities => "capabilities",
            Self::Tags => "tags",
            Self::MachineId => "machine_id",
            Self::Notes => "notes",
        }
    }
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a machine says of itself, as it came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of Registration, unchecked")]
pub struct RegistrationRequest {
    pub hostname: String,
    pub ip_address: Option<String>,
    pub os_type: Option<String>,
    pub os: Option<String>,
    pub version: Option<String>,
    pub capabilities: Vec<String>,
    pub tags: Vec<String>,
    pub machine_id: Option<String>,
    pub dialect: Option<Dialect>,
}

/// What a machine says of itself, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// What it calls itself.
    pub hostname: String,
    /// The address it believes to have.
    pub ip_address: Option<String>,
    /// Its family of operating systems.
    pub os_type: OsType,
    /// Its operating system as people call it.
    pub os: Option<String>,
    /// The version of the agent program.
    pub version: Option<String>,
    /// What the agent can do.
    pub capabilities: Vec<String>,
    /// What people sort it by.
    pub tags: Tags,
    /// What tells this machine from others with the same host name.
    pub machine_id: Option<String>,
    /// What it speaks, where it is an older product's agent.
    pub dialect: Option<Dialect>,
}

impl TryFrom<RegistrationRequest> for Registration {
    type Error = InvalidRegistration;

    fn try_from(request: RegistrationRequest) -> Result<Self, InvalidRegistration> {
        let os_type = match (&request.os_type, &request.os) {
            (Some(named), _) => OsType::guess(named),
            (None, Some(os)) => OsType::guess(os),
            (None, None) => OsType::Other,
        };
        Ok(Self {
            hostname: hostname(&request.hostname)?,
            ip_address: text(Field::IpAddress, request.ip_address)?,
            os_type,
            os: text(Field::Os, request.os)?,
            version: text(Field::Version, request.version)?,
            capabilities: entries(Field::Capabilities, request.capabilities)?,
            tags: Tags::parse(request.tags)?,
            machine_id: text(Field::MachineId, request.machine_id)?,
            dialect: request.dialect,
        })
    }
}

impl Registration {
    /// The agent that a machine becomes when nobody knew it before.
    pub fn into_agent(self, id: AgentId, customer_id: CustomerId, now: Timestamp) -> Agent {
        Agent {
            id,
            customer_id,
            hostname: self.hostname,
            ip_address: self.ip_address,
            os_type: self.os_type,
            os: self.os,
            version: self.version,
            capabilities: self.capabilities,
            tags: self.tags,
            notes: None,
            groups: BTreeSet::new(),
            machine_id: self.machine_id,
            dialect: self.dialect,
            system_info: None,
            last_seen: None,
            created_at: now,
            updated_at: now,
        }
    }
}

/// A host name without the space around it.
pub(crate) fn hostname(text: &str) -> Result<String, InvalidRegistration> {
    let name = text.trim();
    if name.is_empty() || name.len() > MAX_HOSTNAME || name.chars().any(char::is_control) {
        let rule = "1 to 253 printable characters are expected";
        return Err(InvalidRegistration { field: Field::Hostname, rule });
    }
    Ok(name.to_owned())
}

fn text(field: Field, text: Option<String>) -> Result<Option<String>, InvalidRegistration> {
    let Some(text) = text else { return Ok(None) };
    let text = text.trim();
    if text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
        return Err(InvalidRegistration { field, rule: "at most 200 printable characters" });
    }
    Ok(if text.is_empty() { None } else { Some(text.to_owned()) })
}

fn entries(
    field: Field,
    entries: impl IntoIterator<Item = String>,
) -> Result<Vec<String>, InvalidRegistration> {
    let mut checked = Vec::new();
    for entry in entries {
        let rule = "each entry has 1 to 200 printable characters";
        match text(field, Some(entry)).map_err(|_| InvalidRegistration { field, rule })? {
            Some(entry) => checked.push(entry),
            None => return Err(InvalidRegistration { field, rule }),
        }
    }
    if checked.len() > MAX_ENTRIES {
        return Err(InvalidRegistration { field, rule: "at most 64 entries" });
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut RegistrationRequest)) -> RegistrationRequest {
        let mut request = RegistrationRequest { hostname: "web-01".into(), ..Default::default() };
        change(&mut request);
        request
    }

    #[test]
    fn a_host_name_alone_is_enough() {
        let registration = Registration::try_from(request(|_| ())).unwrap();
        assert_eq!(registration.hostname, "web-01");
        assert_eq!(registration.os_type, OsType::Other);
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        type Change = fn(&mut RegistrationRequest);
        let cases: [(Field, Change); 5] = [
            (Field::Hostname, |r| r.hostname = "  ".into()),
            (Field::Hostname, |r| r.hostname = "x".repeat(254)),
            (Field::Tags, |r| r.tags = vec![String::new()]),
            (Field::Capabilities, |r| r.capabilities = vec!["a".into(); 65]),
            (Field::MachineId, |r| r.machine_id = Some("a\nb".into())),
        ];
        for (field, change) in cases {
            assert_eq!(Registration::try_from(request(change)).unwrap_err().field, field);
        }
    }
}
