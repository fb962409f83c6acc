//! One step of a profile.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_commands::runs::{Parameters, Wording};
use muster_kernel::{ScriptId, SoftwareId, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Invalid;
use crate::catalog::{MAX_DESCRIPTION, MAX_NAME};
use crate::invalid::{address, line, maybe_line, prose, sha256};

/// The longest content that a profile has for a file, in bytes: it travels as a variable, and
/// Windows takes 32,767 characters in one.
pub const MAX_FILE_BYTES: usize = 24 * 1024;
/// How long a machine may take to come back from a reboot when nobody says.
pub(crate) const BACK_WITHIN: Duration = Duration::from_mins(15);
/// How long a condition may take to come true when nobody says.
pub(crate) const TRUE_WITHIN: Duration = Duration::from_mins(5);
/// The longest that either may.
const LONGEST_WAIT: Duration = Duration::from_hours(24);
/// How often a condition is tried when nobody says.
pub const TRY_EVERY: Duration = Duration::from_secs(5);
/// The rarest that it may be.
const RAREST_TRY: Duration = Duration::from_mins(5);

/// How something is to be on a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// It is there.
    #[default]
    Present,
    /// It is not.
    Absent,
}

impl Wanted {
    /// The word that texts on machines read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
        }
    }
}

/// Where the content of a file comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileSource {
    /// From the profile.
    Content(String),
    /// From elsewhere.
    Download {
        /// An address, or a path on the machine.
        url: String,
        /// What it has to be, as hexadecimal digits.
        sha256: String,
    },
}

/// A file as it is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedFile {
    /// Where, as the machine writes it.
    pub path: String,
    /// What.
    pub source: FileSource,
    /// Who may read and write it, as octal digits: `0644`. Windows has none.
    pub mode: Option<String>,
}

impl WantedFile {
    fn check(self) -> Result<Self, Invalid> {
        let path = line("/file/path", &self.path, 4000)?;
        let is_absolute = path.starts_with('/')
            || path.starts_with("\\\\")
            || path.get(1..3).is_some_and(|it| it == ":\\" || it == ":/");
        if !is_absolute {
            return Err(Invalid::new("/file/path", "an absolute path is expected"));
        }
        let is_mode = |mode: &str| {
            (3..=4).contains(&mode.len()) && mode.chars().all(|digit| ('0'..='7').contains(&digit))
        };
        if self.mode.as_deref().is_some_and(|mode| !is_mode(mode)) {
            let rule = "three or four octal digits are expected, such as 0644";
            return Err(Invalid::new("/file/mode", rule));
        }
        let source = match self.source {
            FileSource::Content(text) if text.len() > MAX_FILE_BYTES => {
                let rule = format!("at most {MAX_FILE_BYTES} bytes; larger files come by url");
                return Err(Invalid::new("/file/content", rule));
            }
            FileSource::Content(text) => FileSource::Content(text),
            FileSource::Download { url, sha256: sum } => FileSource::Download {
                url: address("/file/url", &url)?,
                sha256: sha256("/file/sha256", &sum)?,
            },
        };
        Ok(Self { path, source, mode: self.mode })
    }

    /// The SHA-256 that it is to have, as hexadecimal digits.
    pub(crate) fn sha256(&self) -> String {
        match &self.source {
            FileSource::Content(text) => hex(&Sha256::digest(text.as_bytes())),
            FileSource::Download { sha256, .. } => sha256.clone(),
        }
    }

    /// Its content, as base64, where the profile has it.
    pub(crate) fn base64(&self) -> Option<String> {
        match &self.source {
            FileSource::Content(text) => Some(STANDARD.encode(text)),
            FileSource::Download { .. } => None,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A command of the profile's own words.
    Command(Wording),
    /// A script of the library, as it is when the profile is applied.
    Script {
        /// Which.
        script_id: ScriptId,
        /// Its parameters, without those that are secret.
        parameters: Parameters,
    },
    /// A piece of software is brought or taken away, if it is not how it is to be already.
    Software {
        /// Which.
        software_id: SoftwareId,
        /// Whether it is to be there.
        wanted: Wanted,
        /// Which version, instead of the one that the item names.
        version: Option<String>,
    },
    /// A file is written, if it is not how it is to be already.
    File(WantedFile),
    /// The machine boots again, and the next task waits until it is back.
    Reboot {
        /// Only when a task before it changed something.
        only_if_changed: bool,
        /// What boots it, unless its system's own way does.
        command: Option<Wording>,
    },
    /// The next task waits until a command succeeds.
    Wait {
        /// Which command.
        condition: Wording,
        /// How long after one try the next one begins.
        interval: Duration,
    },
}

impl Action {
    /// The name in the API and the database.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Command(_) => "command",
            Self::Script { .. } => "script",
            Self::Software { .. } => "software",
            Self::File(_) => "file",
            Self::Reboot { .. } => "reboot",
            Self::Wait { .. } => "wait",
        }
    }

    /// Whether it may have a command of the profile's own that tells whether there is anything to do.
    const fn takes_check(&self) -> bool {
        matches!(self, Self::Command(_) | Self::Script { .. } | Self::Reboot { .. })
    }
}

