//! Values for parameters, as environment variables and arguments.
//!
//! A value is never written into a text that a shell reads. Each becomes a variable of its
//! parameter's name; of a script, those that are not secret become arguments as well:
//!
//! - for `sh`, `bash` and `cmd` by position, in the order of the parameters; one that has no value
//!   is an empty argument, so that the others keep their places
//! - for `powershell` and `pwsh` by name, as their `-File` takes them: the two arguments `-Name:`
//!   and the value. With its colon the name takes whatever follows, also what begins with a dash;
//!   `-Name` alone would take `-Other` for the next parameter. One that has no value is left out.
//!   Yes and no are `-Name:$true` and `-Name:$false` for `pwsh`; Windows PowerShell takes a switch
//!   only as it stands, so there it is `-Name` or nothing
//!
//! Secrets are never arguments: everybody on a machine sees those.

use std::collections::BTreeMap;

use muster_kernel::Secret;

use super::{ItemId, Kind, Opened, Parameter, ParameterKind};
use crate::runs::{ParameterValue, Parameters};
use crate::{MAX_SPEC_BYTES, ShellType};

/// The longest value, in bytes: Linux hands over no variable and no argument of 128 KiB.
pub const MAX_VALUE_BYTES: usize = 100 * 1024;
/// The longest value on Windows, in UTF-16 units: a variable there has less than 32,767.
const MAX_WINDOWS_VALUE: usize = 32_000;
/// The longest command line of Windows, in UTF-16 units, less the interpreter's own part of it.
const MAX_WINDOWS_ARGS: usize = 30_000;
/// The same of cmd, which takes 8,191.
const MAX_CMD_ARGS: usize = 7_000;
/// The greatest number up to which every whole one is told apart from the next.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;
/// The shortest secret, in characters: a shorter one can't be masked without masking everything.
const MIN_SECRET: usize = 4;
/// What cmd would read as code where a variable is used, even within quotes.
const CMD_SPECIAL: &[char] = &['"', '%', '!', '^', '&', '|', '<', '>', '(', ')', '\r', '\n'];
/// What the rest of a command may take of [`MAX_SPEC_BYTES`].
const REST_OF_SPEC: usize = 4 * 1024;

/// Values as they are handed to a process.
#[derive(Debug, Clone, Default)]
pub struct Bound {
    /// The variables that anybody may see.
    pub environment: BTreeMap<String, String>,
    /// The variables that nobody but the process gets to see.
    pub secrets: BTreeMap<String, Secret>,
    /// The arguments, each to be handed over as it is.
    pub args: Vec<String>,
}

/// A value that breaks a rule, or is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {rule}")]
pub struct InvalidParameter {
    /// The parameter's name, as whoever asks wrote it.
    pub name: String,
    /// What is expected there.
    pub rule: String,
}

/// How values are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// To what.
    pub kind: Kind,
    /// By which program.
    pub shell_type: ShellType,
    /// How many bytes all of them may take as JSON.
    pub room: usize,
}

/// Checks `values` against `parameters` and makes of them what a process is handed.
///
/// # Errors
/// Everything that breaks a rule.
pub fn bind(
    manner: Manner,
    parameters: &[Parameter],
    values: &Parameters,
) -> Result<Bound, Vec<InvalidParameter>> {
    let mut broken: Vec<_> = values
        .keys()
        .filter(|name| !parameters.iter().any(|parameter| parameter.name == **name))
        .map(|name| invalid(name, "there is no such parameter"))
        .collect();
    let mut texts = Vec::with_capacity(parameters.len());
    for parameter in parameters {
        match value(manner.shell_type, parameter, values.get(&parameter.name)) {
            Ok(text) => texts.push((parameter, text)),
            Err(rule) => broken.push(invalid(&parameter.name, rule)),
        }
    }
    if !broken.is_empty() {
        return Err(broken);
    }
    let args = if manner.kind == Kind::Script { args(manner.shell_type, &texts) } else { vec![] };
    check_total(manner, &args, &texts).map_err(|error| vec![error])?;
    let mut bound = Bound { args, ..Bound::default() };
    for (parameter, text) in texts {
        let (name, Some(text)) = (parameter.name.clone(), text) else { continue };
        if parameter.is_secret() {
            bound.secrets.insert(name, Secret::from_text(text));
        } else {
            bound.environment.insert(name, text);
        }
    }
    Ok(bound)
}

