//! Secrets in rows: AES-256-GCM under data keys, which the master key wraps.
//!
//! A sealed secret is a version byte, the id of its data key, a random nonce and the ciphertext;
//! the place it was sealed for is the associated data, so that a row copied into another opens
//! nothing. A data key seals far fewer secrets than the 2³² that random nonces are good for.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aes_gcm::aead::{Aead, KeyInit, Nonce, Payload};
use aes_gcm::{Aes256Gcm, Key};
use async_trait::async_trait;
use muster_kernel::{
    Author, Clock, DataKeyId, Entropy, Sealed, Secret, StorageError, Timestamp, Vault,
};
use muster_settings::{DataKeyRepository, KeyRing, WrappedKey};
use parking_lot::Mutex;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::MasterKey;

const VERSION: u8 = 1;
const NONCE: usize = 12;
/// How long the newest key known is used for sealing before it is looked whether another process
/// has made a newer one.
const FRESH: Duration = Duration::from_mins(1);

/// Why nothing can be sealed or opened.
#[derive(Debug, thiserror::Error)]
enum VaultError {
    #[error("the data key {0} was not made under this master key")]
    OtherMaster(DataKeyId),
    #[error("the secret is too long to be sealed")]
    TooLong,
    #[error("the new data key can't be read")]
    NoKey,
}

/// Seals with data keys that are kept in rows themselves.
pub struct SealedVault {
    wrapping: Aes256Gcm,
    keys: Arc<dyn DataKeyRepository>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    known: Mutex<Known>,
}

/// The data keys as far as they were read.
#[derive(Default)]
struct Known {
    ciphers: HashMap<DataKeyId, Aes256Gcm>,
    newest: Option<DataKeyId>,
    /// Those that were made under another master key.
    foreign: HashSet<DataKeyId>,
    read_at: Option<Timestamp>,
}

impl fmt::Debug for SealedVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedVault(…)")
    }
}

impl SealedVault {
    /// Over the data keys of the installation with this master key.
    pub fn new(
        master: &MasterKey,
        keys: Arc<dyn DataKeyRepository>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let wrapping = Zeroizing::new(master.derive("data-keys", &[]));
        Self { wrapping: cipher(&wrapping), keys, clock, entropy, known: Mutex::default() }
    }

    /// Reads the data keys anew.
    async fn look(&self) -> Result<(), StorageError> {
        let now = self.clock.now();
        let rows = self.keys.data_keys().await?;
        let mut known = Known { read_at: Some(now), ..Known::default() };
        for row in rows {
            let bytes = open(&self.wrapping, &place(row.id), &row.wrapped.0);
            let key = bytes.and_then(|bytes| Some(cipher(bytes.as_slice().try_into().ok()?)));
            let Some(key) = key else {
                // What other keys sealed can still be opened.
                tracing::error!(key.id = %row.id, "a data key was made under another master key");
                known.foreign.insert(row.id);
                continue;
            };
            known.ciphers.insert(row.id, key);
            known.newest = Some(row.id);
        }
        *self.known.lock() = known;
        Ok(())
    }

    async fn add(&self, only_first: bool, author: &Author) -> Result<(), StorageError> {
        self.look().await?;
        let foreign = {
            let known = self.known.lock();
            known.foreign.iter().next().copied().filter(|_| known.newest.is_none())
        };
        if let Some(id) = foreign {
            // All of them are somebody else's: what we add, only we could open.
            return Err(StorageError::new(VaultError::OtherMaster(id)));
        }
        let mut key = Zeroizing::new([0; 32]);
        self.entropy.fill(&mut *key);
        let id = DataKeyId::new(&*self.clock, &*self.entropy);
        let wrapped = Sealed(self.encrypt(&self.wrapping, &place(id), &*key)?);
        let created_at = self.clock.now();
        self.keys.add_data_key(WrappedKey { id, wrapped, created_at }, only_first, author).await?;
        self.look().await
    }

    /// The newest data key, the first of which is made when it is needed.
    async fn newest(&self) -> Result<(DataKeyId, Aes256Gcm), StorageError> {
        let known = |vault: &Self| {
            let known = vault.known.lock();
            let fresh = known.read_at.is_some_and(|at| vault.clock.now() - at < delta(FRESH));
            let newest = known.newest.filter(|_| fresh)?;
            Some((newest, known.ciphers.get(&newest)?.clone()))
        };
        if let Some(key) = known(self) {
            return Ok(key);
        }
        self.look().await?;
        if let Some(key) = known(self) {
            return Ok(key);
        }
        // The first, unless somebody else's is there.
        self.add(true, &Author::system()).await?;
        known(self).ok_or_else(|| StorageError::new(VaultError::NoKey))
    }

    /// A nonce and the ciphertext after it.
    fn encrypt(
        &self,
        cipher: &Aes256Gcm,
        place: &str,
        plain: &[u8],
    ) -> Result<Vec<u8>, StorageError> {
        let mut nonce = [0; NONCE];
        self.entropy.fill(&mut nonce);
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let text = cipher
            .encrypt(&Nonce::<Aes256Gcm>::from(nonce), payload)
            .map_err(|_| StorageError::new(VaultError::TooLong))?;
        Ok([&nonce, text.as_slice()].concat())
    }
}

fn delta(time: Duration) -> chrono::TimeDelta {
    chrono::TimeDelta::from_std(time).unwrap_or_default()
}

fn place(id: DataKeyId) -> String {
    format!("data_keys/{id}")
}

fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key))
}

/// What [`SealedVault::encrypt`] encrypted for this place with this key.
fn open(cipher: &Aes256Gcm, place: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE>()?;
    let payload = Payload { msg: text, aad: place.as_bytes() };
    cipher.decrypt(&Nonce::<Aes256Gcm>::from(*nonce), payload).ok().map(Zeroizing::new)
}

#[async_trait]
impl Vault for SealedVault {
    async fn seal(&self, place: &str, secret: &Secret) -> Result<Sealed, StorageError> {
        let (id, cipher) = self.newest().await?;
        let text = self.encrypt(&cipher, place, secret.expose().as_bytes())?;
        Ok(Sealed([&[VERSION], id.as_uuid().as_bytes().as_slice(), &text].concat()))
    }

    async fn open(&self, place: &str, sealed: &Sealed) -> Result<Option<Secret>, StorageError> {
        let Some((&VERSION, rest)) = sealed.0.split_first() else { return Ok(None) };
        let Some((id, text)) = rest.split_first_chunk::<16>() else { return Ok(None) };
        let id = DataKeyId::from_uuid(Uuid::from_bytes(*id));
        let known = || self.known.lock().ciphers.get(&id).cloned();
        let mut cipher = known();
        if cipher.is_none() {
            // Another process may have made it since.
            self.look().await?;
            cipher = known();
        }
        if cipher.is_none() && self.known.lock().foreign.contains(&id) {
            return Err(StorageError::new(VaultError::OtherMaster(id)));
        }
        let opened = cipher.and_then(|cipher| open(&cipher, place, text));
        let text = opened.and_then(|bytes| std::str::from_utf8(&bytes).ok().map(str::to_owned));
        Ok(text.map(Secret::from_text))
    }
}

#[async_trait]
impl KeyRing for SealedVault {
    async fn rotate(&self, author: &Author) -> Result<(), StorageError> {
        self.add(false, author).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OsEntropy;
    use muster_kernel::testing::FakeClock;
    use muster_settings::testing::FakeDataKeys;
    use proptest::prelude::*;

    fn vault(master: &MasterKey, keys: &Arc<FakeDataKeys>) -> SealedVault {
        let clock = Arc::new(FakeClock::default());
        SealedVault::new(master, keys.clone(), clock, Arc::new(OsEntropy))
    }

    async fn opened(vault: &SealedVault, place: &str, sealed: &Sealed) -> Option<String> {
        vault.open(place, sealed).await.unwrap().map(|secret| secret.expose().to_owned())
    }

    fn secret() -> Secret {
        Secret::from_text("the secret")
    }

    #[tokio::test]
    async fn what_is_sealed_opens_in_its_place_only_and_in_every_process() {
        let (master, keys) = (MasterKey::draw(&OsEntropy), Arc::default());
        let (one, other) = (vault(&master, &keys), vault(&master, &keys));
        let sealed = one.seal("settings/a", &secret()).await.unwrap();
        assert!(!sealed.0.windows(10).any(|window| window == b"the secret"));
        assert_eq!(opened(&other, "settings/a", &sealed).await.as_deref(), Some("the secret"));
        assert_eq!(opened(&other, "settings/b", &sealed).await, None);
        assert_ne!(other.seal("settings/a", &secret()).await.unwrap(), sealed, "a new nonce");
        assert_eq!(keys.data_keys().await.unwrap().len(), 1, "they share the first key");
    }

    #[tokio::test]
    async fn after_a_rotation_old_secrets_open_and_new_ones_use_the_new_key() {
        let (master, keys) = (MasterKey::draw(&OsEntropy), Arc::default());
        let (one, other) = (vault(&master, &keys), vault(&master, &keys));
        let old = one.seal("a", &secret()).await.unwrap();
        other.rotate(&Author::system()).await.unwrap();
        let new = other.seal("a", &secret()).await.unwrap();
        assert_ne!(old.0[1..17], new.0[1..17]);
        for vault in [&one, &other] {
            assert_eq!(opened(vault, "a", &old).await.as_deref(), Some("the secret"));
            assert_eq!(opened(vault, "a", &new).await.as_deref(), Some("the secret"));
        }
    }

    #[tokio::test]
    async fn another_master_key_opens_nothing_and_says_so() {
        let keys = Arc::default();
        let ours = vault(&MasterKey::draw(&OsEntropy), &keys);
        let sealed = ours.seal("a", &secret()).await.unwrap();
        let theirs = vault(&MasterKey::draw(&OsEntropy), &keys);
        let error = theirs.open("a", &sealed).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("master key"), "{cause}");
        assert!(theirs.rotate(&Author::system()).await.is_err());
        assert!(theirs.seal("a", &secret()).await.is_err());
        assert_eq!(keys.data_keys().await.unwrap().len(), 1, "it left nothing behind");
        assert_eq!(opened(&ours, "a", &sealed).await.as_deref(), Some("the secret"));
    }

    proptest! {
        #[test]
        fn what_was_tampered_with_opens_nothing(at in 0_usize..55, bit in 0_u8..8) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let vault = vault(&MasterKey::draw(&OsEntropy), &Arc::default());
                let mut sealed = vault.seal("a", &secret()).await.unwrap();
                prop_assert_eq!(sealed.0.len(), 55);
                sealed.0[at] ^= 1 << bit;
                prop_assert_eq!(opened(&vault, "a", &sealed).await, None);
                Ok(())
            })?;
        }
    }
}
