//! The registry of ids: one type per entity, so that no id passes for another.
//!
//! Every id is a UUIDv7: its text sorts by the time of creation, which keeps the newest rows of a
//! table together in its index and makes keyset pages cheap.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::{Clock, Entropy};

/// The text given is not a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id: a UUID such as 0190163d-8694-739b-aea5-966c26f8ad91 is expected")]
pub struct InvalidId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Makes a new id from the present instant and 74 random bits.
            pub fn new(clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
                Self(new_v7(clock, entropy))
            }

            /// The id that `uuid` stands for.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The plain UUID, as rows and frames carry it.
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::parse_str(text).map(Self).map_err(|_| InvalidId)
            }
        }
    )+};
}

ids! {
    /// A person who signs in.
    UserId,
    /// A signed-in device of a user.
    SessionId,
    /// A tenant: whose machines these are.
    CustomerId,
    /// A token that lets machines enrol with a customer.
    EnrollmentTokenId,
    /// A customer's key.
    ApiKeyId,
    /// A key that secrets in rows are sealed with.
    DataKeyId,
    /// A managed machine's agent.
    AgentId,
    /// Machines that people put together.
    GroupId,
    /// One live connection of an agent.
    ConnectionId,
    /// One execution on one agent.
    CommandId,
    /// One request to many agents.
    RunId,
    /// A script in the library.
    ScriptId,
    /// A text in the library as it was at one time.
    VersionId,
    /// A saved command in the library.
    SavedCommandId,
    /// Something that is run again and again.
    ScheduleId,
    /// A time that a schedule came due.
    FiringId,
    /// A running server process, one of several on the same database.
    NodeId,
    /// A request that waits for a second person.
    ApprovalId,
    /// What is watched for.
    AlertRuleId,
    /// Something that a rule found.
    AlertId,
    /// A way to tell people.
    AlertChannelId,
    /// A time in which alerts are silent.
    MaintenanceWindowId,
    /// One message on its way to people.
    DeliveryId,
    /// How a machine is to be set up.
    ProfileId,
    /// One step of a profile.
    TaskId,
    /// A piece of software and how it is installed.
    SoftwareId,
    /// An image that machines are made from.
    OsImageId,
    /// One profile on its way to many machines.
    RolloutId,
    /// A profile that machines are compared with again and again.
    ComplianceCheckId,
    /// An assistant: a language model with a task and tools.
    AssistantId,
    /// A piece of work that people and assistants do together.
    ProjectId,
    /// A conversation with an assistant.
    ChatId,
    /// What somebody said in a conversation, and what came back.
    TurnId,
    /// Something that an assistant proposes to run.
    ProposalId,
}

fn new_v7(clock: &dyn Clock, entropy: &dyn Entropy) -> Uuid {
    let mut random = [0_u8; 10];
    entropy.fill(&mut random);
    let millis = u64::try_from(clock.now().timestamp_millis()).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeClock, SeededEntropy};
    use chrono::TimeDelta;

    #[test]
    fn ids_sort_by_time_of_creation() {
        let clock = FakeClock::default();
        let entropy = SeededEntropy::new(7);
        let first = CommandId::new(&clock, &entropy);
        clock.advance(TimeDelta::milliseconds(1));
        let second = CommandId::new(&clock, &entropy);
        assert!(first < second);
        assert!(first.to_string() < second.to_string());
    }

    #[test]
    fn an_id_reads_back_from_its_text() {
        let id = AgentId::new(&FakeClock::default(), &SeededEntropy::new(1));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("42".parse::<AgentId>(), Err(InvalidId));
    }
}
