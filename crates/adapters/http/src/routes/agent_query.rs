//! Which machines a list shows, and in which order.

use std::collections::BTreeSet;

use muster_agents::{
    AgentOrder, AgentSort, AgentStatus, Criteria, HostnamePattern, InvalidCriteria, OsType,
};
use muster_kernel::{GroupId, ProblemCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::Problem;

#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StatusParameter {
    Online,
    Offline,
}

impl From<StatusParameter> for AgentStatus {
    fn from(status: StatusParameter) -> Self {
        match status {
            StatusParameter::Online => Self::Online,
            StatusParameter::Offline => Self::Offline,
        }
    }
}

impl From<AgentStatus> for StatusParameter {
    fn from(status: AgentStatus) -> Self {
        match status {
            AgentStatus::Online => Self::Online,
            AgentStatus::Offline => Self::Offline,
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OsTypeParameter {
    Linux,
    Windows,
    Macos,
    Other,
}

impl From<OsTypeParameter> for OsType {
    fn from(os_type: OsTypeParameter) -> Self {
        match os_type {
            OsTypeParameter::Linux => Self::Linux,
            OsTypeParameter::Windows => Self::Windows,
            OsTypeParameter::Macos => Self::Macos,
            OsTypeParameter::Other => Self::Other,
        }
    }
}

impl From<OsType> for OsTypeParameter {
    fn from(os_type: OsType) -> Self {
        match os_type {
            OsType::Linux => Self::Linux,
            OsType::Windows => Self::Windows,
            OsType::Macos => Self::Macos,
            OsType::Other => Self::Other,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AgentQuery {
    /// Only those that can, or can't, be reached.
    #[param(inline)]
    status: Option<StatusParameter>,
    #[param(inline)]
    os_type: Option<OsTypeParameter>,
    #[serde(alias = "customer_uuid")]
    pub(super) customer_id: Option<Uuid>,
    /// Only members of this group.
    pub(super) group_id: Option<Uuid>,
    /// Only those with this tag.
    tag: Option<String>,
    /// Only those with all of these tags, between commas.
    tags: Option<String>,
    /// Only those with at least one of these tags, between commas.
    tags_any: Option<String>,
    /// Only those with such a host name: `*` stands for any characters, `?` for one.
    hostname: Option<String>,
    /// Only those with this version of the agent program.
    version: Option<String>,
    /// Only those whose host name, address, operating system or notes contain this; one or two
    /// characters are looked for at the beginning of the host name alone.
    q: Option<String>,
}

impl AgentQuery {
    /// The same, of the members of a group.
    pub(crate) fn of_group(self, id: GroupId) -> Self {
        Self { group_id: Some(id.as_uuid()), ..self }
    }

    pub(super) fn criteria(self, status: Option<AgentStatus>) -> Result<Criteria, InvalidCriteria> {
        let split = |tags: Option<String>| {
            let tags = tags.unwrap_or_default();
            let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
            tags.map(ToOwned::to_owned).collect::<BTreeSet<_>>()
        };
        let mut tags = split(self.tags);
        tags.extend(self.tag);
        let criteria = Criteria {
            status: status.or_else(|| self.status.map(Into::into)),
            os_type: self.os_type.map(Into::into),
            tags,
            tags_any: split(self.tags_any),
            version: self.version,
            hostname: self.hostname.as_deref().map(HostnamePattern::parse).transpose()?,
            q: self.q,
        };
        criteria.checked()
    }
}

/// The order of a list of machines.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SortQuery {
    /// `created_at` (unless given), `hostname`, `last_seen`, `version`, `os_type` or `customer_id`;
    /// with a `-` before it the greatest comes first. A cursor is good for its own order alone.
    #[param(example = "-last_seen")]
    sort: Option<String>,
}

impl SortQuery {
    pub(super) fn order(&self) -> Result<AgentOrder, Problem> {
        let Some(text) = self.sort.as_deref() else { return Ok(AgentOrder::default()) };
        AgentOrder::parse(text).ok_or_else(|| {
            let names = AgentSort::ALL.iter().map(|sort| sort.as_str());
            let names = names.collect::<Vec<_>>().join(", ");
            let detail = format!("sort: one of {names} is expected, or one with a - before it");
            Problem::new(ProblemCode::Malformed, detail)
        })
    }
}
