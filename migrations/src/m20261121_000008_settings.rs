//! Settings, and the keys that the secret ones are sealed with.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, blob, blob_null, text, text_null, uuid};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let keys = Table::create()
            .table("data_keys")
            .col(uuid("id").primary_key())
            .col(blob("wrapped"))
            .col(big_integer("created_at"))
            .take();
        manager.create_table(keys).await?;
        let settings = Table::create()
            .table("settings")
            .col(text("key").primary_key())
            .col(text_null("value"))
            .col(blob_null("sealed"))
            .col(big_integer("updated_at"))
            .take();
        manager.create_table(settings).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("settings").take()).await?;
        manager.drop_table(Table::drop().table("data_keys").take()).await
    }
}
