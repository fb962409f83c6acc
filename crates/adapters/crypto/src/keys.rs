//! The master key and what follows from it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use hmac::{Hmac, KeyInit, Mac};
use muster_agents::MachineKey;
use muster_customers::TokenDeriver;
use muster_kernel::{Entropy, TokenHash};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Why a text is not taken as a master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    /// Not base64 of 32 bytes.
    #[error("32 random bytes in base64 are expected; `openssl rand -base64 32` makes them")]
    Form,
    /// 32 bytes that nobody drew at random.
    #[error("this key is not random; `openssl rand -base64 32` makes one that is")]
    Guessable,
}

/// The one secret of an installation, from which all its other keys follow.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// Draws a new key.
    pub fn draw(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(&mut *bytes);
        Self(bytes)
    }

    /// Reads a key as [`MasterKey::to_base64`] wrote it.
    ///
    /// # Errors
    /// [`WeakKey`] for everything that is not 32 bytes which look drawn at random.
    pub fn parse(text: &str) -> Result<Self, WeakKey> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| WeakKey::Form)?);
        let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| WeakKey::Form)?;
        let mut distinct = bytes;
        distinct.sort_unstable();
        let different = distinct.chunk_by(|a, b| a == b).count();
        // 32 random bytes hold fewer than 16 different ones about once in 10^15 times, and all
        // of them are printable about once in 10^13 times.
        let typed = bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        if different < 16 || typed {
            return Err(WeakKey::Guessable);
        }
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// The text to be kept in a file that only its owner reads.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(*self.0))
    }

    /// 32 bytes for one use, which `label` names: HMAC-SHA-256 over the label and the parts, each
    /// with its length before it.
    pub fn derive(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&*self.0) else {
            // HMAC takes keys of every length.
            return [0; 32];
        };
        for part in std::iter::once(&label.as_bytes()).chain(parts) {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// The key that signs what agents are to do.
#[derive(Clone)]
pub struct InstructionKey(SigningKey);

impl fmt::Debug for InstructionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstructionKey({})", self.public_base64())
    }
}

impl InstructionKey {
    /// The key of the installation with this master key.
    pub fn derive(master: &MasterKey) -> Self {
        Self(SigningKey::from_bytes(&master.derive("instructions", &[])))
    }

    /// For signing.
    pub const fn signing_key(&self) -> &SigningKey {
        &self.0
    }

    /// The half that agents pin, in base64.
    pub fn public_base64(&self) -> String {
        STANDARD.encode(self.0.verifying_key().as_bytes())
    }
}

/// What domains derive from the master key.
#[derive(Debug, Clone)]
pub struct Keys {
    master: MasterKey,
    public: String,
}

impl Keys {
    /// Of the installation with this master key.
    pub fn new(master: MasterKey) -> Self {
        let public = InstructionKey::derive(&master).public_base64();
        Self { master, public }
    }
}

impl MachineKey for Keys {
    fn agent_token(&self, enrollment_token: TokenHash, attempt: &str) -> [u8; 32] {
        self.master.derive("agent-token", &[enrollment_token.as_bytes(), attempt.as_bytes()])
    }

    fn server_key(&self) -> String {
        self.public.clone()
    }
}

impl TokenDeriver for Keys {
    fn derive(&self, scope: &str, key: &str) -> [u8; 32] {
        self.master.derive("enrollment-token", &[scope.as_bytes(), key.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OsEntropy;

    #[test]
    fn a_key_reads_back_and_shows_nothing_when_printed() {
        let key = MasterKey::draw(&OsEntropy);
        let again = MasterKey::parse(&key.to_base64()).unwrap();
        assert_eq!(key.derive("a", &[]), again.derive("a", &[]));
        assert_eq!(format!("{key:?}"), "MasterKey(…)");
        let printed = format!("{:?}", Keys::new(key.clone()));
        assert!(!printed.contains(&*key.to_base64()), "{printed}");
    }

    #[test]
    fn a_key_that_somebody_typed_is_refused() {
        let typed = |text: &str| MasterKey::parse(&STANDARD.encode(text)).unwrap_err();
        assert_eq!(typed("changeme"), WeakKey::Form);
        assert_eq!(typed("dev-secret-dev-secret-dev-secret"), WeakKey::Guessable);
        assert_eq!(typed("0123456789abcdefghijklmnopqrstuv"), WeakKey::Guessable);
        assert_eq!(MasterKey::parse(&STANDARD.encode([0; 32])).unwrap_err(), WeakKey::Guessable);
        assert_eq!(MasterKey::parse("%").unwrap_err(), WeakKey::Form);
    }

    #[test]
    fn every_use_has_a_key_of_its_own() {
        let key = MasterKey::draw(&OsEntropy);
        assert_ne!(key.derive("a", &[b"bc"]), key.derive("a", &[b"b", b"c"]));
        assert_ne!(key.derive("a", &[b"b"]), key.derive("ab", &[]));
    }
}
