//! Commands and their output.

mod archive;
mod batch;
mod compression;
mod encoding;
pub(crate) mod entity;
mod ledger;
mod local;
mod retention;
pub(crate) mod transitions;

use std::sync::Arc;

use muster_kernel::Timestamp;
use sea_orm::prelude::Uuid;

use crate::Database;
use ledger::Queue;

/// The ledger and the archive of commands, in the tables `commands` and `command_output`.
#[derive(Debug, Clone)]
pub struct SeaCommands {
    database: Database,
    queue: Arc<Queue>,
}

impl SeaCommands {
    /// In this database. There is one of these for each database, shared by cloning: it holds
    /// the entries that wait for the next commit.
    pub fn new(database: Database) -> Self {
        Self { database, queue: Arc::default() }
    }
}

/// The least id that a command can have which was given at `at` or later: ids begin with the
/// millisecond of that.
fn first_id_at(at: Timestamp) -> Uuid {
    Uuid::from_u128(u128::try_from(at.timestamp_millis()).unwrap_or(0) << 80)
}

#[cfg(test)]
mod tests {
    use muster_commands::testing::{Subject, contract};

    use super::*;
    use crate::testing::{agents, on_each_database};

    on_each_database!(the_ledger_keeps_the_contract);

    async fn the_ledger_keeps_the_contract(database: Database) {
        let [agent, other_agent] = agents(&database).await;
        let ledger = SeaCommands::new(database);
        contract(&Subject { ledger: &ledger, agent, other_agent }).await;
    }
}
