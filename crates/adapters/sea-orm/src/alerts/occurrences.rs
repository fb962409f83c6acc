//! What happens, as the tables of agents, commands, runs and the audit log know it.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_alerts::{Alert, Deed, Ended, Machine, Missing, Occurrences, Returned, Rule, Selector};
use muster_kernel::{
    AgentId, CommandId, CustomerId, RolloutId, RunId, StorageError, Timestamp, UserId,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query, SelectStatement};
use sea_orm::{Condition, ConnectionTrait, QueryResult, QuerySelect, Select};
use serde_json::Value;

use super::{SeaAlerts, entity, reading};
use crate::DatabaseError;
use crate::agents::entity as agents;
use crate::agents::parts::tag;
use crate::columns::{count, from_count, micros, timestamp};

/// How many ids one statement names.
const IDS_AT_ONCE: usize = 500;

/// What of an agent's row matters here.
type MachineRow = (Uuid, Uuid, String, String, i64);

fn machine_columns() -> Select<agents::Entity> {
    use agents::Column;
    agents::Entity::find().select_only().columns([
        Column::Id,
        Column::CustomerId,
        Column::Hostname,
        Column::OsType,
        Column::LastSeen,
    ])
}

fn machine(
    row: MachineRow,
    tags: BTreeSet<String>,
) -> Result<(Machine, Option<Timestamp>), DatabaseError> {
    let (id, customer, hostname, os_type, seen) = row;
    let machine = Machine {
        id: AgentId::from_uuid(id),
        customer_id: CustomerId::from_uuid(customer),
        hostname,
        os_type,
        tags,
    };
    // 0 is never.
    let seen = (seen > 0).then(|| timestamp(seen, "agents.last_seen")).transpose()?;
    Ok((machine, seen))
}

/// Selects the alerts of a rule about the agent of the query around it, for its customer.
fn alerts_of(rule: &Rule) -> SelectStatement {
    use entity::{Column, Entity};
    let agent = |column| (agents::Entity, column);
    Query::select()
        .expr(Expr::value(1))
        .from(Entity)
        .and_where(Expr::col((Entity, Column::RuleId)).eq(rule.id.as_uuid()))
        .and_where(Expr::col((Entity, Column::SubjectId)).equals(agent(agents::Column::Id)))
        .and_where(
            Expr::col((Entity, Column::CustomerId)).equals(agent(agents::Column::CustomerId)),
        )
        .take()
}

/// Selects the tag of the agent of the query around it, if it has it.
fn its_tag(tag: &str) -> SelectStatement {
    use tag::{Column, Entity};
    Query::select()
        .expr(Expr::value(1))
        .from(Entity)
        .and_where(
            Expr::col((Entity, Column::AgentId)).equals((agents::Entity, agents::Column::Id)),
        )
        .and_where(Expr::col((Entity, Column::Tag)).eq(tag))
        .take()
}

/// The machines that a rule misses, as [`Occurrences::missing`] says it.
pub(super) fn missed(
    rule: &Rule,
    before: Timestamp,
    cooled_since: Timestamp,
) -> Select<agents::Entity> {
    use agents::Column;
    let resolved_at = Expr::col((entity::Entity, entity::Column::ResolvedAt));
    let open = alerts_of(rule).and_where(resolved_at.clone().is_null()).take();
    let recent = alerts_of(rule).and_where(resolved_at.gt(micros(cooled_since))).take();
    let Selector { agent_ids, tags, os_type } = &rule.selector;
    let these =
        (!agent_ids.is_empty()).then(|| Column::Id.is_in(agent_ids.iter().map(|id| id.as_uuid())));
    let mut wanted = Condition::all()
        .add(Column::LastSeen.between(1, micros(before) - 1))
        .add(Column::DeletedAt.is_null())
        .add_option(rule.customer_id.map(|id| Column::CustomerId.eq(id.as_uuid())))
        .add_option(these)
        .add_option(os_type.as_deref().map(|os_type| Column::OsType.eq(os_type)))
        .add(Expr::exists(open).not())
        .add(Expr::exists(recent).not());
    for tag in tags {
        wanted = wanted.add(Expr::exists(its_tag(tag)));
    }
    machine_columns().filter(wanted)
}

