//! Tokens that let machines enrol.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, binary_len_uniq, text, uuid};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("enrollment_tokens")
            .col(uuid("id").primary_key())
            .col(uuid("customer_id"))
            .col(text("name"))
            .col(binary_len_uniq("token_hash", 32))
            .col(uuid("created_by"))
            .col(big_integer("created_at"))
            .col(big_integer_null("expires_at"))
            .col(big_integer_null("max_uses"))
            .col(big_integer("uses"))
            .col(text("tags"))
            .col(big_integer_null("revoked_at"))
            .foreign_key(
                ForeignKey::create().from("enrollment_tokens", "customer_id").to("customers", "id"),
            )
            .take();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("enrollment_tokens").take()).await
    }
}
