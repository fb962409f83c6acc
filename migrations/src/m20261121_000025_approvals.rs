//! Approvals: one row a dangerous request that a second person decides about, and whose machines
//! it is about.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary_null, integer, text, text_null, uuid, uuid_null,
};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("approvals")
            .col(uuid("id").primary_key())
            .col(text("target"))
            .col(text("work"))
            .col(text("strategy"))
            .col(binary_null("secrets"))
            .col(big_integer_null("expires_in_micros"))
            .col(text("specs"))
            .col(integer("total"))
            .col(text("summary"))
            .col(text("safety_level"))
            .col(text("reasons"))
            .col(uuid_null("retry_of"))
            .col(uuid("requested_by"))
            .col(text("requested_by_kind"))
            .col(text("requester_name"))
            .col(big_integer("created_at"))
            .col(big_integer("expires_at"))
            .col(text("status"))
            .col(uuid_null("decided_by"))
            .col(text_null("decider_name"))
            .col(big_integer_null("decided_at"))
            .col(text_null("reason"))
            .col(uuid_null("run_id"))
            .take();
        manager.create_table(table).await?;
        let waiting = Index::create()
            .name("approvals_waiting")
            .table("approvals")
            .col("expires_at")
            .and_where(Expr::col("decided_at").is_null())
            .take();
        manager.create_index(waiting).await?;
        let customers = Table::create()
            .table("approval_customers")
            .col(uuid("approval_id"))
            .col(uuid("customer_id"))
            .primary_key(Index::create().col("approval_id").col("customer_id"))
            .take();
        manager.create_table(customers).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("approval_customers").take()).await?;
        manager.drop_table(Table::drop().table("approvals").take()).await
    }
}
