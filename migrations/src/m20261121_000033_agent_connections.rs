//! How connections of agents came and went, and what people decided about copies of machines.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, integer_null, text, text_null, uuid, uuid_null,
};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connections = Table::create()
            .table("agent_connections")
            .col(uuid("id").primary_key())
            .col(uuid("agent_id"))
            .col(uuid("node_id"))
            .col(text("transport"))
            .col(text_null("peer_address"))
            .col(big_integer("began_at"))
            .col(big_integer("last_frame_at"))
            .col(integer_null("reconnect_attempts"))
            .col(text_null("previous_end"))
            .col(big_integer_null("ended_at"))
            .col(text_null("end_reason"))
            .col(text_null("end_detail"))
            .take();
        manager.create_table(connections).await?;
        let by_agent = Index::create()
            .name("agent_connections_by_agent")
            .table("agent_connections")
            .col("agent_id")
            .col("began_at")
            .take();
        manager.create_index(by_agent).await?;
        let open = Index::create()
            .name("agent_connections_open")
            .table("agent_connections")
            .col("agent_id")
            .and_where(Expr::col("ended_at").is_null())
            .take();
        manager.create_index(open).await?;
        let copies = Table::create()
            .table("agent_copies")
            .col(uuid("agent_id"))
            .col(text("boot_id"))
            // Empty where an older agent does not say.
            .col(text("instance_id"))
            .col(uuid("connection_id"))
            .col(text("hostname"))
            .col(text_null("peer_address"))
            .col(big_integer("first_seen"))
            .col(text("decision"))
            .col(big_integer("decided_at"))
            .col(uuid_null("new_agent_id"))
            .primary_key(Index::create().col("agent_id").col("boot_id").col("instance_id"))
            .take();
        manager.create_table(copies).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("agent_copies").take()).await?;
        manager.drop_table(Table::drop().table("agent_connections").take()).await
    }
}
