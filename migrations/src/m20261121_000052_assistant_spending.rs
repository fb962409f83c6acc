//! What was asked of language models on whose account in a day.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, text, uuid};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

const SPENDING: &str = "assistant_spending";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut key = Index::create().col("payer_id").col("day").col("payer_kind").take();
        let table = Table::create()
            .table(SPENDING)
            .col(uuid("payer_id"))
            .col(text("payer_kind"))
            // Days since 1970.
            .col(big_integer("day"))
            .col(big_integer("requests"))
            .col(big_integer("tokens"))
            .primary_key(&mut key)
            .take();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(SPENDING).take()).await
    }
}
