//! Software and how it is installed.

use std::collections::BTreeMap;

use muster_agents::OsType;
use muster_commands::runs::Wording;
use muster_commands::{ShellType, SpecRequest};
use muster_kernel::SoftwareId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalog::{Body, Entry, Kind, MAX_NAME};
use crate::invalid::{address, maybe_line, sha256};
use crate::{Invalid, Wanted};

/// The longest command of an item, in bytes.
const MAX_COMMAND: usize = 32 * 1024;
/// How many arguments an installer gets.
const MAX_ARGS: usize = 64;

/// What installs software.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of the programs")]
pub enum Installer {
    Winget,
    Choco,
    Msi,
    Exe,
    Apt,
    Dnf,
    Brew,
    /// The item's own commands.
    Script,
}

impl Installer {
    /// Every installer.
    pub const ALL: &[Self] = &[
        Self::Winget,
        Self::Choco,
        Self::Msi,
        Self::Exe,
        Self::Apt,
        Self::Dnf,
        Self::Brew,
        Self::Script,
    ];

    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Winget => "winget",
            Self::Choco => "choco",
            Self::Msi => "msi",
            Self::Exe => "exe",
            Self::Apt => "apt",
            Self::Dnf => "dnf",
            Self::Brew => "brew",
            Self::Script => "script",
        }
    }

    /// Reads what [`Installer::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|installer| installer.as_str() == text)
    }

    /// The text that machines run, and what reads it; a script has none but its own.
    const fn text(self) -> Option<(&'static str, ShellType)> {
        Some(match self {
            Self::Winget => (include_str!("texts/winget.ps1"), ShellType::Powershell),
            Self::Choco => (include_str!("texts/choco.ps1"), ShellType::Powershell),
            Self::Msi => (include_str!("texts/msi.ps1"), ShellType::Powershell),
            Self::Exe => (include_str!("texts/exe.ps1"), ShellType::Powershell),
            Self::Apt => (include_str!("texts/apt.sh"), ShellType::Sh),
            Self::Dnf => (include_str!("texts/dnf.sh"), ShellType::Sh),
            Self::Brew => (include_str!("texts/brew.sh"), ShellType::Sh),
            Self::Script => return None,
        })
    }

    /// The systems on which it is.
    const fn os_type(self) -> Option<OsType> {
        match self {
            Self::Winget | Self::Choco | Self::Msi | Self::Exe => Some(OsType::Windows),
            Self::Apt | Self::Dnf => Some(OsType::Linux),
            Self::Brew | Self::Script => None,
        }
    }

    const fn needs_package(self) -> bool {
        !matches!(self, Self::Exe | Self::Script)
    }

    const fn needs_url(self) -> bool {
        matches!(self, Self::Msi | Self::Exe)
    }

    const fn takes_url(self) -> bool {
        self.needs_url() || matches!(self, Self::Apt)
    }
}

/// What is to be done about software.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Find out whether it is as it is to be.
    Check,
    /// Make it so.
    Apply,
}

impl Operation {
    /// The word that texts on machines read.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Apply => "apply",
        }
    }
}

/// How software comes to machines of one family of operating systems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Which machines.
    pub os_type: OsType,
    /// What installs it.
    pub installer: Installer,
    /// What the installer calls it; of `msi` the product code.
    pub package: Option<String>,
    /// Only this version is right; any when `None`.
    pub version: Option<String>,
    /// Where its file is.
    pub url: Option<String>,
    /// The SHA-256 of its file, as hexadecimal digits.
    pub sha256: Option<String>,
    /// What the installer is told beside that, each as it is.
    pub args: Vec<String>,
    /// Succeeds when it is there.
    pub detect: Option<String>,
    /// Installs it.
    pub install: Option<String>,
    /// Removes it.
    pub uninstall: Option<String>,
    /// What reads these commands; what the system comes with when `None`.
    pub shell_type: Option<ShellType>,
    /// How many seconds each step may take.
    pub timeout: Option<f64>,
}

