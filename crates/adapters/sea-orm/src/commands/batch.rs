//! One commit's worth of submissions and entries.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use muster_commands::{
    Append, Command, Effect, Entry, Event, Once, OutputStream, Recorded, Status, Submitted,
};
use muster_kernel::{Audited, Author, CommandId, Deed, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseTransaction, IntoActiveModel};

use super::encoding::Encoding;
use super::entity::{Column, Entity, Model, output, stream_number};
use super::ledger::Work;
use crate::DatabaseError;
use crate::audit::Trail;
use crate::columns::{count, micros};
use crate::idempotency::{Remembered, remember};

/// How large a row of output gets.
const MAX_CHUNK: usize = 64 * 1024;

/// What was written, in the order of the work.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) submitted: Vec<Submitted>,
    pub(super) recorded: Vec<Option<Recorded>>,
    /// What commands became.
    pub(super) became: Vec<Status>,
}

/// Writes all of `work` or nothing.
pub(super) async fn write(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    work: Work,
) -> Result<Written, DatabaseError> {
    let mut written = Written::default();
    let mut deeds = Vec::new();
    for (command, once, author) in work.submissions {
        let submitted = submit(transaction, command, once).await?;
        if let Submitted::New(command) = &submitted {
            let deed = Deed::created("command.run", &**command);
            deeds.push((author, command.created_at, deed));
            written.became.push(command.status());
        }
        written.submitted.push(submitted);
    }
    let mut commands = load(transaction, work.entries.iter().map(|entry| entry.1)).await?;
    let mut appended = Appended { deeds, ..Appended::default() };
    for (agent_id, id, entry) in work.entries {
        let held = commands.get_mut(&id).filter(|held| held.command.agent_id == agent_id);
        let before = held.as_ref().map(|held| held.command.status());
        let recorded = held.map(|held| held.take_in(entry, &mut appended));
        let after = recorded.as_ref().map(|recorded| recorded.command.status());
        written.became.extend(after.filter(|_| after != before));
        written.recorded.push(recorded);
    }
    for held in commands.into_values().filter(|held| held.changed) {
        update(transaction, &held.command).await?;
    }
    appended.write(transaction, trail).await?;
    Ok(written)
}

async fn submit(
    transaction: &DatabaseTransaction,
    command: Command,
    once: Option<Once>,
) -> Result<Submitted, DatabaseError> {
    if let Some(once) = once {
        let (id, now) = (command.id.as_uuid(), micros(command.created_at));
        let known = remember(transaction, &once.scope, &once.key, &once.fingerprint, id, now);
        match known.await? {
            Remembered::New => {}
            Remembered::Conflict => return Ok(Submitted::Conflict),
            Remembered::Same(id) => {
                let row = Entity::find_by_id(id).one(transaction).await?;
                // The key may have made something else: what waits for a second person.
                let Some(row) = row else { return Ok(Submitted::Conflict) };
                return Ok(Submitted::Known(Arc::new(Command::try_from(row)?)));
            }
        }
    }
    let row = Model::from(&command).into_active_model().reset_all();
    Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(Submitted::New(Arc::new(command)))
}

/// A command while entries are applied to it.
struct Held {
    command: Command,
    changed: bool,
}

impl Held {
    fn take_in(&mut self, entry: Entry, appended: &mut Appended) -> Recorded {
        let effect = match entry {
            Entry::Event(event) => {
                if self.command.apply(&event) {
                    Effect::Changed
                } else {
                    Effect::Unchanged
                }
            }
            Entry::Cancel { author, at } => {
                if self.command.apply(&Event::CancelRequested { at }) {
                    let deed = Deed::done("command.cancel", Audited::place(&self.command), None);
                    appended.deeds.push((author, at, deed));
                    Effect::Changed
                } else {
                    Effect::Unchanged
                }
            }
            Entry::Output { stream, offset, bytes } => {
                match self.command.place(stream, offset, bytes.len()) {
                    Append::Gap => Effect::Gap,
                    Append::Known => Effect::Unchanged,
                    Append::From { skip } => {
                        let offset = self.command.output.of(stream);
                        let bytes = bytes.slice(skip..);
                        self.command.keep(stream, bytes.len());
                        appended.push(self.command.id, stream, offset, &bytes);
                        Effect::Kept { offset, bytes }
                    }
                }
            }
        };
        self.changed |= !matches!(effect, Effect::Unchanged | Effect::Gap);
        Recorded { command: Arc::new(self.command.clone()), effect }
    }
}

