//! The tables `alerts`, `alert_changes` and `alert_causes`.

use muster_alerts::{Alert, Change, Severity, State, Subject};
use muster_kernel::{AlertId, AlertRuleId, CustomerId};
use sea_orm::entity::prelude::*;

use crate::DatabaseError;
use crate::columns::{count, from_count, from_json, json, maybe_timestamp, micros, timestamp};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alerts")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub rule_id: Uuid,
    pub rule_name: String,
    pub kind: String,
    pub severity: String,
    pub subject_kind: String,
    pub subject_id: Uuid,
    pub subject_name: String,
    pub customer_id: Option<Uuid>,
    pub summary: String,
    pub details: String,
    pub state: String,
    pub first_seen_at: i64,
    pub last_seen_at: i64,
    pub count: i64,
    pub clear_since: Option<i64>,
    pub resolved_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&Alert> for Model {
    fn from(alert: &Alert) -> Self {
        Self {
            id: alert.id.as_uuid(),
            rule_id: alert.rule_id.as_uuid(),
            rule_name: alert.rule_name.clone(),
            kind: alert.kind.clone(),
            severity: alert.severity.as_str().to_owned(),
            subject_kind: alert.subject.kind.to_owned(),
            subject_id: alert.subject.id,
            subject_name: alert.subject.name.clone(),
            customer_id: alert.customer_id.map(CustomerId::as_uuid),
            summary: alert.summary.clone(),
            details: json(&alert.details),
            state: alert.state.as_str().to_owned(),
            first_seen_at: micros(alert.first_seen_at),
            last_seen_at: micros(alert.last_seen_at),
            count: count(alert.count),
            clear_since: alert.clear_since.map(micros),
            resolved_at: alert.resolved_at.map(micros),
        }
    }
}

impl TryFrom<Model> for Alert {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let bad = DatabaseError::bad_row;
        let kind = Subject::KINDS.into_iter().find(|kind| *kind == row.subject_kind);
        Ok(Self {
            id: AlertId::from_uuid(row.id),
            rule_id: AlertRuleId::from_uuid(row.rule_id),
            rule_name: row.rule_name,
            kind: row.kind,
            severity: Severity::parse(&row.severity).ok_or_else(|| bad("alerts.severity"))?,
            subject: Subject {
                kind: kind.ok_or_else(|| bad("alerts.subject_kind"))?,
                id: row.subject_id,
                name: row.subject_name,
            },
            customer_id: row.customer_id.map(CustomerId::from_uuid),
            summary: row.summary,
            details: from_json(&row.details, "alerts.details")?,
            state: State::parse(&row.state).ok_or_else(|| bad("alerts.state"))?,
            first_seen_at: timestamp(row.first_seen_at, "alerts.first_seen_at")?,
            last_seen_at: timestamp(row.last_seen_at, "alerts.last_seen_at")?,
            count: from_count(row.count, "alerts.count")?,
            clear_since: maybe_timestamp(row.clear_since, "alerts.clear_since")?,
            resolved_at: maybe_timestamp(row.resolved_at, "alerts.resolved_at")?,
        })
    }
}

/// The table `alert_changes`.
pub(crate) mod change {
    use super::{AlertId, Change, DatabaseError, State, micros, timestamp};
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "alert_changes")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub alert_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i32,
        pub state: String,
        pub at: i64,
        pub actor_kind: String,
        pub actor_id: Option<Uuid>,
        pub actor_name: Option<String>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    impl Model {
        /// The entry of this number in the history of an alert.
        pub(crate) fn of(alert: AlertId, number: i32, change: &Change) -> Self {
            Self {
                alert_id: alert.as_uuid(),
                number,
                state: change.state.as_str().to_owned(),
                at: micros(change.at),
                actor_kind: change.actor_kind.clone(),
                actor_id: change.actor_id,
                actor_name: change.actor_name.clone(),
            }
        }
    }

    impl TryFrom<Model> for Change {
        type Error = DatabaseError;

        fn try_from(row: Model) -> Result<Self, DatabaseError> {
            let bad = || DatabaseError::bad_row("alert_changes.state");
            Ok(Self {
                state: State::parse(&row.state).ok_or_else(bad)?,
                at: timestamp(row.at, "alert_changes.at")?,
                actor_kind: row.actor_kind,
                actor_id: row.actor_id,
                actor_name: row.actor_name,
            })
        }
    }
}

/// The table `alert_causes`.
pub(crate) mod cause {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "alert_causes")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub rule_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub cause_id: Uuid,
        pub at: i64,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
