//! What loads were like, in the table `alert_deviations`.

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_alerts::level::{Level, Phase};
use muster_alerts::{Deviation, Deviations};
use muster_kernel::{AgentId, AlertRuleId, StorageError};
use sea_orm::IntoActiveModel;
use sea_orm::entity::prelude::*;

use super::{SeaAlerts, reading};
use crate::DatabaseError;
use crate::columns::{maybe_timestamp, micros, timestamp};

/// How many machines one statement names.
const MACHINES_AT_ONCE: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alert_deviations")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub rule_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: Uuid,
    pub phase: String,
    /// Since when it is rising, or seems to be over.
    pub since: Option<i64>,
    pub read_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The row of a load; `None` when it is calm.
    fn of(deviation: &Deviation) -> Option<Self> {
        let (phase, since) = match deviation.level.phase {
            Phase::Calm => return None,
            Phase::Rising { since } => ("rising", Some(micros(since))),
            Phase::High { clear_since } => ("high", clear_since.map(micros)),
        };
        Some(Self {
            rule_id: deviation.rule_id.as_uuid(),
            agent_id: deviation.agent_id.as_uuid(),
            phase: phase.to_owned(),
            since,
            read_at: micros(deviation.level.read_at),
        })
    }
}

impl TryFrom<Model> for Deviation {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let since = maybe_timestamp(row.since, "alert_deviations.since")?;
        let phase = match (row.phase.as_str(), since) {
            ("rising", Some(since)) => Phase::Rising { since },
            ("high", clear_since) => Phase::High { clear_since },
            _ => return Err(DatabaseError::bad_row("alert_deviations.phase")),
        };
        let read_at = timestamp(row.read_at, "alert_deviations.read_at")?;
        Ok(Self {
            rule_id: AlertRuleId::from_uuid(row.rule_id),
            agent_id: AgentId::from_uuid(row.agent_id),
            level: Level { phase, read_at },
        })
    }
}

#[async_trait]
impl Deviations for SeaAlerts {
    async fn of(&self, machines: &BTreeSet<AgentId>) -> Result<Vec<Deviation>, StorageError> {
        let machines: Vec<_> = machines.iter().map(|id| id.as_uuid()).collect();
        let mut known = Vec::new();
        for machines in machines.chunks(MACHINES_AT_ONCE) {
            let theirs = Entity::find().filter(Column::AgentId.is_in(machines.iter().copied()));
            let rows = theirs.all(self.database.reader()).await.map_err(reading)?;
            for row in rows {
                known.push(Deviation::try_from(row)?);
            }
        }
        Ok(known)
    }

    async fn keep(&self, deviations: Vec<Deviation>) -> Result<(), StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                for deviation in &deviations {
                    let (rule, agent) = (deviation.rule_id, deviation.agent_id);
                    let key = (rule.as_uuid(), agent.as_uuid());
                    Entity::delete_by_id(key).exec(transaction).await?;
                    if let Some(row) = Model::of(deviation) {
                        let row = row.into_active_model().reset_all();
                        Entity::insert(row).exec_without_returning(transaction).await?;
                    }
                }
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }
}
