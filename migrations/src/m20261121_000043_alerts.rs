//! What rules found, what was done about it, and what the watcher has to remember.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, integer, text, text_null, uuid, uuid_null,
};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_alerts(manager).await?;
        create_memory(manager).await?;
        // Few commands and runs fail, so these indexes stay small.
        for (name, table) in [("commands_failed", "commands"), ("runs_failed", "runs")] {
            let failed = Index::create()
                .name(name)
                .table(table)
                .col("finished_at")
                .and_where(Expr::col("status").eq("failed"))
                .take();
            manager.create_index(failed).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let indexes = [("runs_failed", "runs"), ("commands_failed", "commands")];
        for (name, table) in indexes {
            manager.drop_index(Index::drop().name(name).table(table).to_owned()).await?;
        }
        let tables = ["watch_marks", "alert_deviations", "alert_causes", "alert_changes", "alerts"];
        for table in tables {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}

async fn create_alerts(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let alerts = Table::create()
        .table("alerts")
        .col(uuid("id").primary_key())
        .col(uuid("rule_id"))
        .col(text("rule_name"))
        .col(text("kind"))
        .col(text("severity"))
        .col(text("subject_kind"))
        .col(uuid("subject_id"))
        .col(text("subject_name"))
        .col(uuid_null("customer_id"))
        .col(text("summary"))
        .col(text("details"))
        .col(text("state"))
        .col(big_integer("first_seen_at"))
        .col(big_integer("last_seen_at"))
        .col(big_integer("count"))
        .col(big_integer_null("clear_since"))
        .col(big_integer_null("resolved_at"))
        .take();
    manager.create_table(alerts).await?;
    // Of a rule and a subject there is one open alert.
    let open = Index::create()
        .name("alerts_open")
        .table("alerts")
        .col("rule_id")
        .col("subject_id")
        .unique()
        .and_where(Expr::col("resolved_at").is_null())
        .take();
    manager.create_index(open).await?;
    for (name, column) in
        [("alerts_by_subject", "subject_id"), ("alerts_by_customer", "customer_id")]
    {
        let index = Index::create().name(name).table("alerts").col(column).col("id").take();
        manager.create_index(index).await?;
    }
    // By age, for those that are forgotten; by rule and subject, for those that were over lately.
    let over = Expr::col("resolved_at").is_not_null();
    for (name, columns) in [
        ("alerts_by_resolution", &["resolved_at", "id"][..]),
        ("alerts_over", &["rule_id", "subject_id", "resolved_at"][..]),
    ] {
        let mut index = Index::create().name(name).table("alerts").and_where(over.clone()).take();
        for column in columns {
            index.col(*column);
        }
        manager.create_index(index).await?;
    }
    // What is looked at again and again, by the rows that it is about.
    let offline = Expr::col("kind").eq("offline").and(Expr::col("resolved_at").is_null());
    let suppressed = Expr::col("state").eq("suppressed");
    for (name, column, rows) in
        [("alerts_offline", "subject_id", offline), ("alerts_suppressed", "id", suppressed)]
    {
        let index = Index::create().name(name).table("alerts").col(column).and_where(rows).take();
        manager.create_index(index).await?;
    }
    let changes = Table::create()
        .table("alert_changes")
        .col(uuid("alert_id"))
        .col(integer("number"))
        .col(text("state"))
        .col(big_integer("at"))
        .col(text("actor_kind"))
        .col(uuid_null("actor_id"))
        .col(text_null("actor_name"))
        .primary_key(Index::create().col("alert_id").col("number"))
        .take();
    manager.create_table(changes).await
}

async fn create_memory(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let causes = Table::create()
        .table("alert_causes")
        .col(uuid("rule_id"))
        .col(uuid("cause_id"))
        .col(big_integer("at"))
        .primary_key(Index::create().col("rule_id").col("cause_id"))
        .take();
    manager.create_table(causes).await?;
    let by_age = Index::create().name("alert_causes_by_age").table("alert_causes").col("at").take();
    manager.create_index(by_age).await?;
    let deviations = Table::create()
        .table("alert_deviations")
        .col(uuid("rule_id"))
        .col(uuid("agent_id"))
        .col(text("phase"))
        .col(big_integer_null("since"))
        .col(big_integer("read_at"))
        .primary_key(Index::create().col("rule_id").col("agent_id"))
        .take();
    manager.create_table(deviations).await?;
    let by_agent = Index::create()
        .name("alert_deviations_by_agent")
        .table("alert_deviations")
        .col("agent_id")
        .take();
    manager.create_index(by_agent).await?;
    let marks = Table::create()
        .table("watch_marks")
        .col(text("name").primary_key())
        .col(big_integer("at"))
        .take();
    manager.create_table(marks).await
}
