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
    use chrono::TimeDelta;
    use muster_agents::testing::candidate;
    use muster_agents::{Admission, Enrol};
    use muster_commands::testing::{Subject, command_for, contract, noon};
    use muster_commands::{CommandArchive, CommandLedger, Due, Entry, Event, RESULT_PATIENCE};
    use muster_kernel::testing::{FakeClock, SeededEntropy};
    use muster_kernel::{Author, Dialect};

    use super::*;
    use crate::SeaAgents;
    use crate::testing::{agents, on_each_database};

    on_each_database!(
        the_ledger_keeps_the_contract,
        what_nothing_is_heard_of_from_an_older_agent_is_due_and_of_no_other,
    );

    async fn what_nothing_is_heard_of_from_an_older_agent_is_due_and_of_no_other(
        database: Database,
    ) {
        let [(own, customer), _] = agents(&database).await;
        let mut older = candidate("old", None, &FakeClock::default(), &SeededEntropy::new(5));
        older.registration.dialect = Some(Dialect::DexAgents);
        let admission = Admission::Customer(customer);
        let older = SeaAgents::new(database.clone()).enrol(admission, older).await.unwrap();
        let ledger = SeaCommands::new(database);
        let mut given = Vec::new();
        for (seed, agent) in [(1, own), (2, older)] {
            let command = command_for(seed, agent, customer);
            ledger.submit(command.clone(), None, Author::system()).await.unwrap();
            let entrusted = Entry::Event(Event::Entrusted { at: noon() });
            ledger.record(agent, command.id, entrusted).await.unwrap();
            given.push(command);
        }
        let timeout = TimeDelta::from_std(given[1].spec.timeout).unwrap();
        let end = noon() + timeout + RESULT_PATIENCE;
        assert!(ledger.due(end, 10).await.unwrap().is_empty());
        let due = ledger.due(end + TimeDelta::microseconds(1), 10).await.unwrap();
        assert_eq!(due, [(older, given[1].id, Due::Unheard)]);
    }

    async fn the_ledger_keeps_the_contract(database: Database) {
        let [agent, other_agent] = agents(&database).await;
        let ledger = SeaCommands::new(database);
        contract(&Subject { ledger: &ledger, agent, other_agent }).await;
    }
}
