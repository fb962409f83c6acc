//! How connections of agents came and went.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_agents::{
    CONNECTIONS_KEPT, ConnectionEnd, ConnectionLog, ConnectionRecord, EndReason, Transport,
};
use muster_kernel::{AgentId, ConnectionId, NodeId, StorageError, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query, SimpleExpr, SubQueryStatement};
use sea_orm::{DatabaseTransaction, IntoActiveModel, QueryOrder, QuerySelect};

use super::{SeaAgents, entity as agents, reading};
use crate::DatabaseError;
use crate::columns::{micros, timestamp};

/// How many connections one statement enters at most.
const RECORDS_AT_ONCE: usize = 500;

/// The table `agent_connections`.
pub(super) mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "agent_connections")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub agent_id: Uuid,
        pub node_id: Uuid,
        pub transport: String,
        pub peer_address: Option<String>,
        pub boot_id: Option<String>,
        pub began_at: i64,
        pub last_frame_at: i64,
        pub reconnect_attempts: Option<i32>,
        pub previous_end: Option<String>,
        pub ended_at: Option<i64>,
        pub end_reason: Option<String>,
        pub end_detail: Option<String>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use entity::{Column, Entity, Model};

impl From<ConnectionRecord> for Model {
    fn from(record: ConnectionRecord) -> Self {
        let (ended_at, end_reason, end_detail) = match record.end {
            Some(end) => (Some(micros(end.at)), Some(end.reason.as_str().to_owned()), end.detail),
            None => (None, None, None),
        };
        let attempts = |count| i32::try_from(count).unwrap_or(i32::MAX);
        Self {
            id: record.id.as_uuid(),
            agent_id: record.agent_id.as_uuid(),
            node_id: record.node_id.as_uuid(),
            transport: record.transport.as_str().to_owned(),
            peer_address: record.peer_address,
            boot_id: record.boot_id,
            began_at: micros(record.began_at),
            last_frame_at: micros(record.last_frame_at),
            reconnect_attempts: record.reconnect_attempts.map(attempts),
            previous_end: record.previous_end,
            ended_at,
            end_reason,
            end_detail,
        }
    }
}

impl TryFrom<Model> for ConnectionRecord {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let bad = DatabaseError::bad_row;
        let end = match (row.ended_at, row.end_reason) {
            (None, None) => None,
            (Some(at), Some(reason)) => Some(ConnectionEnd {
                at: timestamp(at, "agent_connections.ended_at")?,
                reason: EndReason::parse(&reason)
                    .ok_or_else(|| bad("agent_connections.end_reason"))?,
                detail: row.end_detail,
            }),
            (Some(_), None) | (None, Some(_)) => return Err(bad("agent_connections.end_reason")),
        };
        let attempts = row.reconnect_attempts.map(u32::try_from).transpose();
        Ok(Self {
            id: ConnectionId::from_uuid(row.id),
            agent_id: AgentId::from_uuid(row.agent_id),
            node_id: NodeId::from_uuid(row.node_id),
            transport: Transport::parse(&row.transport)
                .ok_or_else(|| bad("agent_connections.transport"))?,
            peer_address: row.peer_address,
            boot_id: row.boot_id,
            began_at: timestamp(row.began_at, "agent_connections.began_at")?,
            last_frame_at: timestamp(row.last_frame_at, "agent_connections.last_frame_at")?,
            reconnect_attempts: attempts
                .map_err(|_| bad("agent_connections.reconnect_attempts"))?,
            previous_end: row.previous_end,
            end,
        })
    }
}

