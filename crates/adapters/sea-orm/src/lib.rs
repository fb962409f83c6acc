//! Every repository port on SQLite and PostgreSQL.
//!
//! - [`Database`]: readers side by side, writes one after the other, many to a commit
//! - [`copy()`]: everything from one database to another; [`backup()`]: a file beside a running server
//! - [`read_dexagents()`]: what an older product left in its own database
//! - one folder per domain, which mirrors that domain's ports
//!
//! To add a repository: write its entity and its migration, turn rows into domain types by a
//! function that names table and column when a row makes no sense, let every write go through
//! [`Database::write`] and enter in the audit log what it did, and run the port's contract suite in the folder's tests.

mod agents;
mod alerts;
mod approvals;
mod assistants;
mod audit;
mod backup;
mod catalog;
mod columns;
mod commands;
mod compliance;
mod connection;
mod copy;
mod customers;
mod database;
mod error;
mod gathered;
mod groups;
mod idempotency;
mod identity;
mod import;
mod installation;
mod leaderships;
mod library;
mod metrics;
mod pages;
mod rollouts;
mod runs;
mod schedules;
mod settings;
#[cfg(test)]
mod testing;
mod url;
mod writer;

pub use agents::SeaAgents;
pub use alerts::SeaAlerts;
pub use approvals::SeaApprovals;
pub use assistants::SeaAssistants;
pub use audit::SeaAudit;
pub use backup::{BackupError, backup, restore};
pub use catalog::SeaCatalog;
pub use commands::SeaCommands;
pub use compliance::SeaCompliance;
pub use copy::{CopiedTable, CopyError, copy};
pub use customers::{SeaApiKeys, SeaCustomers, SeaEnrollmentTokens};
pub use database::Database;
pub use error::DatabaseError;
pub use groups::SeaGroups;
pub use identity::SeaIdentity;
pub use import::{
    DexAgent, DexAgentsData, DexUser, ImportError, ImportSource, Unreadable, read_dexagents,
};
pub use leaderships::SeaLeaderships;
pub use library::SeaLibrary;
pub use metrics::SeaMetrics;
pub use rollouts::SeaRollouts;
pub use runs::SeaRuns;
pub use schedules::SeaSchedules;
pub use settings::SeaSettings;
pub use url::{DatabaseUrl, InvalidDatabaseUrl};
