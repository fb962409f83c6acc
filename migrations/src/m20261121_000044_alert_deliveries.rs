//! Messages on their way, and what came of the attempts.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, text, uuid, uuid_null};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("alert_deliveries")
            .col(uuid("id").primary_key())
            .col(uuid("channel_id"))
            .col(uuid_null("alert_id"))
            .col(text("message"))
            .col(text("state"))
            .col(big_integer("due_at"))
            .col(big_integer("created_at"))
            .col(text("attempts"))
            .take();
        manager.create_table(table).await?;
        let pending = Index::create()
            .name("alert_deliveries_pending")
            .table("alert_deliveries")
            .col("channel_id")
            .col("due_at")
            .col("id")
            .and_where(Expr::col("state").eq("pending"))
            .take();
        manager.create_index(pending).await?;
        for (name, column) in [
            ("alert_deliveries_by_channel", "channel_id"),
            ("alert_deliveries_by_alert", "alert_id"),
        ] {
            let index =
                Index::create().name(name).table("alert_deliveries").col(column).col("id").take();
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("alert_deliveries").take()).await
    }
}
