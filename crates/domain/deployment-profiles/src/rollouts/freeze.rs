//! From a profile to what machines run, as it is at this moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_agents::OsType;
use muster_commands::runs::{
    ParameterValue, Parameters, RunsError, Secrets, Wording, Work, Workshop,
};
use muster_commands::{Assessment, ShellType, Spec, SpecRequest};
use muster_kernel::{Secret, StorageError, TenantScope};

use super::plan::{FrozenTask, Parts, Shape};
use crate::catalog::{Catalog, CatalogError};
use crate::profiles::{own_secrets, owner_scope};
use crate::software::{Operation, SoftwareBody};
use crate::task::TRUE_WITHIN;
use crate::{Action, Invalid, Profile, Task, Wanted, WantedFile};

/// How long an installer may take when nobody says, where the installation allows that much.
const INSTALLED_WITHIN: Duration = Duration::from_mins(30);
/// How long a look may take.
const LOOKED_WITHIN: Duration = Duration::from_mins(2);
const FILE_SH: &str = include_str!("../texts/file.sh");
const FILE_PS1: &str = include_str!("../texts/file.ps1");

/// Why a profile can't be applied as it is.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// A task can't be done.
    #[error("task {number} ({name}): {reason}")]
    Task {
        /// Which one, counted from 1.
        number: usize,
        /// What it is called.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What machines run for the tasks of a profile.
#[derive(Debug, Clone)]
pub struct Frozen {
    /// The tasks, in their order.
    pub tasks: Vec<FrozenTask>,
    /// The values of secret parameters, by `number/name`, counted from 0.
    pub secrets: Secrets,
    /// What is thought of all of it.
    pub assessment: Assessment,
    /// What is thought of what only looks: it is run by a dry run as well.
    pub looks: Assessment,
}

/// Freezes profiles; cheap to clone.
#[derive(Debug, Clone)]
pub struct Freezer {
    software: Catalog<SoftwareBody>,
    pub(super) workshop: Workshop,
}

/// What a task comes to.
struct Comes {
    shape: Shape,
    parts: BTreeMap<OsType, Parts>,
    secrets: Secrets,
    assessment: Assessment,
    looks: Assessment,
}

/// Why a task comes to nothing.
enum Reason {
    Said(String),
    Storage(StorageError),
}

impl From<RunsError> for Reason {
    fn from(error: RunsError) -> Self {
        match error {
            RunsError::Storage(error) => Self::Storage(error),
            other => Self::Said(other.to_string()),
        }
    }
}

impl From<CatalogError> for Reason {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Storage(error) => Self::Storage(error),
            other => Self::Said(other.to_string()),
        }
    }
}

impl From<Invalid> for Reason {
    fn from(invalid: Invalid) -> Self {
        Self::Said(invalid.to_string())
    }
}

impl Freezer {
    /// Made of its ports.
    pub const fn new(software: Catalog<SoftwareBody>, workshop: Workshop) -> Self {
        Self { software, workshop }
    }

    /// What machines of these families run for a profile, which may name what is its owner's and what
    /// is shared.
    ///
    /// # Errors
    /// [`FreezeError`] names the task that can't be done.
    pub async fn freeze(
        &self,
        profile: &Profile,
        families: &BTreeSet<OsType>,
    ) -> Result<Frozen, FreezeError> {
        let scope = &owner_scope(profile.customer_id);
        let place = Profile::secrets_place(profile.id);
        let kept = self.workshop.open(&place, profile.secrets.as_ref()).await?;
        let mut frozen = Frozen {
            tasks: Vec::new(),
            secrets: Secrets::new(),
            assessment: Assessment::SAFE,
            looks: Assessment::SAFE,
        };
        for (number, task) in profile.body.tasks.iter().enumerate() {
            let work = self.work(scope, task, &own_secrets(&kept, task.id), families).await;
            let work = work.map_err(|reason| match reason {
                Reason::Storage(error) => FreezeError::Storage(error),
                Reason::Said(reason) => {
                    FreezeError::Task { number: number + 1, name: task.name.clone(), reason }
                }
            })?;
            frozen.assessment.add(work.assessment);
            frozen.looks.add(work.looks);
            let named = |(name, it): (String, Secret)| (format!("{number}/{name}"), it);
            frozen.secrets.extend(work.secrets.into_iter().map(named));
            frozen.tasks.push(FrozenTask {
                id: task.id,
                name: task.name.clone(),
                action_type: task.action.as_str().to_owned(),
                shape: work.shape,
                continue_on_error: task.continue_on_error,
                parts: work.parts,
            });
        }
        Ok(frozen)
    }

