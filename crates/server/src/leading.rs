//! Which of several nodes does what one does for all, and what the others leave to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_agent_socket::Connections;
use muster_commands::Lookout;
use muster_commands::runs::Runs;
use muster_kernel::leadership::{Candidate, LOOK_EVERY};
use muster_redis::{Redis, Relay};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::jobs::{log, pause};

/// How often each of several nodes looks into the database for what nobody told it of.
const LOOK_OUT_EVERY: Duration = Duration::from_secs(2);
/// How often the only node does: hardly anything is lost within one process.
const LOOK_OUT_ALONE_EVERY: Duration = Duration::from_secs(10);
/// How many of these looks it takes until the runs are compared with the database while Redis is
/// there to tell what happens.
const LOOKS_WITH_REDIS: u32 = 5;

/// Whether this node does what one does for all; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Leading(Arc<Mutex<Term>>);

#[derive(Debug)]
enum Term {
    /// There is no other node.
    Always,
    Until(Option<Instant>),
}

impl Leading {
    /// The only node does everything.
    pub(crate) fn alone() -> Self {
        Self(Arc::new(Mutex::new(Term::Always)))
    }

    /// One of several, which has to be told.
    pub(crate) fn one_of_several() -> Self {
        Self(Arc::new(Mutex::new(Term::Until(None))))
    }

    /// Whether it does at this instant.
    pub(crate) fn now(&self) -> bool {
        match *self.0.lock() {
            Term::Always => true,
            Term::Until(end) => end.is_some_and(|end| Instant::now() < end),
        }
    }

    fn is_alone(&self) -> bool {
        matches!(*self.0.lock(), Term::Always)
    }

    fn until(&self, end: Option<Instant>) {
        *self.0.lock() = Term::Until(end);
    }
}

/// Stands for the lead, until `stop`.
pub(crate) async fn stand(
    mut candidate: Candidate,
    leading: Leading,
    runs: Runs,
    stop: CancellationToken,
) {
    let mut led = false;
    loop {
        if let Err(error) = candidate.stand(Instant::now()).await {
            log(&error, "who leads could not be settled");
        }
        let end = candidate.holds_until();
        let leads = end.is_some_and(|end| Instant::now() < end);
        if leads != led {
            tracing::info!("this node {} the others", if leads { "leads" } else { "follows" });
            // Before anybody drives them, and after the last one does.
            leading.until(end.filter(|_| leads));
            runs.hold(leads);
            led = leads;
        }
        leading.until(end);
        if !pause(LOOK_EVERY, &stop).await {
            break;
        }
    }
    leading.until(None);
    runs.hold(false);
    if let Err(error) = candidate.resign().await {
        log(&error, "the lead could not be given up");
    }
}

/// Takes in what happens to runs on other nodes, while this node leads, until `stop`.
pub(crate) async fn hear_of_runs(
    relay: Relay,
    redis: Redis,
    runs: Runs,
    leading: Leading,
    stop: CancellationToken,
) {
    let mut looks = 0_u32;
    let mut look = tokio::time::interval(LOOK_OUT_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let done = tokio::select! {
            words = relay.next() => {
                if !leading.now() {
                    continue;
                }
                let runs_turned: Vec<_> = words.runs.into_iter().collect();
                let commands: Vec<_> = words.commands.into_iter().collect();
                runs.turn(&runs_turned).await.and(runs.hear_of(&commands).await)
            }
            _ = look.tick() => {
                looks = looks.wrapping_add(1);
                if !leading.now() || (redis.is_up() && !looks.is_multiple_of(LOOKS_WITH_REDIS)) {
                    continue;
                }
                runs.correct().await
            }
            () = stop.cancelled() => return,
        };
        if let Err(error) = done {
            log(&error, "how far runs are could not be read");
        }
    }
}

/// Looks for what waits for the agents that are connected here, until `stop`.
pub(crate) async fn look_out(
    lookout: Lookout,
    connections: Connections,
    leading: Leading,
    stop: CancellationToken,
) {
    let every = if leading.is_alone() { LOOK_OUT_ALONE_EVERY } else { LOOK_OUT_EVERY };
    while pause(every, &stop).await {
        if let Err(error) = lookout.run(&connections.agents()).await {
            log(&error, "what waits for connected agents could not be read");
        }
    }
}