impl<I: ItemId> Opened<I> {
    /// Checks `values` against its parameters and makes of them what its process is handed, so
    /// that the order to run it still has its size.
    ///
    /// # Errors
    /// Everything that breaks a rule.
    pub fn bind(&self, values: &Parameters) -> Result<Bound, Vec<InvalidParameter>> {
        let about = &self.item.version.about;
        let text = if I::KIND == Kind::Script { about.name.as_str() } else { &self.text };
        let room = MAX_SPEC_BYTES.saturating_sub(REST_OF_SPEC + json_bytes(text));
        let manner = Manner { kind: I::KIND, shell_type: about.shell_type, room };
        bind(manner, &about.parameters, values)
    }

    /// `values` without those of secret parameters, and those.
    pub fn split_secrets(&self, values: Parameters) -> (Parameters, Parameters) {
        let parameters = &self.item.version.about.parameters;
        let is_secret = |name: &String| {
            parameters.iter().any(|parameter| parameter.is_secret() && parameter.name == *name)
        };
        values.into_iter().partition(|(name, _)| !is_secret(name))
    }
}

fn invalid(name: &str, rule: impl Into<String>) -> InvalidParameter {
    InvalidParameter { name: name.to_owned(), rule: rule.into() }
}

/// The value that a parameter has when none is given.
pub(super) fn default_of(parameter: &Parameter) -> Option<ParameterValue> {
    match &parameter.kind {
        ParameterKind::String { default, .. } | ParameterKind::Choice { default, .. } => {
            default.clone().map(ParameterValue::Text)
        }
        ParameterKind::Number { default, .. } => default.map(ParameterValue::Number),
        ParameterKind::Boolean { default } => default.map(ParameterValue::Boolean),
        ParameterKind::Secret => None,
    }
}

/// Checks a value of a parameter.
pub(super) fn check(
    shell: ShellType,
    parameter: &Parameter,
    value: &ParameterValue,
) -> Result<(), String> {
    check_text(shell, &text_of(parameter, value)?)
}

fn value(
    shell: ShellType,
    parameter: &Parameter,
    given: Option<&ParameterValue>,
) -> Result<Option<String>, String> {
    let Some(value) = given.cloned().or_else(|| default_of(parameter)) else {
        return if parameter.required { Err("a value is required".to_owned()) } else { Ok(None) };
    };
    let text = text_of(parameter, &value)?;
    if parameter.required && text.is_empty() {
        return Err("a value is required, and an empty text is none".to_owned());
    }
    check_text(shell, &text)?;
    Ok(Some(text))
}

/// The text of a value that its parameter takes.
fn text_of(parameter: &Parameter, value: &ParameterValue) -> Result<String, String> {
    match (&parameter.kind, value) {
        (ParameterKind::String { max_length, .. }, ParameterValue::Text(text)) => {
            let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
            match max_length.filter(|max| length > *max) {
                Some(max) => Err(format!("at most {max} characters")),
                None => Ok(text.clone()),
            }
        }
        (ParameterKind::Number { integer: true, .. }, ParameterValue::Number(number))
            if number.fract() != 0.0 =>
        {
            Err("a whole number is expected".to_owned())
        }
        (ParameterKind::Number { min, max, .. }, ParameterValue::Number(number)) => {
            number_text(*number, *min, *max)
        }
        (ParameterKind::Boolean { .. }, ParameterValue::Boolean(value)) => Ok(value.to_string()),
        (ParameterKind::Choice { choices, .. }, ParameterValue::Text(text)) => {
            if choices.contains(text) {
                Ok(text.clone())
            } else {
                Err(format!("one of these is expected: {}", choices.join(", ")))
            }
        }
        (ParameterKind::Secret, ParameterValue::Text(text)) => {
            if text.chars().count() < MIN_SECRET {
                return Err(format!("a secret has at least {MIN_SECRET} characters"));
            }
            Ok(text.clone())
        }
        (ParameterKind::String { .. } | ParameterKind::Secret, _) => {
            Err("a text is expected".to_owned())
        }
        (ParameterKind::Choice { .. }, _) => Err("one of the choices, a text, is expected".into()),
        (ParameterKind::Number { .. }, _) => Err("a number is expected".to_owned()),
        (ParameterKind::Boolean { .. }, _) => Err("true or false is expected".to_owned()),
    }
}

