//! What commands know of the run, the script and the secrets that they came with.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer_null, binary_null, boolean, uuid_null};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

const RUN_INDEX: &str = "commands_by_run";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in [
            uuid_null("run_id"),
            boolean("held").default(false).take(),
            uuid_null("script_version_id"),
            binary_null("script_sha256"),
            big_integer_null("script_bytes"),
            binary_null("secrets"),
        ] {
            manager.alter_table(Table::alter().table("commands").add_column(column).take()).await?;
        }
        let index = Index::create()
            .name(RUN_INDEX)
            .table("commands")
            .col("run_id")
            .col("id")
            .and_where(Expr::col("run_id").is_not_null())
            .take();
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name(RUN_INDEX).table("commands").to_owned()).await?;
        for column in
            ["secrets", "script_bytes", "script_sha256", "script_version_id", "held", "run_id"]
        {
            manager
                .alter_table(Table::alter().table("commands").drop_column(column).take())
                .await?;
        }
        Ok(())
    }
}
