//! The texts of versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use muster_commands::library::ScriptTexts;
use muster_kernel::{StorageError, VersionId};
use sea_orm::QuerySelect;
use sea_orm::entity::prelude::*;

use super::entity::version::{Column, Entity};
use super::{SeaLibrary, reading};

#[async_trait]
impl ScriptTexts for SeaLibrary {
    async fn text(&self, version: VersionId) -> Result<Option<Arc<str>>, StorageError> {
        Ok(self.texts(&[version]).await?.remove(&version))
    }

    async fn texts(
        &self,
        versions: &[VersionId],
    ) -> Result<BTreeMap<VersionId, Arc<str>>, StorageError> {
        let mut found = BTreeMap::new();
        let mut missing = Vec::new();
        {
            let mut recent = self.recent.lock();
            for version in versions {
                match recent.get(*version) {
                    Some(text) => drop(found.insert(*version, text)),
                    None => missing.push(version.as_uuid()),
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let rows: Vec<(Uuid, String)> = Entity::find()
            .select_only()
            .columns([Column::Id, Column::Text])
            .filter(Column::Id.is_in(missing))
            .into_tuple()
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        let mut recent = self.recent.lock();
        for (id, text) in rows {
            let (id, text) = (VersionId::from_uuid(id), Arc::<str>::from(text));
            recent.put(id, Arc::clone(&text));
            found.insert(id, text);
        }
        Ok(found)
    }
}
