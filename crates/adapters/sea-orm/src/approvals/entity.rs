//! The tables `approvals` and `approval_customers`.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_commands::SafetyLevel;
use muster_commands::approvals::{Approval, ApprovalState, Decision};
use muster_commands::runs::Template;
use muster_kernel::{ApprovalId, CustomerId, RunId, Sealed, UserId};
use sea_orm::entity::prelude::*;

use crate::DatabaseError;
use crate::columns::{from_count, from_json, json, micros, timestamp};
use crate::commands::entity::{duration_micros, requester, requester_columns};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "approvals")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub target: String,
    pub work: String,
    pub strategy: String,
    pub secrets: Option<Vec<u8>>,
    pub expires_in_micros: Option<i64>,
    pub specs: String,
    pub total: i32,
    pub summary: String,
    pub safety_level: String,
    pub reasons: String,
    pub retry_of: Option<Uuid>,
    pub requested_by: Uuid,
    pub requested_by_kind: String,
    pub requester_name: String,
    pub created_at: i64,
    pub expires_at: i64,
    pub status: String,
    pub decided_by: Option<Uuid>,
    pub decider_name: Option<String>,
    pub decided_at: Option<i64>,
    pub reason: Option<String>,
    pub run_id: Option<Uuid>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The table `approval_customers`.
pub(crate) mod customer {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "approval_customers")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub approval_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: Uuid,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What was decided, in columns. That nobody decided in time is not written.
pub(super) const PENDING: &str = "pending";
pub(super) const APPROVED: &str = "approved";
pub(super) const REJECTED: &str = "rejected";

impl From<&Approval> for Model {
    fn from(approval: &Approval) -> Self {
        let (kind, requested_by) = requester_columns(approval.requested_by);
        let Template { target, work, secrets, strategy, expires_in } = &approval.template;
        let (status, decision, reason) = match &approval.state {
            ApprovalState::Pending => (PENDING, None, None),
            ApprovalState::Approved { decision, .. } => (APPROVED, Some(decision), None),
            ApprovalState::Rejected { decision, reason } => {
                (REJECTED, Some(decision), reason.clone())
            }
        };
        Self {
            id: approval.id.as_uuid(),
            target: json(target),
            work: json(work),
            strategy: json(strategy),
            secrets: secrets.clone().map(|it| it.0),
            expires_in_micros: expires_in.map(duration_micros),
            specs: json(&approval.specs),
            total: i32::try_from(approval.total).unwrap_or(i32::MAX),
            summary: approval.summary.clone(),
            safety_level: approval.safety_level.as_str().to_owned(),
            reasons: json(&approval.reasons),
            retry_of: approval.retry_of.map(RunId::as_uuid),
            requested_by,
            requested_by_kind: kind.to_owned(),
            requester_name: approval.requester_name.clone(),
            created_at: micros(approval.created_at),
            expires_at: micros(approval.expires_at),
            status: status.to_owned(),
            decided_by: decision.map(|it| it.by.as_uuid()),
            decider_name: decision.map(|it| it.name.to_string()),
            decided_at: decision.map(|it| micros(it.at)),
            reason,
            run_id: approval.run_id().map(RunId::as_uuid),
        }
    }
}

fn state(row: &Model) -> Result<ApprovalState, DatabaseError> {
    let decision = || {
        let (Some(by), Some(name), Some(at)) =
            (row.decided_by, row.decider_name.as_deref(), row.decided_at)
        else {
            return Err(DatabaseError::bad_row("approvals.decided_by"));
        };
        let at = timestamp(at, "approvals.decided_at")?;
        Ok(Decision { by: UserId::from_uuid(by), name: name.into(), at })
    };
    match row.status.as_str() {
        PENDING => Ok(ApprovalState::Pending),
        APPROVED => {
            let run_id = row.run_id.map(RunId::from_uuid);
            Ok(ApprovalState::Approved { decision: decision()?, run_id })
        }
        REJECTED => {
            Ok(ApprovalState::Rejected { decision: decision()?, reason: row.reason.clone() })
        }
        _ => Err(DatabaseError::bad_row("approvals.status")),
    }
}

impl Model {
    /// The approval about machines of these customers.
    pub(super) fn about(self, customers: BTreeSet<CustomerId>) -> Result<Approval, DatabaseError> {
        let state = state(&self)?;
        let expires_in = self
            .expires_in_micros
            .map(|micros| from_count(micros, "approvals.expires_in_micros"))
            .transpose()?;
        Ok(Approval {
            id: ApprovalId::from_uuid(self.id),
            template: Template {
                target: from_json(&self.target, "approvals.target")?,
                work: from_json(&self.work, "approvals.work")?,
                secrets: self.secrets.map(Sealed),
                strategy: from_json(&self.strategy, "approvals.strategy")?,
                expires_in: expires_in.map(Duration::from_micros),
            },
            specs: from_json(&self.specs, "approvals.specs")?,
            total: u32::try_from(self.total)
                .map_err(|_| DatabaseError::bad_row("approvals.total"))?,
            customers,
            summary: self.summary,
            safety_level: SafetyLevel::parse(&self.safety_level)
                .ok_or_else(|| DatabaseError::bad_row("approvals.safety_level"))?,
            reasons: from_json(&self.reasons, "approvals.reasons")?,
            retry_of: self.retry_of.map(RunId::from_uuid),
            requested_by: requester(&self.requested_by_kind, self.requested_by)?,
            requester_name: self.requester_name,
            created_at: timestamp(self.created_at, "approvals.created_at")?,
            expires_at: timestamp(self.expires_at, "approvals.expires_at")?,
            state,
        })
    }
}
