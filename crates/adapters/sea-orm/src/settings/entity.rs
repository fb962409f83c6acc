//! The tables `settings` and `data_keys`.

use muster_kernel::{DataKeyId, Sealed};
use muster_settings::{Key, SettingRow, Stored, WrappedKey};
use sea_orm::entity::prelude::*;

use crate::DatabaseError;
use crate::columns::timestamp;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "settings")]
pub(super) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    pub value: Option<String>,
    pub sealed: Option<Vec<u8>>,
    pub updated_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(super) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The setting; `None` for one that this version does not know.
    pub(super) fn read(self) -> Result<Option<SettingRow>, DatabaseError> {
        let Some(key) = Key::parse(&self.key) else { return Ok(None) };
        let value = match (self.value, self.sealed) {
            (Some(text), None) => Stored::Plain(text),
            (None, Some(bytes)) => Stored::Sealed(Sealed(bytes)),
            _ => return Err(DatabaseError::bad_row("settings.value")),
        };
        let updated_at = timestamp(self.updated_at, "settings.updated_at")?;
        Ok(Some(SettingRow { key, value, updated_at }))
    }
}

/// The table `data_keys`.
pub(crate) mod data_key {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "data_keys")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub wrapped: Vec<u8>,
        pub created_at: i64,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl TryFrom<data_key::Model> for WrappedKey {
    type Error = DatabaseError;

    fn try_from(row: data_key::Model) -> Result<Self, DatabaseError> {
        let created_at = timestamp(row.created_at, "data_keys.created_at")?;
        Ok(Self { id: DataKeyId::from_uuid(row.id), wrapped: Sealed(row.wrapped), created_at })
    }
}
