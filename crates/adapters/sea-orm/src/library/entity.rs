//! The tables `library_items` and `library_versions`.

use muster_agents::OsType;
use muster_commands::library::{About, Field, Item, ItemId, Kind, Version};
use muster_commands::{SafetyLevel, ShellType};
use muster_kernel::{Actor, ApiKeyId, CustomerId, UserId, VersionId};
use sea_orm::entity::prelude::*;
use sea_orm::{FromQueryResult, QueryResult, QuerySelect, Select};

use crate::DatabaseError;
use crate::columns::{from_json, json, micros, timestamp};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "library_items")]
pub(super) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub kind: String,
    pub customer_id: Option<Uuid>,
    pub canonical_name: String,
    pub version_id: Uuid,
    pub created_at: i64,
    pub deleted_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(super) enum Relation {
    #[sea_orm(
        belongs_to = "version::Entity",
        from = "Column::VersionId",
        to = "version::Column::Id"
    )]
    Version,
}

impl ActiveModelBehavior for ActiveModel {}

/// The form of a name under which two names are the same.
pub(super) fn canonical(name: &str) -> String {
    name.to_lowercase()
}

/// The table `library_versions`.
pub(super) mod version {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "library_versions")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub item_id: Uuid,
        pub number: i64,
        pub name: String,
        pub description: Option<String>,
        pub category: Option<String>,
        pub tags: String,
        pub target_os_type: Option<String>,
        pub shell_type: String,
        pub parameters: String,
        pub text: String,
        pub sha256: Vec<u8>,
        pub bytes: i64,
        pub safety_level: String,
        pub author_kind: String,
        pub author_id: Option<Uuid>,
        pub author_name: Option<String>,
        pub changes: String,
        pub note: Option<String>,
        pub created_at: i64,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl<I: ItemId> From<&Item<I>> for Model {
    fn from(item: &Item<I>) -> Self {
        Self {
            id: item.id.uuid(),
            kind: I::KIND.as_str().to_owned(),
            customer_id: item.customer_id.map(CustomerId::as_uuid),
            canonical_name: canonical(&item.version.about.name),
            version_id: item.version.id.as_uuid(),
            created_at: micros(item.created_at),
            deleted_at: None,
        }
    }
}

impl version::Model {
    /// The row of an item's version.
    pub(super) fn of<I: ItemId>(item: &Item<I>, text: &str) -> Self {
        let Version { about, .. } = &item.version;
        let changes: Vec<_> =
            item.version.changes.iter().map(|field| field.name_in(I::KIND)).collect();
        Self {
            id: item.version.id.as_uuid(),
            item_id: item.id.uuid(),
            number: i64::from(item.version.number),
            name: about.name.clone(),
            description: about.description.clone(),
            category: about.category.clone(),
            tags: json(&about.tags),
            target_os_type: about.target_os_type.map(|target| target.as_str().to_owned()),
            shell_type: about.shell_type.as_str().to_owned(),
            parameters: json(&about.parameters),
            text: text.to_owned(),
            sha256: item.version.sha256.to_vec(),
            bytes: i64::from(item.version.bytes),
            safety_level: item.version.safety_level.as_str().to_owned(),
            author_kind: item.version.author.kind().to_owned(),
            author_id: item.version.author.id(),
            author_name: item.version.author.name().map(ToOwned::to_owned),
            changes: json(&changes),
            note: item.version.note.clone(),
            created_at: micros(item.version.created_at),
        }
    }
}

/// A version without its text, which may be long.
#[derive(Debug, FromQueryResult)]
pub(super) struct Head {
    id: Uuid,
    number: i64,
    name: String,
    description: Option<String>,
    category: Option<String>,
    tags: String,
    target_os_type: Option<String>,
    shell_type: String,
    parameters: String,
    sha256: Vec<u8>,
    bytes: i64,
    safety_level: String,
    author_kind: String,
    author_id: Option<Uuid>,
    author_name: Option<String>,
    changes: String,
    note: Option<String>,
    created_at: i64,
}

