//! Runs, and their commands as far as runs care.

mod entity;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_commands::runs::{Begun, Member, Run, RunChange, RunFilter, RunRepository, Tally};
use muster_commands::{Command, Once, Status};
use muster_kernel::{
    AgentId, Audited, Author, CommandId, CustomerId, Deed, Page, PageRequest, RunId, StorageError,
    TenantScope, Timestamp,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr, Query, SelectStatement};
use sea_orm::{
    Condition, DatabaseTransaction, IntoActiveModel, QueryOrder, QuerySelect, QueryTrait,
};

use crate::audit::Trail;
use crate::columns::{all_scoped, contains, micros};
use crate::commands::{entity as commands, transitions};
use crate::idempotency::{self, Remembered, remember};
use crate::{Database, DatabaseError, pages};
use entity::{Column, Entity, Model, customer};

/// How many commands one statement writes: SQLite takes 32,766 values in one.
pub(crate) const COMMANDS_AT_ONCE: usize = 900;

/// Runs, in the tables `runs` and `run_customers`; their commands are in `commands`.
#[derive(Debug, Clone)]
pub struct SeaRuns {
    database: Database,
}

impl SeaRuns {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading runs", error).into()
}

fn customers_of_run() -> SelectStatement {
    Query::select()
        .expr(Expr::val(1))
        .from(customer::Entity)
        .and_where(
            Expr::col((customer::Entity, customer::Column::RunId)).equals((Entity, Column::Id)),
        )
        .take()
}

/// Runs all of whose machines lie in `scope`.
fn in_scope(scope: &TenantScope) -> Condition {
    all_scoped((customer::Entity, customer::Column::CustomerId), customers_of_run(), scope)
}

fn filtered(scope: &TenantScope, filter: &RunFilter) -> Condition {
    let of_customer = |id: CustomerId| {
        let same = Expr::col((customer::Entity, customer::Column::CustomerId)).eq(id.as_uuid());
        Expr::exists(customers_of_run().and_where(same).take())
    };
    in_scope(scope)
        .add_option(filter.status.map(|status| Column::Status.eq(status.as_str())))
        .add_option(filter.customer_id.map(of_customer))
        .add_option(filter.requested_by.map(|id| Column::RequestedBy.eq(id)))
        .add_option(filter.schedule_id.map(|id| Column::ScheduleId.eq(id.as_uuid())))
        .add_option(filter.retry_of.map(|id| Column::RetryOf.eq(id.as_uuid())))
        .add_option(filter.q.as_ref().map(|q| {
            Expr::expr(Func::lower(Expr::col((Entity, Column::Summary))))
                .like(LikeExpr::new(contains(&q.to_lowercase())).escape('\\'))
        }))
}

#[async_trait]
impl RunRepository for SeaRuns {
    async fn begin(
        &self,
        run: Run,
        commands: Vec<Command>,
        once: Option<Once>,
        author: Author,
    ) -> Result<Begun, StorageError> {
        let trail = self.database.trail();
        let statuses: Vec<_> = commands.iter().map(Command::status).collect();
        let write = self.database.write(move |transaction| {
            async move { begin(transaction, &trail, run, commands, once, author).await }.boxed()
        });
        let begun = write.await?;
        if begun == Begun::New {
            transitions::count(&statuses);
        }
        Ok(begun)
    }

    async fn find(&self, scope: &TenantScope, id: RunId) -> Result<Option<Run>, StorageError> {
        let row = Entity::find()
            .filter(in_scope(scope).add(Column::Id.eq(id.as_uuid())))
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(row.map(Run::try_from).transpose()?)
    }

