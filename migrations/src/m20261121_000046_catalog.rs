//! What is kept to be applied to machines: profiles, software, OS images, and what machines were
//! made from.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, binary_null, boolean, integer, text, text_null, uuid, uuid_null,
};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

const ENTRIES: &str = "catalog_entries";
const IMAGED: &str = "agent_os_images";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(entries()).await?;
        let index = || Index::create().table(ENTRIES).col("kind").take();
        let own = index()
            .name("catalog_entries_by_owner_and_name")
            .col("customer_id")
            .col("name_key")
            .unique()
            .take();
        manager.create_index(own).await?;
        // Nulls differ from each other, names of what is shared may not be the same.
        let shared = index()
            .name("catalog_entries_by_shared_name")
            .col("name_key")
            .and_where(Expr::col("customer_id").is_null())
            .unique()
            .take();
        manager.create_index(shared).await?;
        let in_order = index().name("catalog_entries_by_kind").col("id").take();
        manager.create_index(in_order).await?;

        manager.create_table(imaged()).await?;
        let by_image = Index::create()
            .name("agent_os_images_by_image")
            .table(IMAGED)
            .col("os_image_id")
            .col("agent_id")
            .take();
        manager.create_index(by_image).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [IMAGED, ENTRIES] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}

fn entries() -> TableCreateStatement {
    Table::create()
        .table(ENTRIES)
        .col(uuid("id").primary_key())
        .col(text("kind"))
        // Null: shared with all.
        .col(uuid_null("customer_id"))
        .col(text("name"))
        .col(text("name_key"))
        .col(text_null("description"))
        .col(text_null("os_type"))
        .col(boolean("is_template"))
        .col(text("body"))
        .col(binary_null("secrets"))
        .col(integer("version"))
        .col(big_integer("created_at"))
        .col(big_integer("updated_at"))
        .foreign_key(ForeignKey::create().from(ENTRIES, "customer_id").to("customers", "id"))
        .take()
}

fn imaged() -> TableCreateStatement {
    let to = |column: &'static str, table: &'static str| {
        ForeignKey::create()
            .from(IMAGED, column)
            .to(table, "id")
            .on_delete(ForeignKeyAction::Cascade)
            .take()
    };
    Table::create()
        .table(IMAGED)
        .col(uuid("agent_id").primary_key())
        .col(uuid("os_image_id"))
        .col(big_integer("imaged_at"))
        .foreign_key(&mut to("agent_id", "agents"))
        .foreign_key(&mut to("os_image_id", ENTRIES))
        .take()
}
