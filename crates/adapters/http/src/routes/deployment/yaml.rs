//! Profiles as YAML.
//!
//! The order of fields is fixed and what goes without saying is left out, so that the same profile
//! is always the same text, and a change to it a change to the lines that say it.

use std::sync::Arc;

use muster_commands::library::About;
use muster_deployment_profiles::{Bundle, ScriptPart, SoftwarePart};
use muster_kernel::ProblemCode;
use serde::{Deserialize, Serialize};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, MergeKeyPolicy, UserMessageFormatter, budget, options, ser_options};
use utoipa::ToSchema;

use super::software::{VariantBody, says};
use super::task_body::TaskBody;
use crate::Problem;
use crate::extract::{nul_in, null_as_default, pointer};
use crate::routes::agent_query::OsTypeParameter;
use crate::routes::commands::Shell;
use crate::routes::library::{self, ParameterBody};

/// Which kind of file it is.
const FORMAT: u32 = 1;
/// How deep lists and fields may lie in each other; six are needed.
const MAX_DEPTH: usize = 16;
/// How many fields and items a file may have.
const MAX_NODES: usize = 100_000;

/// A profile with all that it names.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileFile {
    /// Which kind of file it is: 1.
    #[schema(example = 1)]
    muster: u32,
    profile: ProfileInFile,
    /// The scripts that it names.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    scripts: Vec<ScriptInFile>,
    /// The software that it names.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    software: Vec<SoftwareInFile>,
}

/// What is to be done to a machine.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProfileInFile {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    target_os_type: Option<OsTypeParameter>,
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_false")]
    is_template: bool,
    /// What is done, in its order.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    tasks: Vec<TaskBody>,
}

/// A script that tasks name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ScriptInFile {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    script_type: Shell,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    target_os_type: Option<OsTypeParameter>,
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    parameters: Vec<ParameterBody>,
    #[schema(value_type = String)]
    content: Arc<str>,
}

/// A piece of software that tasks name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SoftwareInFile {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    variants: Vec<VariantBody>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "it is called with a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Reads what a file says, as far as that can be told without looking elsewhere.
///
/// # Errors
/// [`Problem`] names the place.
pub fn read_profile(text: &[u8]) -> Result<Bundle, Problem> {
    let text = str::from_utf8(text).map_err(|error| {
        let detail = format!("the file is not UTF-8 from byte {} on", error.valid_up_to());
        Problem::new(ProblemCode::Malformed, detail)
    })?;
    let options = options! {
        budget: budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_documents: 1,
            // A few lines of them come to gigabytes.
            max_anchors: 0,
            max_aliases: 0,
        },
        merge_keys: MergeKeyPolicy::Error,
        // What other readers of YAML take for something else is what it looks like.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let mut place = String::new();
    let file = serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| {
        serde_path_to_error::deserialize::<_, ProfileFile>(yaml).map_err(|error| {
            place = pointer(error.path());
            error.into_inner()
        })
    });
    let file = file.map_err(|error| unreadable(&error, place))?;
    // What the escapes of YAML make of a text no database keeps.
    let value = serde_json::to_value(&file).unwrap_or_default();
    if let Some(at) = nul_in(&value) {
        return Err(Problem::invalid(at, "there is a NUL in it, which no text here may have"));
    }
    file.try_into()
}

/// Writes a profile into a file: the same profile is always the same text.
///
/// # Errors
/// When it can't be written, which nobody has seen yet.
pub fn write_profile(bundle: Bundle) -> Result<String, Problem> {
    let options = ser_options! {
        // A line that is long is still one: it would read as another text elsewhere.
        folded_wrap_chars: usize::MAX,
    };
    serde_saphyr::to_string_with_options(&ProfileFile::from(bundle), options).map_err(|error| {
        tracing::error!(%error, "a profile could not be written as YAML");
        Problem::new(ProblemCode::Internal, "something went wrong here; the log says more")
    })
}

/// Why a file can't be read, and where.
fn unreadable(error: &Error, place: String) -> Problem {
    let error = error.without_snippet();
    let reason = match error {
        Error::Budget { breach, location } => {
            let reason = match breach {
                BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. } => {
                    "anchors and aliases are not taken: write it out"
                }
                BudgetBreach::Documents { .. } => "one document is expected, and another follows",
                _ => "it is too large, or its fields lie too deep in each other",
            };
            format!("{reason} at line {}, column {}", location.line(), location.column())
        }
        error => error.render_with_formatter(&UserMessageFormatter),
    };
    if is_about_a_value(error) {
        return Problem::invalid(place, reason);
    }
    Problem::new(ProblemCode::Malformed, format!("the file can't be read: {reason}"))
}