    async fn known(&self, scope: &str, key: &str) -> Result<Option<RunId>, StorageError> {
        let made = idempotency::made(self.database.reader(), scope, key).await.map_err(reading)?;
        Ok(made.map(RunId::from_uuid))
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &RunFilter,
        page: &PageRequest,
    ) -> Result<Page<Run>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(filtered(scope, filter));
        let page = pages::newest_first(reader, matching, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(Run::try_from)?)
    }

    async fn active(&self) -> Result<Vec<Run>, StorageError> {
        let rows = Entity::find()
            .filter(Column::FinishedAt.is_null())
            .order_by_asc(Column::Id)
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(rows.into_iter().map(Run::try_from).collect::<Result<_, DatabaseError>>()?)
    }

    async fn members(&self, id: RunId) -> Result<Vec<Member>, StorageError> {
        use commands::{Column, Entity};
        let rows: Vec<(Uuid, Uuid, Uuid, String, bool)> = Entity::find()
            .select_only()
            .columns([
                Column::Id,
                Column::AgentId,
                Column::CustomerId,
                Column::Status,
                Column::Held,
            ])
            .filter(Column::RunId.eq(id.as_uuid()))
            .order_by_asc(Column::Id)
            .into_tuple()
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        let member = |(id, agent, customer, status, held): (Uuid, Uuid, Uuid, String, bool)| {
            Ok(Member {
                command_id: CommandId::from_uuid(id),
                agent_id: AgentId::from_uuid(agent),
                customer_id: CustomerId::from_uuid(customer),
                status: Status::parse(&status)
                    .ok_or_else(|| DatabaseError::bad_row("commands.status"))?,
                held,
            })
        };
        Ok(rows.into_iter().map(member).collect::<Result<_, DatabaseError>>()?)
    }

    async fn tallies(&self, ids: &[RunId]) -> Result<BTreeMap<RunId, Tally>, StorageError> {
        use commands::{Column, Entity};
        let rows: Vec<(Uuid, String, bool, i64)> = Entity::find()
            .select_only()
            .columns([Column::RunId, Column::Status, Column::Held])
            .column_as(Column::Id.count(), "number")
            .filter(Column::RunId.is_in(ids.iter().map(|id| id.as_uuid())))
            .group_by(Column::RunId)
            .group_by(Column::Status)
            .group_by(Column::Held)
            .into_tuple()
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        let mut tallies = BTreeMap::<_, Tally>::new();
        for (id, status, held, number) in rows {
            let status =
                Status::parse(&status).ok_or_else(|| DatabaseError::bad_row("commands.status"))?;
            let tally = tallies.entry(RunId::from_uuid(id)).or_default();
            tally.add(status, held, u32::try_from(number).unwrap_or(u32::MAX));
        }
        Ok(tallies)
    }

    async fn commands(&self, ids: &[CommandId]) -> Result<Vec<Command>, StorageError> {
        use commands::{Column, Entity};
        let rows = Entity::find()
            .filter(Column::Id.is_in(ids.iter().map(|id| id.as_uuid())))
            .filter(Column::RunId.is_not_null())
            .order_by_asc(Column::Id)
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(rows.into_iter().map(Command::try_from).collect::<Result<_, DatabaseError>>()?)
    }

    async fn ended(&self, id: RunId, statuses: &[Status]) -> Result<Vec<Command>, StorageError> {
        use commands::{Column, Entity};
        let rows = Entity::find()
            .filter(Column::RunId.eq(id.as_uuid()))
            .filter(Column::Status.is_in(statuses.iter().map(|status| status.as_str())))
            .order_by_asc(Column::Id)
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(rows.into_iter().map(Command::try_from).collect::<Result<_, DatabaseError>>()?)
    }

    async fn change(
        &self,
        id: RunId,
        change: RunChange,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<(Arc<Run>, bool)>, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let Some(row) = Entity::find_by_id(id.as_uuid()).one(transaction).await? else {
                    return Ok::<_, DatabaseError>(None);
                };
                let mut run = Run::try_from(row)?;
                let changed = change.apply(&mut run);
                if changed {
                    let row = Model::from(&run).into_active_model().reset_all();
                    Entity::update(row).exec(transaction).await?;
                    if let Some(action) = change.deed() {
                        let reason =
                            run.stop.map(|it| serde_json::json!({ "reason": it.as_str() }));
                        let deed = Deed::done(action, Audited::place(&run), reason);
                        trail.enter(transaction, &author, now, deed).await?;
                    }
                }
                Ok(Some((Arc::new(run), changed)))
            }
            .boxed()
        });
        Ok(write.await?)
    }
}

async fn begin(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    run: Run,
    commands: Vec<Command>,
    once: Option<Once>,
    author: Author,
) -> Result<Begun, DatabaseError> {
    if let Some(once) = once {
        let (id, now) = (run.id.as_uuid(), micros(run.created_at));
        let known = remember(transaction, &once.scope, &once.key, &once.fingerprint, id, now);
        match known.await? {
            Remembered::New => {}
            Remembered::Conflict => return Ok(Begun::Conflict),
            Remembered::Same(id) => return Ok(Begun::Known(RunId::from_uuid(id))),
        }
    }
    let row = Model::from(&run).into_active_model().reset_all();
    Entity::insert(row).exec_without_returning(transaction).await?;
    let customers: BTreeSet<_> = commands.iter().map(|command| command.customer_id).collect();
    for customer_id in customers {
        let row = customer::Model { run_id: run.id.as_uuid(), customer_id: customer_id.as_uuid() };
        let row = row.into_active_model().reset_all();
        customer::Entity::insert(row).exec_without_returning(transaction).await?;
    }
    let now = run.created_at;
    let mut deeds = Vec::with_capacity(commands.len() + 1);
    deeds.push((author.clone(), now, Deed::created("run.start", &run)));
    for some in commands.chunks(COMMANDS_AT_ONCE) {
        let rows = some
            .iter()
            .map(|command| commands::Model::from(command).into_active_model().reset_all());
        commands::Entity::insert_many(rows).exec_without_returning(transaction).await?;
        for command in some {
            deeds.push((author.clone(), now, Deed::created("command.run", command)));
        }
    }
    trail.enter_all(transaction, deeds).await?;
    Ok(Begun::New)
}

/// The ids of the runs that go on.
pub(crate) fn open() -> SelectStatement {
    Query::select().column(Column::Id).from(Entity).and_where(Column::FinishedAt.is_null()).take()
}

/// Lets go of runs that ended before `before` and whose commands are all gone.
pub(crate) async fn forget(
    transaction: &DatabaseTransaction,
    before: Timestamp,
) -> Result<(), DatabaseError> {
    let has_commands = commands::Entity::find()
        .select_only()
        .expr(Expr::val(1))
        .filter(Expr::col((commands::Entity, commands::Column::RunId)).equals((Entity, Column::Id)))
        .into_query();
    Entity::delete_many()
        .filter(Column::FinishedAt.lt(micros(before)))
        .filter(Expr::exists(has_commands).not())
        .exec(transaction)
        .await?;
    let runs = Query::select().column(Column::Id).from(Entity).take();
    customer::Entity::delete_many()
        .filter(customer::Column::RunId.not_in_subquery(runs))
        .exec(transaction)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeaCommands;
    use crate::testing::{agents, on_each_database};
    use muster_commands::testing::{RunsSubject, runs_contract};

    on_each_database!(runs_keep_the_contract);

    async fn runs_keep_the_contract(database: Database) {
        let [agent, other_agent] = agents(&database).await;
        let ledger = SeaCommands::new(database.clone());
        let runs = SeaRuns::new(database);
        runs_contract(&RunsSubject { runs: &runs, ledger: &ledger, agent, other_agent }).await;
    }
}
