//! One request that waits for a second person, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::TimeDelta;
use muster_agents::OsType;
use muster_kernel::{ApprovalId, Audited, CustomerId, Place, RunId, Timestamp, UserId};

use crate::runs::Template;
use crate::{Requester, SafetyLevel, Spec};

/// How long a request waits.
pub(super) const WAITS_FOR: TimeDelta = TimeDelta::hours(24);

/// How far an approval is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApprovalStatus {
    /// It waits.
    Pending,
    /// Somebody approved it.
    Approved,
    /// Somebody rejected it.
    Rejected,
    /// Nobody decided in time.
    Expired,
}

impl ApprovalStatus {
    /// Every status.
    pub const ALL: &[Self] = &[Self::Pending, Self::Approved, Self::Rejected, Self::Expired];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }
}

/// Who decided, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Who.
    pub by: UserId,
    /// What they sign in with.
    pub name: Arc<str>,
    /// When.
    pub at: Timestamp,
}

/// What was decided. That nobody decided in time, the clock says: [`Approval::status`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalState {
    /// Nothing yet.
    Pending,
    /// That it runs.
    Approved {
        /// Who decided.
        decision: Decision,
        /// The run that came of it, as soon as it has begun.
        run_id: Option<RunId>,
    },
    /// That it does not run.
    Rejected {
        /// Who decided.
        decision: Decision,
        /// Why, if they said it.
        reason: Option<String>,
    },
}

/// Something that happens to an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalEvent {
    /// Somebody approved it.
    Approved(Decision),
    /// Somebody rejected it, and perhaps said why.
    Rejected(Decision, Option<String>),
    /// What was approved has begun as this run.
    Began(RunId),
}

impl ApprovalEvent {
    /// What it is called in the audit log. That a run began, the run says itself.
    pub const fn deed(&self) -> Option<&'static str> {
        match self {
            Self::Approved(_) => Some("approval.approve"),
            Self::Rejected(..) => Some("approval.reject"),
            Self::Began(_) => None,
        }
    }
}

/// A dangerous request that a second person decides about.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// What was asked for; its target names the machines one by one. Its secrets are sealed for
    /// [`Approval::secrets_place`].
    pub template: Template,
    /// What exactly runs on machines of which family, whatever becomes of the library meanwhile.
    pub specs: BTreeMap<OsType, Spec>,
    /// On how many machines.
    pub total: u32,
    /// Whose machines they are.
    pub customers: BTreeSet<CustomerId>,
    /// What runs, in a line.
    pub summary: String,
    /// How dangerous it is thought to be.
    pub safety_level: SafetyLevel,
    /// Why.
    pub reasons: Vec<String>,
    /// The run whose failed machines it tries again.
    pub retry_of: Option<RunId>,
    /// Who asked for it.
    pub requested_by: Requester,
    /// What they sign in with, or what the key is called.
    pub requester_name: String,
    /// When they asked.
    pub created_at: Timestamp,
    /// From then on nobody can decide any more.
    pub expires_at: Timestamp,
    /// What was decided.
    pub state: ApprovalState,
}

impl Approval {
    /// Where the secrets of the approval `id` are sealed for.
    pub fn secrets_place(id: ApprovalId) -> String {
        format!("approvals/{id}/secrets")
    }

    /// How far it is at the instant `now`.
    pub fn status(&self, now: Timestamp) -> ApprovalStatus {
        match &self.state {
            ApprovalState::Pending if now >= self.expires_at => ApprovalStatus::Expired,
            ApprovalState::Pending => ApprovalStatus::Pending,
            ApprovalState::Approved { .. } => ApprovalStatus::Approved,
            ApprovalState::Rejected { .. } => ApprovalStatus::Rejected,
        }
    }

    /// The run that came of it.
    pub const fn run_id(&self) -> Option<RunId> {
        match &self.state {
            ApprovalState::Approved { run_id, .. } => *run_id,
            ApprovalState::Pending | ApprovalState::Rejected { .. } => None,
        }
    }

    /// The customer, when all machines are of one.
    pub fn customer_id(&self) -> Option<CustomerId> {
        self.customers.first().copied().filter(|_| self.customers.len() == 1)
    }

    /// Whether `user` may decide about it: not who asked.
    pub fn may_be_decided_by(&self, user: UserId) -> bool {
        self.requested_by != Requester::User(user)
    }

    /// Does what `event` says where it can be done; says whether it was. It is decided about once,
    /// in time, and not by who asked; one run comes of it. Its secrets go when it needs them no
    /// more.
    pub fn apply(&mut self, event: ApprovalEvent) -> bool {
        let next = match (&self.state, event) {
            (ApprovalState::Pending, ApprovalEvent::Approved(decision))
                if self.is_open_to(&decision) =>
            {
                ApprovalState::Approved { decision, run_id: None }
            }
            (ApprovalState::Pending, ApprovalEvent::Rejected(decision, reason))
                if self.is_open_to(&decision) =>
            {
                self.template.secrets = None;
                ApprovalState::Rejected { decision, reason }
            }
            (ApprovalState::Approved { decision, run_id: None }, ApprovalEvent::Began(run_id)) => {
                let decision = decision.clone();
                self.template.secrets = None;
                ApprovalState::Approved { decision, run_id: Some(run_id) }
            }
            (
                ApprovalState::Pending
                | ApprovalState::Approved { .. }
                | ApprovalState::Rejected { .. },
                _,
            ) => return false,
        };
        self.state = next;
        true
    }

