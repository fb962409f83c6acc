//! Which requests were made before, so that the same one again has the same answer.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, binary_len, text, uuid};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("idempotency_keys")
            .col(text("scope"))
            .col(text("key"))
            .col(binary_len("fingerprint", 32))
            .col(uuid("resource_id"))
            .col(big_integer("created_at"))
            .primary_key(Index::create().col("scope").col("key"))
            .take();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("idempotency_keys").take()).await
    }
}
