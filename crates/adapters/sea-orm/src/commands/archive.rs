//! Questions about commands.

use std::collections::BTreeMap;

use async_trait::async_trait;
use muster_commands::{
    Command, CommandArchive, CommandFilter, Due, OutputChunk, OutputStream, RESULT_PATIENCE,
    Status, Waiting,
};
use muster_kernel::{AgentId, CommandId, Page, PageRequest, StorageError, TenantScope, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr, Query};
use sea_orm::{Condition, QueryOrder, QuerySelect};

use super::SeaCommands;
use super::encoding::Encoding;
use super::entity::{Column, Entity, Model, output, stream_number};
use crate::DatabaseError;
use crate::agents::entity as agents;
use crate::columns::{contains, count, from_count, micros, scoped};
use crate::pages;

/// How many pieces of output one look into the table brings.
const CHUNKS_AT_ONCE: u64 = 32;

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading commands", error).into()
}

fn domain(rows: Vec<Model>) -> Result<Vec<Command>, StorageError> {
    Ok(rows.into_iter().map(Command::try_from).collect::<Result<_, DatabaseError>>()?)
}

fn open() -> Condition {
    Condition::all().add(Column::FinishedAt.is_null())
}

fn filtered(scope: &TenantScope, filter: &CommandFilter) -> Condition {
    scoped(Column::CustomerId, scope)
        .add_option(filter.agent_id.map(|id| Column::AgentId.eq(id.as_uuid())))
        .add_option(filter.customer_id.map(|id| Column::CustomerId.eq(id.as_uuid())))
        .add_option(filter.run_id.map(|id| Column::RunId.eq(id.as_uuid())))
        .add_option(filter.rollout_id.map(|id| Column::RolloutId.eq(id.as_uuid())))
        .add_option(filter.status.map(|status| Column::Status.eq(status.as_str())))
        .add_option(filter.requested_by.map(|id| Column::RequestedBy.eq(id)))
        .add_option(filter.safety_level.map(|it| Column::SafetyLevel.eq(it.as_str())))
        .add_option(filter.from.map(|from| Column::CreatedAt.gte(micros(from))))
        .add_option(filter.to.map(|to| Column::CreatedAt.lt(micros(to))))
        // What has not ended is few, and has an index of its own.
        .add_option(filter.status.filter(|status| !status.is_end()).map(|_| open()))
        .add_option(filter.q.as_ref().map(|q| {
            Expr::expr(Func::lower(Expr::col((Entity, Column::Command))))
                .like(LikeExpr::new(contains(&q.to_lowercase())).escape('\\'))
        }))
}

