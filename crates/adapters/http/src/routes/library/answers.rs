//! Things of the library and their versions in answers.

use chrono::{DateTime, Utc};
use muster_agents::OsType;
use muster_commands::library::{Item, ItemId, Kind, Version};
use muster_kernel::{Actor, CustomerId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::ParameterBody;

/// Who wrote a version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WriterAnswer {
    /// `user`, `api_key`, or `system` for what Muster brought along.
    kind: &'static str,
    id: Option<Uuid>,
    /// What they were called then.
    name: String,
}

impl From<&Actor> for WriterAnswer {
    fn from(actor: &Actor) -> Self {
        let name = actor.name().unwrap_or("Muster").to_owned();
        Self { kind: actor.kind(), id: actor.id(), name }
    }
}

/// What is known of a script or a saved command beside its text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AboutAnswer {
    id: Uuid,
    /// Whose it is; null when it is shared with all.
    customer_id: Option<Uuid>,
    name: String,
    description: Option<String>,
    category: Option<String>,
    tags: Vec<String>,
    /// The systems that it is made for, `linux`, `windows`, `macos` or `other`; any when null.
    target_os_type: Option<&'static str>,
    parameters: Vec<ParameterBody>,
    /// How often it was written; the `ETag` of its answers.
    version: u32,
    /// How dangerous its text was thought to be when it was written: `safe` when it only looks,
    /// `dangerous` when it can cost data, access or protection, else `caution`.
    safety_level: &'static str,
    /// How long its text is, in bytes.
    bytes: u32,
    /// Who wrote it last.
    updated_by: WriterAnswer,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl<I: ItemId> From<&Item<I>> for AboutAnswer {
    fn from(item: &Item<I>) -> Self {
        let Version { number, about, safety_level, bytes, author, created_at, .. } = &item.version;
        Self {
            id: item.id.uuid(),
            customer_id: item.customer_id.map(CustomerId::as_uuid),
            name: about.name.clone(),
            description: about.description.clone(),
            category: about.category.clone(),
            tags: about.tags.iter().map(ToOwned::to_owned).collect(),
            target_os_type: about.target_os_type.map(OsType::as_str),
            parameters: about.parameters.iter().map(Into::into).collect(),
            version: *number,
            safety_level: safety_level.as_str(),
            bytes: *bytes,
            updated_by: author.into(),
            created_at: item.created_at,
            updated_at: *created_at,
        }
    }
}

/// A version in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionAnswer {
    id: Uuid,
    /// The first is 1, the next one more.
    version: u32,
    /// What it was called.
    name: String,
    /// Which fields are others than in the version before.
    changes: Vec<&'static str>,
    /// Why it was written.
    note: Option<String>,
    safety_level: &'static str,
    /// How long its text is, in bytes.
    bytes: u32,
    created_by: WriterAnswer,
    created_at: DateTime<Utc>,
}

impl VersionAnswer {
    pub(crate) fn of(kind: Kind, version: &Version) -> Self {
        Self {
            id: version.id.as_uuid(),
            version: version.number,
            name: version.about.name.clone(),
            changes: version.changes.iter().map(|field| field.name_in(kind)).collect(),
            note: version.note.clone(),
            safety_level: version.safety_level.as_str(),
            bytes: version.bytes,
            created_by: (&version.author).into(),
            created_at: version.created_at,
        }
    }
}

/// What is known of one version beside its text, and how that differs from the version before.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionDetails {
    #[serde(flatten)]
    version: VersionAnswer,
    description: Option<String>,
    category: Option<String>,
    tags: Vec<String>,
    target_os_type: Option<&'static str>,
    parameters: Vec<ParameterBody>,
    /// A unified diff of the texts; empty when they are the same.
    diff: String,
}

impl VersionDetails {
    pub(crate) fn of(kind: Kind, version: &Version, diff: String) -> Self {
        let about = &version.about;
        Self {
            version: VersionAnswer::of(kind, version),
            description: about.description.clone(),
            category: about.category.clone(),
            tags: about.tags.iter().map(ToOwned::to_owned).collect(),
            target_os_type: about.target_os_type.map(OsType::as_str),
            parameters: about.parameters.iter().map(Into::into).collect(),
            diff,
        }
    }
}
