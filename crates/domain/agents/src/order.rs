//! In which order a list shows agents.

use muster_kernel::{Cursor, InvalidCursor};

use crate::Agent;

/// What a list of agents is sorted by. Agents with the same value are in the order of their ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AgentSort {
    /// When they enrolled.
    #[default]
    CreatedAt,
    /// The host name, upper and lower case alike.
    Hostname,
    /// When they were last seen; those that never were come first.
    LastSeen,
    /// The version of the agent program, as a text; those that told none come first.
    Version,
    /// The family of operating systems, by its name.
    OsType,
    /// Whose they are, by the customer's id.
    CustomerId,
}

impl AgentSort {
    /// Everything that lists are sorted by.
    pub const ALL: &[Self] = &[
        Self::CreatedAt,
        Self::Hostname,
        Self::LastSeen,
        Self::Version,
        Self::OsType,
        Self::CustomerId,
    ];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreatedAt => "created_at",
            Self::Hostname => "hostname",
            Self::LastSeen => "last_seen",
            Self::Version => "version",
            Self::OsType => "os_type",
            Self::CustomerId => "customer_id",
        }
    }

    /// Whether the values are numbers.
    const fn is_number(self) -> bool {
        match self {
            Self::CreatedAt | Self::LastSeen => true,
            Self::Hostname | Self::Version | Self::OsType | Self::CustomerId => false,
        }
    }
}

/// The order of a list of agents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentOrder {
    /// By what.
    pub sort: AgentSort,
    /// Whether the greatest comes first.
    pub descending: bool,
}

impl AgentOrder {
    /// Reads the name of something to sort by, with a `-` before it for the other way round.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let sort = AgentSort::ALL.iter().copied().find(|sort| sort.as_str() == name)?;
        Some(Self { sort, descending })
    }

    /// What [`AgentOrder::parse`] reads.
    pub fn name(self) -> String {
        format!("{}{}", if self.descending { "-" } else { "" }, self.sort.as_str())
    }

    /// The value that `agent` is sorted by, as text; a number of microseconds since 1970 for times.
    pub fn key(self, agent: &Agent) -> String {
        match self.sort {
            AgentSort::CreatedAt => agent.created_at.timestamp_micros().to_string(),
            AgentSort::Hostname => agent.hostname.to_lowercase(),
            AgentSort::LastSeen => {
                agent.last_seen.map_or(0, |seen| seen.timestamp_micros()).to_string()
            }
            AgentSort::Version => agent.version.clone().unwrap_or_default(),
            AgentSort::OsType => agent.os_type.as_str().to_owned(),
            AgentSort::CustomerId => agent.customer_id.to_string(),
        }
    }

    /// The cursor behind `agent`.
    pub fn behind(self, agent: &Agent) -> Cursor {
        Cursor::in_order(self.name(), agent.id.as_uuid(), self.key(agent))
    }

    /// Checks that `cursor` is one of this order.
    ///
    /// # Errors
    /// When it is one of another order or list, or of none.
    pub fn check(self, cursor: &Cursor) -> Result<(), InvalidCursor> {
        let key = cursor.key.as_deref().unwrap_or_default();
        let fits = match self.sort {
            AgentSort::CustomerId => key.parse::<muster_kernel::CustomerId>().is_ok(),
            sort => !sort.is_number() || key.parse::<i64>().is_ok(),
        };
        let same = cursor.sort.as_deref() == Some(self.name().as_str());
        if same && fits { Ok(()) } else { Err(InvalidCursor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_kernel::AgentId;
    use muster_kernel::testing::{FakeClock, SeededEntropy};

    #[test]
    fn every_order_reads_back_from_its_name() {
        for sort in AgentSort::ALL.iter().copied() {
            for descending in [false, true] {
                let order = AgentOrder { sort, descending };
                assert_eq!(AgentOrder::parse(&order.name()), Some(order));
            }
        }
        for text in ["", "-", "tags", "--hostname", "Hostname"] {
            assert_eq!(AgentOrder::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_cursor_is_good_for_its_own_order_alone() {
        let id = AgentId::new(&FakeClock::default(), &SeededEntropy::new(1)).as_uuid();
        let (asked, other) =
            (AgentOrder::parse("-last_seen").unwrap(), AgentOrder::parse("last_seen").unwrap());
        let cursor = Cursor::in_order(asked.name(), id, "17".into());
        assert_eq!((asked.check(&cursor), other.check(&cursor)), (Ok(()), Err(InvalidCursor)));
        let forged = Cursor::in_order(asked.name(), id, "yesterday".into());
        assert_eq!(asked.check(&forged), Err(InvalidCursor));
        assert_eq!(AgentOrder::default().check(&Cursor::after(id)), Err(InvalidCursor));
    }
}
