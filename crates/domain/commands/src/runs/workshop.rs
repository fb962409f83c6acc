//! From what is asked for to what machines run: texts of the library, values of parameters,
//! secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_agents::OsType;
use muster_kernel::{Sealed, Secret, StorageError, TenantScope, Vault};

use super::usecase::RunsError;
use super::wish::{ParameterValue, Parameters, Template, Work};
use crate::ScriptRef;
use crate::library::{ItemId, Kind, Library, Opened, SavedCommands, Scripts};
use crate::safety::{self, Assessment, SafetyLevel};
use crate::spec::{InvalidSpec, Limits, Spec, SpecRequest};
use crate::usecase::shell_of;

/// What is to run on machines of one family of operating systems.
pub type Specs = BTreeMap<OsType, Spec>;
/// The values of secret parameters, which are secret variables of the same names.
pub type Secrets = BTreeMap<String, Secret>;

/// What machines run.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Of each family of operating systems that was asked about.
    pub specs: Specs,
    /// What is thought of it.
    pub assessment: Assessment,
    /// What was asked for, without the values of secret parameters.
    pub work: Work,
    /// Those values.
    pub secrets: Secrets,
}

/// Makes of what is asked for what machines run.
#[derive(Debug, Clone)]
pub struct Workshop {
    scripts: Arc<Scripts>,
    saved_commands: Arc<SavedCommands>,
    vault: Arc<dyn Vault>,
    limits: Limits,
}

impl Workshop {
    /// What the installation allows.
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// What machines of a family run when they are asked for `request`.
    ///
    /// # Errors
    /// [`InvalidSpec`] names the field and what is expected there.
    pub fn spec(&self, request: SpecRequest, family: OsType) -> Result<Spec, InvalidSpec> {
        Spec::parse(request, shell_of(family), self.limits)
    }

    /// Made of the library, a vault for secret parameters and what the installation allows.
    pub const fn new(
        scripts: Arc<Scripts>,
        saved_commands: Arc<SavedCommands>,
        vault: Arc<dyn Vault>,
        limits: Limits,
    ) -> Self {
        Self { scripts, saved_commands, vault, limits }
    }

    /// What machines of these families run.
    ///
    /// # Errors
    /// [`RunsError`] says what is wrong with the work.
    pub async fn prepare(
        &self,
        scope: &TenantScope,
        work: &Work,
        families: &BTreeSet<OsType>,
    ) -> Result<Prepared, RunsError> {
        match work {
            Work::Command(wording) => {
                let mut assessment = Assessment::SAFE;
                let mut specs = Specs::new();
                for family in families {
                    let request = SpecRequest::from(wording.clone());
                    let spec = Spec::parse(request, shell_of(*family), self.limits)?;
                    assessment.add(spec.assess());
                    specs.insert(*family, spec);
                }
                let (work, secrets) = (work.clone(), Secrets::new());
                Ok(Prepared { specs, assessment, work, secrets })
            }
            Work::Script { script_id, parameters, timeout } => {
                let script = opened(&self.scripts, scope, *script_id).await?;
                let (script_id, timeout) = (*script_id, *timeout);
                self.of_library(&script, parameters, timeout, families, |parameters| Work::Script {
                    script_id,
                    parameters,
                    timeout,
                })
                .await
            }
            Work::SavedCommand { saved_command_id, parameters, timeout } => {
                let saved = opened(&self.saved_commands, scope, *saved_command_id).await?;
                let (saved_command_id, timeout) = (*saved_command_id, *timeout);
                self.of_library(&saved, parameters, timeout, families, |parameters| {
                    Work::SavedCommand { saved_command_id, parameters, timeout }
                })
                .await
            }
        }
    }

    /// That what runs is in the library, and in `scope`.
    pub(super) async fn check_there(
        &self,
        scope: &TenantScope,
        work: &Work,
    ) -> Result<(), RunsError> {
        match work {
            Work::Command(_) => Ok(()),
            Work::Script { script_id, .. } => {
                opened(&self.scripts, scope, *script_id).await.map(drop)
            }
            Work::SavedCommand { saved_command_id, .. } => {
                opened(&self.saved_commands, scope, *saved_command_id).await.map(drop)
            }
        }
    }

