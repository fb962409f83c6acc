//! What an agent needs for a command beside the command: the text of its script, and its secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_kernel::{CommandId, Sealed, Secret, StorageError, Timestamp, Vault};

use crate::{Command, Event, Failure, Outcome, OutputBytes, Report, ScriptRef, ScriptTexts, Spec};

/// The longest text of a script, in bytes.
pub const MAX_SCRIPT_BYTES: usize = 1024 * 1024;

/// What an agent needs for a command beside the command.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    /// The text of the script that runs.
    pub script: Option<Arc<str>>,
    /// The values of secret environment variables, by name.
    pub secrets: BTreeMap<String, Secret>,
}

/// Why there is no payload. Without it the command must not run.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The text is not in the library any more, or is not the one that was asked for.
    #[error("the text of the script is gone from the library")]
    ScriptGone,
    /// The secrets were sealed elsewhere or by another key, or are not what was sealed.
    #[error("the secrets of the command can't be opened any more")]
    SecretsUnreadable,
    /// The storage failed; asking again may help.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl PayloadError {
    /// How a command ends whose payload is gone for good.
    ///
    /// # Errors
    /// When asking again may help.
    pub fn verdict(self, at: Timestamp) -> Result<Event, StorageError> {
        let detail = Some(self.to_string());
        let code = match self {
            Self::ScriptGone => "SCRIPT_GONE",
            Self::SecretsUnreadable => "SECRETS_UNREADABLE",
            Self::Storage(error) => return Err(error),
        };
        let code = code.to_owned();
        Ok(Event::Finished(Report {
            outcome: Outcome::Failed(Failure { code, detail }),
            at,
            exit_code: None,
            execution_time: None,
            written: OutputBytes::default(),
        }))
    }
}

/// Finds what agents need for commands.
#[derive(Debug, Clone)]
pub struct Payloads {
    texts: Arc<dyn ScriptTexts>,
    vault: Arc<dyn Vault>,
}

impl Payloads {
    /// Made of its ports.
    pub fn new(texts: Arc<dyn ScriptTexts>, vault: Arc<dyn Vault>) -> Self {
        Self { texts, vault }
    }

    /// What the agent needs for `command`.
    ///
    /// # Errors
    /// [`PayloadError`]; the command must then not be handed over.
    pub async fn of(&self, command: &Command) -> Result<Payload, PayloadError> {
        let script = match &command.spec.script {
            Some(script) => Some(self.text(script).await?),
            None => None,
        };
        let secrets = match &command.spec.secrets {
            Some(sealed) => self.open(command.id, sealed).await?,
            None => BTreeMap::new(),
        };
        Ok(Payload { script, secrets })
    }

    async fn text(&self, script: &ScriptRef) -> Result<Arc<str>, PayloadError> {
        let text = self.texts.text(script.version_id).await?;
        // The agent compares the hash as well; a text that it could not even take is not sent.
        let same = |text: &Arc<str>| {
            u32::try_from(text.len()) == Ok(script.bytes) && text.len() <= MAX_SCRIPT_BYTES
        };
        text.filter(same).ok_or(PayloadError::ScriptGone)
    }

    async fn open(
        &self,
        id: CommandId,
        sealed: &Sealed,
    ) -> Result<BTreeMap<String, Secret>, PayloadError> {
        let opened = self.vault.open(&Spec::secrets_place(id), sealed).await?;
        let opened = opened.ok_or(PayloadError::SecretsUnreadable)?;
        let values: BTreeMap<String, String> =
            serde_json::from_str(opened.expose()).map_err(|_| PayloadError::SecretsUnreadable)?;
        Ok(values.into_iter().map(|(name, value)| (name, Secret::from_text(value))).collect())
    }
}

#[cfg(test)]
mod tests {
    use muster_kernel::VersionId;
    use muster_kernel::testing::FakeVault;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{FakeTexts, command, noon};

    fn version() -> VersionId {
        VersionId::from_uuid(Uuid::from_u128(7))
    }

    fn payloads() -> Payloads {
        let texts = FakeTexts::default();
        texts.keep(version(), "echo hi");
        Payloads::new(Arc::new(texts), Arc::new(FakeVault))
    }

    async fn sealed(place: &str, text: &str) -> Command {
        let secrets = FakeVault.seal(place, &Secret::from_text(text)).await.unwrap();
        let mut command = command(1);
        command.spec.secrets = Some(secrets);
        command
    }

    fn code(error: PayloadError) -> Option<String> {
        match error.verdict(noon()).unwrap() {
            Event::Finished(Report { outcome: Outcome::Failed(failure), .. }) => Some(failure.code),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_command_gets_the_text_and_the_secrets_that_are_its_own() {
        let place = Spec::secrets_place(command(1).id);
        let mut command = sealed(&place, r#"{"TOKEN":"hunter2"}"#).await;
        command.spec.script = Some(ScriptRef { version_id: version(), sha256: [0; 32], bytes: 7 });
        let payload = payloads().of(&command).await.unwrap();
        assert_eq!(payload.script.as_deref(), Some("echo hi"));
        assert_eq!(payload.secrets.get("TOKEN").map(Secret::expose), Some("hunter2"));
        assert!(!format!("{payload:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn secrets_that_can_not_be_opened_end_the_command() {
        let place = Spec::secrets_place(command(1).id);
        for (place, text) in [("elsewhere", "{}"), (place.as_str(), "no JSON")] {
            let error = payloads().of(&sealed(place, text).await).await.unwrap_err();
            assert_eq!(code(error).as_deref(), Some("SECRETS_UNREADABLE"));
        }
    }

    #[tokio::test]
    async fn a_text_that_is_gone_or_another_ends_the_command() {
        let other = VersionId::from_uuid(Uuid::from_u128(8));
        for (version_id, bytes) in [(other, 7), (version(), 8)] {
            let mut command = command(1);
            command.spec.script = Some(ScriptRef { version_id, sha256: [0; 32], bytes });
            let error = payloads().of(&command).await.unwrap_err();
            assert_eq!(code(error).as_deref(), Some("SCRIPT_GONE"));
        }
    }
}
