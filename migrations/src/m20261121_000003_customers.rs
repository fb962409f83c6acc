//! Tenants.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, text, text_null, uuid};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("customers")
            .col(uuid("id").primary_key())
            .col(text("name"))
            .col(text("canonical_name"))
            .col(text_null("address"))
            .col(text("plan"))
            .col(big_integer("created_at"))
            .col(big_integer("updated_at"))
            .col(big_integer_null("deleted_at"))
            .take();
        manager.create_table(table).await?;
        // A deleted customer's name is free again.
        let names = Index::create()
            .name("customers_by_name")
            .table("customers")
            .col("canonical_name")
            .unique()
            .and_where(Expr::col("deleted_at").is_null())
            .take();
        manager.create_index(names).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("customers").take()).await
    }
}
