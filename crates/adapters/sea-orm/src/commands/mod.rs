//! Commands and their output.

mod archive;
mod batch;
pub(crate) mod entity;
mod ledger;
mod retention;

use std::sync::Arc;

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

#[cfg(test)]
mod tests {
    use muster_commands::testing::{Subject, contract};

    use super::*;
    use crate::testing::{agents, database};

    #[tokio::test]
    async fn the_ledger_keeps_the_contract() {
        let database = database().await;
        let [agent, other_agent] = agents(&database).await;
        let ledger = SeaCommands::new(database);
        contract(&Subject { ledger: &ledger, agent, other_agent }).await;
    }
}
