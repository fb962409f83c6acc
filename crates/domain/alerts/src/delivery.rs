//! Messages on their way.

use std::time::Duration;

use chrono::TimeDelta;
use muster_kernel::{AlertChannelId, AlertId, DeliveryId, Entropy, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Severity;

/// How long it is tried.
pub(crate) const TRIED_FOR: Duration = Duration::from_hours(24);
/// The wait after the first failure.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// What people are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// What happened: `alert.firing`, `alert.acknowledged`, `alert.resolved` or `test`.
    pub event: String,
    /// When.
    pub at: Timestamp,
    /// How bad it is.
    pub severity: Severity,
    /// What happened, in a line.
    pub title: String,
    /// What there is to know about the alert, as JSON.
    pub alert: Option<Value>,
}

/// How far a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is tried.
    Pending,
    /// It arrived.
    Delivered,
    /// It was tried for a day, or its channel is gone.
    Failed,
}

impl DeliveryState {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// Reads what [`DeliveryState::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Failed].into_iter().find(|it| it.as_str() == text)
    }
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When.
    pub at: Timestamp,
    /// What the other side answered: an HTTP status, or the code of a mail server.
    pub status: Option<u16>,
    /// Why it failed; `None` when it did not.
    pub error: Option<String>,
}

/// A message on its way through a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its id: receivers that see it twice may drop the second.
    pub id: DeliveryId,
    /// Through which channel.
    pub channel_id: AlertChannelId,
    /// About which alert; none when it is a test.
    pub alert_id: Option<AlertId>,
    /// What it says.
    pub message: Message,
    /// How far it is.
    pub state: DeliveryState,
    /// When it is tried next.
    pub due_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// What came of the attempts until now, the oldest first.
    pub attempts: Vec<Attempt>,
}

impl Delivery {
    /// The delivery after an attempt: it has arrived, is tried again later, or never again.
    #[must_use]
    pub fn tried(mut self, attempt: Attempt, entropy: &dyn Entropy) -> Self {
        let (at, arrived) = (attempt.at, attempt.error.is_none());
        self.attempts.push(attempt);
        if arrived {
            self.state = DeliveryState::Delivered;
        } else {
            self.due_at = at + wait(self.attempts.len(), entropy);
            if self.due_at - self.created_at > TimeDelta::from_std(TRIED_FOR).unwrap_or_default() {
                self.state = DeliveryState::Failed;
            }
        }
        self
    }
}

/// How long it is waited after so many failures: twice as long each time, and up to a fifth more or
/// less, so that what failed together does not come back together.
fn wait(failures: usize, entropy: &dyn Entropy) -> Duration {
    let doubled = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let wait = FIRST_WAIT.saturating_mul(1 << doubled).min(LONGEST_WAIT);
    let mut byte = [0_u8; 1];
    entropy.fill(&mut byte);
    let jitter = f64::from(byte[0]) / 255.0 * 0.4 + 0.8;
    wait.mul_f64(jitter)
}

#[cfg(test)]
mod tests {
    use muster_kernel::testing::SeededEntropy;

    use super::*;
    use crate::testing::delivery;

    #[test]
    fn a_message_is_tried_for_a_day_ever_more_slowly_and_then_no_more() {
        let entropy = SeededEntropy::new(1);
        let mut delivery = delivery(1);
        let created = delivery.created_at;
        let mut attempts = 0;
        while delivery.state == DeliveryState::Pending {
            attempts += 1;
            let error = Some("no answer".to_owned());
            let attempt = Attempt { at: delivery.due_at, status: None, error };
            delivery = delivery.tried(attempt, &entropy);
        }
        assert_eq!(delivery.state, DeliveryState::Failed);
        assert!((25..60).contains(&attempts), "{attempts}");
        let last = delivery.attempts.last().unwrap().at - created;
        assert!(last > TimeDelta::hours(22) && last <= TimeDelta::hours(24), "{last}");
        let waits: Vec<_> = delivery.attempts.windows(2).map(|two| two[1].at - two[0].at).collect();
        assert!(waits[0] < TimeDelta::seconds(3) && waits[3] > TimeDelta::seconds(12), "{waits:?}");
    }

    #[test]
    fn what_has_arrived_is_not_tried_again() {
        let delivery = delivery(1);
        let attempt = Attempt { at: delivery.due_at, status: Some(204), error: None };
        let delivery = delivery.tried(attempt, &SeededEntropy::new(1));
        assert_eq!(delivery.state, DeliveryState::Delivered);
    }
}
