//! What is watched for, when alerts are silent, and the ways to tell people.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary_null, boolean, integer, text, uuid, uuid_null,
};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let rules = Table::create()
            .table("alert_rules")
            .col(uuid("id").primary_key())
            .col(uuid_null("customer_id"))
            .col(text("name"))
            .col(text("severity"))
            .col(text("condition"))
            .col(text("selector"))
            .col(text("channel_ids"))
            .col(boolean("enabled"))
            .col(integer("version"))
            .col(big_integer("created_at"))
            .col(big_integer("updated_at"))
            .take();
        manager.create_table(rules).await?;
        let windows = Table::create()
            .table("maintenance_windows")
            .col(uuid("id").primary_key())
            .col(uuid_null("customer_id"))
            .col(text("name"))
            .col(text("selector"))
            .col(text("span"))
            .col(big_integer_null("ends_at"))
            .col(big_integer("created_at"))
            .take();
        manager.create_table(windows).await?;
        let channels = Table::create()
            .table("alert_channels")
            .col(uuid("id").primary_key())
            .col(uuid_null("customer_id"))
            .col(text("name"))
            .col(text("leads_to"))
            .col(binary_null("secrets"))
            .col(boolean("enabled"))
            .col(integer("version"))
            .col(big_integer("created_at"))
            .col(big_integer("updated_at"))
            .take();
        manager.create_table(channels).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["alert_channels", "maintenance_windows", "alert_rules"] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}
