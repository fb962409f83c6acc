//! What people decided about copies of machines.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_agents::{CopyDecision, CopyVerdict, CopyVerdicts, Incarnation, MachineCopy};
use muster_kernel::{AgentId, Audited, ConnectionId, Deed, StorageError, TokenHash};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QueryOrder};

use super::{SeaAgents, entity as agents, parts, reading};
use crate::DatabaseError;
use crate::audit::Trail;
use crate::columns::{micros, timestamp};

/// The table `agent_copies`.
mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "agent_copies")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub agent_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub boot_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub instance_id: String,
        pub connection_id: Uuid,
        pub hostname: String,
        pub peer_address: Option<String>,
        pub first_seen: i64,
        pub decision: String,
        pub decided_at: i64,
        pub new_agent_id: Option<Uuid>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use entity::{Column, Entity, Model};

impl Model {
    fn of(verdict: &CopyVerdict) -> Self {
        let CopyVerdict { agent_id, copy, decision, new_id, now, .. } = verdict;
        let separate = *decision == CopyDecision::Separate;
        Self {
            agent_id: agent_id.as_uuid(),
            boot_id: copy.incarnation.boot_id.clone(),
            instance_id: copy.incarnation.instance_id.clone().unwrap_or_default(),
            connection_id: copy.connection_id.as_uuid(),
            hostname: copy.hostname.clone(),
            peer_address: copy.peer_address.clone(),
            first_seen: micros(copy.first_seen),
            decision: decision.as_str().to_owned(),
            decided_at: micros(*now),
            new_agent_id: separate.then(|| new_id.as_uuid()),
        }
    }

    fn decision(&self) -> Result<CopyDecision, DatabaseError> {
        let decision = CopyDecision::parse(&self.decision);
        decision.ok_or_else(|| DatabaseError::bad_row("agent_copies.decision"))
    }
}

impl TryFrom<Model> for MachineCopy {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let decision = Some(row.decision()?);
        let instance_id = Some(row.instance_id).filter(|id| !id.is_empty());
        Ok(Self {
            connection_id: ConnectionId::from_uuid(row.connection_id),
            incarnation: Incarnation { boot_id: row.boot_id, instance_id },
            hostname: row.hostname,
            peer_address: row.peer_address,
            first_seen: timestamp(row.first_seen, "agent_copies.first_seen")?,
            decision,
        })
    }
}

#[async_trait]
impl CopyVerdicts for SeaAgents {
    async fn decide(&self, verdict: CopyVerdict) -> Result<(), StorageError> {
        let trail = self.database.trail();
        let write = self.database.write(move |transaction| {
            async move { decide(transaction, &trail, verdict).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn decided(
        &self,
        id: AgentId,
        incarnation: &Incarnation,
    ) -> Result<Option<(CopyDecision, Option<AgentId>)>, StorageError> {
        let instance_id = incarnation.instance_id.clone().unwrap_or_default();
        let key = (id.as_uuid(), incarnation.boot_id.clone(), instance_id);
        let reader = self.database.reader();
        let row = Entity::find_by_id(key).one(reader).await.map_err(reading)?;
        let Some(row) = row else { return Ok(None) };
        let new_id = match row.new_agent_id {
            Some(new_id) => {
                agents::Entity::find().filter(there(new_id)).one(reader).await.map_err(reading)?
            }
            None => None,
        };
        Ok(Some((row.decision()?, new_id.map(|agent| AgentId::from_uuid(agent.id)))))
    }

    async fn rejected(&self, id: AgentId) -> Result<Vec<MachineCopy>, StorageError> {
        let rows = Entity::find()
            .filter(Column::AgentId.eq(id.as_uuid()))
            .filter(Column::Decision.eq(CopyDecision::Reject.as_str()))
            .order_by_asc(Column::DecidedAt)
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(rows.into_iter().map(TryInto::try_into).collect::<Result<_, DatabaseError>>()?)
    }

    async fn renew_token(&self, id: AgentId, token: TokenHash) -> Result<bool, StorageError> {
        let write = self.database.write(move |transaction| {
            async move { set_token(transaction, id, token).await }.boxed()
        });
        Ok(write.await?)
    }
}

fn there(id: Uuid) -> Condition {
    Condition::all().add(agents::Column::Id.eq(id)).add(agents::Column::DeletedAt.is_null())
}

async fn set_token(
    transaction: &DatabaseTransaction,
    id: AgentId,
    token: TokenHash,
) -> Result<bool, DatabaseError> {
    let token = token.as_bytes().to_vec();
    let set = agents::Entity::update_many()
        .col_expr(agents::Column::TokenHash, Expr::value(token))
        .filter(there(id.as_uuid()))
        .exec(transaction)
        .await?;
    Ok(set.rows_affected > 0)
}

async fn decide(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    verdict: CopyVerdict,
) -> Result<(), DatabaseError> {
    let row = agents::Entity::find().filter(there(verdict.agent_id.as_uuid()));
    let Some(row) = row.one(transaction).await? else { return Ok(()) };
    let (original, now) = (parts::complete_one(transaction, row).await?, verdict.now);
    let kept = OnConflict::columns([Column::AgentId, Column::BootId, Column::InstanceId])
        .update_columns([Column::Decision, Column::DecidedAt, Column::NewAgentId])
        .to_owned();
    let row = Model::of(&verdict).into_active_model().reset_all();
    Entity::insert(row).on_conflict(kept).exec_without_returning(transaction).await?;
    let copy = &verdict.copy;
    let facts = serde_json::json!({
        "decision": verdict.decision.as_str(),
        "connection_id": copy.connection_id,
        "boot_id": copy.incarnation.boot_id,
        "hostname": copy.hostname,
        "peer_address": copy.peer_address,
    });
    let deed = Deed::done("agent.resolve_clone", original.place(), Some(facts));
    trail.enter(transaction, &verdict.author, now, deed).await?;
    if verdict.decision != CopyDecision::Separate {
        return Ok(());
    }
    if let Some(token) = verdict.original_token {
        set_token(transaction, verdict.agent_id, token).await?;
    }
    let separate = original.separated(copy, verdict.new_id, now);
    let row = agents::Model::of(&separate, None).into_active_model().reset_all();
    agents::Entity::insert(row).exec_without_returning(transaction).await?;
    parts::write(transaction, None, &separate).await?;
    let deed = Deed::created("agent.separate", &separate);
    trail.enter(transaction, &verdict.author, now, deed).await
}
