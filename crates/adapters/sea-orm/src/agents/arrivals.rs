//! What machines say when they connect. After a restart of the server all of them do, at once.

use std::collections::{BTreeMap, HashMap};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use muster_agents::{AgentProgram, ConnectionRecord, SystemInfo};
use muster_kernel::{AgentId, CustomerId, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Query;
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::entity::{Column, Entity};
use super::{IDS_AT_ONCE, connections};
use crate::DatabaseError;
use crate::columns::{json, micros};

/// The program of a machine that has connected, and the connection.
pub(super) type Arrival = (AgentProgram, ConnectionRecord);

/// What a machine says about itself.
pub(super) type Description = (AgentId, SystemInfo, Timestamp);

/// Notes that they are connected, those with the same program by one statement, and that their
/// connections have begun; answers whose machines they are.
pub(super) fn note(
    transaction: &DatabaseTransaction,
    arrivals: Vec<Arrival>,
) -> BoxFuture<'_, Result<Vec<Option<CustomerId>>, DatabaseError>> {
    async move {
        let asked: Vec<Uuid> = arrivals.iter().map(|(_, it)| it.agent_id.as_uuid()).collect();
        let mut begun = Vec::with_capacity(arrivals.len());
        let mut alike: BTreeMap<_, (i64, Vec<Uuid>)> = BTreeMap::new();
        for (program, connection) in arrivals {
            let (latest, ids) =
                alike.entry((program.version, json(&program.capabilities))).or_default();
            *latest = Ord::max(*latest, micros(connection.began_at));
            ids.push(connection.agent_id.as_uuid());
            begun.push(connection);
        }
        let mut customers = HashMap::with_capacity(asked.len());
        for ((version, capabilities), (latest, ids)) in alike {
            for ids in ids.chunks(IDS_AT_ONCE) {
                let update = Query::update()
                    .table(Entity)
                    .value(Column::Version, version.clone())
                    .value(Column::Capabilities, capabilities.clone())
                    .value(Column::LastSeen, latest)
                    .and_where(Column::Id.is_in(ids.iter().copied()))
                    .and_where(Column::DeletedAt.is_null())
                    .returning(Query::returning().columns([Column::Id, Column::CustomerId]))
                    .to_owned();
                for row in transaction.query_all(&update).await? {
                    let id: Uuid = row.try_get("", "id")?;
                    let customer: Uuid = row.try_get("", "customer_id")?;
                    customers.insert(id, CustomerId::from_uuid(customer));
                }
            }
        }
        begun.retain(|connection| customers.contains_key(&connection.agent_id.as_uuid()));
        connections::begin(transaction, begun).await?;
        Ok(asked.iter().map(|id| customers.get(id).copied()).collect())
    }
    .boxed()
}

/// Keeps what they say about themselves.
pub(super) fn describe(
    transaction: &DatabaseTransaction,
    descriptions: Vec<Description>,
) -> BoxFuture<'_, Result<Vec<()>, DatabaseError>> {
    async move {
        let answers = vec![(); descriptions.len()];
        for (id, info, now) in descriptions {
            Entity::update_many()
                .col_expr(Column::Os, Expr::value(info.os.clone()))
                .col_expr(Column::SystemInfo, Expr::value(json(&info)))
                .col_expr(Column::TimeZone, Expr::value(info.time_zone.clone()))
                .col_expr(Column::UpdatedAt, Expr::value(micros(now)))
                .filter(Column::Id.eq(id.as_uuid()))
                .exec(transaction)
                .await?;
        }
        Ok(answers)
    }
    .boxed()
}
