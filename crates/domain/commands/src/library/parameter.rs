//! What may be said when something of the library is run.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::bind;
use crate::{ShellType, safety};

/// How many parameters a thing may have.
const MAX_PARAMETERS: usize = 64;
/// The longest name, in characters.
const MAX_NAME: usize = 64;
/// The longest label, in characters.
const MAX_LABEL: usize = 200;
/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 2000;
/// How many choices there may be.
const MAX_CHOICES: usize = 200;
/// The longest choice, in characters.
const MAX_CHOICE: usize = 1000;

/// Variables that shells set themselves: a value given to them does not arrive.
const SHELLS_OWN: &str = "\
    _ uid euid ppid groups pwd oldpwd shlvl shellopts random srandom seconds lineno optind optarg \
    opterr histcmd funcname dirstack epochseconds epochrealtime pipestatus ps1 ps2 columns lines \
    comp_wordbreaks";
/// Variables by which systems and programs find what they load, beside those that
/// [`safety::changes_what_runs`] knows.
const SYSTEMS: &str = "\
    home userprofile appdata localappdata programdata systemroot systemdrive windir comspec \
    pathext psmodulepath temp tmp tmpdir shell visual manpager cdpath globignore posixly_correct \
    classpath glibc_tunables gconv_path locpath nlspath openssl_conf";
/// What names of both kinds begin with.
const PREFIXES: &[&str] = &[
    "muster_",
    "bash",
    "cor_",
    "coreclr_",
    "complus_",
    "dotnet_",
    "java_",
    "_java",
    "jdk_",
    "perl",
    "malloc_",
    "openssl_",
    "npm_config_",
];

/// Something that may be said when a thing of the library is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// The name of the environment variable: letters, digits and underscores, unique whether they
    /// are written large or small.
    pub name: String,
    /// Which values it takes.
    #[serde(flatten)]
    pub kind: ParameterKind,
    /// What people call it.
    pub label: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it has to be said, unless there is a default.
    pub required: bool,
}

/// Which values a parameter takes, and which one when none is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ParameterKind {
    /// Any text.
    String {
        /// In characters.
        max_length: Option<u32>,
        /// When none is given.
        default: Option<String>,
    },
    /// A number.
    Number {
        /// The least.
        min: Option<f64>,
        /// The greatest.
        max: Option<f64>,
        /// Whether it has to be a whole one.
        #[serde(default)]
        integer: bool,
        /// When none is given.
        default: Option<f64>,
    },
    /// Yes or no.
    Boolean {
        /// When none is given.
        default: Option<bool>,
    },
    /// One of some texts.
    Choice {
        /// Which.
        choices: Vec<String>,
        /// When none is given.
        default: Option<String>,
    },
    /// A text that is never shown again. It has no default, for that would be.
    Secret,
}

impl ParameterKind {
    /// The name in the API.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::String { .. } => "string",
            Self::Number { .. } => "number",
            Self::Boolean { .. } => "boolean",
            Self::Choice { .. } => "choice",
            Self::Secret => "secret",
        }
    }
}

impl Parameter {
    /// One that need not be said and of which nothing is told.
    pub fn new(name: &str, kind: ParameterKind) -> Self {
        Self { name: name.to_owned(), kind, label: None, description: None, required: false }
    }

    /// A secret that need not be said.
    pub fn secret(name: &str) -> Self {
        Self::new(name, ParameterKind::Secret)
    }

    /// Whether its value is never shown.
    pub const fn is_secret(&self) -> bool {
        matches!(self.kind, ParameterKind::Secret)
    }
}

/// A parameter that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{within}: {rule}")]
pub struct InvalidDefinition {
    /// Where in the list, as a JSON pointer.
    pub within: String,
    /// What is expected there.
    pub rule: String,
}

/// Checks the parameters of a text that `shell` reads.
pub(super) fn check_all(
    shell: ShellType,
    parameters: &[Parameter],
) -> Result<(), InvalidDefinition> {
    if parameters.len() > MAX_PARAMETERS {
        let rule = format!("at most {MAX_PARAMETERS} parameters");
        return Err(InvalidDefinition { within: String::new(), rule });
    }
    let mut names = BTreeSet::new();
    for (index, parameter) in parameters.iter().enumerate() {
        let invalid = |(field, rule): (&str, String)| InvalidDefinition {
            within: format!("/{index}/{field}"),
            rule,
        };
        check(shell, parameter).map_err(invalid)?;
        if !names.insert(parameter.name.to_ascii_lowercase()) {
            let rule = "another parameter has that name; upper and lower case are alike";
            return Err(invalid(("name", rule.to_owned())));
        }
    }
    Ok(())
}

