//! What the samples of machines come to: buckets of one machine and step, some a row.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, blob, integer, uuid};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("metric_rollups")
            .col(uuid("agent_id"))
            .col(integer("step_seconds"))
            .col(big_integer("first_at"))
            .col(blob("data"))
            .primary_key(Index::create().col("agent_id").col("step_seconds").col("first_at"))
            .take();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("metric_rollups").take()).await
    }
}