    fn is_open_to(&self, decision: &Decision) -> bool {
        decision.at < self.expires_at && self.may_be_decided_by(decision.by)
    }
}

impl Audited for Approval {
    fn place(&self) -> Place {
        Place { kind: "approval", id: self.id.as_uuid(), customer_id: self.customer_id() }
    }

    fn facts(&self) -> serde_json::Value {
        let decision = match &self.state {
            ApprovalState::Pending => None,
            ApprovalState::Approved { .. } => Some(serde_json::json!({ "approved": true })),
            ApprovalState::Rejected { reason, .. } => {
                Some(serde_json::json!({ "approved": false, "reason": reason }))
            }
        };
        serde_json::json!({
            "requested_by": self.requested_by.id(),
            "target": self.template.target,
            "work": self.template.work.facts(),
            "total": self.total,
            "safety_level": self.safety_level.as_str(),
            "reasons": self.reasons,
            "retry_of": self.retry_of,
            "expires_at": self.expires_at,
            "decision": decision,
        })
    }
}

#[cfg(test)]
mod tests {
    use muster_kernel::testing::{FakeClock, SeededEntropy};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::approvals::approval;

    fn decision(who: u64, hours: i64) -> Decision {
        let waiting = approval(1);
        let by = match waiting.requested_by {
            Requester::User(asker) if who == 0 => asker,
            _ => UserId::new(&FakeClock::default(), &SeededEntropy::new(who)),
        };
        Decision { by, name: "ann".into(), at: waiting.created_at + TimeDelta::hours(hours) }
    }

    fn event() -> impl Strategy<Value = ApprovalEvent> {
        let decision = || (0..4_u64, 0..48_i64).prop_map(|(who, hours)| decision(who, hours));
        let run = |seed| RunId::new(&FakeClock::default(), &SeededEntropy::new(seed));
        prop_oneof![
            decision().prop_map(ApprovalEvent::Approved),
            decision().prop_map(|it| ApprovalEvent::Rejected(it, None)),
            (0..3_u64).prop_map(move |seed| ApprovalEvent::Began(run(seed))),
        ]
    }

    proptest! {
        #[test]
        fn it_is_decided_about_once_in_time_and_by_somebody_else(
            events in prop::collection::vec(event(), 0..12)
        ) {
            let mut approval = approval(1);
            let (mut decided, mut began) = (0, 0);
            for event in events {
                let before = approval.clone();
                let changed = approval.apply(event.clone());
                prop_assert_eq!(changed, approval != before);
                if !changed {
                    continue;
                }
                match event {
                    ApprovalEvent::Approved(it) | ApprovalEvent::Rejected(it, _) => {
                        decided += 1;
                        prop_assert!(it.at < approval.expires_at);
                        prop_assert!(Requester::User(it.by) != approval.requested_by);
                    }
                    ApprovalEvent::Began(run) => {
                        began += 1;
                        prop_assert_eq!(before.status(before.created_at), ApprovalStatus::Approved);
                        prop_assert_eq!(approval.run_id(), Some(run));
                    }
                }
            }
            prop_assert!(decided <= 1 && began <= decided);
        }

        #[test]
        fn what_was_asked_for_never_changes(events in prop::collection::vec(event(), 0..12)) {
            let mut approval = approval(1);
            let (template, specs) = (approval.template.clone(), approval.specs.clone());
            for event in events {
                approval.apply(event);
            }
            approval.template.secrets = template.secrets.clone();
            prop_assert_eq!(approval.template, template);
            prop_assert_eq!(approval.specs, specs);
        }
    }

    #[test]
    fn what_nobody_decided_about_in_time_has_expired_without_anybody_looking() {
        let waiting = approval(1);
        let just_before = waiting.expires_at - TimeDelta::microseconds(1);
        assert_eq!(waiting.status(just_before), ApprovalStatus::Pending);
        assert_eq!(waiting.status(waiting.expires_at), ApprovalStatus::Expired);
    }

    #[test]
    fn secrets_are_kept_only_as_long_as_something_may_come_of_it() {
        let mut rejected = approval(1);
        assert!(rejected.template.secrets.is_some());
        assert!(rejected.apply(ApprovalEvent::Rejected(decision(1, 1), None)));
        assert_eq!(rejected.template.secrets, None);
        let mut approved = approval(1);
        assert!(approved.apply(ApprovalEvent::Approved(decision(1, 1))));
        assert!(approved.template.secrets.is_some());
        let run = RunId::new(&FakeClock::default(), &SeededEntropy::new(1));
        assert!(approved.apply(ApprovalEvent::Began(run)));
        assert_eq!(approved.template.secrets, None);
    }
}
