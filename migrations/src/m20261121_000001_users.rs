//! People who sign in.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, text, text_null, text_uniq, uuid};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("users")
            .col(uuid("id").primary_key())
            .col(text_uniq("username"))
            .col(text_null("email").unique_key())
            .col(text_null("full_name"))
            .col(text("role"))
            .col(text("status"))
            .col(text("customer_ids"))
            .col(text_null("password_hash"))
            .col(big_integer("created_at"))
            .take();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("users").take()).await
    }
}
