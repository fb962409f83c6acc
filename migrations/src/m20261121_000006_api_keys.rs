//! Customers' keys.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary_len_uniq, boolean, text, uuid,
};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("api_keys")
            .col(uuid("id").primary_key())
            .col(uuid("customer_id"))
            .col(text("name"))
            .col(binary_len_uniq("key_hash", 32))
            .col(text("hint"))
            .col(text("scopes"))
            .col(text("allowed_addresses"))
            .col(boolean("is_default"))
            .col(uuid("created_by"))
            .col(big_integer("created_at"))
            .col(big_integer_null("expires_at"))
            .col(big_integer_null("last_used_at"))
            .col(big_integer_null("revoked_at"))
            .foreign_key(ForeignKey::create().from("api_keys", "customer_id").to("customers", "id"))
            .take();
        manager.create_table(table).await?;
        let of_customer =
            Index::create().name("api_keys_customer").table("api_keys").col("customer_id").take();
        manager.create_index(of_customer).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("api_keys").take()).await
    }
}