/// A number with a dot and without an exponent, as every shell reads it.
fn number_text(number: f64, min: Option<f64>, max: Option<f64>) -> Result<String, String> {
    if number.is_nan() || number.abs() > MAX_WHOLE {
        return Err(format!("a number from -{MAX_WHOLE} to {MAX_WHOLE} is expected"));
    }
    if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
        let bound = |name: &str, bound: Option<f64>| {
            bound.map(|bound| format!("{name} {bound}")).unwrap_or_default()
        };
        let rule = format!("{} {}", bound("at least", min), bound("at most", max));
        return Err(rule.trim().to_owned());
    }
    // Minus nought is nought.
    Ok(format!("{}", number + 0.0))
}

/// Checks that a text can be handed over to what `shell` runs, as it is.
pub(super) fn check_text(shell: ShellType, text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err("a NUL character can't be handed to a program".to_owned());
    }
    if text.len() > MAX_VALUE_BYTES {
        return Err(format!("at most {MAX_VALUE_BYTES} bytes"));
    }
    if shell == ShellType::Cmd && text.contains(CMD_SPECIAL) {
        let rule = "cmd would interpret one of \" % ! ^ & | < > ( ) or a line break in it: leave \
            them out, or take powershell";
        return Err(rule.to_owned());
    }
    if max_windows_args(shell).is_some() && utf16_units(text) > MAX_WINDOWS_VALUE {
        return Err(format!("Windows hands over at most {MAX_WINDOWS_VALUE} characters"));
    }
    Ok(())
}

/// How long the arguments may be together, for a shell that is there on Windows only.
const fn max_windows_args(shell: ShellType) -> Option<usize> {
    match shell {
        ShellType::Powershell => Some(MAX_WINDOWS_ARGS),
        ShellType::Cmd => Some(MAX_CMD_ARGS),
        ShellType::Pwsh | ShellType::Bash | ShellType::Sh => None,
    }
}

type Texts<'a> = [(&'a Parameter, Option<String>)];

fn args(shell: ShellType, texts: &Texts<'_>) -> Vec<String> {
    let shown = texts.iter().filter(|(parameter, _)| !parameter.is_secret());
    match shell {
        ShellType::Sh | ShellType::Bash | ShellType::Cmd => {
            shown.map(|(_, text)| text.clone().unwrap_or_default()).collect()
        }
        ShellType::Pwsh | ShellType::Powershell => shown
            .filter_map(|(parameter, text)| text.as_ref().map(|text| (*parameter, text)))
            .flat_map(|(parameter, text)| named(shell, parameter, text))
            .collect(),
    }
}

/// A value and its name, as `-File` takes them.
fn named(shell: ShellType, Parameter { name, kind, .. }: &Parameter, text: &str) -> Vec<String> {
    match (kind, shell) {
        (ParameterKind::Boolean { .. }, ShellType::Pwsh) => vec![format!("-{name}:${text}")],
        (ParameterKind::Boolean { .. }, _) if text == "true" => vec![format!("-{name}")],
        (ParameterKind::Boolean { .. }, _) => vec![],
        _ => vec![format!("-{name}:"), text.to_owned()],
    }
}

/// Checks what all values take together; the longest one is to blame.
fn check_total(manner: Manner, args: &[String], texts: &Texts<'_>) -> Result<(), InvalidParameter> {
    let given = || texts.iter().filter_map(|(parameter, text)| Some((*parameter, text.as_ref()?)));
    let longest = || {
        let longest = given().max_by_key(|(_, text)| text.len());
        longest.map_or_else(String::new, |(parameter, _)| parameter.name.clone())
    };
    let line: usize = args.iter().map(|arg| quoted_units(arg)).sum();
    if let Some(max) = max_windows_args(manner.shell_type).filter(|max| line > *max) {
        let rule = format!("Windows hands over at most {max} characters of arguments together");
        return Err(InvalidParameter { name: longest(), rule });
    }
    let variables: usize =
        given().map(|(parameter, text)| parameter.name.len() + 4 + json_bytes(text)).sum();
    let total = variables + args.iter().map(|arg| json_bytes(arg) + 1).sum::<usize>();
    if total > manner.room {
        let room = manner.room;
        let rule = format!(
            "all values together take {total} bytes, and there is room for {room}: put long ones \
             into the script, or into a file on the machine"
        );
        return Err(InvalidParameter { name: longest(), rule });
    }
    Ok(())
}

/// How long an argument is on a command line: after a space, in quotes, with its own quotes and
/// backslashes doubled.
fn quoted_units(arg: &str) -> usize {
    utf16_units(arg) + arg.matches(['"', '\\']).count() + 3
}

fn utf16_units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// How many bytes a text takes as JSON, where a control character takes up to six.
fn json_bytes(text: &str) -> usize {
    serde_json::to_string(text).map_or(usize::MAX, |json| json.len())
}
