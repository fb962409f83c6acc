//! Agents of older products, and what customers allow them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{binary_len, text, text_null};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let none = |column| text(column).default("[]").take();
        for (table, column) in [
            ("customers", none("allowed_dialects")),
            ("customers", none("legacy_networks")),
            ("agents", text_null("dialect").take()),
            // The enrollment token that let the agent in, by which an older product's agent goes on
            // being recognised.
            ("agents", binary_len("admitted_by", 32).null().take()),
        ] {
            manager.alter_table(Table::alter().table(table).add_column(column).take()).await?;
        }
        let by_token = Index::create()
            .name("agents_by_admitted_by")
            .table("agents")
            .col("admitted_by")
            .col("machine_id")
            .and_where(Expr::col("admitted_by").is_not_null())
            .take();
        manager.create_index(by_token).await?;
        // Each machine that enrols asks whether an older product's agent was there before.
        let older = Index::create()
            .name("agents_older")
            .table("agents")
            .col("customer_id")
            .col("hostname")
            .and_where(Expr::col("dialect").is_not_null())
            .take();
        manager.create_index(older).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let by_token = Index::drop().name("agents_by_admitted_by").table("agents").to_owned();
        manager.drop_index(by_token).await?;
        let older = Index::drop().name("agents_older").table("agents").to_owned();
        manager.drop_index(older).await?;
        for (table, column) in [
            ("agents", "admitted_by"),
            ("agents", "dialect"),
            ("customers", "legacy_networks"),
            ("customers", "allowed_dialects"),
        ] {
            manager.alter_table(Table::alter().table(table).drop_column(column).take()).await?;
        }
        Ok(())
    }
}
