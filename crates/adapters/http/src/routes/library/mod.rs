//! What scripts and saved commands have in common.

mod answers;
mod parameter;

use muster_agents::OsType;
use muster_commands::library::{
    Change, InvalidItem, Kind, LibraryError, LibraryFilter, LibraryWriteError, Parameter,
};
use muster_kernel::{CustomerId, InvalidTags, ProblemCode, Tags};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

pub(crate) use answers::{AboutAnswer, VersionAnswer, VersionDetails};
pub(crate) use parameter::ParameterBody;

use super::agent_query::OsTypeParameter;
use super::commands::Shell;
use crate::Problem;

/// The largest body of a request that carries a text, in bytes. A text has at most 1 MiB, which
/// JSON makes three times as long when it writes all letters beyond ASCII as `\u…`.
pub(crate) const MAX_BODY: usize = 4 * 1024 * 1024;

/// Which of them a list shows.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LibraryQuery {
    /// Only this customer's own.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// Only those whose name contains this.
    q: Option<String>,
    /// Only those that are made for these systems.
    #[param(inline)]
    target_os_type: Option<OsTypeParameter>,
    /// Only those under this category.
    category: Option<String>,
    /// Only those with this tag.
    tag: Option<String>,
}

impl LibraryQuery {
    pub(crate) fn filter(self, shell: Option<Shell>) -> LibraryFilter {
        LibraryFilter {
            customer_id: self.customer_id.map(CustomerId::from_uuid),
            q: self.q,
            shell_type: shell.map(Into::into),
            target_os_type: self.target_os_type.map(OsType::from),
            category: self.category,
            tag: self.tag,
        }
    }
}

/// What a change may say of either kind, as the body has it.
#[expect(clippy::option_option, reason = "null says something else than nothing")]
pub(crate) struct ChangeParts {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<Option<String>>,
    pub(crate) category: Option<Option<String>>,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) target_os_type: Option<Option<OsTypeParameter>>,
    pub(crate) shell: Option<Shell>,
    pub(crate) parameters: Option<Vec<ParameterBody>>,
    pub(crate) text: Option<String>,
}

impl TryFrom<ChangeParts> for Change {
    type Error = Problem;

    fn try_from(parts: ChangeParts) -> Result<Self, Problem> {
        Ok(Self {
            name: parts.name,
            description: parts.description,
            category: parts.category,
            tags: parts.tags.map(tags).transpose()?,
            target_os_type: parts.target_os_type.map(|target| target.map(Into::into)),
            shell_type: parts.shell.map(Into::into),
            parameters: parts.parameters.map(parameters).transpose()?,
            text: parts.text.map(Into::into),
        })
    }
}

pub(crate) fn tags(tags: Vec<String>) -> Result<Tags, Problem> {
    Tags::parse(tags).map_err(|InvalidTags(rule)| Problem::invalid("/tags", rule))
}

pub(crate) fn parameters(bodies: Vec<ParameterBody>) -> Result<Vec<Parameter>, Problem> {
    let read = |(index, body): (usize, ParameterBody)| {
        body.read()
            .map_err(|(field, rule)| Problem::invalid(format!("/parameters/{index}/{field}"), rule))
    };
    bodies.into_iter().enumerate().map(read).collect()
}

/// That a thing keeps its customer for good: commands and schedules refer to it.
pub(crate) fn check_owner(
    asked: Option<Uuid>,
    customer: Option<CustomerId>,
) -> Result<(), Problem> {
    if asked.is_none_or(|asked| Some(CustomerId::from_uuid(asked)) == customer) {
        return Ok(());
    }
    let rule = "whose it is never changes; create another one for that customer";
    Err(Problem::invalid("/customer_id", rule))
}

/// What is wrong, in the words of a kind.
pub(crate) fn problem(kind: Kind, error: LibraryError) -> Problem {
    let text = error.to_string();
    match error {
        LibraryError::NotFound
        | LibraryError::NoVersion
        | LibraryError::Write(LibraryWriteError::NoCustomer) => {
            Problem::new(ProblemCode::NotFound, text)
        }
        LibraryError::Shared => Problem::new(ProblemCode::Forbidden, text),
        LibraryError::Denied(denied) => denied.into(),
        LibraryError::Invalid(error) => invalid(kind, error),
        LibraryError::Stale | LibraryError::Write(LibraryWriteError::Stale) => {
            Problem::new(ProblemCode::PreconditionFailed, text)
        }
        LibraryError::Write(LibraryWriteError::NameTaken) => {
            Problem::new(ProblemCode::AlreadyExists, text)
        }
        LibraryError::Write(LibraryWriteError::Storage(error)) | LibraryError::Storage(error) => {
            error.into()
        }
    }
}

/// The field that breaks a rule, under its name in the body.
pub(crate) fn invalid(kind: Kind, error: InvalidItem) -> Problem {
    let InvalidItem { field, within, rule } = error;
    Problem::invalid(format!("/{}{within}", field.name_in(kind)), rule)
}
