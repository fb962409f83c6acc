//! Profiles and tasks in the words of whoever asks, and what can be wrong with them.

use muster_agents::OsType;
use muster_commands::runs::{RunsError, Wording};
use muster_kernel::StorageError;

use crate::catalog::CatalogError;
use crate::{Action, Invalid};

/// Why something could not be done with a profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfilesError {
    /// There is no such profile, or something else that is kept is in the way.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// It has no such task.
    #[error("the profile has no such task")]
    NoTask,
    /// It is no template.
    #[error("there is no such template, or it is not yours")]
    NoTemplate,
    /// What a task is to run is not right.
    #[error(transparent)]
    Work(RunsError),
}

impl ProfilesError {
    /// The same, in a part of something larger.
    pub(crate) fn within(self, place: &str) -> Self {
        match self {
            Self::Catalog(CatalogError::Invalid(invalid)) => {
                // Files know scripts and software by their names.
                let known = invalid.pointer.trim_end_matches("_id").to_owned();
                Invalid { pointer: known, ..invalid }.within(place).into()
            }
            Self::Work(RunsError::Invalid(error)) => Invalid::from(error).within(place).into(),
            Self::Work(RunsError::Storage(error)) => error.into(),
            Self::Work(other) => Invalid::new(place, other.to_string()).into(),
            other => other,
        }
    }
}

impl From<Invalid> for ProfilesError {
    fn from(invalid: Invalid) -> Self {
        CatalogError::from(invalid).into()
    }
}

impl From<StorageError> for ProfilesError {
    fn from(error: StorageError) -> Self {
        CatalogError::from(error).into()
    }
}

/// A task in the words of whoever asks.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of Task")]
pub struct TaskWish {
    pub name: String,
    pub description: Option<String>,
    /// Behind all others when nobody says.
    pub order_index: Option<i32>,
    pub action: Action,
    pub check: Option<Wording>,
    pub continue_on_error: bool,
    pub timeout: Option<f64>,
}

/// A change to what a profile says beside its tasks; what is `None` stays, and `Some(None)` removes
/// what there is.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are those of Profile")]
pub struct HeadChange {
    pub name: Option<String>,
    pub description: Option<Option<String>>,
    pub target_os_type: Option<Option<OsType>>,
    pub is_template: Option<bool>,
}