    async fn work(
        &self,
        scope: &TenantScope,
        task: &Task,
        secrets: &Secrets,
        families: &BTreeSet<OsType>,
    ) -> Result<Comes, Reason> {
        match &task.action {
            Action::Command(wording) => {
                let wording = Wording { timeout: task.timeout, ..wording.clone() };
                self.runs(scope, task, Work::Command(wording), Shape::Plain, families).await
            }
            Action::Script { script_id, parameters } => {
                let text = |secret: &Secret| ParameterValue::Text(secret.expose().to_owned());
                let mut parameters: Parameters = parameters.clone();
                parameters.extend(secrets.iter().map(|(name, it)| (name.clone(), text(it))));
                let work =
                    Work::Script { script_id: *script_id, parameters, timeout: task.timeout };
                self.runs(scope, task, work, Shape::Plain, families).await
            }
            Action::Software { software_id, wanted, version } => {
                let item = self.software.find(scope, *software_id).await?;
                self.software(task, &item.name, &item.body, (*wanted, version.as_deref()), families)
            }
            Action::File(file) => self.file(task, file, families),
            Action::Reboot { only_if_changed, command } => {
                let shape =
                    Shape::Reboot { only_if_changed: *only_if_changed, within: task.patience()? };
                self.reboot(task, command.as_ref(), shape, families)
            }
            Action::Wait { condition, interval } => {
                let within = task.patience().unwrap_or(TRUE_WITHIN);
                let shape = Shape::Wait { interval: *interval, within };
                let work = Work::Command(Wording { timeout: None, ..condition.clone() });
                self.runs(scope, task, work, shape, families).await
            }
        }
    }

    /// Something that is run as in a run.
    async fn runs(
        &self,
        scope: &TenantScope,
        task: &Task,
        work: Work,
        shape: Shape,
        families: &BTreeSet<OsType>,
    ) -> Result<Comes, Reason> {
        let prepared = self.workshop.prepare(scope, &work, families).await?;
        let (mut assessment, mut looks) = (prepared.assessment, Assessment::SAFE);
        let mut parts = BTreeMap::new();
        for (family, mut work) in prepared.specs {
            // PowerShell is there on other systems under its newer name.
            if family != OsType::Windows && work.shell_type == ShellType::Powershell {
                work.shell_type = ShellType::Pwsh;
            }
            let check = self.check(task, family, &mut looks)?;
            parts.insert(family, Parts { check, inverted: false, exact: false, work });
        }
        assessment.add(looks.clone());
        Ok(Comes { shape, parts, secrets: prepared.secrets, assessment, looks })
    }

    /// The task's own check.
    fn check(
        &self,
        task: &Task,
        family: OsType,
        assessment: &mut Assessment,
    ) -> Result<Option<Spec>, Invalid> {
        let Some(check) = &task.check else { return Ok(None) };
        let spec = self.workshop.spec(check.clone().into(), family)?;
        assessment.add(spec.assess());
        Ok(Some(spec))
    }

    fn reboot(
        &self,
        task: &Task,
        command: Option<&Wording>,
        shape: Shape,
        families: &BTreeSet<OsType>,
    ) -> Result<Comes, Reason> {
        let (mut parts, mut assessment) = (BTreeMap::new(), Assessment::SAFE);
        let mut looks = Assessment::SAFE;
        for family in families {
            let request = match command {
                Some(command) => command.clone().into(),
                None => {
                    SpecRequest { command: boots(*family).to_owned(), ..SpecRequest::default() }
                }
            };
            let work = self.workshop.spec(request, *family).map_err(Invalid::from)?;
            assessment.add(work.assess());
            let check = self.check(task, *family, &mut looks)?;
            parts.insert(*family, Parts { check, inverted: false, exact: false, work });
        }
        assessment.add(looks.clone());
        Ok(Comes { shape, parts, secrets: Secrets::new(), assessment, looks })
    }