impl Variant {
    fn check(self) -> Result<Self, Invalid> {
        let installer = self.installer;
        if installer.os_type().is_some_and(|os_type| os_type != self.os_type) {
            let rule = format!("{} is not there on {}", installer.as_str(), self.os_type.as_str());
            return Err(Invalid::new("/installer", rule));
        }
        let package = maybe_line("/package", self.package.clone(), MAX_NAME)?;
        if installer.needs_package() && package.is_none() {
            let rule = format!("what {} calls it is expected", installer.as_str());
            return Err(Invalid::new("/package", rule));
        }
        let url = self.url.clone().map(|url| address("/url", &url)).transpose()?;
        if url.is_some() && !installer.takes_url() {
            let rule = format!("{} finds it by itself", installer.as_str());
            return Err(Invalid::new("/url", rule));
        }
        if installer.needs_url() && url.is_none() {
            return Err(Invalid::new("/url", "where its file is, is expected"));
        }
        let sum = self.sha256.clone().map(|sum| sha256("/sha256", &sum)).transpose()?;
        if url.is_some() != sum.is_some() {
            let rule = "the SHA-256 of the file at `url` is expected: nothing else is installed";
            return Err(Invalid::new("/sha256", rule));
        }
        self.check_commands()?;
        if self.timeout.is_some_and(|seconds| !(seconds > 0.0 && seconds <= 86_400.0)) {
            return Err(Invalid::new("/timeout", "more than 0 and at most 86400 seconds"));
        }
        let version = maybe_line("/version", self.version.clone(), MAX_NAME)?;
        Ok(Self { package, url, sha256: sum, version, ..self })
    }

    fn check_commands(&self) -> Result<(), Invalid> {
        let own = self.installer == Installer::Script;
        let commands = [
            ("/detect", &self.detect, own || self.installer == Installer::Exe, true),
            ("/install", &self.install, own, true),
            ("/uninstall", &self.uninstall, own || self.installer == Installer::Exe, false),
        ];
        for (pointer, command, takes, needs) in commands {
            match command {
                Some(_) if !takes => {
                    let rule = format!("{} knows by itself", self.installer.as_str());
                    return Err(Invalid::new(pointer, rule));
                }
                None if takes && needs => {
                    return Err(Invalid::new(pointer, "a command is expected"));
                }
                Some(text) if text.trim().is_empty() || text.len() > MAX_COMMAND => {
                    return Err(Invalid::new(pointer, "a command of 1 to 32768 bytes is expected"));
                }
                Some(_) | None => {}
            }
        }
        let odd = |text: &String| text.contains('\0') || text.len() > 4000;
        if self.args.len() > MAX_ARGS || self.args.iter().any(odd) {
            let rule = "at most 64 arguments of at most 4000 bytes are expected";
            return Err(Invalid::new("/args", rule));
        }
        Ok(())
    }

    /// What machines run to find out whether it is as it is to be, or to make it so; `None` when
    /// there is no way.
    pub(crate) fn request(
        &self,
        operation: Operation,
        wanted: Wanted,
        version: Option<&str>,
    ) -> Option<SpecRequest> {
        let version = version.or(self.version.as_deref());
        let mut request = if self.is_own(operation, wanted) {
            let command = self.own_command(operation, wanted)?;
            SpecRequest { command, shell_type: self.shell_type, ..SpecRequest::default() }
        } else {
            let (text, shell) = self.installer.text()?;
            SpecRequest {
                // Agents put the arguments behind its last word.
                command: text.trim_end().to_owned(),
                args: self.args.clone(),
                shell_type: Some(shell),
                ..SpecRequest::default()
            }
        };
        request.timeout = self.timeout;
        request.environment = self.environment(operation, wanted, version);
        Some(request)
    }

    /// Whether a command of the item's own does this.
    fn is_own(&self, operation: Operation, wanted: Wanted) -> bool {
        match self.installer {
            Installer::Script => true,
            Installer::Exe => (operation, wanted) != (Operation::Apply, Wanted::Present),
            Installer::Winget
            | Installer::Choco
            | Installer::Msi
            | Installer::Apt
            | Installer::Dnf
            | Installer::Brew => false,
        }
    }

