//! Compressing old output.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_commands::OutputCompression;
use muster_kernel::{StorageError, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{DatabaseTransaction, QueryOrder, QuerySelect, Select};

use super::SeaCommands;
use super::encoding::{Encoding, deflate};
use super::entity::output::{Column, Entity, Model};
use super::first_id_at;
use crate::DatabaseError;

#[async_trait]
impl OutputCompression for SeaCommands {
    async fn compress(&self, before: Timestamp, limit: u64) -> Result<u64, StorageError> {
        let reading = |error| DatabaseError::new("reading old output", error);
        // Bytes that were written never change: they are read and deflated while others write.
        let pieces = untouched(before, limit).all(self.database.reader()).await.map_err(reading)?;
        let number = u64::try_from(pieces.len()).unwrap_or(u64::MAX);
        if number == 0 {
            return Ok(0);
        }
        let deflating = tokio::task::spawn_blocking(|| pieces.into_iter().map(encoded).collect());
        let pieces: Vec<_> = deflating.await.map_err(|error| {
            DatabaseError::new("compressing old output", DbErr::Custom(error.to_string()))
        })?;
        let write = self.database.write(move |transaction| {
            async move {
                for (piece, deflated) in pieces {
                    keep(transaction, &piece, deflated).await?;
                }
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        write.await?;
        Ok(number)
    }
}

/// Pieces of commands that were given before `before` and at which nobody has looked yet.
fn untouched(before: Timestamp, limit: u64) -> Select<Entity> {
    // A number within the statement, as the partial index has it: a bound one would not use it.
    let as_written = Expr::cust(Encoding::AsWritten.number().to_string());
    Entity::find()
        .filter(Expr::col(Column::Encoding).eq(as_written))
        .filter(Column::CommandId.lt(first_id_at(before)))
        .order_by_asc(Column::CommandId)
        .limit(limit)
}

/// Which piece it is, and its bytes deflated, where that is worth it.
fn encoded(piece: Model) -> ((Uuid, i16, i64), Option<Vec<u8>>) {
    let Model { command_id, stream, byte_offset, data, .. } = piece;
    ((command_id, stream, byte_offset), deflate(&data))
}

/// A piece that was let go of meanwhile is not missed.
async fn keep(
    transaction: &DatabaseTransaction,
    piece: &(Uuid, i16, i64),
    deflated: Option<Vec<u8>>,
) -> Result<(), DatabaseError> {
    let (command_id, stream, byte_offset) = *piece;
    let row = Entity::update_many()
        .filter(Column::CommandId.eq(command_id))
        .filter(Column::Stream.eq(stream))
        .filter(Column::ByteOffset.eq(byte_offset))
        .filter(Column::Encoding.eq(Encoding::AsWritten.number()));
    let row = match deflated {
        Some(data) => row
            .col_expr(Column::Encoding, Expr::value(Encoding::Deflated.number()))
            .col_expr(Column::Data, Expr::value(data)),
        None => row.col_expr(Column::Encoding, Expr::value(Encoding::Incompressible.number())),
    };
    row.exec(transaction).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::TimeDelta;
    use muster_commands::testing::{command_for, noon};
    use muster_commands::{Command, CommandArchive, CommandLedger, Entry, OutputStream};
    use muster_kernel::testing::SeededEntropy;
    use muster_kernel::{Author, Entropy};
    use muster_migrations::{Migrator, MigratorTrait};
    use sea_orm::{DatabaseBackend, QueryTrait, Statement};

    use super::*;
    use crate::Database;
    use crate::testing::{agents, on_each_database, on_sqlite};

    on_each_database!(
        text_takes_less_than_half_and_noise_is_looked_at_once,
        a_row_that_can_not_be_inflated_is_an_error_and_no_output,
        undoing_the_migration_gives_the_bytes_back,
    );

    const ALL: u64 = u64::MAX;

    fn log_lines(number: u32) -> Bytes {
        let line = |n| format!("2026-11-21T12:00:{:02}Z INFO unit[{n}]: done, 0 errors\n", n % 60);
        (0..number).map(line).collect::<String>().into()
    }

    fn noise(bytes: usize) -> Bytes {
        let mut noise = vec![0; bytes];
        SeededEntropy::new(1).fill(&mut noise);
        noise.into()
    }

    /// A command that has written these to its two streams.
    async fn command(ledger: &SeaCommands, stdout: &Bytes, stderr: &Bytes) -> Command {
        let (agent_id, customer_id) = agents(&ledger.database).await[0];
        let command = command_for(1, agent_id, customer_id);
        ledger.submit(command.clone(), None, Author::system()).await.unwrap();
        for (stream, bytes) in [(OutputStream::Stdout, stdout), (OutputStream::Stderr, stderr)] {
            let entry = Entry::Output { stream, offset: 0, bytes: bytes.clone() };
            ledger.record(agent_id, command.id, entry).await.unwrap();
        }
        command
    }

    async fn read(ledger: &SeaCommands, command: &Command, stream: OutputStream) -> Vec<u8> {
        let chunks = ledger.output(command.id, stream, 0, ALL).await.unwrap();
        chunks.iter().flat_map(|chunk| chunk.bytes.clone()).collect()
    }

    async fn number(database: &Database, sql: &str) -> i64 {
        let statement = Statement::from_string(database.reader().get_database_backend(), sql);
        let row = database.reader().query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    fn later() -> Timestamp {
        noon() + TimeDelta::hours(1)
    }

    async fn text_takes_less_than_half_and_noise_is_looked_at_once(database: Database) {
        let ledger = SeaCommands::new(database.clone());
        let (text, noise) = (log_lines(4000), noise(10_000));
        let command = command(&ledger, &text, &noise).await;
        assert!(ledger.compress(later(), ALL >> 1).await.unwrap() >= 2);
        assert_eq!(ledger.compress(later(), ALL >> 1).await.unwrap(), 0);
        let of = |stream| {
            format!("SELECT sum(length(data)) FROM command_output WHERE stream = {stream}")
        };
        let kept = number(&database, &of(1)).await;
        assert!(usize::try_from(kept).unwrap() * 2 < text.len(), "{kept} of {}", text.len());
        assert_eq!(number(&database, &of(2)).await, 10_000);
        assert!(read(&ledger, &command, OutputStream::Stdout).await == text);
        assert!(read(&ledger, &command, OutputStream::Stderr).await == noise);
    }

    async fn a_row_that_can_not_be_inflated_is_an_error_and_no_output(database: Database) {
        let ledger = SeaCommands::new(database.clone());
        let command = command(&ledger, &log_lines(100), &Bytes::new()).await;
        ledger.compress(later(), 10).await.unwrap();
        let damage = Entity::update_many().col_expr(Column::Data, Expr::value(vec![0_u8]));
        damage.exec(database.schema_connection()).await.unwrap();
        assert!(ledger.output(command.id, OutputStream::Stdout, 0, ALL).await.is_err());
    }

    #[tokio::test]
    async fn where_there_is_nothing_to_do_nothing_is_looked_at() {
        let database = on_sqlite().await;
        let query = untouched(later(), 100).build(DatabaseBackend::Sqlite);
        let explain = Statement { sql: format!("EXPLAIN QUERY PLAN {}", query.sql), ..query };
        let plan = database.reader().query_all_raw(explain).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|it| it.try_get("", "detail").unwrap()).collect();
        let index = "SEARCH command_output USING INDEX command_output_as_written (command_id<?)";
        assert_eq!(plan, [index]);
    }

    async fn undoing_the_migration_gives_the_bytes_back(database: Database) {
        let ledger = SeaCommands::new(database.clone());
        let text = log_lines(4000);
        command(&ledger, &text, &Bytes::new()).await;
        ledger.compress(later(), 1000).await.unwrap();
        let all = Migrator::migrations();
        let kept = all.iter().position(|step| step.name().ends_with("output_encoding")).unwrap();
        let steps = u32::try_from(all.len() - kept).unwrap();
        database.undo_migrations(steps).await.unwrap();
        let whole = "SELECT sum(length(data)) FROM command_output";
        assert_eq!(number(&database, whole).await, i64::try_from(text.len()).unwrap());
        database.migrate().await.unwrap();
    }
}