/// The offline alerts that may be over, as [`Occurrences::returned`] says it. The kind is spelled
/// out, so that the index of such rows is used.
pub(super) fn maybe_over(after: Timestamp) -> Select<entity::Entity> {
    use entity::{Column, Entity};
    let seen = Expr::col((agents::Entity, agents::Column::LastSeen)).gt(micros(after));
    let was_seen = Expr::exists(its_agent().and_where(seen).take());
    Entity::find()
        .filter(Expr::col((Entity, Column::Kind)).eq(Expr::cust("'offline'")))
        .filter(Column::ResolvedAt.is_null())
        .filter(Condition::any().add(was_seen).add(Column::ClearSince.is_not_null()))
}

/// Selects the agent that the alert of the query around it is about, if it is there.
fn its_agent() -> SelectStatement {
    use entity::{Column, Entity};
    Query::select()
        .expr(Expr::value(1))
        .from(agents::Entity)
        .and_where(
            Expr::col((agents::Entity, agents::Column::Id)).equals((Entity, Column::SubjectId)),
        )
        .and_where(Expr::col((agents::Entity, agents::Column::DeletedAt)).is_null())
        .take()
}

/// What failed in a table from an instant on. The status is spelled out, so that the index of such
/// rows is used.
fn failed_in(table: &'static str, after: Timestamp, limit: u64) -> SelectStatement {
    Query::select()
        .columns(["id", "finished_at"])
        .from(table)
        .and_where(Expr::col("status").eq(Expr::cust("'failed'")))
        .and_where(Expr::col("finished_at").gte(micros(after)))
        .order_by("finished_at", sea_orm::Order::Asc)
        .limit(limit)
        .take()
}

/// The rollouts that failed on some machine from an instant on. The statuses are spelled out, so
/// that the index of such rows is used.
fn failed_rollouts(after: Timestamp, limit: u64) -> SelectStatement {
    Query::select()
        .columns(["id", "finished_at", "customer_id", "name", "failed"])
        .from("rollouts")
        .and_where(Expr::cust("status in ('failed', 'completed_with_errors')"))
        .and_where(Expr::col("finished_at").gte(micros(after)))
        .and_where(Expr::col("dry_run").eq(false))
        .order_by("finished_at", sea_orm::Order::Asc)
        .limit(limit)
        .take()
}

fn command(row: &QueryResult) -> Result<Ended, DatabaseError> {
    let id: Uuid = row.try_get("", "id")?;
    let agent: Uuid = row.try_get("", "agent_id")?;
    let failure: Option<String> = row.try_get("", "failure_code")?;
    Ok(Ended::Command {
        id: CommandId::from_uuid(id),
        agent_id: AgentId::from_uuid(agent),
        failure: failure.unwrap_or_else(|| "FAILED".to_owned()),
        at: timestamp(row.try_get("", "finished_at")?, "commands.finished_at")?,
    })
}

fn run(row: &QueryResult) -> Result<Ended, DatabaseError> {
    let id: Uuid = row.try_get("", "id")?;
    let customer: Option<Uuid> = row.try_get("", "customer_id")?;
    let failed: i32 = row.try_get("", "failed")?;
    Ok(Ended::Run {
        id: RunId::from_uuid(id),
        customer_id: customer.map(CustomerId::from_uuid),
        summary: row.try_get("", "summary")?,
        failed: u64::try_from(failed).unwrap_or(0),
        at: timestamp(row.try_get("", "finished_at")?, "runs.finished_at")?,
    })
}

fn rollout(row: &QueryResult) -> Result<Ended, DatabaseError> {
    let id: Uuid = row.try_get("", "id")?;
    let customer: Option<Uuid> = row.try_get("", "customer_id")?;
    let failed: i32 = row.try_get("", "failed")?;
    Ok(Ended::Rollout {
        id: RolloutId::from_uuid(id),
        customer_id: customer.map(CustomerId::from_uuid),
        name: row.try_get("", "name")?,
        failed: u64::try_from(failed).unwrap_or(0),
        at: timestamp(row.try_get("", "finished_at")?, "rollouts.finished_at")?,
    })
}

/// What there is to say of an entry in the audit log.
fn deed(row: &QueryResult) -> Result<Option<(u64, Deed, Timestamp)>, DatabaseError> {
    let number = from_count(row.try_get("", "seq")?, "audit_entries.seq")?;
    let at = timestamp(row.try_get("", "at")?, "audit_entries.at")?;
    let id: Uuid = row.try_get("", "resource_id")?;
    let kind: String = row.try_get("", "resource_kind")?;
    if kind == "agent" {
        return Ok(Some((number, Deed::Enrolled(AgentId::from_uuid(id)), at)));
    }
    let after: Option<String> = row.try_get("", "after")?;
    let after: Value = after.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let is_admin = after.get("role").is_some_and(|role| role == "admin");
    Ok(is_admin.then(|| (number, Deed::MadeAdmin(UserId::from_uuid(id), None), at)))
}