async fn load(
    transaction: &DatabaseTransaction,
    ids: impl Iterator<Item = CommandId>,
) -> Result<HashMap<CommandId, Held>, DatabaseError> {
    let mut ids: Vec<Uuid> = ids.map(CommandId::as_uuid).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut commands = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(500) {
        let rows = Entity::find().filter(Column::Id.is_in(ids.iter().copied())).all(transaction);
        for row in rows.await? {
            let command = Command::try_from(row)?;
            commands.insert(command.id, Held { command, changed: false });
        }
    }
    Ok(commands)
}

/// Writes the columns in which a command can have changed.
async fn update(transaction: &DatabaseTransaction, command: &Command) -> Result<(), DatabaseError> {
    let row = Model::from(command);
    let updated = Entity::update_many()
        .col_expr(Column::Status, Expr::value(row.status))
        .col_expr(Column::DispatchedAt, Expr::value(row.dispatched_at))
        .col_expr(Column::CancelRequestedAt, Expr::value(row.cancel_requested_at))
        .col_expr(Column::AcceptedAt, Expr::value(row.accepted_at))
        .col_expr(Column::StartedAt, Expr::value(row.started_at))
        .col_expr(Column::Pid, Expr::value(row.pid))
        .col_expr(Column::FinishedAt, Expr::value(row.finished_at))
        .col_expr(Column::ExitCode, Expr::value(row.exit_code))
        .col_expr(Column::ExecutionTimeMicros, Expr::value(row.execution_time_micros))
        .col_expr(Column::FailureCode, Expr::value(row.failure_code))
        .col_expr(Column::FailureDetail, Expr::value(row.failure_detail))
        .col_expr(Column::StdoutBytes, Expr::value(row.stdout_bytes))
        .col_expr(Column::StderrBytes, Expr::value(row.stderr_bytes))
        .col_expr(Column::StdoutWritten, Expr::value(row.stdout_written))
        .col_expr(Column::StderrWritten, Expr::value(row.stderr_written))
        .col_expr(Column::Held, Expr::value(row.held))
        .col_expr(Column::Secrets, Expr::value(row.secrets))
        .filter(Column::Id.eq(row.id))
        .exec(transaction)
        .await?;
    if updated.rows_affected == 1 { Ok(()) } else { Err(DatabaseError::bad_row("commands.id")) }
}

/// What is to be kept beside the commands: their bytes, of which what follows on one another
/// becomes one row, and what people did, for the audit log.
#[derive(Default)]
struct Appended {
    rows: Vec<Piece>,
    last: HashMap<(CommandId, OutputStream), usize>,
    deeds: Vec<(Author, Timestamp, Deed)>,
}

struct Piece {
    command_id: CommandId,
    stream: OutputStream,
    offset: u64,
    bytes: BytesMut,
}

impl Appended {
    fn push(&mut self, command_id: CommandId, stream: OutputStream, offset: u64, bytes: &Bytes) {
        let last = self.last.get(&(command_id, stream)).and_then(|index| self.rows.get_mut(*index));
        match last {
            Some(piece) if piece.bytes.len() + bytes.len() <= MAX_CHUNK => {
                piece.bytes.extend_from_slice(bytes);
            }
            Some(_) | None => {
                self.last.insert((command_id, stream), self.rows.len());
                let bytes = BytesMut::from(bytes.as_ref());
                self.rows.push(Piece { command_id, stream, offset, bytes });
            }
        }
    }

    async fn write(
        self,
        transaction: &DatabaseTransaction,
        trail: &Trail,
    ) -> Result<(), DatabaseError> {
        trail.enter_all(transaction, self.deeds).await?;
        for Piece { command_id, stream, offset, bytes } in self.rows {
            let row = output::Model {
                command_id: command_id.as_uuid(),
                stream: stream_number(stream),
                byte_offset: count(offset),
                encoding: Encoding::AsWritten.number(),
                data: bytes.into(),
            };
            let row = row.into_active_model().reset_all();
            output::Entity::insert(row).exec_without_returning(transaction).await?;
        }
        Ok(())
    }
}
