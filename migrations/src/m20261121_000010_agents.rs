//! Managed machines.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, binary_len, text, text_null, uuid};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("agents")
            .col(uuid("id").primary_key())
            .col(uuid("customer_id"))
            .col(text("hostname"))
            .col(text_null("ip_address"))
            .col(text("os_type"))
            .col(text_null("os"))
            .col(text_null("version"))
            .col(text("capabilities"))
            .col(text("tags"))
            .col(text_null("notes"))
            .col(text_null("machine_id"))
            .col(text_null("system_info"))
            // Null once the agent is deleted: its token then opens nothing.
            .col(binary_len("token_hash", 32).null().take())
            .col(big_integer_null("last_seen"))
            .col(big_integer("created_at"))
            .col(big_integer("updated_at"))
            .col(big_integer_null("deleted_at"))
            .foreign_key(
                ForeignKey::create()
                    .from("agents", "customer_id")
                    .to("customers", "id")
                    .on_delete(ForeignKeyAction::Restrict),
            )
            .take();
        manager.create_table(table).await?;
        let by_token = Index::create()
            .name("agents_by_token_hash")
            .table("agents")
            .col("token_hash")
            .unique()
            .take();
        manager.create_index(by_token).await?;
        let by_machine = Index::create()
            .name("agents_by_machine_id")
            .table("agents")
            .col("customer_id")
            .col("machine_id")
            .take();
        manager.create_index(by_machine).await?;
        let by_hostname = Index::create()
            .name("agents_by_hostname")
            .table("agents")
            .col("customer_id")
            .col("hostname")
            .take();
        manager.create_index(by_hostname).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("agents").take()).await
    }
}
