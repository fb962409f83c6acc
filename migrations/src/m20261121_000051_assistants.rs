//! Assistants, projects, conversations with their turns, and what is proposed in them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, integer, text, text_null, uuid, uuid_null,
};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

const ENTRIES: &str = "assistant_entries";
const CHATS: &str = "assistant_chats";
const TURNS: &str = "assistant_turns";
const PROPOSALS: &str = "assistant_proposals";
const OWNERS: &str = "assistant_proposal_customers";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [entries(), chats(), turns(), proposals(), owners()] {
            manager.create_table(table).await?;
        }
        for (table, name, column) in [
            (ENTRIES, "assistant_entries_by_kind", "kind"),
            (CHATS, "assistant_chats_by_project", "project_id"),
            (CHATS, "assistant_chats_by_owner", "owner_id"),
            (TURNS, "assistant_turns_by_chat", "chat_id"),
            (PROPOSALS, "assistant_proposals_by_chat", "chat_id"),
        ] {
            let index = Index::create().name(name).table(table).col(column).col("id").take();
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [OWNERS, PROPOSALS, TURNS, CHATS, ENTRIES] {
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
        // Null: no single customer's.
        .col(uuid_null("customer_id"))
        .col(text("name"))
        .col(text("body"))
        .col(integer("version"))
        .col(big_integer("created_at"))
        .col(big_integer("updated_at"))
        .foreign_key(ForeignKey::create().from(ENTRIES, "customer_id").to("customers", "id"))
        .take()
}

fn cascade(
    from: &'static str,
    column: &'static str,
    to: &'static str,
) -> ForeignKeyCreateStatement {
    ForeignKey::create().from(from, column).to(to, "id").on_delete(ForeignKeyAction::Cascade).take()
}

fn chats() -> TableCreateStatement {
    Table::create()
        .table(CHATS)
        .col(uuid("id").primary_key())
        .col(uuid_null("customer_id"))
        .col(uuid_null("project_id"))
        .col(uuid_null("assistant_id"))
        .col(uuid("owner_id"))
        .col(text("owner_kind"))
        .col(text("owner_name"))
        .col(text("title"))
        .col(big_integer("created_at"))
        .col(big_integer("updated_at"))
        .foreign_key(&mut cascade(CHATS, "project_id", ENTRIES))
        .take()
}

fn turns() -> TableCreateStatement {
    Table::create()
        .table(TURNS)
        .col(uuid("id").primary_key())
        .col(uuid("chat_id"))
        .col(uuid("asked_by"))
        .col(text("asked_by_kind"))
        .col(text("asker_name"))
        .col(uuid_null("agent_id"))
        .col(text("message"))
        .col(text("response"))
        .col(text("steps"))
        .col(text("redacted"))
        .col(text("provider"))
        .col(text("llm"))
        .col(big_integer("read_tokens"))
        .col(big_integer("written_tokens"))
        .col(text("status"))
        .col(text_null("error"))
        .col(big_integer("created_at"))
        .col(big_integer_null("finished_at"))
        .foreign_key(&mut cascade(TURNS, "chat_id", CHATS))
        .take()
}

fn proposals() -> TableCreateStatement {
    Table::create()
        .table(PROPOSALS)
        .col(uuid("id").primary_key())
        .col(uuid_null("chat_id"))
        .col(uuid_null("turn_id"))
        .col(uuid_null("project_id"))
        .col(uuid_null("assistant_id"))
        .col(text("assistant_name"))
        .col(text_null("llm"))
        .col(uuid("asked_by"))
        .col(text("asked_by_kind"))
        .col(text("asker_name"))
        .col(text("agent_ids"))
        .col(text("work"))
        .col(uuid_null("script_version_id"))
        .col(text("strategy"))
        .col(text("explanation"))
        .col(text("safety_level"))
        .col(text("safety_reasons"))
        .col(big_integer("created_at"))
        .col(big_integer("expires_at"))
        .col(text("status"))
        .col(uuid_null("decided_by"))
        .col(text_null("decider_name"))
        .col(big_integer_null("decided_at"))
        .col(text_null("reason"))
        .col(uuid_null("superseded_by"))
        .col(uuid_null("run_id"))
        .col(uuid_null("approval_id"))
        .take()
}

fn owners() -> TableCreateStatement {
    Table::create()
        .table(OWNERS)
        .col(uuid("proposal_id"))
        .col(uuid("customer_id"))
        .primary_key(Index::create().col("proposal_id").col("customer_id"))
        .foreign_key(&mut cascade(OWNERS, "proposal_id", PROPOSALS))
        .take()
}