/// Whether it is YAML, and says something else than is expected.
const fn is_about_a_value(error: &Error) -> bool {
    matches!(
        error,
        Error::Message { .. }
            | Error::Unexpected { .. }
            | Error::InvalidBooleanStrict { .. }
            | Error::NullIntoString { .. }
            | Error::InvalidScalar { .. }
            | Error::NonFiniteFloat { .. }
            | Error::SerdeInvalidType { .. }
            | Error::SerdeInvalidValue { .. }
            | Error::SerdeInvalidLength { .. }
            | Error::SerdeUnknownVariant { .. }
            | Error::SerdeUnknownField { .. }
            | Error::SerdeMissingField { .. }
            | Error::SerdeVariantId { .. }
    )
}

impl TryFrom<ProfileFile> for Bundle {
    type Error = Problem;

    fn try_from(file: ProfileFile) -> Result<Self, Problem> {
        if file.muster != FORMAT {
            let rule = format!("{FORMAT} is expected: another Muster may read this file");
            return Err(Problem::invalid("/muster", rule));
        }
        let ProfileInFile { name, description, target_os_type, is_template, tasks } = file.profile;
        Ok(Self {
            name,
            description,
            target_os_type: target_os_type.map(Into::into),
            is_template,
            tasks: each("/profile/tasks", tasks, TaskBody::part)?,
            scripts: each("/scripts", file.scripts, ScriptPart::try_from)?,
            software: file.software.into_iter().map(Into::into).collect(),
        })
    }
}

/// What each item of a list comes to, or the problem with one of them, at its place.
fn each<T, U>(
    place: &str,
    items: Vec<T>,
    change: impl Fn(T) -> Result<U, Problem>,
) -> Result<Vec<U>, Problem> {
    let item = |(number, item)| {
        change(item).map_err(|problem: Problem| problem.within(&format!("{place}/{number}")))
    };
    items.into_iter().enumerate().map(item).collect()
}

impl TryFrom<ScriptInFile> for ScriptPart {
    type Error = Problem;

    fn try_from(script: ScriptInFile) -> Result<Self, Problem> {
        let about = About {
            name: script.name,
            description: script.description,
            category: script.category,
            tags: library::tags(script.tags)?,
            target_os_type: script.target_os_type.map(Into::into),
            shell_type: script.script_type.into(),
            parameters: library::parameters(script.parameters)?,
        };
        Ok(Self { about, text: script.content })
    }
}

impl From<SoftwareInFile> for SoftwarePart {
    fn from(software: SoftwareInFile) -> Self {
        let SoftwareInFile { name, description, variants } = software;
        Self { name, description, body: says(variants) }
    }
}

impl From<Bundle> for ProfileFile {
    fn from(bundle: Bundle) -> Self {
        Self {
            muster: FORMAT,
            profile: ProfileInFile {
                name: bundle.name,
                description: bundle.description,
                target_os_type: bundle.target_os_type.map(Into::into),
                is_template: bundle.is_template,
                tasks: bundle.tasks.into_iter().map(TaskBody::of_part).collect(),
            },
            scripts: bundle.scripts.into_iter().map(Into::into).collect(),
            software: bundle.software.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<ScriptPart> for ScriptInFile {
    fn from(part: ScriptPart) -> Self {
        let ScriptPart { about, text } = part;
        let parameters = about.parameters.iter().map(ParameterBody::from);
        Self {
            parameters: parameters.map(ParameterBody::brief).collect(),
            name: about.name,
            description: about.description,
            category: about.category,
            tags: about.tags.iter().map(ToOwned::to_owned).collect(),
            script_type: about.shell_type.into(),
            target_os_type: about.target_os_type.map(Into::into),
            content: text,
        }
    }
}

impl From<SoftwarePart> for SoftwareInFile {
    fn from(part: SoftwarePart) -> Self {
        let SoftwarePart { name, description, body } = part;
        Self { name, description, variants: body.variants.into_iter().map(Into::into).collect() }
    }
}

#[cfg(test)]
mod tests;
