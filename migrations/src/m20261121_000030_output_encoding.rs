//! How each piece of output is kept, so that old ones can be kept deflated.

use std::io::Read;

use flate2::read::ZlibDecoder;
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::small_integer;
use sea_orm_migration::sea_orm::prelude::Uuid;

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

const TABLE: &str = "command_output";
const INDEX: &str = "command_output_as_written";
/// How many pieces are inflated at a time.
const PIECES_AT_ONCE: u64 = 100;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = small_integer("encoding").default(0).take();
        manager.alter_table(Table::alter().table(TABLE).add_column(column).take()).await?;
        // What is kept as it was written is what has yet to be looked at.
        let index = Index::create()
            .name(INDEX)
            .table(TABLE)
            .col("command_id")
            .and_where(Expr::col("encoding").eq(0))
            .take();
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        while inflate_some(manager).await? {}
        manager.drop_index(Index::drop().name(INDEX).table(TABLE).to_owned()).await?;
        manager.alter_table(Table::alter().table(TABLE).drop_column("encoding").take()).await
    }
}

/// Puts some pieces back as they were written: without the column nobody would know that they are
/// deflated. Says whether there were any.
async fn inflate_some(manager: &SchemaManager<'_>) -> Result<bool, DbErr> {
    let connection = manager.get_connection();
    let backend = manager.get_database_backend();
    let deflated = Query::select()
        .columns(["command_id", "stream", "byte_offset", "data"])
        .from(TABLE)
        .and_where(Expr::col("encoding").eq(1))
        .limit(PIECES_AT_ONCE)
        .take();
    let rows = connection.query_all_raw(backend.build(&deflated)).await?;
    for row in &rows {
        let data: Vec<u8> = row.try_get("", "data")?;
        let mut plain = Vec::new();
        ZlibDecoder::new(&*data)
            .read_to_end(&mut plain)
            .map_err(|error| DbErr::Custom(format!("command_output.data: {error}")))?;
        let id: Uuid = row.try_get("", "command_id")?;
        let (stream, offset): (i16, i64) =
            (row.try_get("", "stream")?, row.try_get("", "byte_offset")?);
        let back = Query::update()
            .table(TABLE)
            .value("data", plain)
            .value("encoding", 0)
            .and_where(Expr::col("command_id").eq(id))
            .and_where(Expr::col("stream").eq(stream))
            .and_where(Expr::col("byte_offset").eq(offset))
            .take();
        connection.execute_raw(backend.build(&back)).await?;
    }
    Ok(!rows.is_empty())
}
