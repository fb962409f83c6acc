//! Groups of agents.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, integer, text, text_null, uuid, uuid_null};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

const GROUPS: &str = "agent_groups";
const MEMBERS: &str = "agent_group_members";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut of_customer = ForeignKey::create()
            .from(GROUPS, "customer_id")
            .to("customers", "id")
            .on_delete(ForeignKeyAction::Restrict)
            .take();
        let groups = Table::create()
            .table(GROUPS)
            .col(uuid("id").primary_key())
            // Null: of all customers.
            .col(uuid_null("customer_id"))
            .col(text("name"))
            .col(text("canonical_name"))
            .col(text_null("description"))
            // Null where machines are said one by one.
            .col(text_null("filter"))
            .col(integer("version"))
            .col(big_integer("created_at"))
            .col(big_integer("updated_at"))
            .foreign_key(&mut of_customer)
            .take();
        manager.create_table(groups).await?;
        let by_name = Index::create()
            .name("agent_groups_by_name")
            .table(GROUPS)
            .col("customer_id")
            .col("canonical_name")
            .unique()
            .take();
        manager.create_index(by_name).await?;
        // Nulls differ from each other, names of groups of all customers may not be the same.
        let of_all = Index::create()
            .name("agent_groups_of_all_by_name")
            .table(GROUPS)
            .col("canonical_name")
            .and_where(Expr::col("customer_id").is_null())
            .unique()
            .take();
        manager.create_index(of_all).await?;
        create_members(manager).await?;
        let column = text("group_ids").default("[]").take();
        let tokens = Table::alter().table("enrollment_tokens").add_column(column).take();
        manager.alter_table(tokens).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tokens = Table::alter().table("enrollment_tokens").drop_column("group_ids").take();
        manager.alter_table(tokens).await?;
        manager.drop_table(Table::drop().table(MEMBERS).take()).await?;
        manager.drop_table(Table::drop().table(GROUPS).take()).await
    }
}

async fn create_members(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let to = |column: &'static str, table: &'static str| {
        ForeignKey::create()
            .from(MEMBERS, column)
            .to(table, "id")
            .on_delete(ForeignKeyAction::Cascade)
            .take()
    };
    let members = Table::create()
        .table(MEMBERS)
        .col(uuid("group_id"))
        .col(uuid("agent_id"))
        .primary_key(Index::create().col("group_id").col("agent_id"))
        .foreign_key(&mut to("group_id", GROUPS))
        .foreign_key(&mut to("agent_id", "agents"))
        .take();
    manager.create_table(members).await?;
    let by_agent =
        Index::create().name("agent_group_members_by_agent").table(MEMBERS).col("agent_id").take();
    manager.create_index(by_agent).await
}
