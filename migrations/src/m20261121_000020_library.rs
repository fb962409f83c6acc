//! Scripts and saved commands: what they are, and what they said in each version.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary_len, text, text_null, uuid, uuid_null,
};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(items()).await?;
        // A customer's names are its own; what is shared has nobody to tell it apart by. Who was
        // removed leaves the name.
        let names = || Index::create().table("library_items").col("kind").unique().take();
        let own = names()
            .name("library_items_by_owner_and_name")
            .col("customer_id")
            .col("canonical_name")
            .and_where(Expr::col("deleted_at").is_null())
            .take();
        manager.create_index(own).await?;
        let shared = names()
            .name("library_items_by_shared_name")
            .col("canonical_name")
            .and_where(Expr::col("deleted_at").is_null())
            .and_where(Expr::col("customer_id").is_null())
            .take();
        manager.create_index(shared).await?;
        manager.create_table(versions()).await?;
        let numbers = Index::create()
            .name("library_versions_by_number")
            .table("library_versions")
            .col("item_id")
            .col("number")
            .unique()
            .take();
        manager.create_index(numbers).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["library_versions", "library_items"] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}

fn items() -> TableCreateStatement {
    Table::create()
        .table("library_items")
        .col(uuid("id").primary_key())
        .col(text("kind"))
        .col(uuid_null("customer_id"))
        .col(text("canonical_name"))
        // The version that counts; the two tables can't both refer to the other.
        .col(uuid("version_id"))
        .col(big_integer("created_at"))
        .col(big_integer_null("deleted_at"))
        .foreign_key(
            ForeignKey::create().from("library_items", "customer_id").to("customers", "id"),
        )
        .take()
}

fn versions() -> TableCreateStatement {
    Table::create()
        .table("library_versions")
        .col(uuid("id").primary_key())
        .col(uuid("item_id"))
        .col(big_integer("number"))
        .col(text("name"))
        .col(text_null("description"))
        .col(text_null("category"))
        .col(text("tags"))
        .col(text_null("target_os_type"))
        .col(text("shell_type"))
        .col(text("parameters"))
        .col(text("text"))
        .col(binary_len("sha256", 32))
        .col(big_integer("bytes"))
        .col(text("safety_level"))
        .col(text("author_kind"))
        .col(uuid_null("author_id"))
        .col(text_null("author_name"))
        .col(text("changes"))
        .col(text_null("note"))
        .col(big_integer("created_at"))
        .foreign_key(
            ForeignKey::create().from("library_versions", "item_id").to("library_items", "id"),
        )
        .take()
}
