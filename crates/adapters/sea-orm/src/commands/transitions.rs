//! How many commands became what, for whoever watches this process.

use std::sync::LazyLock;

use metrics::{Counter, counter};
use muster_commands::Status;

/// A counter for each status; looked up once.
static BECAME: LazyLock<Vec<(Status, Counter)>> = LazyLock::new(|| {
    let counter =
        |status: &Status| (*status, counter!("muster_commands_total", "status" => status.as_str()));
    Status::ALL.iter().map(counter).collect()
});

/// Counts what was committed.
pub(crate) fn count(became: &[Status]) {
    for (status, counter) in BECAME.iter() {
        let number = became.iter().filter(|it| *it == status).count();
        if number > 0 {
            counter.increment(u64::try_from(number).unwrap_or(0));
        }
    }
}
