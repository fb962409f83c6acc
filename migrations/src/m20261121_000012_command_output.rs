//! What commands wrote, in pieces at their offsets.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, blob, small_integer, uuid};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("command_output")
            .col(uuid("command_id"))
            .col(small_integer("stream"))
            .col(big_integer("byte_offset"))
            .col(blob("data"))
            .primary_key(Index::create().col("command_id").col("stream").col("byte_offset"))
            .foreign_key(
                ForeignKey::create()
                    .from("command_output", "command_id")
                    .to("commands", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .take();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("command_output").take()).await
    }
}
