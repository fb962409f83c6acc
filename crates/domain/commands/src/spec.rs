//! What is to run, checked.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::safety::{self, Assessment, SafetyLevel};

use muster_agents::InvalidTarget;
use muster_kernel::{CommandId, Sealed, VersionId};
use serde::{Deserialize, Serialize};

/// The longest command text, in bytes: longer ones are scripts.
pub const MAX_COMMAND_BYTES: usize = 64 * 1024;
/// All texts of a command together, in bytes, so that its signed order fits into one frame.
pub const MAX_SPEC_BYTES: usize = 96 * 1024;
/// How many arguments or variables a command has.
const MAX_ENTRIES: usize = 256;

/// The program that reads a command's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShellType {
    /// Windows PowerShell.
    Powershell,
    /// PowerShell 7 and later, on every system.
    Pwsh,
    /// The Windows command prompt.
    Cmd,
    /// GNU Bash.
    Bash,
    /// The POSIX shell.
    Sh,
}

impl ShellType {
    /// Every shell.
    pub const ALL: &[Self] = &[Self::Powershell, Self::Pwsh, Self::Cmd, Self::Bash, Self::Sh];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Powershell => "powershell",
            Self::Pwsh => "pwsh",
            Self::Cmd => "cmd",
            Self::Bash => "bash",
            Self::Sh => "sh",
        }
    }

    /// Reads what [`ShellType::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|shell| shell.as_str() == text)
    }
}

/// A field of a command that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct InvalidSpec {
    /// The field's name in the API.
    pub field: &'static str,
    /// What is expected there.
    pub rule: String,
}

impl From<InvalidTarget> for InvalidSpec {
    fn from(InvalidTarget { field, rule }: InvalidTarget) -> Self {
        Self { field, rule: rule.to_owned() }
    }
}

/// What is to run, as it came in.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are those of Spec, unchecked")]
pub struct SpecRequest {
    pub command: String,
    pub args: Vec<String>,
    pub shell_type: Option<ShellType>,
    pub timeout: Option<f64>,
    pub working_directory: Option<String>,
    pub environment: BTreeMap<String, String>,
}

/// What the installation allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The timeout of a command that names none.
    pub default_timeout: Duration,
    /// The longest timeout that a command may name.
    pub max_timeout: Duration,
}

/// A script of the library, as it was when it was asked for. Its text is kept there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptRef {
    /// Which script, as it was when.
    pub version_id: VersionId,
    /// The SHA-256 of its text.
    pub sha256: [u8; 32],
    /// How long its text is, in bytes.
    pub bytes: u32,
}

/// What is to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The text for the shell; of a script, its name.
    pub command: String,
    /// The script that runs instead of `command`.
    #[serde(default)]
    pub script: Option<ScriptRef>,
    /// Arguments, each handed over as it is and never read as code.
    pub args: Vec<String>,
    /// The program that reads the text.
    pub shell_type: ShellType,
    /// How long it may run.
    pub timeout: Duration,
    /// Where it runs; the agent's own choice when absent.
    pub working_directory: Option<String>,
    /// Variables on top of the agent's own.
    pub environment: BTreeMap<String, String>,
    /// More of them, which nobody but the machine gets to see: a JSON object of names and values,
    /// sealed for [`Spec::secrets_place`] of the command's id. They go when the command has ended.
    #[serde(skip)]
    pub secrets: Option<Sealed>,
}

impl Spec {
    /// Where the secrets of the command `id` are sealed for.
    pub fn secrets_place(id: CommandId) -> String {
        format!("commands/{id}/secrets")
    }

    /// What is thought of it.
    pub fn assess(&self) -> Assessment {
        let mut found = safety::assess(self.shell_type, &self.command, &self.args);
        if self.environment.keys().any(|name| safety::changes_what_runs(name)) {
            found.level = found.level.max(SafetyLevel::Caution);
        }
        found
    }

