//! Opaque tokens: 256 bits behind a typed prefix, shown once, kept as their SHA-256.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::Entropy;

/// What a token opens; its prefix says so to people and to secret scanners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// Renews a user's session.
    Refresh,
    /// Lets a machine enrol.
    Enrollment,
    /// Opens an agent's own channel.
    Agent,
    /// Opens the API to a customer's programs.
    ApiKey,
    /// Opens one event stream or WebSocket, once.
    Ticket,
}

impl TokenKind {
    /// The text in front of the random part.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Refresh => "rt_",
            Self::Enrollment => "et_",
            Self::Agent => "ag_",
            Self::ApiKey => "sk_",
            Self::Ticket => "tk_",
        }
    }

    /// The kind that `text` claims to be by its prefix.
    pub fn of(text: &str) -> Option<Self> {
        [Self::Refresh, Self::Enrollment, Self::Agent, Self::ApiKey, Self::Ticket]
            .into_iter()
            .find(|kind| text.starts_with(kind.prefix()))
    }
}

/// A secret in memory: printing it shows nothing, dropping it wipes it.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a secret that came from outside.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// Draws a new token of `kind`.
    pub fn draw(kind: TokenKind, entropy: &dyn Entropy) -> Self {
        let mut bytes = [0_u8; 32];
        entropy.fill(&mut bytes);
        Self::from_bytes(kind, &bytes)
    }

    /// The token of `kind` whose random part is `bytes`.
    pub fn from_bytes(kind: TokenKind, bytes: &[u8; 32]) -> Self {
        Self::from_text(format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The secret itself. Every call is a place where it can leak: keep them few.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What may be kept of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.expose().as_bytes()).into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SHA-256 of an opaque token. A token has 256 random bits, so no salt and no slow hash is
/// needed, and a look-up by hash tells an attacker nothing by its timing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash as rows keep it.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads a row's hash.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededEntropy;

    #[test]
    fn a_token_shows_its_kind_and_nothing_else_when_printed() {
        let token = Secret::draw(TokenKind::Enrollment, &SeededEntropy::new(3));
        assert_eq!(TokenKind::of(token.expose()), Some(TokenKind::Enrollment));
        assert_eq!(token.expose().len(), "et_".len() + 43);
        assert_eq!(format!("{token:?} {:?}", token.hash()), "Secret(…) TokenHash(…)");
    }

    #[test]
    fn equal_tokens_and_only_they_have_equal_hashes() {
        let entropy = SeededEntropy::new(3);
        let one = Secret::draw(TokenKind::Agent, &entropy);
        let other = Secret::draw(TokenKind::Agent, &entropy);
        assert_ne!(one.hash(), other.hash());
        assert_eq!(one.hash(), Secret::from_text(one.expose()).hash());
    }
}
