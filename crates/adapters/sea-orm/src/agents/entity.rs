//! The table `agents`.

use muster_agents::{Agent, OsType};
use muster_kernel::{AgentId, CustomerId, TokenHash};
use sea_orm::entity::prelude::*;

use crate::DatabaseError;
use crate::columns::{from_json, json, maybe_timestamp, micros, timestamp};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "agents")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub customer_id: Uuid,
    pub hostname: String,
    pub ip_address: Option<String>,
    pub os_type: String,
    pub os: Option<String>,
    pub version: Option<String>,
    pub capabilities: String,
    pub tags: String,
    pub notes: Option<String>,
    pub machine_id: Option<String>,
    pub system_info: Option<String>,
    pub token_hash: Option<Vec<u8>>,
    pub last_seen: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
    pub deleted_at: Option<i64>,
    pub time_zone: Option<String>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The row of `agent`, who shows a token with this hash.
    pub(crate) fn of(agent: &Agent, token: Option<TokenHash>) -> Self {
        Self {
            id: agent.id.as_uuid(),
            customer_id: agent.customer_id.as_uuid(),
            hostname: agent.hostname.clone(),
            ip_address: agent.ip_address.clone(),
            os_type: agent.os_type.as_str().to_owned(),
            os: agent.os.clone(),
            version: agent.version.clone(),
            capabilities: json(&agent.capabilities),
            tags: json(&agent.tags),
            notes: agent.notes.clone(),
            machine_id: agent.machine_id.clone(),
            system_info: agent.system_info.as_ref().map(json),
            token_hash: token.map(|token| token.as_bytes().to_vec()),
            last_seen: agent.last_seen.map(micros),
            created_at: micros(agent.created_at),
            updated_at: micros(agent.updated_at),
            deleted_at: None,
            time_zone: agent.system_info.as_ref().and_then(|info| info.time_zone.clone()),
        }
    }
}

impl TryFrom<Model> for Agent {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        let bad = DatabaseError::bad_row;
        Ok(Self {
            id: AgentId::from_uuid(row.id),
            customer_id: CustomerId::from_uuid(row.customer_id),
            hostname: row.hostname,
            ip_address: row.ip_address,
            os_type: OsType::parse(&row.os_type).ok_or_else(|| bad("agents.os_type"))?,
            os: row.os,
            version: row.version,
            capabilities: from_json(&row.capabilities, "agents.capabilities")?,
            tags: from_json(&row.tags, "agents.tags")?,
            notes: row.notes,
            machine_id: row.machine_id,
            system_info: match row.system_info {
                Some(text) => Some(from_json(&text, "agents.system_info")?),
                None => None,
            },
            last_seen: maybe_timestamp(row.last_seen, "agents.last_seen")?,
            created_at: timestamp(row.created_at, "agents.created_at")?,
            updated_at: timestamp(row.updated_at, "agents.updated_at")?,
        })
    }
}
