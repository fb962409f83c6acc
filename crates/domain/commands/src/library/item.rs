//! A thing in the library and its versions.

use std::fmt;
use std::sync::Arc;

use muster_agents::OsType;
use muster_kernel::{
    Actor, Audited, Clock, CustomerId, Entropy, Place, SavedCommandId, ScriptId, Tags, Timestamp,
    VersionId,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Draft, Parameter};
use crate::{MAX_COMMAND_BYTES, SafetyLevel, ShellType};

/// What a text in the library is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It runs from a file of its own.
    Script,
    /// It is handed to the shell like any other command.
    SavedCommand,
}

impl Kind {
    /// The name in the database and the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::SavedCommand => "saved_command",
        }
    }

    /// How long a text may be, in bytes.
    pub const fn max_bytes(self) -> usize {
        match self {
            Self::Script => 1024 * 1024,
            Self::SavedCommand => MAX_COMMAND_BYTES,
        }
    }
}

/// The id of a thing in the library, which says what it is.
pub trait ItemId: Copy + Ord + fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// What it is the id of.
    const KIND: Kind;

    /// Makes a new one.
    fn draw(clock: &dyn Clock, entropy: &dyn Entropy) -> Self;

    /// The one that `uuid` stands for.
    fn of_uuid(uuid: Uuid) -> Self;

    /// The plain UUID.
    fn uuid(self) -> Uuid;
}

macro_rules! item_ids {
    ($($name:ident: $kind:ident),+) => {$(
        impl ItemId for $name {
            const KIND: Kind = Kind::$kind;

            fn draw(clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
                Self::new(clock, entropy)
            }

            fn of_uuid(uuid: Uuid) -> Self {
                Self::from_uuid(uuid)
            }

            fn uuid(self) -> Uuid {
                self.as_uuid()
            }
        }
    )+};
}

item_ids! { ScriptId: Script, SavedCommandId: SavedCommand }

/// A field of a thing in the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of Item, About and Opened")]
pub enum Field {
    Name,
    Description,
    Category,
    Tags,
    TargetOsType,
    ShellType,
    Parameters,
    Text,
    Note,
    CustomerId,
}

impl Field {
    /// Every field.
    pub const ALL: &[Self] = &[
        Self::Name,
        Self::Description,
        Self::Category,
        Self::Tags,
        Self::TargetOsType,
        Self::ShellType,
        Self::Parameters,
        Self::Text,
        Self::Note,
        Self::CustomerId,
    ];

    /// The name in the API, where a script has a `script_type` and `content`.
    pub const fn name_in(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::Name, _) => "name",
            (Self::Description, _) => "description",
            (Self::Category, _) => "category",
            (Self::Tags, _) => "tags",
            (Self::TargetOsType, _) => "target_os_type",
            (Self::ShellType, Kind::Script) => "script_type",
            (Self::ShellType, Kind::SavedCommand) => "shell_type",
            (Self::Parameters, _) => "parameters",
            (Self::Text, Kind::Script) => "content",
            (Self::Text, Kind::SavedCommand) => "command",
            (Self::Note, _) => "note",
            (Self::CustomerId, _) => "customer_id",
        }
    }

    /// Reads what [`Field::name_in`] wrote.
    pub fn parse(kind: Kind, text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.name_in(kind) == text)
    }
}

/// What a version says beside its text.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// What people call it. No two of a customer's have the same name, upper and lower case alike,
    /// and no two that are shared.
    pub name: String,
    /// What it is good for.
    pub description: Option<String>,
    /// What people sort it under.
    pub category: Option<String>,
    /// Words that people sort it by.
    pub tags: Tags,
    /// The systems that it is made for; any when `None`.
    pub target_os_type: Option<OsType>,
    /// The program that reads the text.
    pub shell_type: ShellType,
    /// What may be said when it is run, in the order of its arguments.
    pub parameters: Vec<Parameter>,
}

/// A thing of the library as it was at one time. It never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Its id; its text is found by it.
    pub id: VersionId,
    /// The first is 1, the next one more.
    pub number: u32,
    /// What it says beside its text.
    pub about: About,
    /// The SHA-256 of its text.
    pub sha256: [u8; 32],
    /// How long its text is, in bytes.
    pub bytes: u32,
    /// How dangerous its text was thought to be when it was written.
    pub safety_level: SafetyLevel,
    /// Who wrote it.
    pub author: Actor,
    /// When.
    pub created_at: Timestamp,
    /// What is another than in the version before.
    pub changes: Vec<Field>,
    /// Why it was written.
    pub note: Option<String>,
}

/// Who writes a version, when, why, and what is thought of it.
#[derive(Debug, Clone)]
pub(super) struct Writing {
    pub(super) id: VersionId,
    pub(super) author: Actor,
    pub(super) now: Timestamp,
    pub(super) note: Option<String>,
    pub(super) safety_level: SafetyLevel,
}

impl Version {
    /// The first version.
    pub(super) fn first(draft: &Draft, writing: Writing) -> Self {
        let text = draft.text();
        Self {
            id: writing.id,
            number: 1,
            about: draft.about().clone(),
            sha256: sha256(text),
            // A text is at most 1 MiB long.
            bytes: u32::try_from(text.len()).unwrap_or(u32::MAX),
            safety_level: writing.safety_level,
            author: writing.author,
            created_at: writing.now,
            changes: Vec::new(),
            note: writing.note,
        }
    }

    /// The version after this one.
    pub(super) fn next(&self, draft: &Draft, writing: Writing) -> Self {
        let first = Self::first(draft, writing);
        Self { number: self.number.saturating_add(1), changes: self.differs_in(draft), ..first }
    }

    /// In which fields `draft` says something else.
    pub(super) fn differs_in(&self, draft: &Draft) -> Vec<Field> {
        let (old, new) = (&self.about, draft.about());
        let fields = [
            (Field::Name, old.name != new.name),
            (Field::Description, old.description != new.description),
            (Field::Category, old.category != new.category),
            (Field::Tags, old.tags != new.tags),
            (Field::TargetOsType, old.target_os_type != new.target_os_type),
            (Field::ShellType, old.shell_type != new.shell_type),
            (Field::Parameters, old.parameters != new.parameters),
            (Field::Text, self.sha256 != sha256(draft.text())),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
    }
}

fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// A script or a saved command, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Item<I> {
    /// Its id.
    pub id: I,
    /// Whose it is; `None` when it is shared with all. That never changes.
    pub customer_id: Option<CustomerId>,
    /// What it says.
    pub version: Version,
    /// When it was created; it changed last when its version was written.
    pub created_at: Timestamp,
}

/// A script of the library.
pub type Script = Item<ScriptId>;
/// A saved command of the library.
pub type SavedCommand = Item<SavedCommandId>;

/// A thing in the library with its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened<I> {
    /// All but the text.
    pub item: Item<I>,
    /// The text of its version.
    pub text: Arc<str>,
}

impl<I: ItemId> Audited for Item<I> {
    fn place(&self) -> Place {
        Place { kind: I::KIND.as_str(), id: self.id.uuid(), customer_id: self.customer_id }
    }

    /// The text stands in the version, for good: its hash proves which it was.
    fn facts(&self) -> Value {
        let Version { number, about, sha256, .. } = &self.version;
        json!({
            "version": number,
            "name": about.name,
            "description": about.description,
            "category": about.category,
            "tags": about.tags,
            "target_os_type": about.target_os_type.map(OsType::as_str),
            (Field::ShellType.name_in(I::KIND)): about.shell_type.as_str(),
            "parameters": about.parameters,
            "sha256": hex(sha256),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