    /// Checks what came in; `default_shell` is what the machine reads when nobody says.
    ///
    /// # Errors
    /// [`InvalidSpec`] names the field and what is expected there.
    pub fn parse(
        request: SpecRequest,
        default_shell: ShellType,
        limits: Limits,
    ) -> Result<Self, InvalidSpec> {
        let invalid = |field, rule: &str| InvalidSpec { field, rule: rule.to_owned() };
        if request.command.trim().is_empty() {
            return Err(invalid("command", "a command to run is expected"));
        }
        if request.command.len() > MAX_COMMAND_BYTES {
            return Err(invalid("command", "at most 65536 bytes; put longer texts into a script"));
        }
        if request.args.len() > MAX_ENTRIES {
            return Err(invalid("args", "at most 256 arguments"));
        }
        if request.environment.len() > MAX_ENTRIES {
            return Err(invalid("environment", "at most 256 variables"));
        }
        if !request.environment.keys().all(|name| is_variable_name(name)) {
            let rule = "names have 1 to 128 letters, digits and underscores and begin with none \
                of the digits";
            return Err(invalid("environment", rule));
        }
        let spec = Self {
            timeout: timeout(request.timeout, limits)?,
            shell_type: request.shell_type.unwrap_or(default_shell),
            working_directory: request.working_directory.filter(|path| !path.is_empty()),
            command: request.command,
            args: request.args,
            environment: request.environment,
            script: None,
            secrets: None,
        };
        if let Some(field) = spec.first_with_nul() {
            return Err(invalid(field, "a NUL character can't be handed to a program"));
        }
        if spec.text_bytes() > MAX_SPEC_BYTES {
            return Err(invalid("command", "command, args and environment: at most 98304 bytes"));
        }
        Ok(spec)
    }

    fn first_with_nul(&self) -> Option<&'static str> {
        let has = |text: &String| text.contains('\0');
        if has(&self.command) {
            Some("command")
        } else if self.args.iter().any(has) {
            Some("args")
        } else if self.environment.values().any(has) {
            Some("environment")
        } else if self.working_directory.as_ref().is_some_and(has) {
            Some("working_directory")
        } else {
            None
        }
    }

    /// The bytes of all texts as JSON has them, where a control character takes up to six.
    fn text_bytes(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |json| json.len())
    }
}

fn is_variable_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=128).contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// How long it may run, when whoever asks says so many seconds.
pub(crate) fn timeout(seconds: Option<f64>, limits: Limits) -> Result<Duration, InvalidSpec> {
    let Some(seconds) = seconds else { return Ok(limits.default_timeout) };
    let max = limits.max_timeout.as_secs();
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|timeout| !timeout.is_zero() && *timeout <= limits.max_timeout)
        .ok_or_else(|| InvalidSpec {
            field: "timeout",
            rule: format!("more than 0 and at most {max} seconds"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { default_timeout: Duration::from_secs(30), max_timeout: Duration::from_hours(1) };

    fn parse(change: impl FnOnce(&mut SpecRequest)) -> Result<Spec, InvalidSpec> {
        let mut request = SpecRequest { command: "uptime".into(), ..SpecRequest::default() };
        change(&mut request);
        Spec::parse(request, ShellType::Sh, LIMITS)
    }

    #[test]
    fn a_text_alone_is_enough() {
        let spec = parse(|_| ()).unwrap();
        assert_eq!((spec.shell_type, spec.timeout), (ShellType::Sh, LIMITS.default_timeout));
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        type Change = fn(&mut SpecRequest);
        let cases: [(&str, Change); 11] = [
            ("command", |r| r.command = " \n".into()),
            ("command", |r| r.command = "x".repeat(MAX_COMMAND_BYTES + 1)),
            ("command", |r| r.command = "\u{1}".repeat(MAX_COMMAND_BYTES)),
            ("command", |r| r.command = "a\0b".into()),
            ("args", |r| r.args = vec![String::new(); 257]),
            ("args", |r| r.args = vec!["\0".into()]),
            ("timeout", |r| r.timeout = Some(0.0)),
            ("timeout", |r| r.timeout = Some(3600.5)),
            ("timeout", |r| r.timeout = Some(f64::NAN)),
            ("environment", |r| r.environment = [("1A".into(), String::new())].into()),
            ("environment", |r| r.environment = [("A=B".into(), String::new())].into()),
        ];
        for (field, change) in cases {
            assert_eq!(parse(change).unwrap_err().field, field);
        }
    }
}
