//! How dangerous a command was thought to be, and what a customer asks of dangerous ones.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::text;

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let policy = text("dangerous_commands").default("allow").take();
        let table = Table::alter().table("customers").add_column(policy).take();
        manager.alter_table(table).await?;
        // Nobody looked at the commands that are there.
        let level = text("safety_level").default("caution").take();
        manager.alter_table(Table::alter().table("commands").add_column(level).take()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in [("customers", "dangerous_commands"), ("commands", "safety_level")] {
            manager.alter_table(Table::alter().table(table).drop_column(column).take()).await?;
        }
        Ok(())
    }
}