impl Head {
    /// The columns that it is read from.
    pub(super) const COLUMNS: [version::Column; 18] = {
        use version::Column as C;
        [
            C::Id,
            C::Number,
            C::Name,
            C::Description,
            C::Category,
            C::Tags,
            C::TargetOsType,
            C::ShellType,
            C::Parameters,
            C::Sha256,
            C::Bytes,
            C::SafetyLevel,
            C::AuthorKind,
            C::AuthorId,
            C::AuthorName,
            C::Changes,
            C::Note,
            C::CreatedAt,
        ]
    };

    pub(super) fn read(self, kind: Kind) -> Result<Version, DatabaseError> {
        let bad = DatabaseError::bad_row;
        let author = self.author()?;
        let target = self.target_os_type.as_deref().map(OsType::parse);
        let changes: Vec<String> = from_json(&self.changes, "library_versions.changes")?;
        let changes = changes.iter().map(|name| Field::parse(kind, name));
        Ok(Version {
            id: VersionId::from_uuid(self.id),
            number: u32::try_from(self.number).map_err(|_| bad("library_versions.number"))?,
            about: About {
                name: self.name,
                description: self.description,
                category: self.category,
                tags: from_json(&self.tags, "library_versions.tags")?,
                target_os_type: target
                    .map(|target| target.ok_or_else(|| bad("library_versions.target_os_type")))
                    .transpose()?,
                shell_type: ShellType::parse(&self.shell_type)
                    .ok_or_else(|| bad("library_versions.shell_type"))?,
                parameters: from_json(&self.parameters, "library_versions.parameters")?,
            },
            sha256: self.sha256.try_into().map_err(|_| bad("library_versions.sha256"))?,
            bytes: u32::try_from(self.bytes).map_err(|_| bad("library_versions.bytes"))?,
            safety_level: SafetyLevel::parse(&self.safety_level)
                .ok_or_else(|| bad("library_versions.safety_level"))?,
            author,
            created_at: timestamp(self.created_at, "library_versions.created_at")?,
            changes: changes
                .collect::<Option<_>>()
                .ok_or_else(|| bad("library_versions.changes"))?,
            note: self.note,
        })
    }

    fn author(&self) -> Result<Actor, DatabaseError> {
        let name = || self.author_name.clone().unwrap_or_default().into();
        match (self.author_kind.as_str(), self.author_id) {
            ("system", None) => Ok(Actor::System),
            ("user", Some(id)) => Ok(Actor::User { id: UserId::from_uuid(id), name: name() }),
            ("api_key", Some(id)) => {
                Ok(Actor::ApiKey { id: ApiKeyId::from_uuid(id), name: name() })
            }
            _ => Err(DatabaseError::bad_row("library_versions.author_kind")),
        }
    }
}

/// An item with its version.
#[derive(Debug)]
pub(super) struct Row {
    id: Uuid,
    customer_id: Option<Uuid>,
    created_at: i64,
    version: Head,
}

impl FromQueryResult for Row {
    fn from_query_result(result: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        Ok(Self {
            id: result.try_get(prefix, "item_id")?,
            customer_id: result.try_get(prefix, "customer_id")?,
            created_at: result.try_get(prefix, "item_created_at")?,
            version: Head::from_query_result(result, prefix)?,
        })
    }
}

impl Row {
    /// A query of items and their versions that reads what it is read from.
    pub(super) fn of(items: Select<Entity>) -> Select<Entity> {
        items
            .select_only()
            .column_as(Column::Id, "item_id")
            .column(Column::CustomerId)
            .column_as(Column::CreatedAt, "item_created_at")
            .columns(Head::COLUMNS)
    }

    pub(super) fn read<I: ItemId>(self) -> Result<Item<I>, DatabaseError> {
        Ok(Item {
            id: I::of_uuid(self.id),
            customer_id: self.customer_id.map(CustomerId::from_uuid),
            version: self.version.read(I::KIND)?,
            created_at: timestamp(self.created_at, "library_items.created_at")?,
        })
    }
}