/// One step of a profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// What people call it.
    pub name: String,
    /// What it is good for.
    pub description: Option<String>,
    /// The tasks of a profile are done in this order; those with the same, in that of their ids.
    pub order_index: i32,
    /// What is done.
    pub action: Action,
    /// When this command succeeds, there is nothing to do.
    pub check: Option<Wording>,
    /// Whether the next task is done although this one failed.
    pub continue_on_error: bool,
    /// How long it may take: the command; until a machine is back; until a condition is true.
    pub timeout: Option<f64>,
}

impl Task {
    /// Checks what can be told without looking elsewhere.
    ///
    /// # Errors
    /// [`Invalid`] names the field and what is expected there.
    pub(crate) fn check(self) -> Result<Self, Invalid> {
        if self.check.is_some() && !self.action.takes_check() {
            let rule = "only a command, a script and a reboot have one; the others look for \
                themselves whether there is anything to do";
            return Err(Invalid::new("/check", rule));
        }
        if matches!(self.action, Action::Reboot { .. } | Action::Wait { .. }) {
            self.patience()?;
        }
        let action = match self.action {
            Action::File(file) => Action::File(file.check()?),
            Action::Software { software_id, wanted, version } => {
                let version = maybe_line("/version", version, MAX_NAME)?;
                Action::Software { software_id, wanted, version }
            }
            Action::Wait { interval, .. } if interval.is_zero() || interval > RAREST_TRY => {
                let rule = "more than 0 and at most 300 seconds are expected";
                return Err(Invalid::new("/interval", rule));
            }
            other => other,
        };
        Ok(Self {
            name: line("/name", &self.name, MAX_NAME)?,
            description: prose("/description", self.description, MAX_DESCRIPTION)?,
            action,
            ..self
        })
    }

    /// How long a reboot or a condition may take.
    pub(crate) fn patience(&self) -> Result<Duration, Invalid> {
        let unsaid =
            if matches!(self.action, Action::Reboot { .. }) { BACK_WITHIN } else { TRUE_WITHIN };
        let Some(seconds) = self.timeout else { return Ok(unsaid) };
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|timeout| !timeout.is_zero() && *timeout <= LONGEST_WAIT)
            .ok_or_else(|| Invalid::new("/timeout", "more than 0 and at most 86400 seconds"))
    }

    /// What the audit log shows of it. The values of parameters and variables, and the contents of
    /// files, are not among it: they may be secrets.
    pub(crate) fn facts(&self) -> Value {
        let what = match &self.action {
            Action::Command(wording) | Action::Wait { condition: wording, .. } => {
                json!({ "command": wording.command.chars().take(1000).collect::<String>() })
            }
            Action::Script { script_id, parameters } => {
                json!({ "script_id": script_id, "parameters": parameters.keys().collect::<Vec<_>>() })
            }
            Action::Software { software_id, wanted, version } => {
                json!({ "software_id": software_id, "wanted": wanted.as_str(), "version": version })
            }
            Action::File(file) => json!({ "path": file.path, "sha256": file.sha256() }),
            Action::Reboot { only_if_changed, .. } => json!({ "only_if_changed": only_if_changed }),
        };
        json!({
            "id": self.id, "name": self.name, "action_type": self.action.as_str(), "what": what,
            "continue_on_error": self.continue_on_error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(action: Action) -> Task {
        Task {
            id: TaskId::from_uuid(uuid::Uuid::nil()),
            name: "A task".into(),
            description: None,
            order_index: 10,
            action,
            check: None,
            continue_on_error: false,
            timeout: None,
        }
    }

    fn file(change: impl FnOnce(&mut WantedFile)) -> Result<Task, String> {
        let mut file = WantedFile {
            path: "/etc/motd".into(),
            source: FileSource::Content("hello".into()),
            mode: Some("0644".into()),
        };
        change(&mut file);
        task(Action::File(file)).check().map_err(|invalid| invalid.pointer)
    }

    #[test]
    fn a_file_is_known_by_its_content() {
        let Action::File(file) = file(|_| ()).unwrap().action else { panic!() };
        assert_eq!(
            file.sha256(),
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        );
        assert_eq!(file.base64().as_deref(), Some("aGVsbG8="));
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let download = |url: &str, sha256: &str| FileSource::Download {
            url: url.to_owned(),
            sha256: sha256.to_owned(),
        };
        let long = "x".repeat(MAX_FILE_BYTES + 1);
        assert_eq!(file(|it| it.path = "etc/motd".into()).unwrap_err(), "/file/path");
        assert_eq!(file(|it| it.mode = Some("rw-".into())).unwrap_err(), "/file/mode");
        assert_eq!(file(|it| it.source = FileSource::Content(long)).unwrap_err(), "/file/content");
        let sum = "0".repeat(64);
        assert_eq!(file(|it| it.source = download("ftp://x", &sum)).unwrap_err(), "/file/url");
        assert_eq!(file(|it| it.source = download("https://x", "0")).unwrap_err(), "/file/sha256");
        assert!(file(|it| it.path = "C:\\motd".into()).is_ok());
        let (condition, interval) = (Wording::default(), Duration::from_secs(301));
        let rare = task(Action::Wait { condition, interval });
        assert_eq!(rare.check().unwrap_err().pointer, "/interval");
        let mut reboot = task(Action::Reboot { only_if_changed: false, command: None });
        reboot.timeout = Some(-1.0);
        assert_eq!(reboot.check().unwrap_err().pointer, "/timeout");
        let mut looked = file(|_| ()).unwrap();
        looked.check = Some(Wording::default());
        assert_eq!(looked.check().unwrap_err().pointer, "/check");
    }
}
