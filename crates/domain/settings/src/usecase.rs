//! What people do with settings, and what the program reads in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_kernel::{Clock, Deed, Permit, Secret, StorageError, Timestamp, Vault, act};
use parking_lot::RwLock;
use serde_json::Value;

use crate::key::{InvalidSetting, Kept, Key, MASK};
use crate::ports::{SettingChange, SettingRepository, SettingRow, Stored};

/// Why something could not be done with settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no such setting.
    #[error("there is no setting of that name; GET /settings lists them")]
    Unknown(String),
    /// A value breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidSetting),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A setting as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Which.
    pub key: Key,
    /// What it is; `None` for a secret.
    pub value: Option<Value>,
    /// Since when it is not what it was at first.
    pub set_at: Option<Timestamp>,
}

/// What people do with settings, and what the program reads in them.
#[derive(Debug)]
pub struct Settings {
    repository: Arc<dyn SettingRepository>,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
    rows: RwLock<BTreeMap<Key, SettingRow>>,
}

impl Settings {
    /// Made of its ports; [`Settings::reload`] has to follow.
    pub fn new(
        repository: Arc<dyn SettingRepository>,
        vault: Arc<dyn Vault>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { repository, vault, clock, rows: RwLock::default() }
    }

    /// Looks what was set, here or by another process.
    ///
    /// # Errors
    /// When the storage fails; what was known stays.
    pub async fn reload(&self) -> Result<(), StorageError> {
        let rows = self.repository.all().await?;
        *self.rows.write() = rows.into_iter().map(|row| (row.key, row)).collect();
        Ok(())
    }

    /// What a setting is now, as text; a secret is never among what this tells.
    pub fn text(&self, key: Key) -> String {
        match self.rows.read().get(&key).map(|row| &row.value) {
            Some(Stored::Plain(text)) => text.clone(),
            Some(Stored::Sealed(_)) | None => key.default_text().to_owned(),
        }
    }

    /// Whether a setting is on.
    pub fn is_on(&self, key: Key) -> bool {
        self.text(key) == "true"
    }

    /// What number a setting is.
    pub fn number(&self, key: Key) -> u64 {
        self.text(key).parse().unwrap_or(0)
    }

    /// What secret a setting is, if it was set.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn secret(&self, key: Key) -> Result<Option<Secret>, StorageError> {
        let sealed = match self.rows.read().get(&key).map(|row| &row.value) {
            Some(Stored::Sealed(sealed)) => sealed.clone(),
            Some(Stored::Plain(_)) | None => return Ok(None),
        };
        self.vault.open(&key.place(), &sealed).await
    }

    /// Every setting.
    pub fn list(&self, _: &Permit<act::ReadSettings>) -> Vec<Shown> {
        Key::ALL.iter().map(|key| self.shown(*key)).collect()
    }

    /// One setting.
    ///
    /// # Errors
    /// [`SettingsError::Unknown`].
    pub fn get(&self, _: &Permit<act::ReadSettings>, key: &str) -> Result<Shown, SettingsError> {
        Ok(self.shown(known(key)?))
    }

    fn shown(&self, key: Key) -> Shown {
        let set_at = self.rows.read().get(&key).map(|row| row.updated_at);
        Shown { key, value: key.show(&self.text(key)), set_at }
    }

    /// Changes settings, all of them or none; it takes effect at once. A secret's [`MASK`] leaves
    /// it as it is, and nothing removes it.
    ///
    /// # Errors
    /// [`SettingsError::Unknown`], [`SettingsError::Invalid`].
    pub async fn set(
        &self,
        permit: &Permit<act::ManageSettings>,
        values: &BTreeMap<String, Value>,
    ) -> Result<(), SettingsError> {
        let mut changes = Vec::with_capacity(values.len());
        for (name, value) in values {
            let key = known(name)?;
            let text = key.check(value)?;
            if key.is_secret() && text == MASK {
                continue;
            }
            if key.is_secret() && text.is_empty() {
                changes.push(SettingChange { key, value: None, deed: self.deed(key, None) });
                continue;
            }
            let deed = self.deed(key, Some(&text));
            let value = if key.is_secret() {
                let secret = Secret::from_text(text);
                Stored::Sealed(self.vault.seal(&key.place(), &secret).await?)
            } else {
                Stored::Plain(text)
            };
            changes.push(SettingChange { key, value: Some(value), deed });
        }
        self.repository.change(changes, permit.author(), self.clock.now()).await?;
        Ok(self.reload().await?)
    }

    /// Puts a setting back to what it was at first.
    ///
    /// # Errors
    /// [`SettingsError::Unknown`].
    pub async fn reset(
        &self,
        permit: &Permit<act::ManageSettings>,
        key: &str,
    ) -> Result<(), SettingsError> {
        let key = known(key)?;
        let change = SettingChange { key, value: None, deed: self.deed(key, None) };
        self.repository.change(vec![change], permit.author(), self.clock.now()).await?;
        Ok(self.reload().await?)
    }

    fn deed(&self, key: Key, after: Option<&str>) -> Deed {
        let before = self.rows.read().get(&key).map(|row| match &row.value {
            Stored::Plain(text) => text.clone(),
            Stored::Sealed(_) => String::new(),
        });
        let action = if after.is_some() { "setting.update" } else { "setting.reset" };
        let mut deed = Deed::changed(action, &Kept(key, before.as_deref()), &Kept(key, after));
        // The name stays, though it does not differ.
        for side in [&mut deed.before, &mut deed.after].into_iter().flatten() {
            if let Some(side) = side.as_object_mut() {
                side.insert("key".to_owned(), Value::from(key.as_str()));
            }
        }
        deed
    }
}

fn known(key: &str) -> Result<Key, SettingsError> {
    Key::parse(key).ok_or_else(|| SettingsError::Unknown(key.to_owned()))
}