    async fn of_library<I: ItemId>(
        &self,
        opened: &Opened<I>,
        values: &Parameters,
        timeout: Option<f64>,
        families: &BTreeSet<OsType>,
        work: impl FnOnce(Parameters) -> Work,
    ) -> Result<Prepared, RunsError> {
        let version = &opened.item.version;
        if let Some(wanted) = version.about.target_os_type
            && let Some(other) = families.iter().find(|family| **family != wanted)
        {
            return Err(RunsError::OtherSystem { wanted, other: *other });
        }
        let bound = opened.bind(values).map_err(RunsError::InvalidParameters)?;
        let (open, _) = opened.split_secrets(values.clone());
        let is_script = I::KIND == Kind::Script;
        let request = SpecRequest {
            command: if is_script { version.about.name.clone() } else { opened.text.to_string() },
            args: bound.args,
            shell_type: Some(version.about.shell_type),
            timeout,
            working_directory: None,
            environment: bound.environment,
        };
        let mut spec = Spec::parse(request, version.about.shell_type, self.limits)?;
        if is_script {
            spec.script = Some(ScriptRef {
                version_id: version.id,
                sha256: version.sha256,
                bytes: version.bytes,
            });
        }
        let specs = families.iter().map(|family| (*family, spec.clone())).collect();
        let assessment = assessment(opened).await;
        Ok(Prepared { specs, assessment, work: work(open), secrets: bound.secrets })
    }

    /// Puts the values of secret parameters back into a template that was kept at `place`.
    ///
    /// # Errors
    /// When the secrets can't be opened.
    pub(super) async fn restore(
        &self,
        template: &mut Template,
        place: &str,
    ) -> Result<(), StorageError> {
        let secrets = self.open(place, template.secrets.take().as_ref()).await?;
        let given = match &mut template.work {
            Work::Script { parameters, .. } | Work::SavedCommand { parameters, .. } => parameters,
            Work::Command(_) => return Ok(()),
        };
        let value = |secret: Secret| ParameterValue::Text(secret.expose().to_owned());
        given.extend(secrets.into_iter().map(|(name, secret)| (name, value(secret))));
        Ok(())
    }

    /// Seals values, if there are any.
    ///
    /// # Errors
    /// When the vault fails.
    pub async fn seal(
        &self,
        place: &str,
        secrets: &Secrets,
    ) -> Result<Option<Sealed>, StorageError> {
        if secrets.is_empty() {
            return Ok(None);
        }
        let values: BTreeMap<_, _> =
            secrets.iter().map(|(name, secret)| (name.as_str(), secret.expose())).collect();
        let text = serde_json::to_string(&values).map_err(StorageError::new)?;
        Ok(Some(self.vault.seal(place, &Secret::from_text(text)).await?))
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// When it can't be opened any more.
    pub async fn open(
        &self,
        place: &str,
        sealed: Option<&Sealed>,
    ) -> Result<Secrets, StorageError> {
        let Some(sealed) = sealed else { return Ok(Secrets::new()) };
        let opened = self.vault.open(place, sealed).await?.ok_or_else(|| {
            StorageError::new(std::io::Error::other("secret parameters can't be opened any more"))
        })?;
        let values: BTreeMap<String, String> =
            serde_json::from_str(opened.expose()).map_err(StorageError::new)?;
        Ok(values.into_iter().map(|(name, value)| (name, Secret::from_text(value))).collect())
    }
}

async fn opened<I: ItemId>(
    library: &Library<I>,
    scope: &TenantScope,
    id: I,
) -> Result<Opened<I>, RunsError> {
    library.for_run(scope, id).await?.ok_or(RunsError::NothingToRun)
}

/// What was thought of a text when it was written; why, of what is dangerous.
async fn assessment<I: ItemId>(opened: &Opened<I>) -> Assessment {
    let version = &opened.item.version;
    let mut found = Assessment { level: version.safety_level, reasons: Vec::new() };
    if found.level == SafetyLevel::Dangerous {
        let (shell, text) = (version.about.shell_type, Arc::clone(&opened.text));
        // The longest text takes a good part of a second, during which nobody else has to wait.
        let look = move || safety::assess(shell, &text, &[]);
        found.reasons =
            tokio::task::spawn_blocking(look).await.map(|it| it.reasons).unwrap_or_default();
    }
    found
}
