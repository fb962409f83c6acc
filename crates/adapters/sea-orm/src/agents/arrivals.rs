//! What machines say when they connect. After a restart of the server all of them do, at once.

use std::collections::{BTreeMap, HashMap};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use muster_agents::{AgentProgram, ConnectionRecord, SystemInfo};
use muster_kernel::{AgentId, CustomerId, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Query;
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::entity::{Column, Entity, Model};
use super::{IDS_AT_ONCE, connections, parts};
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
        for some in descriptions.chunks(IDS_AT_ONCE) {
            let ids: Vec<Uuid> = some.iter().map(|(id, ..)| id.as_uuid()).collect();
            let there = Entity::find().filter(Column::DeletedAt.is_null());
            let rows = there.filter(Column::Id.is_in(ids)).all(transaction).await?;
            let mut known: HashMap<Uuid, Model> =
                rows.into_iter().map(|row| (row.id, row)).collect();
            for (id, info, now) in some {
                if let Some(row) = known.get_mut(&id.as_uuid()) {
                    describe_one(transaction, row, info, *now).await?;
                }
            }
        }
        Ok(answers)
    }
    .boxed()
}

async fn describe_one(
    transaction: &DatabaseTransaction,
    row: &mut Model,
    info: &SystemInfo,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    Entity::update_many()
        .col_expr(Column::Os, Expr::value(info.os.clone()))
        .col_expr(Column::SystemInfo, Expr::value(json(info)))
        .col_expr(Column::TimeZone, Expr::value(info.time_zone.clone()))
        .col_expr(Column::UpdatedAt, Expr::value(micros(now)))
        .filter(Column::Id.eq(row.id))
        .exec(transaction)
        .await?;
    // Most say what they said before: then what is searched stays as well.
    if row.os.as_deref() != Some(&*info.os) {
        row.os = Some(info.os.clone());
        let text = parts::text_of(&row.hostname, [&row.ip_address, &row.os, &row.notes]);
        parts::write_text(transaction, row.id, text).await?;
    }
    Ok(())
}
