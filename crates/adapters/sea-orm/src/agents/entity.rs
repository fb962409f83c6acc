//! The table `agents`.

use std::collections::BTreeSet;

use muster_agents::{Agent, OsType};
use muster_kernel::{AgentId, CustomerId, Dialect, GroupId, Tags, TokenHash};
use sea_orm::entity::prelude::*;

use crate::DatabaseError;
use crate::columns::{from_json, json, maybe_timestamp, micros, timestamp};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "agents")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub customer_id: Uuid,
    pub hostname: String,
    pub ip_address: Option<String>,
    pub os_type: String,
    pub os: Option<String>,
    /// Empty where it told none.
    pub version: String,
    pub capabilities: String,
    pub notes: Option<String>,
    pub machine_id: Option<String>,
    pub system_info: Option<String>,
    pub token_hash: Option<Vec<u8>>,
    /// 0 where it never was.
    pub last_seen: i64,
    pub created_at: i64,
    pub updated_at: i64,
    pub deleted_at: Option<i64>,
    pub time_zone: Option<String>,
    /// The host name in lower case, by which lists are sorted.
    pub canonical_hostname: String,
    pub dialect: Option<String>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

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
            version: agent.version.clone().unwrap_or_default(),
            capabilities: json(&agent.capabilities),
            notes: agent.notes.clone(),
            machine_id: agent.machine_id.clone(),
            system_info: agent.system_info.as_ref().map(json),
            token_hash: token.map(|token| token.as_bytes().to_vec()),
            last_seen: agent.last_seen.map_or(0, micros),
            created_at: micros(agent.created_at),
            updated_at: micros(agent.updated_at),
            deleted_at: None,
            time_zone: agent.system_info.as_ref().and_then(|info| info.time_zone.clone()),
            canonical_hostname: agent.hostname.to_lowercase(),
            dialect: agent.dialect.map(|dialect| dialect.as_str().to_owned()),
        }
    }

    /// The agent of this row, with what it has in other tables.
    pub(super) fn read(
        self,
        tags: Tags,
        groups: BTreeSet<GroupId>,
    ) -> Result<Agent, DatabaseError> {
        let (row, bad) = (self, DatabaseError::bad_row);
        let last_seen = (row.last_seen != 0).then_some(row.last_seen);
        let dialect = row.dialect.as_deref().map(Dialect::parse);
        let dialect =
            dialect.map(|known| known.ok_or_else(|| bad("agents.dialect"))).transpose()?;
        Ok(Agent {
            id: AgentId::from_uuid(row.id),
            customer_id: CustomerId::from_uuid(row.customer_id),
            hostname: row.hostname,
            ip_address: row.ip_address,
            os_type: OsType::parse(&row.os_type).ok_or_else(|| bad("agents.os_type"))?,
            os: row.os,
            version: Some(row.version).filter(|version| !version.is_empty()),
            capabilities: from_json(&row.capabilities, "agents.capabilities")?,
            tags,
            notes: row.notes,
            groups,
            machine_id: row.machine_id,
            dialect,
            system_info: match row.system_info {
                Some(text) => Some(from_json(&text, "agents.system_info")?),
                None => None,
            },
            last_seen: maybe_timestamp(last_seen, "agents.last_seen")?,
            created_at: timestamp(row.created_at, "agents.created_at")?,
            updated_at: timestamp(row.updated_at, "agents.updated_at")?,
        })
    }
}
