//! Commands that are part of a rollout: what a look at a machine says is no failure of a command.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::uuid_null;

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = uuid_null("rollout_id").take();
        manager.alter_table(Table::alter().table("commands").add_column(column).take()).await?;
        let by_rollout = Index::create()
            .name("commands_by_rollout")
            .table("commands")
            .col("rollout_id")
            .col("id")
            .and_where(Expr::col("rollout_id").is_not_null())
            .take();
        manager.create_index(by_rollout).await?;
        let failed = Index::create()
            .name("rollouts_failed")
            .table("rollouts")
            .col("finished_at")
            .and_where(Expr::cust("status in ('failed', 'completed_with_errors')"))
            .take();
        manager.create_index(failed).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let failed = Index::drop().name("rollouts_failed").table("rollouts").to_owned();
        manager.drop_index(failed).await?;
        let by_rollout = Index::drop().name("commands_by_rollout").table("commands").to_owned();
        manager.drop_index(by_rollout).await?;
        manager.alter_table(Table::alter().table("commands").drop_column("rollout_id").take()).await
    }
}
