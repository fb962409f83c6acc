//! Every repository port on SQLite and PostgreSQL.
//!
//! - [`Database`]: readers side by side, writes one after the other, many to a commit
//! - one folder per domain, which mirrors that domain's ports
//!
//! To add a repository: write its entity and its migration, turn rows into domain types by a
//! function that names table and column when a row makes no sense, let every write go through
//! [`Database::write`] and enter in the audit log what it did, and run the port's contract suite in the folder's tests.

mod agents;
mod approvals;
mod audit;
mod columns;
mod commands;
mod customers;
mod database;
mod error;
mod groups;
mod idempotency;
mod identity;
mod installation;
mod library;
mod runs;
mod schedules;
mod settings;
#[cfg(test)]
mod testing;
mod writer;

pub use agents::SeaAgents;
pub use approvals::SeaApprovals;
pub use audit::SeaAudit;
pub use commands::SeaCommands;
pub use customers::{SeaApiKeys, SeaCustomers, SeaEnrollmentTokens};
pub use database::{Database, DatabaseUrl, InvalidDatabaseUrl};
pub use error::DatabaseError;
pub use groups::SeaGroups;
pub use identity::SeaIdentity;
pub use library::SeaLibrary;
pub use runs::SeaRuns;
pub use schedules::SeaSchedules;
pub use settings::SeaSettings;
