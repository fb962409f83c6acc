//! One group.

use muster_kernel::{Audited, CustomerId, GroupId, Place, Timestamp};

use crate::{Agent, Criteria};

/// The longest name, in characters.
const MAX_NAME: usize = 200;
/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 2000;

/// Which field of a group breaks a rule, and which rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct InvalidGroup {
    /// Where.
    pub field: &'static str,
    /// What is expected there.
    pub rule: &'static str,
}

/// What a group is called: 1 to 200 printable characters, the same for upper and lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupName(String);

impl GroupName {
    /// Takes a name as people give it, without the space around it.
    ///
    /// # Errors
    /// When it is empty, too long or not printable.
    pub fn parse(text: &str) -> Result<Self, InvalidGroup> {
        let name = text.trim();
        let length = name.chars().count();
        if !(1..=MAX_NAME).contains(&length) || name.chars().any(char::is_control) {
            let rule = "1 to 200 printable characters are expected";
            return Err(InvalidGroup { field: "name", rule });
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two names have in common that are the same.
    pub fn canonical(&self) -> String {
        self.0.to_lowercase()
    }
}

/// Who is in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupKind {
    /// Those that somebody put into it.
    Static,
    /// Those that pass, whenever somebody asks.
    Filter(Criteria),
}

impl GroupKind {
    /// The name in the API.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Filter(_) => "filter",
        }
    }

    /// The criteria, if it has some, checked: they have to ask for something.
    pub(super) fn checked(self) -> Result<Self, InvalidGroup> {
        let Self::Filter(criteria) = self else { return Ok(self) };
        let checked = criteria.checked();
        let criteria =
            checked.map_err(|error| InvalidGroup { field: error.field, rule: error.rule })?;
        if criteria.is_empty() {
            let rule = "a filter asks for something: everybody would be in the group";
            return Err(InvalidGroup { field: "", rule });
        }
        Ok(Self::Filter(criteria))
    }
}

/// A wish for a group.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of Group")]
pub struct NewGroup {
    pub customer_id: Option<CustomerId>,
    pub name: GroupName,
    pub description: Option<String>,
    pub kind: GroupKind,
}

/// A change to a group; what is `None` stays, and an empty description removes what there is.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are those of Group")]
pub struct GroupChange {
    pub name: Option<GroupName>,
    pub description: Option<String>,
    pub criteria: Option<Criteria>,
}

/// Machines under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Whose it is; of all customers when `None`.
    pub customer_id: Option<CustomerId>,
    /// What it is called; no other group of the same owner has the same name.
    pub name: GroupName,
    /// What it is for.
    pub description: Option<String>,
    /// Who is in it.
    pub kind: GroupKind,
    /// Counts its changes, from 1; changes of who is in it do not count.
    pub version: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Group {
    /// The group after a change.
    ///
    /// # Errors
    /// When it has no filter and the change gives it one, or a field breaks a rule.
    pub(super) fn changed(
        mut self,
        change: GroupChange,
        now: Timestamp,
    ) -> Result<Self, InvalidGroup> {
        self.name = change.name.unwrap_or(self.name);
        if let Some(text) = change.description {
            self.description = description(Some(text))?;
        }
        if let Some(criteria) = change.criteria {
            if self.kind == GroupKind::Static {
                let rule = "its machines are said one by one: make another group for a filter";
                return Err(InvalidGroup { field: "", rule });
            }
            self.kind = GroupKind::Filter(criteria).checked()?;
        }
        self.version = self.version.saturating_add(1);
        self.updated_at = now;
        Ok(self)
    }

    /// Who is in it, for queries.
    pub fn membership(&self) -> Membership {
        match &self.kind {
            GroupKind::Static => Membership::Static(self.id),
            GroupKind::Filter(criteria) => {
                let (customer_id, criteria) = (self.customer_id, criteria.clone());
                Membership::Filter { customer_id, criteria }
            }
        }
    }
}

/// A description without the space around it.
pub(super) fn description(text: Option<String>) -> Result<Option<String>, InvalidGroup> {
    let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if text.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
        let rule = "at most 2000 characters are expected";
        return Err(InvalidGroup { field: "description", rule });
    }
    Ok(text)
}

impl Audited for Group {
    fn place(&self) -> Place {
        Place { kind: "group", id: self.id.as_uuid(), customer_id: self.customer_id }
    }

    fn facts(&self) -> serde_json::Value {
        let filter = match &self.kind {
            GroupKind::Static => None,
            GroupKind::Filter(criteria) => Some(criteria),
        };
        serde_json::json!({
            "name": self.name.as_str(),
            "customer_id": self.customer_id,
            "description": self.description,
            "filter": filter,
        })
    }
}

/// What makes a machine a member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// Somebody put it into this one.
    Static(GroupId),
    /// It passes.
    Filter {
        /// Only this customer's.
        customer_id: Option<CustomerId>,
        /// What it has to pass.
        criteria: Criteria,
    },
}

impl Membership {
    /// Whether `agent` is a member at `now`.
    pub fn covers(&self, agent: &Agent, now: Timestamp) -> bool {
        match self {
            Self::Static(group) => agent.groups.contains(group),
            Self::Filter { customer_id, criteria } => {
                customer_id.is_none_or(|id| agent.customer_id == id) && criteria.pass(agent, now)
            }
        }
    }
}
