//! Signed-in devices, and every refresh token that a session ever had.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, binary_len, text_null, uuid};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sessions = Table::create()
            .table("sessions")
            .col(uuid("id").primary_key())
            .col(uuid("user_id"))
            .col(big_integer("created_at"))
            .col(big_integer("renewed_at"))
            .col(big_integer("expires_at"))
            .col(big_integer_null("ended_at"))
            .col(big_integer("confirmed_at"))
            .col(text_null("address"))
            .col(text_null("user_agent"))
            .col(binary_len("refresh_token_hash", 32))
            .foreign_key(
                ForeignKey::create()
                    .from("sessions", "user_id")
                    .to("users", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .take();
        manager.create_table(sessions).await?;
        let of_user = Index::create().name("sessions_user").table("sessions").col("user_id").take();
        manager.create_index(of_user).await?;
        // A used token has to be known for what it is: its second use ends the session.
        let tokens = Table::create()
            .table("refresh_tokens")
            .col(binary_len("token_hash", 32).primary_key())
            .col(uuid("session_id"))
            .foreign_key(
                ForeignKey::create()
                    .from("refresh_tokens", "session_id")
                    .to("sessions", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .take();
        manager.create_table(tokens).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("refresh_tokens").take()).await?;
        manager.drop_table(Table::drop().table("sessions").take()).await
    }
}
