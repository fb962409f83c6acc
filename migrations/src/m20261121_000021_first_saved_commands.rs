//! Saved commands that everybody starts with, shared with all.

use sea_orm_migration::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

#[derive(Debug, DeriveMigrationName)]
pub(crate) struct Migration;

/// What is to be kept, by system.
const SETS: [&str; 3] = [
    include_str!("../saved_commands/linux.toml"),
    include_str!("../saved_commands/macos.toml"),
    include_str!("../saved_commands/windows.toml"),
];
/// When they were written: 2026-11-21, in microseconds since 1970.
const WRITTEN: i64 = 1_795_219_200_000_000;

#[derive(Debug, Deserialize)]
struct Set {
    saved_commands: Vec<SavedCommand>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedCommand {
    id: Uuid,
    version_id: Uuid,
    name: String,
    description: String,
    category: String,
    target_os_type: String,
    shell_type: String,
    safety_level: String,
    #[serde(default)]
    parameters: Vec<serde_json::Value>,
    text: String,
}

fn saved_commands() -> Result<Vec<SavedCommand>, DbErr> {
    let unreadable = |error: toml::de::Error| DbErr::Migration(error.to_string());
    let sets = SETS.iter().map(|text| toml::from_str::<Set>(text).map_err(unreadable));
    Ok(sets
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flat_map(|set| set.saved_commands)
        .collect())
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for command in saved_commands()? {
            manager.execute(item(&command)?).await?;
            manager.execute(version(command)?).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let ids: Vec<_> = saved_commands()?.into_iter().map(|command| command.id).collect();
        for (table, column) in [("library_versions", "item_id"), ("library_items", "id")] {
            let ids = ids.iter().copied();
            let gone =
                Query::delete().from_table(table).and_where(Expr::col(column).is_in(ids)).take();
            manager.execute(gone).await?;
        }
        Ok(())
    }
}

fn item(command: &SavedCommand) -> Result<InsertStatement, DbErr> {
    insert(
        "library_items",
        [
            ("id", command.id.into()),
            ("kind", "saved_command".into()),
            ("canonical_name", command.name.to_lowercase().into()),
            ("version_id", command.version_id.into()),
            ("created_at", WRITTEN.into()),
        ],
    )
}

fn version(command: SavedCommand) -> Result<InsertStatement, DbErr> {
    let parameters = serde_json::Value::from(command.parameters).to_string();
    let bytes: i64 = command.text.len().try_into().unwrap_or(i64::MAX);
    insert(
        "library_versions",
        [
            ("id", command.version_id.into()),
            ("item_id", command.id.into()),
            ("number", 1_i64.into()),
            ("name", command.name.into()),
            ("description", command.description.into()),
            ("category", command.category.into()),
            ("tags", "[]".into()),
            ("target_os_type", command.target_os_type.into()),
            ("shell_type", command.shell_type.into()),
            ("parameters", parameters.into()),
            ("sha256", Sha256::digest(&command.text).to_vec().into()),
            ("bytes", bytes.into()),
            ("text", command.text.into()),
            ("safety_level", command.safety_level.into()),
            ("author_kind", "system".into()),
            ("changes", "[]".into()),
            ("created_at", WRITTEN.into()),
        ],
    )
}

fn insert<const N: usize>(
    table: &'static str,
    row: [(&'static str, Expr); N],
) -> Result<InsertStatement, DbErr> {
    let (columns, values): (Vec<_>, Vec<_>) = row.into_iter().unzip();
    let mut insert = Query::insert();
    insert.into_table(table).columns(columns);
    insert.values(values).map_err(|error| DbErr::Migration(error.to_string()))?;
    Ok(insert)
}
