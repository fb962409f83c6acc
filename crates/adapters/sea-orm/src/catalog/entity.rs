//! The tables `catalog_entries` and `agent_os_images`.

use muster_deployment_profiles::{Body, Entry, EntryId};
use muster_kernel::{CustomerId, Sealed};
use sea_orm::entity::prelude::*;

use crate::DatabaseError;
use crate::columns::{from_json, json, micros, timestamp};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "catalog_entries")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub kind: String,
    pub customer_id: Option<Uuid>,
    pub name: String,
    pub name_key: String,
    pub description: Option<String>,
    pub os_type: Option<String>,
    pub is_template: bool,
    pub body: String,
    pub secrets: Option<Vec<u8>>,
    pub version: i32,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The table `agent_os_images`.
pub(crate) mod imaged {
    use sea_orm::entity::prelude::*;

    use crate::agents::entity as agents;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "agent_os_images")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub agent_id: Uuid,
        pub os_image_id: Uuid,
        pub imaged_at: i64,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {
        #[sea_orm(
            belongs_to = "agents::Entity",
            from = "Column::AgentId",
            to = "agents::Column::Id"
        )]
        Agent,
        #[sea_orm(
            belongs_to = "super::Entity",
            from = "Column::OsImageId",
            to = "super::Column::Id"
        )]
        Image,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// The form of a name under which two names are the same.
pub(super) fn name_key(name: &str) -> String {
    name.to_lowercase()
}

impl<B: Body> From<&Entry<B>> for Model {
    fn from(entry: &Entry<B>) -> Self {
        Self {
            id: entry.id.uuid(),
            kind: B::KIND.as_str().to_owned(),
            customer_id: entry.customer_id.map(CustomerId::as_uuid),
            name: entry.name.clone(),
            name_key: name_key(&entry.name),
            description: entry.description.clone(),
            os_type: entry.body.os_type().map(|os_type| os_type.as_str().to_owned()),
            is_template: entry.body.is_template(),
            body: json(&entry.body),
            secrets: entry.secrets.as_ref().map(|sealed| sealed.0.clone()),
            version: i32::try_from(entry.version).unwrap_or(i32::MAX),
            created_at: micros(entry.created_at),
            updated_at: micros(entry.updated_at),
        }
    }
}

impl<B: Body> TryFrom<Model> for Entry<B> {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let bad = DatabaseError::bad_row;
        Ok(Self {
            id: B::Id::of_uuid(row.id),
            customer_id: row.customer_id.map(CustomerId::from_uuid),
            name: row.name,
            description: row.description,
            body: from_json(&row.body, "catalog_entries.body")?,
            secrets: row.secrets.map(Sealed),
            version: u32::try_from(row.version).map_err(|_| bad("catalog_entries.version"))?,
            created_at: timestamp(row.created_at, "catalog_entries.created_at")?,
            updated_at: timestamp(row.updated_at, "catalog_entries.updated_at")?,
        })
    }
}
