//! What tasks are made of, in requests and in files.

use muster_commands::runs::Wording;
use muster_deployment_profiles::{Action, FileSource, Wanted, WantedFile};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Problem;
use crate::routes::commands::Shell;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TaskKind {
    /// A text of the profile's own.
    Command,
    /// The same for PowerShell; with `script_id` it is a `script`.
    PowershellInline,
    /// A script of the library, as it is when the profile is applied.
    Script,
    /// Software is brought or taken away, unless it is how it is to be already.
    Software,
    /// A file is written, unless it is how it is to be already.
    File,
    /// The machine boots again, and the next task waits until it is back.
    Reboot,
    /// The next task waits until a command succeeds.
    Wait,
}

impl TaskKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::PowershellInline => "powershell_inline",
            Self::Script => "script",
            Self::Software => "software",
            Self::File => "file",
            Self::Reboot => "reboot",
            Self::Wait => "wait",
        }
    }
}

/// Whether software is to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OperationParameter {
    /// It is there.
    Ensure,
    /// The same.
    Install,
    /// It is not.
    Uninstall,
}

impl From<OperationParameter> for Wanted {
    fn from(operation: OperationParameter) -> Self {
        match operation {
            OperationParameter::Ensure | OperationParameter::Install => Self::Present,
            OperationParameter::Uninstall => Self::Absent,
        }
    }
}

impl From<Wanted> for OperationParameter {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Present => Self::Ensure,
            Wanted::Absent => Self::Uninstall,
        }
    }
}

/// A file as it is to be: with this `content`, or what is at `url` and has that `sha256`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WantedFile)]
pub(super) struct FileBody {
    /// An absolute path, as the machine writes it.
    path: String,
    /// At most 24 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    /// An address, or an absolute path on the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// Who may read and write it, as octal digits; Windows has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0644")]
    mode: Option<String>,
}

impl TryFrom<FileBody> for WantedFile {
    type Error = Problem;

    fn try_from(body: FileBody) -> Result<Self, Problem> {
        let FileBody { path, content, url, sha256, mode } = body;
        let invalid = |field: &str, rule: &str| Problem::invalid(format!("/file/{field}"), rule);
        let source = match (content, url, sha256) {
            (Some(content), None, None) => FileSource::Content(content),
            (None, Some(url), Some(sha256)) => FileSource::Download { url, sha256 },
            (Some(_), Some(_), _) => return Err(invalid("url", "content or url, not both")),
            (Some(_), None, Some(_)) => return Err(invalid("sha256", "it belongs to a url")),
            (None, Some(_), None) => {
                return Err(invalid("sha256", "the SHA-256 of what is at the url is expected"));
            }
            (None, None, _) => {
                return Err(invalid("content", "a content, or a url with its sha256, is expected"));
            }
        };
        Ok(Self { path, source, mode })
    }
}

impl From<WantedFile> for FileBody {
    fn from(file: WantedFile) -> Self {
        let WantedFile { path, source, mode } = file;
        let (content, url, sha256) = match source {
            FileSource::Content(content) => (Some(content), None, None),
            FileSource::Download { url, sha256 } => (None, Some(url), Some(sha256)),
        };
        Self { path, content, url, sha256, mode }
    }
}

/// How a machine is booted; in its system's own way unless `command` is given.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProfileReboot)]
pub(super) struct RebootBody {
    /// Only when a task before it changed something.
    #[serde(skip_serializing_if = "Option::is_none")]
    only_if_changed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    /// What reads `command`.
    #[serde(skip_serializing_if = "Option::is_none")]
    shell_type: Option<Shell>,
}

impl TryFrom<RebootBody> for Action {
    type Error = Problem;

    fn try_from(body: RebootBody) -> Result<Self, Problem> {
        let RebootBody { only_if_changed, command, shell_type } = body;
        if shell_type.is_some() && command.is_none() {
            return Err(Problem::invalid("/reboot/shell_type", "it belongs to a command"));
        }
        let command = command.map(|command| worded(command, shell_type));
        Ok(Self::Reboot { only_if_changed: only_if_changed.unwrap_or(false), command })
    }
}

impl RebootBody {
    pub(super) fn of(only_if_changed: bool, command: Option<Wording>) -> Self {
        let shell_type = command.as_ref().and_then(|command| command.shell_type);
        Self {
            only_if_changed: Some(only_if_changed),
            shell_type: shell_type.map(Into::into),
            command: command.map(|command| command.command),
        }
    }

    /// The same as files have it: nothing where nothing is said.
    pub(super) fn brief(self) -> Option<Self> {
        let body = Self { only_if_changed: self.only_if_changed.filter(|only| *only), ..self };
        (body.only_if_changed.is_some() || body.command.is_some()).then_some(body)
    }
}

/// A command that tells whether there is anything to do: when it succeeds there is not.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProfileCheck)]
pub(super) struct CheckBody {
    command: String,
    /// `sh` unless given, on Windows `powershell`.
    #[serde(skip_serializing_if = "Option::is_none")]
    shell_type: Option<Shell>,
}

impl From<CheckBody> for Wording {
    fn from(body: CheckBody) -> Self {
        worded(body.command, body.shell_type)
    }
}

impl From<Wording> for CheckBody {
    fn from(wording: Wording) -> Self {
        Self { command: wording.command, shell_type: wording.shell_type.map(Into::into) }
    }
}

/// A command of nothing but its text.
pub(super) fn worded(command: String, shell: Option<Shell>) -> Wording {
    Wording { command, shell_type: shell.map(Into::into), ..Wording::default() }
}
