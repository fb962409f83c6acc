//! Runs: one row an order to many machines, and whose machines they are.

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
            .table("runs")
            .col(uuid("id").primary_key())
            .col(uuid_null("customer_id"))
            .col(text("target"))
            .col(text("work"))
            .col(text("strategy"))
            .col(binary_null("secrets"))
            .col(big_integer_null("expires_in_micros"))
            .col(text("summary"))
            .col(uuid("requested_by"))
            .col(text("requested_by_kind"))
            .col(text("safety_level"))
            .col(uuid_null("retry_of"))
            .col(uuid_null("schedule_id"))
            .col(big_integer("created_at"))
            .col(big_integer("expires_at"))
            .col(text("status"))
            .col(text_null("stop_reason"))
            .col(big_integer_null("finished_at"))
            .col(integer("total"))
            .col(integer("completed"))
            .col(integer("failed"))
            .col(integer("cancelled"))
            .col(integer("expired"))
            .take();
        manager.create_table(table).await?;
        let open = Index::create()
            .name("runs_open")
            .table("runs")
            .col("id")
            .and_where(Expr::col("finished_at").is_null())
            .take();
        manager.create_index(open).await?;
        let of_schedule = Index::create()
            .name("runs_by_schedule")
            .table("runs")
            .col("schedule_id")
            .col("id")
            .and_where(Expr::col("schedule_id").is_not_null())
            .take();
        manager.create_index(of_schedule).await?;
        let customers = Table::create()
            .table("run_customers")
            .col(uuid("run_id"))
            .col(uuid("customer_id"))
            .primary_key(Index::create().col("run_id").col("customer_id"))
            .take();
        manager.create_table(customers).await?;
        let of_customer = Index::create()
            .name("run_customers_by_customer")
            .table("run_customers")
            .col("customer_id")
            .col("run_id")
            .take();
        manager.create_index(of_customer).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("run_customers").take()).await?;
        manager.drop_table(Table::drop().table("runs").take()).await
    }
}
