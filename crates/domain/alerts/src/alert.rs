//! What a rule found.

use muster_kernel::{Actor, AlertId, AlertRuleId, Audited, CustomerId, Place, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Severity;

/// How far an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It began in a maintenance window, and nobody is told.
    Suppressed,
    /// People are told.
    Firing,
    /// Somebody takes care.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl State {
    /// Every state.
    pub const ALL: &[Self] = &[Self::Suppressed, Self::Firing, Self::Acknowledged, Self::Resolved];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suppressed => "suppressed",
            Self::Firing => "firing",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }

    /// Reads what [`State::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.as_str() == text)
    }

    /// Whether it is not over.
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Resolved)
    }
}

/// What is done to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The maintenance window is over, and the reason is still there.
    Release,
    /// Somebody takes care.
    Acknowledge,
    /// It is over.
    Resolve,
}

/// A step that does not lead on from where an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the alert is {} already", .0.as_str())]
pub struct WrongStep(pub State);

impl State {
    /// Where a step leads.
    ///
    /// # Errors
    /// [`WrongStep`] when it leads nowhere from here.
    pub const fn after(self, step: Step) -> Result<Self, WrongStep> {
        match (self, step) {
            (Self::Suppressed, Step::Release) => Ok(Self::Firing),
            (Self::Suppressed | Self::Firing, Step::Acknowledge) => Ok(Self::Acknowledged),
            (Self::Suppressed | Self::Firing | Self::Acknowledged, Step::Resolve) => {
                Ok(Self::Resolved)
            }
            (state, _) => Err(WrongStep(state)),
        }
    }
}

/// What an alert is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// What kind of thing: `agent`, `run` or `user`.
    pub kind: &'static str,
    /// Which one.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
}

impl Subject {
    /// The kinds of things.
    pub const KINDS: [&str; 3] = ["agent", "run", "user"];
}

/// An entry in the history of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where it led.
    pub state: State,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub actor_kind: String,
    /// Which one of its kind.
    pub actor_id: Option<Uuid>,
    /// What they are called.
    pub actor_name: Option<String>,
}

impl Change {
    /// That `actor` led it to `state`.
    pub fn new(state: State, at: Timestamp, actor: &Actor) -> Self {
        Self {
            state,
            at,
            actor_kind: actor.kind().to_owned(),
            actor_id: actor.id(),
            actor_name: actor.name().map(ToOwned::to_owned),
        }
    }
}

/// What a rule found about a subject. While it is open there is no other one of the two.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Its id.
    pub id: AlertId,
    /// Which rule found it.
    pub rule_id: AlertRuleId,
    /// What the rule was called.
    pub rule_name: String,
    /// What was watched for, as [`Condition::kind`](crate::Condition::kind) says it.
    pub kind: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// Whose that is; of nobody in particular when `None`.
    pub customer_id: Option<CustomerId>,
    /// What happened, in a line.
    pub summary: String,
    /// What there is to know besides, by name.
    pub details: Value,
    /// How far it is.
    pub state: State,
    /// When it was first found.
    pub first_seen_at: Timestamp,
    /// When it was last found.
    pub last_seen_at: Timestamp,
    /// How often.
    pub count: u64,
    /// Since when it seems to be over, as far as that is not certain yet.
    pub clear_since: Option<Timestamp>,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
}

impl Alert {
    /// The alert after a step.
    ///
    /// # Errors
    /// [`WrongStep`] when it does not lead on from here.
    pub fn after(&self, step: Step, now: Timestamp) -> Result<Self, WrongStep> {
        let state = self.state.after(step)?;
        let resolved_at = (state == State::Resolved).then_some(now);
        Ok(Self { state, resolved_at, ..self.clone() })
    }

    /// The alert when the same was found again.
    #[must_use]
    pub fn again(self, found: &Self) -> Self {
        Self {
            summary: found.summary.clone(),
            details: found.details.clone(),
            last_seen_at: found.last_seen_at.max(self.last_seen_at),
            count: self.count + 1,
            clear_since: None,
            ..self
        }
    }
}

impl Audited for Alert {
    fn place(&self) -> Place {
        Place { kind: "alert", id: self.id.as_uuid(), customer_id: self.customer_id }
    }

    fn facts(&self) -> Value {
        json!({
            "rule_id": self.rule_id,
            "summary": self.summary,
            "state": self.state.as_str(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![Just(Step::Release), Just(Step::Acknowledge), Just(Step::Resolve)]
    }

    proptest! {
        #[test]
        fn whatever_is_done_an_alert_only_goes_on_and_ends_for_good(
            begins_in_a_window in any::<bool>(),
            steps in prop::collection::vec(step(), 0..12),
        ) {
            let mut state = if begins_in_a_window { State::Suppressed } else { State::Firing };
            for step in steps {
                match state.after(step) {
                    Ok(next) => {
                        prop_assert!(next > state, "{state:?} {step:?} {next:?}");
                        state = next;
                    }
                    Err(WrongStep(at)) => prop_assert_eq!(at, state),
                }
                if !state.is_open() {
                    for step in [Step::Release, Step::Acknowledge, Step::Resolve] {
                        prop_assert_eq!(state.after(step), Err(WrongStep(State::Resolved)));
                    }
                }
            }
        }

        #[test]
        fn every_open_alert_can_be_resolved(state in prop::sample::select(State::ALL)) {
            prop_assert_eq!(state.after(Step::Resolve).is_ok(), state.is_open());
        }
    }
}
