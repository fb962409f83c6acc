//! The audit log and its head.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, binary_len, integer, text, text_null, uuid, uuid_null,
};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let entries = Table::create()
            .table("audit_entries")
            .col(big_integer("seq").primary_key())
            .col(big_integer("at"))
            .col(text("actor_kind"))
            .col(uuid_null("actor_id"))
            .col(text_null("actor_name"))
            .col(text_null("address"))
            .col(text_null("request_id"))
            .col(text("action"))
            .col(text("resource_kind"))
            .col(uuid("resource_id"))
            .col(uuid_null("customer_id"))
            .col(text_null("before"))
            .col(text_null("after"))
            .col(binary_len("mac", 32))
            .take();
        manager.create_table(entries).await?;
        // Who did it and what happened to a thing: the two questions that are asked.
        for column in ["actor_id", "resource_id"] {
            let index = Index::create()
                .name(format!("audit_entries_{column}"))
                .table("audit_entries")
                .col(column)
                .col("seq")
                .take();
            manager.create_index(index).await?;
        }
        let head = Table::create()
            .table("audit_head")
            .col(integer("id").primary_key())
            .col(big_integer("first"))
            .col(binary_len("before_first", 32))
            .col(big_integer("last"))
            .col(binary_len("last_mac", 32))
            .col(binary_len("seal", 32))
            .take();
        manager.create_table(head).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("audit_head").take()).await?;
        manager.drop_table(Table::drop().table("audit_entries").take()).await
    }
}