type Broken = (&'static str, String);

fn check(shell: ShellType, parameter: &Parameter) -> Result<(), Broken> {
    check_name(&parameter.name).map_err(|rule| ("name", rule))?;
    let label = parameter.label.as_deref().unwrap_or_default();
    if label.chars().count() > MAX_LABEL || label.chars().any(char::is_control) {
        return Err(("label", format!("at most {MAX_LABEL} printable characters")));
    }
    let description = parameter.description.as_deref().unwrap_or_default();
    if description.chars().count() > MAX_DESCRIPTION || description.contains('\0') {
        return Err(("description", format!("at most {MAX_DESCRIPTION} printable characters")));
    }
    check_kind(&parameter.kind)?;
    match bind::default_of(parameter) {
        Some(value) => bind::check(shell, parameter, &value).map_err(|rule| ("default", rule)),
        None => Ok(()),
    }?;
    let ParameterKind::Choice { choices, .. } = &parameter.kind else { return Ok(()) };
    let usable = choices.iter().try_for_each(|choice| bind::check_text(shell, choice));
    usable.map_err(|rule| ("choices", rule))
}

fn check_kind(kind: &ParameterKind) -> Result<(), Broken> {
    match kind {
        ParameterKind::Number { min: Some(min), max: Some(max), .. } if min > max => {
            Err(("max", "it is less than min".to_owned()))
        }
        ParameterKind::Choice { choices, .. } => {
            let unique: BTreeSet<_> = choices.iter().collect();
            let is_odd = |choice: &String| {
                choice.is_empty()
                    || choice.chars().count() > MAX_CHOICE
                    || choice.chars().any(char::is_control)
            };
            let is_good = (1..=MAX_CHOICES).contains(&choices.len())
                && unique.len() == choices.len()
                && !choices.iter().any(is_odd);
            let rule = || {
                format!(
                    "1 to {MAX_CHOICES} different texts of 1 to {MAX_CHOICE} printable characters"
                )
            };
            if is_good { Ok(()) } else { Err(("choices", rule())) }
        }
        ParameterKind::String { .. }
        | ParameterKind::Number { .. }
        | ParameterKind::Boolean { .. }
        | ParameterKind::Secret => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = (1..=MAX_NAME).contains(&name.len())
        && name.chars().all(is_allowed)
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_name {
        return Err(format!(
            "1 to {MAX_NAME} letters, digits and underscores are expected, and no digit first"
        ));
    }
    if is_reserved(name) {
        return Err(format!(
            "{name} has a meaning of its own for shells or systems; take another name"
        ));
    }
    Ok(())
}

/// Whether a variable of that name would not arrive, or change what runs.
fn is_reserved(name: &str) -> bool {
    let small = name.to_ascii_lowercase();
    let is_in = |list: &str| list.split_ascii_whitespace().any(|known| known == small);
    safety::changes_what_runs(name)
        || is_in(SHELLS_OWN)
        || is_in(SYSTEMS)
        || PREFIXES.iter().any(|prefix| small.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> Parameter {
        Parameter::new(name, ParameterKind::String { max_length: None, default: None })
    }

    fn broken(parameters: &[Parameter]) -> String {
        check_all(ShellType::Sh, parameters).unwrap_err().within
    }

    #[test]
    fn names_that_change_what_runs_or_do_not_arrive_are_refused() {
        for name in [
            "PATH",
            "Path",
            "LD_PRELOAD",
            "IFS",
            "ENV",
            "BASH_ENV",
            "MUSTER_X",
            "muster_x",
            "UID",
            "PSModulePath",
            "COMSPEC",
            "DOTNET_STARTUP_HOOKS",
            "1A",
            "",
            "A-B",
            "A B",
            "ä",
            "A=B",
        ] {
            assert_eq!(broken(&[text(name)]), "/0/name", "{name}");
        }
        assert_eq!(broken(&[text(&"x".repeat(65))]), "/0/name");
        for name in ["count", "Days", "_x", "DATABASE_URL", "USER_NAME"] {
            assert_eq!(check_all(ShellType::Sh, &[text(name)]), Ok(()), "{name}");
        }
    }

    #[test]
    fn two_names_that_windows_takes_for_one_are_refused() {
        assert_eq!(broken(&[text("Count"), text("COUNT")]), "/1/name");
    }

    #[test]
    fn a_default_keeps_the_rules_of_its_parameter() {
        let number = |default| ParameterKind::Number {
            min: Some(1.0),
            max: Some(9.0),
            integer: true,
            default,
        };
        let choice = |default: &str| ParameterKind::Choice {
            choices: vec!["a".into(), "b".into()],
            default: Some(default.into()),
        };
        let of = |kind| [Parameter::new("x", kind)];
        assert_eq!(check_all(ShellType::Sh, &of(number(Some(5.0)))), Ok(()));
        assert_eq!(check_all(ShellType::Sh, &of(choice("b"))), Ok(()));
        assert_eq!(broken(&of(number(Some(10.0)))), "/0/default");
        assert_eq!(broken(&of(number(Some(1.5)))), "/0/default");
        assert_eq!(broken(&of(choice("c"))), "/0/default");
        let default = Some("50%".to_owned());
        let percent = of(ParameterKind::String { max_length: None, default });
        assert_eq!(check_all(ShellType::Sh, &percent), Ok(()));
        assert_eq!(check_all(ShellType::Cmd, &percent).unwrap_err().within, "/0/default");
    }

    #[test]
    fn limits_that_no_value_keeps_are_refused() {
        let of = |kind| [Parameter::new("x", kind)];
        let number =
            ParameterKind::Number { min: Some(2.0), max: Some(1.0), integer: false, default: None };
        assert_eq!(broken(&of(number)), "/0/max");
        for choices in [vec![], vec!["a".into(), "a".into()], vec![String::new()]] {
            let choice = ParameterKind::Choice { choices, default: None };
            assert_eq!(broken(&of(choice)), "/0/choices");
        }
    }

    /// Bash tells which variables it sets itself: each of them is refused, or arrives.
    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_refused_arrives_in_real_shells() {
        let run = |shell: &str, name: &str, text: &str| {
            let mut command = std::process::Command::new(shell);
            let output = command.env(name, "probe").args(["-c", text]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let known = run("bash", "A", "compgen -v; compgen -e");
        let more = "OPTARG PS1 PS2 REPLY COLUMNS LINES MAIL HISTFILE TMOUT USER HOST count";
        let names = known.lines().chain(more.split(' ')).filter(|name| check_name(name).is_ok());
        let mut seen = 0;
        for name in names {
            for shell in ["sh", "bash"] {
                let text = format!("printf %s \"${name}\"");
                assert_eq!(run(shell, name, &text), "probe", "{name} in {shell}");
            }
            seen += 1;
        }
        assert!(seen > 5, "{seen}");
    }
}
