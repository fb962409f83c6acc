//! Heartbeats on their way.

use std::sync::Arc;

use muster_kernel::{AgentId, CustomerId, Timestamp};
use parking_lot::Mutex;

use crate::Metrics;

/// How many heartbeats may wait to be looked at: what 100,000 machines say in ten seconds, three
/// times.
const MAX_WAITING: usize = 100_000;

/// What a machine said of its load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heartbeat {
    /// Which machine.
    pub agent_id: AgentId,
    /// Whose it is.
    pub customer_id: CustomerId,
    /// What it said.
    pub metrics: Metrics,
    /// When it arrived.
    pub at: Timestamp,
}

/// Who wants to know of every heartbeat, some seconds after it came.
///
/// An implementation MUST return at once: it is called between two writes.
pub trait HeartbeatListener: Send + Sync + std::fmt::Debug {
    /// Heartbeats that came since the last call, in the order in which they did.
    fn heard(&self, heartbeats: &[Heartbeat]);
}

/// Heartbeats that came and were not looked at yet; cheap to clone. All that one costs while it is
/// taken in is a place here.
#[derive(Debug, Clone, Default)]
pub struct Heartbeats(Arc<Mutex<Inbox>>);

#[derive(Debug, Default)]
struct Inbox {
    waiting: Vec<Heartbeat>,
    lost: u64,
}

impl Heartbeats {
    /// Takes one in. Where too many wait already it is lost, and counted.
    pub fn hear(&self, heartbeat: Heartbeat) {
        let mut inbox = self.0.lock();
        if inbox.waiting.len() < MAX_WAITING {
            inbox.waiting.push(heartbeat);
        } else {
            inbox.lost += 1;
        }
    }

    /// All that wait, and how many were lost since the last call.
    pub(super) fn take(&self) -> (Vec<Heartbeat>, u64) {
        let mut inbox = self.0.lock();
        let room = inbox.waiting.len();
        let waiting = std::mem::replace(&mut inbox.waiting, Vec::with_capacity(room));
        (waiting, std::mem::take(&mut inbox.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::metrics::heartbeat;

    #[test]
    fn a_flood_of_heartbeats_takes_a_bounded_place_and_is_counted() {
        let heartbeats = Heartbeats::default();
        for _ in 0..MAX_WAITING + 7 {
            heartbeats.hear(heartbeat(1, 0));
        }
        let (waiting, lost) = heartbeats.take();
        assert_eq!((waiting.len(), lost), (MAX_WAITING, 7));
        assert_eq!(heartbeats.take(), (Vec::new(), 0));
    }
}
