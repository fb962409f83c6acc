//! Second factors, and accounts at identity providers.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, blob, text, uuid};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let factors = Table::create()
            .table("second_factors")
            .col(uuid("user_id").primary_key())
            .col(blob("secret"))
            .col(big_integer_null("confirmed_at"))
            .col(big_integer("last_step"))
            .col(text("recovery_codes"))
            .foreign_key(
                ForeignKey::create()
                    .from("second_factors", "user_id")
                    .to("users", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .take();
        manager.create_table(factors).await?;
        let sign_ons = Table::create()
            .table("sign_ons")
            .col(text("issuer"))
            .col(text("subject"))
            .col(uuid("user_id"))
            .col(big_integer("created_at"))
            .primary_key(Index::create().col("issuer").col("subject"))
            .foreign_key(
                ForeignKey::create()
                    .from("sign_ons", "user_id")
                    .to("users", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .take();
        manager.create_table(sign_ons).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("sign_ons").take()).await?;
        manager.drop_table(Table::drop().table("second_factors").take()).await
    }
}
