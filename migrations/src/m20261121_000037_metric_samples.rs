//! What machines say of their load: some samples of one machine a row.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, blob, uuid};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // No foreign key: what a machine said before it was removed is let go of in time, and no
        // removal waits for it.
        let table = Table::create()
            .table("metric_samples")
            .col(uuid("agent_id"))
            .col(big_integer("first_at"))
            .col(big_integer("last_at"))
            .col(blob("data"))
            .primary_key(Index::create().col("agent_id").col("first_at"))
            .take();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("metric_samples").take()).await
    }
}
