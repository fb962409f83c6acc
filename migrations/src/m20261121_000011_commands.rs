//! Commands: one row an execution on one agent.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, integer_null, text, text_null, uuid,
};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("commands")
            .col(uuid("id").primary_key())
            .col(uuid("agent_id"))
            .col(uuid("customer_id"))
            .col(text("command"))
            .col(text("args"))
            .col(text("shell_type"))
            .col(big_integer("timeout_micros"))
            .col(text_null("working_directory"))
            .col(text("environment"))
            .col(uuid("requested_by"))
            .col(text("requested_by_kind"))
            .col(big_integer("created_at"))
            .col(big_integer("expires_at"))
            .col(big_integer_null("dispatched_at"))
            .col(big_integer_null("cancel_requested_at"))
            .col(text("status"))
            .col(big_integer_null("accepted_at"))
            .col(big_integer_null("started_at"))
            .col(big_integer_null("pid"))
            .col(big_integer_null("finished_at"))
            .col(integer_null("exit_code"))
            .col(big_integer_null("execution_time_micros"))
            .col(text_null("failure_code"))
            .col(text_null("failure_detail"))
            .col(big_integer("stdout_bytes"))
            .col(big_integer("stderr_bytes"))
            .col(big_integer("stdout_written"))
            .col(big_integer("stderr_written"))
            .foreign_key(ForeignKey::create().from("commands", "agent_id").to("agents", "id"))
            .take();
        manager.create_table(table).await?;
        for (name, column) in
            [("commands_by_agent", "agent_id"), ("commands_by_customer", "customer_id")]
        {
            let index = Index::create().name(name).table("commands").col(column).col("id").take();
            manager.create_index(index).await?;
        }
        // Few commands are open at a time, so this index stays small however long history grows.
        let open = Index::create()
            .name("commands_open")
            .table("commands")
            .col("agent_id")
            .col("id")
            .and_where(Expr::col("finished_at").is_null())
            .take();
        manager.create_index(open).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("commands").take()).await
    }
}
