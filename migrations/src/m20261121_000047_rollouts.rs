//! Profiles on their way to machines: one row a rollout, one a machine of it, and whose machines
//! they are.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary_null, boolean, integer, text, text_null, uuid, uuid_null,
};

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

const ROLLOUTS: &str = "rollouts";
const CUSTOMERS: &str = "rollout_customers";
const DEVICES: &str = "rollout_devices";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(rollouts()).await?;
        let open = Index::create()
            .name("rollouts_open")
            .table(ROLLOUTS)
            .col("id")
            .and_where(Expr::col("finished_at").is_null())
            .take();
        manager.create_index(open).await?;
        manager.create_table(customers()).await?;
        manager.create_table(devices()).await?;
        for (name, table, columns) in [
            ("rollouts_by_profile", ROLLOUTS, ["profile_id", "id"]),
            ("rollout_customers_by_customer", CUSTOMERS, ["customer_id", "rollout_id"]),
            ("rollout_devices_by_status", DEVICES, ["rollout_id", "status"]),
        ] {
            let index = columns
                .into_iter()
                .fold(Index::create().name(name).table(table).take(), |mut index, column| {
                    index.col(column).take()
                });
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [DEVICES, CUSTOMERS, ROLLOUTS] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}

fn rollouts() -> TableCreateStatement {
    let mut table = Table::create();
    table
        .table(ROLLOUTS)
        .col(uuid("id").primary_key())
        .col(uuid("profile_id"))
        .col(integer("profile_version"))
        .col(text("name"))
        .col(text("tasks"))
        .col(binary_null("secrets"))
        .col(text("target"))
        .col(text("strategy"))
        .col(boolean("dry_run"))
        .col(uuid_null("compliance_check_id"))
        .col(uuid("requested_by"))
        .col(text("requested_by_kind"))
        .col(text("requested_by_name"))
        .col(text("safety_level"))
        // Null: machines of several customers.
        .col(uuid_null("customer_id"))
        .col(big_integer("created_at"))
        .col(big_integer("expires_at"))
        .col(big_integer("expires_in_micros"))
        .col(text("status"))
        .col(text_null("stop_reason"))
        .col(big_integer_null("finished_at"))
        .col(integer("revision"));
    // How many machines were how far when it ended.
    for number in ["queued", "running", "waiting_for_reboot", "done", "done_with_errors"] {
        table.col(integer(number));
    }
    for number in ["failed", "skipped", "cancelled"] {
        table.col(integer(number));
    }
    table
}

/// Gone with its rollout.
fn of_rollout(table: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .from(table, "rollout_id")
        .to(ROLLOUTS, "id")
        .on_delete(ForeignKeyAction::Cascade)
        .take()
}

fn customers() -> TableCreateStatement {
    Table::create()
        .table(CUSTOMERS)
        .col(uuid("rollout_id"))
        .col(uuid("customer_id"))
        .primary_key(Index::create().col("rollout_id").col("customer_id"))
        .foreign_key(&mut of_rollout(CUSTOMERS))
        .take()
}

fn devices() -> TableCreateStatement {
    Table::create()
        .table(DEVICES)
        .col(uuid("rollout_id"))
        .col(uuid("agent_id"))
        .col(uuid("customer_id"))
        .col(text("os_type"))
        .col(text("status"))
        .col(boolean("with_errors"))
        .col(text("stage"))
        .col(integer("position"))
        .col(integer("attempt"))
        .col(text("results"))
        .col(integer("revision"))
        .col(big_integer_null("started_at"))
        .col(big_integer_null("finished_at"))
        .primary_key(Index::create().col("rollout_id").col("agent_id"))
        .foreign_key(&mut of_rollout(DEVICES))
        .take()
}