impl SeaAlerts {
    /// The machines of these rows, where asked for with their tags.
    async fn described(
        &self,
        rows: Vec<MachineRow>,
        tagged: bool,
    ) -> Result<Vec<(Machine, Option<Timestamp>)>, DatabaseError> {
        let ids: Vec<_> = rows.iter().filter(|_| tagged).map(|row| row.0).collect();
        let mut tags: BTreeMap<Uuid, BTreeSet<String>> = BTreeMap::new();
        for ids in ids.chunks(IDS_AT_ONCE) {
            let these = tag::Column::AgentId.is_in(ids.iter().copied());
            for row in tag::Entity::find().filter(these).all(self.database.reader()).await? {
                tags.entry(row.agent_id).or_default().insert(row.tag);
            }
        }
        let described = |row: MachineRow| {
            let tags = tags.remove(&row.0).unwrap_or_default();
            machine(row, tags)
        };
        rows.into_iter().map(described).collect()
    }

    /// What these people are called.
    async fn names(&self, ids: BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, String>, DatabaseError> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let query = Query::select()
            .columns(["id", "username"])
            .from("users")
            .and_where(Expr::col("id").is_in(ids))
            .take();
        let rows = self.database.reader().query_all(&query).await?;
        rows.iter().map(|row| Ok((row.try_get("", "id")?, row.try_get("", "username")?))).collect()
    }

    async fn failed_rows(&self, after: Timestamp, limit: u64) -> Result<Vec<Ended>, DatabaseError> {
        let reader = self.database.reader();
        let mut commands = failed_in("commands", after, limit);
        // What a look at a machine says is no failure, and its rollout tells what is.
        commands.and_where(Expr::col("rollout_id").is_null());
        let commands = commands.columns(["agent_id", "failure_code"]);
        let commands = reader.query_all(&*commands).await?;
        let mut runs = failed_in("runs", after, limit);
        let runs = runs.columns(["customer_id", "summary", "failed"]);
        let runs = reader.query_all(&*runs).await?;
        let rollouts = reader.query_all(&failed_rollouts(after, limit)).await?;
        let failed = commands.iter().map(command).chain(runs.iter().map(run));
        let failed = failed.chain(rollouts.iter().map(rollout));
        let mut failed = failed.collect::<Result<Vec<_>, _>>()?;
        failed.sort_by_key(Ended::at);
        failed.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(failed)
    }

    async fn deed_rows(
        &self,
        after: u64,
        until: u64,
    ) -> Result<Vec<(u64, Deed, Timestamp)>, DatabaseError> {
        let enrolled = Expr::col("action").eq("agent.enrol");
        let query = Query::select()
            .columns(["seq", "at", "resource_id", "resource_kind", "after"])
            .from("audit_entries")
            .and_where(Expr::col("seq").gt(count(after)))
            .and_where(Expr::col("seq").lte(count(until)))
            .and_where(enrolled.or(Expr::col("resource_kind").eq("user")))
            .order_by("seq", sea_orm::Order::Asc)
            .take();
        let rows = self.database.reader().query_all(&query).await?;
        let deeds = rows.iter().map(deed).collect::<Result<Vec<_>, _>>()?;
        let mut deeds: Vec<_> = deeds.into_iter().flatten().collect();
        let people = deeds.iter().filter_map(|(_, deed, _)| match deed {
            Deed::MadeAdmin(id, _) => Some(id.as_uuid()),
            Deed::Enrolled(_) => None,
        });
        let names = self.names(people.collect()).await?;
        for (_, deed, _) in &mut deeds {
            if let Deed::MadeAdmin(id, name) = deed {
                *name = names.get(&id.as_uuid()).cloned();
            }
        }
        Ok(deeds)
    }
}

