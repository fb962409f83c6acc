//! Managed machines: which there are, what is known of them, and whether they can be reached.
//!
//! A machine enrols once with an enrollment token and is from then on an [`Agent`] with a token
//! of its own. What it tells about itself is kept in the registry ([`AgentRepository`]); whether
//! it is connected right now is known to [`Presence`], which lives in memory; how its connections
//! came and went is in the [`ConnectionLog`]. [`Enrolment`] lets machines in, [`Legacy`] those of
//! older products, [`Agents`] is what
//! people do with them. How machines fare over time is in [`metrics`]. [`groups`] puts them
//! together; a [`Target`] says which of them somebody means, and [`Targets`] finds those.
//!
//! To add something that is known of a machine: give it a field in [`Agent`] or [`SystemInfo`],
//! a case in the contract suite in `testing`, and a column by a migration.
#![deny(missing_docs)]

mod agent;
mod bulk;
mod connection;
mod copies;
mod criteria;
mod enrolment;
pub mod groups;
mod legacy;
pub mod metrics;
mod order;
mod ports;
mod registration;
mod target;
#[cfg(feature = "testing")]
pub mod testing;
mod usecase;

pub use agent::{Agent, AgentStatus, Metrics, NetworkInterface, ONLINE_FOR, OsType, SystemInfo};
pub use bulk::{BulkDone, BulkEdit, BulkError, BulkWriteError, MAX_AT_ONCE, ManyAgents};
pub use connection::{
    CONNECTIONS_KEPT, Connection, ConnectionEnd, ConnectionRecord, EndReason, Transport,
};
pub use copies::{CopyDecision, CopyVerdict, Incarnation, MachineCopy, NewIdentity};
pub use criteria::{Criteria, HostnamePattern, InvalidCriteria};
pub use enrolment::{Credential, EnrolError, Enrolled, Enrolment, MachineKey};
pub use legacy::{DialectPolicies, Legacy, LegacyError, Speaker, Speakers, dialect_name};
pub use metrics::{Heartbeat, HeartbeatListener, Heartbeats};
pub use order::{AgentOrder, AgentSort};
pub use ports::{
    Admission, AgentChange, AgentFilter, AgentPage, AgentProgram, AgentRepository, AgentSelection,
    AgentTokens, ConnectionLog, CopyVerdicts, Enrol, EnrolCandidate, Presence, PresenceWatch,
    RefreshError, SelectedAgent, StatusCounts,
};
pub use registration::{Field, InvalidRegistration, Registration, RegistrationRequest};
pub use target::{Aim, InvalidTarget, MAX_AGENT_IDS, Target, TargetError, Targets};
pub use usecase::{AgentView, Agents, AgentsError, AgentsPorts};
