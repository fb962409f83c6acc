//! The data folder: who the agent is, kept so that a crash loses nothing.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use muster_protocol::Separate;
use muster_trust::Trust;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who the agent is, once enrolled.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Where its server is.
    pub(crate) server: String,
    /// Its id.
    pub(crate) agent_id: Uuid,
    /// What it proves itself with.
    pub(crate) agent_token: String,
    /// The pinned Ed25519 key that signs its orders, base64.
    pub(crate) server_key: String,
    /// What the server's certificate is measured by.
    #[serde(default)]
    pub(crate) trust: Trust,
    /// The folder within the data folder for what it works on; the data folder itself when absent.
    /// An agent that was another before leaves that one's journal and results alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<String>,
}

impl Identity {
    /// The agent that this one is told to be from now on, with the same server.
    pub(crate) fn separated(&self, separate: &Separate) -> Self {
        Self {
            agent_id: separate.agent_id,
            agent_token: separate.agent_token.clone(),
            folder: Some(format!("agent-{}", separate.agent_id)),
            ..self.clone()
        }
    }

    /// The pinned key.
    pub(crate) fn key(&self) -> anyhow::Result<VerifyingKey> {
        let bytes = STANDARD.decode(&self.server_key).context("the server's key is not base64")?;
        let bytes: [u8; 32] =
            bytes.try_into().ok().context("the server's key does not have 32 bytes")?;
        VerifyingKey::from_bytes(&bytes).context("the server's key is not an Ed25519 key")
    }
}

/// The agent's folder, held by one process at a time.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    lock: Arc<File>,
}

impl DataDir {
    /// Makes the folder if it is missing and takes it for this process.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).with_context(|| format!("can't make {}", path.display()))?;
        let lock = private().create(true).write(true).truncate(false).open(path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock: Arc::new(lock) }),
            Err(TryLockError::WouldBlock) => {
                bail!("another agent runs on {}: stop it or use another folder", path.display())
            }
            Err(TryLockError::Error(error)) => Err(error).context("can't lock the data folder"),
        }
    }

    /// The path of `name` in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder `name` in the folder, made if it is missing.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.file(name);
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).with_context(|| format!("can't make {}", path.display()))?;
        Ok(path)
    }

    /// Where the agent that `identity` is keeps what it works on.
    pub(crate) fn of(&self, identity: &Identity) -> anyhow::Result<Self> {
        let path = match &identity.folder {
            Some(name) => self.folder(name)?,
            None => self.path.clone(),
        };
        Ok(Self { path, lock: Arc::clone(&self.lock) })
    }

    /// Forgets the random text kept under `name`.
    pub(crate) fn forget(&self, name: &str) {
        // One that stays behind is replaced by whoever wants another.
        let _ = fs::remove_file(self.file(name));
    }

    /// The identity, if the agent has enrolled.
    pub(crate) fn identity(&self) -> anyhow::Result<Option<Identity>> {
        match fs::read(self.file("identity.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).context("identity.json is damaged"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("can't read identity.json"),
        }
    }

    /// Keeps the identity.
    pub(crate) fn keep_identity(&self, identity: &Identity) -> anyhow::Result<()> {
        self.write("identity.json", &serde_json::to_vec_pretty(identity)?)
            .context("can't write identity.json")
    }

    /// The random text kept under `name`, made at the first call.
    pub(crate) fn random(&self, name: &str) -> anyhow::Result<String> {
        match fs::read_to_string(self.file(name)) {
            Ok(text) if !text.is_empty() => Ok(text),
            Ok(_) => bail!("{name} in the data folder is empty; remove it"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = random_id();
                self.write(name, text.as_bytes())?;
                Ok(text)
            }
            Err(error) => Err(error).with_context(|| format!("can't read {name}")),
        }
    }

    /// Replaces a file so that a crash leaves the old one or the new one, never a part.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = self.file(&format!("{name}.new"));
        let mut file = private().create(true).write(true).truncate(true).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, self.file(name))?;
        #[cfg(unix)]
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }
}

/// Options that make files which nobody else may read.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// 128 random bits as a UUID's text.
pub(crate) fn random_id() -> String {
    Uuid::from_u128(rand::random()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_from_before_there_was_a_choice_trusts_the_web() {
        let identity: Identity = serde_json::from_value(serde_json::json!({
            "server": "https://muster.example.org", "agent_token": "ag_", "server_key": "",
            "agent_id": "01a1fd0e-4165-7d53-b778-541ddf038cde",
        }))
        .unwrap();
        assert_eq!(identity.trust, Trust::WebRoots);
    }

    #[test]
    fn a_second_agent_on_the_same_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _first = DataDir::open(folder.path()).unwrap();
        let refusal = DataDir::open(folder.path()).unwrap_err();
        assert!(refusal.to_string().contains("another agent runs"));
    }

    #[test]
    fn an_agent_that_becomes_another_begins_with_nothing_and_the_same_server() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let before: Identity = serde_json::from_value(serde_json::json!({
            "server": "https://muster.example.org", "agent_token": "ag_old", "server_key": "k",
            "agent_id": "01a1fd0e-4165-7d53-b778-541ddf038cde",
        }))
        .unwrap();
        assert_eq!(data.of(&before).unwrap().file("journal"), data.file("journal"));
        let agent_id = Uuid::from_u128(7);
        let separate = Separate { agent_id, agent_token: "ag_new".into() };
        data.keep_identity(&before.separated(&separate)).unwrap();
        let after = data.identity().unwrap().unwrap();
        assert_eq!((after.agent_id, after.agent_token.as_str()), (agent_id, "ag_new"));
        assert_eq!((&after.server, &after.server_key), (&before.server, &before.server_key));
        assert_ne!(data.of(&after).unwrap().file("journal"), data.file("journal"));
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_what_the_folder_holds() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let folder = DataDir::open(&path).unwrap();
        let kept = folder.random("enrolment-key").unwrap();
        assert_eq!(folder.random("enrolment-key").unwrap(), kept);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("enrolment-key")), 0o600);
        assert_eq!(mode(&path.join("lock")), 0o600);
    }
}