#[async_trait]
impl ConnectionLog for SeaAgents {
    async fn record_ended(&self, ended: Vec<ConnectionRecord>) -> Result<(), StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                for record in ended {
                    end(transaction, record.into()).await?;
                }
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn end_left_open(&self, node: NodeId, seen: Timestamp) -> Result<u64, StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                let last_seen = last_seen_of_agent();
                let silent = Expr::expr(last_seen.clone()).if_null(0_i64).lte(micros(seen));
                let update = Entity::update_many()
                    .col_expr(Column::EndedAt, Expr::expr(last_seen).if_null(began_at()))
                    .col_expr(Column::EndReason, Expr::value(EndReason::ServerKilled.as_str()))
                    .filter(Column::EndedAt.is_null())
                    .filter(Column::NodeId.ne(node.as_uuid()))
                    .filter(silent);
                Ok::<_, DatabaseError>(update.exec(transaction).await?.rows_affected)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn latest(&self, id: AgentId) -> Result<Vec<ConnectionRecord>, StorageError> {
        let rows = Entity::find()
            .filter(Column::AgentId.eq(id.as_uuid()))
            .order_by_desc(Column::BeganAt)
            .order_by_desc(Column::Id)
            .limit(u64::try_from(CONNECTIONS_KEPT).unwrap_or(u64::MAX))
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(rows.into_iter().map(TryInto::try_into).collect::<Result<_, DatabaseError>>()?)
    }
}

/// Enters connections that begin. What other processes left open of their agents is over.
pub(super) async fn begin(
    transaction: &DatabaseTransaction,
    begun: Vec<ConnectionRecord>,
) -> Result<(), DbErr> {
    for records in begun.chunks(RECORDS_AT_ONCE) {
        let rows: Vec<_> = records.iter().cloned().map(Model::from).collect();
        let Some(first) = rows.first() else { continue };
        Entity::update_many()
            .col_expr(Column::EndedAt, Expr::value(first.began_at))
            .col_expr(Column::EndReason, Expr::value(EndReason::ServerKilled.as_str()))
            .filter(Column::AgentId.is_in(rows.iter().map(|row| row.agent_id)))
            .filter(Column::EndedAt.is_null())
            .filter(Column::NodeId.ne(first.node_id))
            .exec(transaction)
            .await?;
        let rows = rows.into_iter().map(|row| row.into_active_model().reset_all());
        Entity::insert_many(rows).exec_without_returning(transaction).await?;
    }
    Ok(())
}

async fn end(transaction: &DatabaseTransaction, row: Model) -> Result<(), DbErr> {
    let (agent_id, last_frame_at) = (row.agent_id, row.last_frame_at);
    let ended = OnConflict::column(Column::Id)
        .update_columns([
            Column::LastFrameAt,
            Column::EndedAt,
            Column::EndReason,
            Column::EndDetail,
        ])
        .to_owned();
    let row = row.into_active_model().reset_all();
    Entity::insert(row).on_conflict(ended).exec_without_returning(transaction).await?;
    let open = Query::select()
        .expr(Expr::value(1))
        .from(Entity)
        .and_where(Column::AgentId.eq(agent_id))
        .and_where(Column::EndedAt.is_null())
        .take();
    agents::Entity::update_many()
        .col_expr(agents::Column::LastSeen, Expr::value(last_frame_at))
        .filter(agents::Column::Id.eq(agent_id))
        .filter(Expr::exists(open).not())
        .exec(transaction)
        .await?;
    forget_older(transaction, agent_id).await
}

/// Of each agent the latest connections stay.
async fn forget_older(transaction: &DatabaseTransaction, agent_id: Uuid) -> Result<(), DbErr> {
    let ids: Vec<Uuid> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::AgentId.eq(agent_id))
        .order_by_desc(Column::BeganAt)
        .order_by_desc(Column::Id)
        .into_tuple()
        .all(transaction)
        .await?;
    let older: Vec<_> = ids.into_iter().skip(CONNECTIONS_KEPT).collect();
    if !older.is_empty() {
        Entity::delete_many().filter(Column::Id.is_in(older)).exec(transaction).await?;
    }
    Ok(())
}

/// When the agent of a connection was last seen.
fn last_seen_of_agent() -> SimpleExpr {
    let own = Expr::col((agents::Entity, agents::Column::Id));
    let select = Query::select()
        .column(agents::Column::LastSeen)
        .from(agents::Entity)
        .and_where(own.eq(Expr::col((Entity, Column::AgentId))))
        .take();
    SimpleExpr::SubQuery(None, Box::new(SubQueryStatement::from(select)))
}

fn began_at() -> SimpleExpr {
    Expr::col((Entity, Column::BeganAt))
}
