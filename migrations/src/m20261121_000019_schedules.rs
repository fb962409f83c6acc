//! Schedules and what came of their runs.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary_null, boolean, text, text_null, uuid, uuid_null,
};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(schedules()).await?;
        manager.create_table(history()).await?;
        let of_customer = Index::create()
            .name("schedules_by_customer")
            .table("schedules")
            .col("customer_id")
            .col("id")
            .take();
        manager.create_index(of_customer).await?;
        // Looked at each second: only those that wake at all are in it.
        let waking = Index::create()
            .name("schedules_waking")
            .table("schedules")
            .col("wakes_at")
            .and_where(Expr::col("wakes_at").is_not_null())
            .take();
        manager.create_index(waking).await?;
        for (name, column) in [
            ("schedule_history_by_schedule", "schedule_id"),
            ("schedule_history_by_time", "fired_at"),
        ] {
            let index =
                Index::create().name(name).table("schedule_history").col(column).col("id").take();
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("schedule_history").take()).await?;
        manager.drop_table(Table::drop().table("schedules").take()).await
    }
}

fn schedules() -> TableCreateStatement {
    Table::create()
        .table("schedules")
        .col(uuid("id").primary_key())
        .col(uuid_null("customer_id"))
        .col(text("name"))
        .col(text("canonical_name"))
        .col(text_null("description"))
        .col(text_null("cron"))
        .col(text_null("time_zone"))
        .col(big_integer_null("at"))
        .col(text("template"))
        .col(binary_null("secrets"))
        .col(text("missed_runs"))
        .col(text("overlap"))
        .col(big_integer("jitter_seconds"))
        .col(text("maintenance_windows"))
        .col(boolean("enabled"))
        .col(uuid("made_by"))
        .col(text("made_by_kind"))
        .col(text("made_by_name"))
        .col(big_integer("created_at"))
        .col(big_integer("updated_at"))
        .col(big_integer("decided_until"))
        .col(big_integer_null("wakes_at"))
        .col(big_integer_null("asked_at"))
        .col(uuid_null("lease_owner"))
        .col(big_integer_null("lease_until"))
        .col(big_integer_null("lease_due"))
        .col(text("last_runs"))
        .foreign_key(ForeignKey::create().from("schedules", "customer_id").to("customers", "id"))
        .take()
}

fn history() -> TableCreateStatement {
    Table::create()
        .table("schedule_history")
        .col(uuid("id").primary_key())
        .col(uuid("schedule_id"))
        .col(big_integer("due_at"))
        .col(big_integer("fired_at"))
        .col(text("outcome"))
        .col(uuid_null("run_id"))
        .col(text_null("reason"))
        .foreign_key(
            ForeignKey::create().from("schedule_history", "schedule_id").to("schedules", "id"),
        )
        .take()
}
