//! Under which key everything was written, and an index that letting go of sessions needs.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{binary_len, integer};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("installation")
            .col(integer("id").primary_key())
            .col(binary_len("key_check", 32))
            .take();
        manager.create_table(table).await?;
        // Else each session that goes would cost a look at every token there is.
        let tokens = Index::create()
            .name("refresh_tokens_by_session")
            .table("refresh_tokens")
            .col("session_id")
            .take();
        manager.create_index(tokens).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut tokens = Index::drop();
        tokens.name("refresh_tokens_by_session").table("refresh_tokens");
        manager.drop_index(tokens).await?;
        manager.drop_table(Table::drop().table("installation").take()).await
    }
}
