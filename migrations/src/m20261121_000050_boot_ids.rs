//! Which boot of its machine a connection belongs to.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::text_null;

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

const CONNECTIONS: &str = "agent_connections";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = text_null("boot_id").take();
        manager.alter_table(Table::alter().table(CONNECTIONS).add_column(column).take()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table(CONNECTIONS).drop_column("boot_id").take()).await
    }
}