    /// The item's own command for this, if it has one.
    fn own_command(&self, operation: Operation, wanted: Wanted) -> Option<String> {
        match (operation, wanted) {
            (Operation::Check, _) => self.detect.clone(),
            (Operation::Apply, Wanted::Present) => self.install.clone(),
            (Operation::Apply, Wanted::Absent) => self.uninstall.clone(),
        }
    }

    /// Whether what [`Variant::request`] checks with tells that it is there, and not that it is as
    /// it is wanted.
    pub(crate) fn detects_presence(&self) -> bool {
        matches!(self.installer, Installer::Script | Installer::Exe)
    }

    fn environment(
        &self,
        operation: Operation,
        wanted: Wanted,
        version: Option<&str>,
    ) -> BTreeMap<String, String> {
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        [
            ("MUSTER_OPERATION", operation.as_str().to_owned()),
            ("MUSTER_WANTED", wanted.as_str().to_owned()),
            ("MUSTER_PACKAGE", text(self.package.as_deref())),
            ("MUSTER_VERSION", text(version)),
            ("MUSTER_URL", text(self.url.as_deref())),
            ("MUSTER_SHA256", text(self.sha256.as_deref())),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    /// The command of its own that looks, where it has one.
    pub(crate) fn own_detection(&self) -> Option<Wording> {
        let command = self.detect.clone()?;
        Some(Wording { command, shell_type: self.shell_type, ..Wording::default() })
    }

    /// Its own commands, which somebody may have made dangerous.
    pub(crate) fn own_words(&self) -> impl Iterator<Item = Wording> + '_ {
        [&self.detect, &self.install, &self.uninstall].into_iter().flatten().map(|command| {
            Wording { command: command.clone(), shell_type: self.shell_type, ..Wording::default() }
        })
    }
}

/// What a piece of software says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoftwareBody {
    /// How it comes to which machines; one for each family of operating systems.
    pub variants: Vec<Variant>,
}

/// A piece of software and how it is installed.
pub type Software = Entry<SoftwareBody>;

impl SoftwareBody {
    /// Checks what came in.
    ///
    /// # Errors
    /// [`Invalid`] names the field and what is expected there.
    pub fn check(self) -> Result<Self, Invalid> {
        if self.variants.is_empty() {
            let rule = "at least one is expected: how it comes to which systems";
            return Err(Invalid::new("/variants", rule));
        }
        let mut seen = Vec::new();
        let mut variants = Vec::with_capacity(self.variants.len());
        for (number, variant) in self.variants.into_iter().enumerate() {
            let place = format!("/variants/{number}");
            if seen.contains(&variant.os_type) {
                let rule = "there is another one for these systems";
                return Err(Invalid::new(format!("{place}/os_type"), rule));
            }
            seen.push(variant.os_type);
            variants.push(variant.check().map_err(|invalid| invalid.within(&place))?);
        }
        Ok(Self { variants })
    }

    /// How it comes to machines of this family.
    pub(crate) fn for_family(&self, family: OsType) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.os_type == family)
    }
}

impl Body for SoftwareBody {
    const KIND: Kind = Kind::Software;
    type Id = SoftwareId;

    fn os_type(&self) -> Option<OsType> {
        match self.variants.as_slice() {
            [only] => Some(only.os_type),
            _ => None,
        }
    }

    fn facts(&self) -> Value {
        let variant = |it: &Variant| {
            json!({
                "os_type": it.os_type.as_str(), "installer": it.installer.as_str(),
                "package": it.package, "version": it.version, "url": it.url, "sha256": it.sha256,
                "detect": it.detect, "install": it.install, "uninstall": it.uninstall,
            })
        };
        json!({ "variants": self.variants.iter().map(variant).collect::<Vec<_>>() })
    }
}