#[async_trait]
impl CommandArchive for SeaCommands {
    async fn find(
        &self,
        scope: &TenantScope,
        id: CommandId,
    ) -> Result<Option<Command>, StorageError> {
        let row = Entity::find()
            .filter(scoped(Column::CustomerId, scope).add(Column::Id.eq(id.as_uuid())))
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(row.map(Command::try_from).transpose()?)
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &CommandFilter,
        page: &PageRequest,
    ) -> Result<Page<Command>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(filtered(scope, filter));
        let page = pages::newest_first(reader, matching, Column::Id, page, |row| row.id).await;
        Ok(page.map_err(reading)?.try_map(Command::try_from)?)
    }

    async fn output(
        &self,
        id: CommandId,
        stream: OutputStream,
        from: u64,
        enough: u64,
    ) -> Result<Vec<OutputChunk>, StorageError> {
        use output::{Column, Entity};
        let of_stream = Entity::find()
            .filter(Column::CommandId.eq(id.as_uuid()))
            .filter(Column::Stream.eq(stream_number(stream)));
        let mut next = 0;
        if from > 0 {
            // The first piece may begin before `from`.
            let first: Option<i64> = of_stream
                .clone()
                .select_only()
                .column(Column::ByteOffset)
                .filter(Column::ByteOffset.lte(count(from)))
                .order_by_desc(Column::ByteOffset)
                .limit(1)
                .into_tuple()
                .one(self.database.reader())
                .await
                .map_err(reading)?;
            let Some(first) = first else { return Ok(Vec::new()) };
            next = first;
        }
        let mut chunks = Vec::new();
        let mut together = 0;
        loop {
            let rows = of_stream
                .clone()
                .filter(Column::ByteOffset.gte(next))
                .order_by_asc(Column::ByteOffset)
                .limit(CHUNKS_AT_ONCE)
                .all(self.database.reader())
                .await
                .map_err(reading)?;
            let whole_page = u64::try_from(rows.len()).is_ok_and(|rows| rows == CHUNKS_AT_ONCE);
            let last = rows.last().map(|row| row.byte_offset).filter(|_| whole_page);
            for row in rows {
                if together >= enough {
                    return Ok(chunks);
                }
                if let Some(chunk) = chunk(row, from)? {
                    together += u64::try_from(chunk.bytes.len()).unwrap_or(u64::MAX);
                    chunks.push(chunk);
                }
            }
            match last {
                Some(last) => next = last.saturating_add(1),
                None => return Ok(chunks),
            }
        }
    }

    async fn in_flight(
        &self,
        agent_id: AgentId,
        journal: &[CommandId],
    ) -> Result<BTreeMap<CommandId, Command>, StorageError> {
        let dispatched = open().add(Column::DispatchedAt.is_not_null());
        // Most journals are empty: asking for nothing would cost each connection a question.
        let journalled = (!journal.is_empty())
            .then(|| Condition::all().add(Column::Id.is_in(journal.iter().map(|id| id.as_uuid()))));
        let mut commands = BTreeMap::new();
        for wanted in [Some(dispatched), journalled].into_iter().flatten() {
            let rows = Entity::find()
                .filter(Column::AgentId.eq(agent_id.as_uuid()))
                .filter(wanted)
                .all(self.database.reader())
                .await
                .map_err(reading)?;
            commands.extend(domain(rows)?.into_iter().map(|command| (command.id, command)));
        }
        Ok(commands)
    }

    async fn backlog(&self, agent_id: AgentId, limit: usize) -> Result<Vec<Command>, StorageError> {
        let rows = Entity::find()
            .filter(Column::AgentId.eq(agent_id.as_uuid()))
            .filter(open().add(Column::DispatchedAt.is_null()).add(Column::Held.eq(false)))
            .order_by_asc(Column::Id)
            .limit(u64::try_from(limit).unwrap_or(u64::MAX))
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        domain(rows)
    }

    async fn waiting(&self, agents: &[AgentId]) -> Result<Vec<Waiting>, StorageError> {
        let nobody_had =
            Condition::all().add(Column::DispatchedAt.is_null()).add(Column::Held.eq(false));
        let to_be_ended = Condition::all()
            .add(Column::DispatchedAt.is_not_null())
            .add(Column::CancelRequestedAt.is_not_null());
        let of_these = open().add(Column::AgentId.is_in(agents.iter().map(|id| id.as_uuid())));
        let new: Vec<Uuid> = Entity::find()
            .select_only()
            .column(Column::AgentId)
            .distinct()
            .filter(of_these.clone().add(nobody_had))
            .into_tuple()
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        let cancelled: Vec<(Uuid, Uuid)> = Entity::find()
            .select_only()
            .columns([Column::AgentId, Column::Id])
            .filter(of_these.add(to_be_ended))
            .into_tuple()
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        let new = new.into_iter().map(|agent| Waiting::Backlog(AgentId::from_uuid(agent)));
        let cancelled = cancelled.into_iter().map(|(agent, id)| {
            Waiting::Cancel(AgentId::from_uuid(agent), CommandId::from_uuid(id))
        });
        Ok(new.chain(cancelled).collect())
    }

    async fn unaccepted(
        &self,
        agents: &[AgentId],
        before: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Command>, StorageError> {
        let of_these = open().add(Column::AgentId.is_in(agents.iter().map(|id| id.as_uuid())));
        let on_its_way = Condition::all()
            .add(Column::Status.eq(Status::Pending.as_str()))
            .add(Column::DispatchedAt.lt(micros(before)))
            .add(Column::AcceptedAt.is_null())
            .add(Column::CancelRequestedAt.is_null())
            .add(Column::ExpiresAt.gt(micros(now)));
        let rows = Entity::find()
            .filter(of_these.add(on_its_way))
            .order_by_asc(Column::Id)
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        domain(rows)
    }

    async fn due(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(AgentId, CommandId, Due)>, StorageError> {
        let late = Condition::all()
            .add(Column::Status.eq(Status::Pending.as_str()))
            .add(Column::AcceptedAt.is_null())
            .add(Column::ExpiresAt.lte(micros(now)));
        let removed = Query::select()
            .column(agents::Column::Id)
            .from(agents::Entity)
            .and_where(agents::Column::DeletedAt.is_not_null())
            .take();
        let orphaned = Condition::all().add(Column::AgentId.in_subquery(removed));
        let mut due = Vec::new();
        for (condition, reason) in [(orphaned, Due::AgentRemoved), (late, Due::Expired)] {
            let room = u64::try_from(limit.saturating_sub(due.len())).unwrap_or(u64::MAX);
            let rows: Vec<(Uuid, Uuid)> = Entity::find()
                .select_only()
                .column(Column::AgentId)
                .column(Column::Id)
                .filter(open().add(condition))
                .limit(room)
                .into_tuple()
                .all(self.database.reader())
                .await
                .map_err(reading)?;
            due.extend(
                rows.into_iter().map(|(agent, id)| {
                    (AgentId::from_uuid(agent), CommandId::from_uuid(id), reason)
                }),
            );
        }
        due.extend(self.unheard(now, limit.saturating_sub(due.len())).await?);
        Ok(due)
    }
}

impl SeaCommands {
    /// What agents of older products have and have said nothing of for too long.
    async fn unheard(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(AgentId, CommandId, Due)>, StorageError> {
        let older = Query::select()
            .column(agents::Column::Id)
            .from(agents::Entity)
            .and_where(agents::Column::Dialect.is_not_null())
            .take();
        let rows = Entity::find()
            .filter(open())
            .filter(Column::Status.eq(Status::Running.as_str()))
            .filter(Column::StartedAt.lt(micros(now - RESULT_PATIENCE)))
            .filter(Column::AgentId.in_subquery(older))
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        let over = |command: &Command| command.given_up_at().is_some_and(|at| at < now);
        let unheard = domain(rows)?.into_iter().filter(over).take(limit);
        Ok(unheard.map(|command| (command.agent_id, command.id, Due::Unheard)).collect())
    }
}

/// The part of a piece that stands at or behind `from`.
fn chunk(row: output::Model, from: u64) -> Result<Option<OutputChunk>, StorageError> {
    let offset = from_count(row.byte_offset, "command_output.byte_offset")?;
    let bytes = bytes::Bytes::from(Encoding::read(row.encoding, row.data)?);
    let skip = usize::try_from(from.saturating_sub(offset)).unwrap_or(usize::MAX);
    if skip >= bytes.len() {
        return Ok(None);
    }
    Ok(Some(OutputChunk { offset: Ord::max(offset, from), bytes: bytes.slice(skip..) }))
}
