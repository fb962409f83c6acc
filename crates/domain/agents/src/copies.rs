//! Copies of machines: a disk image with an agent on it that runs more than once.
//!
//! Two machines that show the same token are one agent, unless both are there at the same time. The
//! later one is then kept apart and gets no commands until a person decides what it is.

use muster_kernel::{AgentId, Author, ConnectionId, Secret, Timestamp, TokenHash};

/// What tells a process of an agent from a copy of it. It changes with each boot of the machine
/// and each start of the process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Incarnation {
    /// Which boot of which machine.
    pub boot_id: String,
    /// Which process; older agents don't say.
    pub instance_id: Option<String>,
}

impl Incarnation {
    /// Whether `other` may be a later connection of the same process.
    pub fn may_be(&self, other: &Self) -> bool {
        let same_process = match (&self.instance_id, &other.instance_id) {
            (Some(one), Some(other)) => one == other,
            (None, _) | (_, None) => true,
        };
        same_process && self.boot_id == other.boot_id
    }
}

/// A machine that shows the identity of an agent that is somewhere else at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineCopy {
    /// Its connection, or the one at which it was rejected.
    pub connection_id: ConnectionId,
    /// Which boot and process.
    pub incarnation: Incarnation,
    /// What it calls itself.
    pub hostname: String,
    /// From which address it connected.
    pub peer_address: Option<String>,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// What was decided; `None` while it waits for a person.
    pub decision: Option<CopyDecision>,
}

/// What a person makes of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CopyDecision {
    /// It becomes an agent of its own.
    Separate,
    /// It is the machine from now on.
    Replace,
    /// It is not let in.
    Reject,
}

impl CopyDecision {
    /// Every decision.
    pub const ALL: &[Self] = &[Self::Separate, Self::Replace, Self::Reject];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Separate => "separate",
            Self::Replace => "replace",
            Self::Reject => "reject",
        }
    }

    /// Reads what [`CopyDecision::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|decision| decision.as_str() == text)
    }
}

/// A decision about a copy, to be kept.
#[derive(Debug, Clone)]
pub struct CopyVerdict {
    /// Whose identity the copy shows.
    pub agent_id: AgentId,
    /// The copy.
    pub copy: MachineCopy,
    /// What it becomes.
    pub decision: CopyDecision,
    /// The id that it gets when it becomes an agent of its own.
    pub new_id: AgentId,
    /// The token that the machine shows which the copy was made of, while it is connected. A copy
    /// that enrolled again has taken it away; it is given back when the copy becomes another.
    pub original_token: Option<TokenHash>,
    /// Who decided.
    pub author: Author,
    /// When.
    pub now: Timestamp,
}

/// Who a copy is from now on.
#[derive(Debug, Clone)]
pub struct NewIdentity {
    /// Its id.
    pub agent_id: AgentId,
    /// What it proves that by.
    pub agent_token: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_its_copy_by_boot_or_start() {
        let incarnation = |boot: &str, instance: Option<&str>| Incarnation {
            boot_id: boot.into(),
            instance_id: instance.map(Into::into),
        };
        let own = incarnation("b", Some("i"));
        assert!(own.may_be(&incarnation("b", Some("i"))));
        assert!(own.may_be(&incarnation("b", None)), "an older agent does not say");
        assert!(!own.may_be(&incarnation("b", Some("j"))));
        assert!(!own.may_be(&incarnation("c", Some("i"))), "a copy of its memory, too");
        assert!(!incarnation("b", None).may_be(&incarnation("c", None)));
    }
}
