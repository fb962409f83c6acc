//! The table `agent_groups`.

use muster_agents::Criteria;
use muster_agents::groups::{Group, GroupKind, GroupName};
use muster_kernel::{CustomerId, GroupId};
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::DatabaseError;
use crate::columns::{from_json, json, micros, timestamp};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "agent_groups")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub customer_id: Option<Uuid>,
    pub name: String,
    pub canonical_name: String,
    pub description: Option<String>,
    pub filter: Option<String>,
    pub version: i32,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A filter as it is kept. What older versions of Muster kept stays readable.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "format")]
enum KeptFilter {
    #[serde(rename = "1")]
    V1(Criteria),
}

impl From<&Group> for Model {
    fn from(group: &Group) -> Self {
        Self {
            id: group.id.as_uuid(),
            customer_id: group.customer_id.map(CustomerId::as_uuid),
            name: group.name.as_str().to_owned(),
            canonical_name: group.name.canonical(),
            description: group.description.clone(),
            filter: match &group.kind {
                GroupKind::Static => None,
                GroupKind::Filter(criteria) => Some(json(&KeptFilter::V1(criteria.clone()))),
            },
            version: i32::try_from(group.version).unwrap_or(i32::MAX),
            created_at: micros(group.created_at),
            updated_at: micros(group.updated_at),
        }
    }
}

impl TryFrom<Model> for Group {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let bad = DatabaseError::bad_row;
        let kind = match row.filter {
            None => GroupKind::Static,
            Some(text) => match from_json(&text, "agent_groups.filter")? {
                KeptFilter::V1(criteria) => GroupKind::Filter(criteria),
            },
        };
        Ok(Self {
            id: GroupId::from_uuid(row.id),
            customer_id: row.customer_id.map(CustomerId::from_uuid),
            name: GroupName::parse(&row.name).map_err(|_| bad("agent_groups.name"))?,
            description: row.description,
            kind,
            version: u32::try_from(row.version).map_err(|_| bad("agent_groups.version"))?,
            created_at: timestamp(row.created_at, "agent_groups.created_at")?,
            updated_at: timestamp(row.updated_at, "agent_groups.updated_at")?,
        })
    }
}

/// The table `agent_group_members`.
pub(crate) mod member {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "agent_group_members")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub group_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub agent_id: Uuid,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