#[async_trait]
impl Occurrences for SeaAlerts {
    async fn missing(
        &self,
        rule: &Rule,
        before: Timestamp,
        cooled_since: Timestamp,
    ) -> Result<Vec<Missing>, StorageError> {
        let missed = missed(rule, before, cooled_since).into_tuple();
        let rows: Vec<MachineRow> = missed.all(self.database.reader()).await.map_err(reading)?;
        let mut missing = Vec::new();
        // Windows pick machines by their tags, too.
        for (machine, seen) in self.described(rows, true).await? {
            missing.extend(seen.map(|last_seen| Missing { machine, last_seen }));
        }
        Ok(missing)
    }

    async fn returned(&self, after: Timestamp) -> Result<Vec<Returned>, StorageError> {
        let rows = maybe_over(after).all(self.database.reader()).await.map_err(reading)?;
        let alerts: Vec<_> =
            rows.into_iter().map(Alert::try_from).collect::<Result<_, DatabaseError>>()?;
        let ids: BTreeSet<_> =
            alerts.iter().map(|alert| AgentId::from_uuid(alert.subject.id)).collect();
        let seen = self.seen(&ids).await?;
        let returned = alerts.into_iter().map(|alert| {
            let last_seen = seen.get(&alert.subject.id).copied().flatten();
            Returned { alert, last_seen }
        });
        Ok(returned.collect())
    }

    async fn gone(&self) -> Result<Vec<Alert>, StorageError> {
        use entity::Column;
        let wanted = Condition::all()
            .add(Column::ResolvedAt.is_null())
            .add(Column::SubjectKind.eq("agent"))
            .add(Expr::exists(its_agent()).not());
        self.all(wanted).await
    }

    async fn machines(&self, ids: &BTreeSet<AgentId>) -> Result<Vec<Machine>, StorageError> {
        let rows = self.machine_rows(ids).await?;
        let machines = self.described(rows, true).await?;
        Ok(machines.into_iter().map(|(machine, _)| machine).collect())
    }

    async fn failed(&self, after: Timestamp, limit: u64) -> Result<Vec<Ended>, StorageError> {
        Ok(self.failed_rows(after, limit).await?)
    }

    async fn deeds(
        &self,
        after: u64,
        until: u64,
    ) -> Result<Vec<(u64, Deed, Timestamp)>, StorageError> {
        Ok(self.deed_rows(after, until).await?)
    }

    async fn last_deed(&self) -> Result<u64, StorageError> {
        let query = Query::select()
            .columns(["seq"])
            .from("audit_entries")
            .order_by("seq", sea_orm::Order::Desc)
            .limit(1)
            .take();
        let row = self.database.reader().query_one(&query).await.map_err(reading)?;
        let Some(row) = row else { return Ok(0) };
        let seq = row.try_get("", "seq").map_err(reading)?;
        Ok(from_count(seq, "audit_entries.seq")?)
    }

    async fn mark(&self, name: &'static str) -> Result<Option<i64>, StorageError> {
        let query = Query::select()
            .columns(["at"])
            .from("watch_marks")
            .and_where(Expr::col("name").eq(name))
            .take();
        let row = self.database.reader().query_one(&query).await.map_err(reading)?;
        row.map(|row| row.try_get("", "at").map_err(reading)).transpose()
    }

    async fn set_mark(&self, name: &'static str, to: i64) -> Result<(), StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                let mark = Query::insert()
                    .into_table("watch_marks")
                    .columns(["name", "at"])
                    .values_panic([name.into(), to.into()])
                    .on_conflict(OnConflict::column("name").update_column("at").to_owned())
                    .take();
                transaction.execute(&mark).await?;
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }
}

impl SeaAlerts {
    async fn machine_rows(&self, ids: &BTreeSet<AgentId>) -> Result<Vec<MachineRow>, StorageError> {
        let ids: Vec<_> = ids.iter().map(|id| id.as_uuid()).collect();
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(IDS_AT_ONCE) {
            let live = machine_columns().filter(agents::Column::DeletedAt.is_null());
            let rows = live.filter(agents::Column::Id.is_in(ids.iter().copied())).into_tuple();
            found.extend(rows.all(self.database.reader()).await.map_err(reading)?);
        }
        Ok(found)
    }

    /// When these machines were last seen, as far as they are there.
    async fn seen(
        &self,
        ids: &BTreeSet<AgentId>,
    ) -> Result<BTreeMap<Uuid, Option<Timestamp>>, StorageError> {
        let rows = self.machine_rows(ids).await?;
        let described = self.described(rows, false).await?;
        Ok(described.into_iter().map(|(machine, seen)| (machine.id.as_uuid(), seen)).collect())
    }
}
