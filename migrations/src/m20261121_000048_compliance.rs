//! Machines that are compared with profiles again and again, and how they stand.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean, text, text_null, uuid, uuid_null,
};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

const CHECKS: &str = "compliance_checks";
const STANDINGS: &str = "compliance_standings";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let checks = Table::create()
            .table(CHECKS)
            .col(uuid("id").primary_key())
            .col(uuid_null("customer_id"))
            .col(text("name"))
            .col(uuid("profile_id"))
            .col(text("target"))
            .col(text("cron"))
            .col(text("time_zone"))
            .col(boolean("enabled"))
            .col(uuid("made_by"))
            .col(text("made_by_kind"))
            .col(text("made_by_name"))
            .col(big_integer("created_at"))
            .col(big_integer_null("next_at"))
            .col(uuid_null("last_rollout_id"))
            .col(text_null("last_error"))
            .take();
        manager.create_table(checks).await?;
        let due = Index::create()
            .name("compliance_checks_due")
            .table(CHECKS)
            .col("next_at")
            .and_where(Expr::col("next_at").is_not_null())
            .take();
        manager.create_index(due).await?;
        manager.create_table(standings()).await?;
        for (name, column) in [
            ("compliance_standings_by_agent", "agent_id"),
            ("compliance_standings_by_customer", "customer_id"),
        ] {
            let index = Index::create().name(name).table(STANDINGS).col(column).take();
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [STANDINGS, CHECKS] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}

fn standings() -> TableCreateStatement {
    let mut of_profile = ForeignKey::create()
        .from(STANDINGS, "profile_id")
        .to("catalog_entries", "id")
        .on_delete(ForeignKeyAction::Cascade)
        .take();
    Table::create()
        .table(STANDINGS)
        .col(uuid("profile_id"))
        .col(uuid("agent_id"))
        .col(uuid("customer_id"))
        .col(text("status"))
        .col(text("drifted"))
        .col(uuid("rollout_id"))
        .col(big_integer("checked_at"))
        .primary_key(Index::create().col("profile_id").col("agent_id"))
        .foreign_key(&mut of_profile)
        .take()
}