    fn software(
        &self,
        task: &Task,
        name: &str,
        body: &SoftwareBody,
        (wanted, version): (Wanted, Option<&str>),
        families: &BTreeSet<OsType>,
    ) -> Result<Comes, Reason> {
        let (mut parts, mut assessment) = (BTreeMap::new(), caution());
        let mut looks = Assessment::SAFE;
        for family in families {
            let said = |what: &str| {
                Reason::Said(format!("{name} says nothing about {what} on {}", family.as_str()))
            };
            let variant = body.for_family(*family).ok_or_else(|| said("its installation"))?;
            for own in variant.own_words() {
                let spec = self.workshop.spec(own.into(), *family).map_err(Invalid::from)?;
                assessment.add(spec.assess());
            }
            if let Some(detect) = variant.own_detection() {
                let spec = self.workshop.spec(detect.into(), *family).map_err(Invalid::from)?;
                looks.add(spec.assess());
            }
            let check = variant.request(Operation::Check, wanted, version);
            let work = variant.request(Operation::Apply, wanted, version);
            let check = check.ok_or_else(|| said("how it is found"))?;
            let work = work.ok_or_else(|| said("its removal"))?;
            let check = SpecRequest { timeout: Some(LOOKED_WITHIN.as_secs_f64()), ..check };
            let timeout = task.timeout.or(work.timeout).or(Some(self.installed_within()));
            let work = SpecRequest { timeout, ..work };
            let inverted = variant.detects_presence() && wanted == Wanted::Absent;
            let spec = |request| self.workshop.spec(request, *family).map_err(Invalid::from);
            let exact = !variant.detects_presence();
            let (check, work) = (Some(spec(check)?), spec(work)?);
            let family_parts = Parts { check, inverted, exact, work };
            parts.insert(*family, family_parts);
        }
        let shape = Shape::Steady { verified: true };
        Ok(Comes { shape, parts, secrets: Secrets::new(), assessment, looks })
    }

    fn file(
        &self,
        task: &Task,
        file: &WantedFile,
        families: &BTreeSet<OsType>,
    ) -> Result<Comes, Reason> {
        let mut parts = BTreeMap::new();
        for family in families {
            let (text, shell) = match family {
                OsType::Windows => (FILE_PS1, ShellType::Powershell),
                OsType::Linux | OsType::Macos | OsType::Other => (FILE_SH, ShellType::Sh),
            };
            let request = |operation: Operation, timeout| SpecRequest {
                command: text.trim_end().to_owned(),
                shell_type: Some(shell),
                timeout,
                environment: environment(file, operation),
                ..SpecRequest::default()
            };
            let spec = |request| self.workshop.spec(request, *family).map_err(Invalid::from);
            let check = spec(request(Operation::Check, Some(LOOKED_WITHIN.as_secs_f64())))?;
            let timeout = task.timeout.or(Some(self.installed_within()));
            let work = spec(request(Operation::Apply, timeout))?;
            parts.insert(*family, Parts { check: Some(check), inverted: false, exact: true, work });
        }
        let shape = Shape::Steady { verified: false };
        let (assessment, looks) = (caution(), Assessment::SAFE);
        Ok(Comes { shape, parts, secrets: Secrets::new(), assessment, looks })
    }

    fn installed_within(&self) -> f64 {
        self.workshop.limits().max_timeout.min(INSTALLED_WITHIN).as_secs_f64()
    }
}

/// What a machine of a family boots by.
const fn boots(family: OsType) -> &'static str {
    match family {
        OsType::Windows => "shutdown.exe /r /t 0 /f",
        OsType::Linux | OsType::Macos | OsType::Other => "shutdown -r now",
    }
}

/// What is thought of texts of Muster's own: they change what they are told to.
fn caution() -> Assessment {
    Assessment { level: muster_commands::SafetyLevel::Caution, reasons: Vec::new() }
}

fn environment(file: &WantedFile, operation: Operation) -> BTreeMap<String, String> {
    let url = match &file.source {
        crate::FileSource::Download { url, .. } => url.clone(),
        crate::FileSource::Content(_) => String::new(),
    };
    // A check needs no content: its SHA-256 says what it is.
    let content = match operation {
        Operation::Apply => file.base64().unwrap_or_default(),
        Operation::Check => String::new(),
    };
    [
        ("MUSTER_OPERATION", operation.as_str().to_owned()),
        ("MUSTER_PATH", file.path.clone()),
        ("MUSTER_CONTENT", content),
        ("MUSTER_URL", url),
        ("MUSTER_SHA256", file.sha256()),
        ("MUSTER_MODE", file.mode.clone().unwrap_or_default()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
