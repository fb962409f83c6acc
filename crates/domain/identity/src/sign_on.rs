//! Signing in with an account that somebody else keeps.

use std::fmt;

use async_trait::async_trait;
use muster_kernel::Secret;

/// What the browser was sent away with and has to come back with; kept sealed in a cookie
/// meanwhile.
#[derive(Debug, Clone)]
pub struct PendingSignOn {
    /// Comes back in the address: this browser is the one that was sent away.
    pub state: Secret,
    /// Comes back in the token: the token is the answer to this very question.
    pub nonce: Secret,
    /// Never leaves with the browser: whoever catches the code can do nothing with it.
    pub verifier: Secret,
}

impl PendingSignOn {
    /// The three of them, to be sealed: state, nonce, verifier.
    pub fn parts(&self) -> [&str; 3] {
        [self.state.expose(), self.nonce.expose(), self.verifier.expose()]
    }

    /// Put together again from its [`parts`](Self::parts).
    pub fn from_parts(
        state: impl Into<String>,
        nonce: impl Into<String>,
        verifier: impl Into<String>,
    ) -> Self {
        Self {
            state: Secret::from_text(state),
            nonce: Secret::from_text(nonce),
            verifier: Secret::from_text(verifier),
        }
    }
}

/// Somebody is about to be sent to the provider.
#[derive(Clone)]
pub struct SignOnStart {
    /// Where to send the browser. It holds the state and the nonce: not for logs.
    pub url: String,
    /// What to remember until it is back.
    pub pending: PendingSignOn,
}

impl fmt::Debug for SignOnStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignOnStart(…)")
    }
}

/// Who somebody is, as the provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// Who says so.
    pub issuer: String,
    /// The account's name at the issuer, which it never gives to another. Only the two together
    /// tell an account from all others; everything below can change and change hands.
    pub subject: String,
    /// The mail address.
    pub email: Option<String>,
    /// Whether the provider made sure that the address is theirs.
    pub email_verified: bool,
    /// The name that they would like to sign in with (`preferred_username`).
    pub username: Option<String>,
    /// What people call them.
    pub full_name: Option<String>,
}

/// Why nobody is identified. The texts are for the log: parts of them are the provider's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignOnError {
    /// Nobody said which provider to ask.
    #[error("single sign-on is not set up")]
    NotConfigured,
    /// The provider can't be reached, or it and Muster are not configured for each other.
    #[error("the identity provider can't be asked: {0}")]
    Unreachable(String),
    /// The code, the state, the token or its signature is not good.
    #[error("the sign-on is refused: {0}")]
    Refused(String),
}

/// Sends browsers to an identity provider and tells who came back.
#[async_trait]
pub trait SingleSignOn: Send + Sync + std::fmt::Debug {
    /// Draws new secrets and the address that asks the provider with them.
    async fn begin(&self) -> Result<SignOnStart, SignOnError>;

    /// Who came back with `code` and `state`. A state that is not the pending one MUST be refused
    /// before the provider is asked, in a time that tells nothing about how much of it is right.
    async fn finish(
        &self,
        code: &str,
        state: &str,
        pending: &PendingSignOn,
    ) -> Result<Identified, SignOnError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_reads_back_and_shows_nothing_when_printed() {
        let pending = PendingSignOn::from_parts("one", "two", "three");
        let [state, nonce, verifier] = pending.parts();
        assert_eq!([state, nonce, verifier], ["one", "two", "three"]);
        assert_eq!(PendingSignOn::from_parts(state, nonce, verifier).parts(), pending.parts());
        let start = SignOnStart { url: "https://id.example/?state=one".to_owned(), pending };
        let printed = format!("{start:?} {:?}", start.pending);
        assert!(!printed.contains("one") && !printed.contains("three"), "{printed}");
    }
}
