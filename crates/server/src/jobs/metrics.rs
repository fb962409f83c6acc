//! Writing what machines say of their load, and looking after it.

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use muster_agents::metrics::{LookedAfter, Recorder, Upkeep, Written};
use tokio_util::sync::CancellationToken;

use super::{log, pause};

/// How often what waits longest is written.
const WRITE_EVERY: Duration = Duration::from_secs(10);
/// How long after the start everything is looked after for the first time.
const FIRST_UPKEEP_AFTER: Duration = Duration::from_mins(1);
/// How often everything is looked after.
const UPKEEP_EVERY: Duration = Duration::from_mins(20);
/// How long other writes have the database for themselves before the next machines are looked after.
const BETWEEN_MACHINES: Duration = Duration::from_millis(200);

/// Writes what machines say, until `stop`; then all that waits.
pub(crate) async fn record(recorder: Arc<Recorder>, stop: CancellationToken) {
    while pause(WRITE_EVERY, &stop).await {
        match recorder.write().await {
            Ok(written) => tell(written),
            Err(error) => log(&error, "metrics could not be written; they wait"),
        }
    }
    if let Err(error) = recorder.write_all().await {
        log(&error, "the last metrics could not be written");
    }
}

fn tell(written: Written) {
    let Written { waiting, lost, .. } = written;
    gauge!("muster_metric_samples_waiting").set(u32::try_from(waiting).unwrap_or(u32::MAX));
    counter!("muster_metric_samples_lost_total").increment(lost);
    if lost > 0 {
        let message = "metrics came faster than they could be written";
        tracing::warn!(samples.lost = lost, samples.waiting = waiting, message);
    }
}

/// Rolls metrics up and lets go of old ones, until `stop`.
pub(crate) async fn look_after(upkeep: Upkeep, stop: CancellationToken) {
    let mut rest = FIRST_UPKEEP_AFTER;
    while pause(rest, &stop).await {
        rest = UPKEEP_EVERY;
        let mut after = None;
        loop {
            after = match upkeep.some(after).await {
                Ok(LookedAfter { last, passed_over }) => {
                    for (id, error) in passed_over {
                        log(
                            &error,
                            &format!("the metrics of agent {id} could not be looked after"),
                        );
                    }
                    last
                }
                Err(error) => {
                    log(&error, "metrics could not be looked after");
                    None
                }
            };
            if after.is_none() || !pause(BETWEEN_MACHINES, &stop).await {
                break;
            }
        }
    }
}
