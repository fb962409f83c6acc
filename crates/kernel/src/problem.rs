//! The stable codes of everything that can go wrong, as clients see them.
//!
//! A code never changes its meaning and is never used again for another. Adapters give it their
//! own form: an HTTP status, a WebSocket close reason.

use std::fmt;

macro_rules! problem_codes {
    ($($(#[$doc:meta])* $name:ident => $text:literal),+ $(,)?) => {
        /// What went wrong, for machines; people get a sentence beside it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemCode { $($(#[$doc])* $name),+ }

        impl ProblemCode {
            /// Every code, for documentation and tests.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The code as clients see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

problem_codes! {
    /// The request cannot be read at all: broken JSON, a broken header, a broken parameter.
    Malformed => "MALFORMED_REQUEST",
    /// No credential, or one that is unknown, expired or revoked.
    Unauthenticated => "UNAUTHENTICATED",
    /// User name or password is wrong.
    InvalidCredentials => "INVALID_CREDENTIALS",
    /// The account waits for an admin's approval.
    AccountPending => "ACCOUNT_PENDING",
    /// The account is switched off.
    AccountDisabled => "ACCOUNT_DISABLED",
    /// The credential is good and does not allow this.
    Forbidden => "FORBIDDEN",
    /// The right password alone is not enough: send `totp_code` as well.
    SecondFactorRequired => "SECOND_FACTOR_REQUIRED",
    /// An admin requires a second factor, and the account has none yet.
    SecondFactorMissing => "SECOND_FACTOR_MISSING",
    /// The password or second factor has to be shown again.
    ConfirmationRequired => "CONFIRMATION_REQUIRED",
    /// Nobody can register by themselves here.
    RegistrationClosed => "REGISTRATION_CLOSED",
    /// There would be no admin left.
    LastAdmin => "LAST_ADMIN",
    /// The customer has no key.
    NoApiKey => "NO_API_KEY",
    /// The thing is not in a state in which this can be done.
    WrongState => "WRONG_STATE",
    /// The identity provider does not answer, or did not vouch for anybody.
    SignOnFailed => "SIGN_ON_FAILED",
    /// There is no such thing, or it is not yours.
    NotFound => "NOT_FOUND",
    /// The path exists, but not with this method.
    MethodNotAllowed => "METHOD_NOT_ALLOWED",
    /// Something of that name exists already.
    AlreadyExists => "ALREADY_EXISTS",
    /// The customer still has agents.
    CustomerHasAgents => "CUSTOMER_HAS_AGENTS",
    /// An `Idempotency-Key` came again with another body.
    IdempotencyConflict => "IDEMPOTENCY_KEY_REUSED",
    /// The agent is not connected, and the request needs it now.
    AgentOffline => "AGENT_OFFLINE",
    /// The agent is connected and did not answer in time.
    AgentTimeout => "AGENT_TIMEOUT",
    /// The command has ended; it can't be cancelled any more.
    CommandEnded => "COMMAND_ENDED",
    /// The command is dangerous, and nobody said that they know.
    DangerousCommand => "DANGEROUS_COMMAND",
    /// The enrollment token is unknown or revoked.
    EnrollmentTokenInvalid => "ENROLLMENT_TOKEN_INVALID",
    /// The enrollment token has expired.
    EnrollmentTokenExpired => "ENROLLMENT_TOKEN_EXPIRED",
    /// The enrollment token was used as often as it may.
    EnrollmentTokenUsedUp => "ENROLLMENT_TOKEN_USED_UP",
    /// The thing was changed since it was read.
    PreconditionFailed => "PRECONDITION_FAILED",
    /// The body did not come in time.
    RequestTimeout => "REQUEST_TIMEOUT",
    /// The body is larger than the route takes.
    TooLarge => "CONTENT_TOO_LARGE",
    /// The body is of a type that the route does not take.
    UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
    /// The body can be read and breaks a rule.
    ValidationFailed => "VALIDATION_FAILED",
    /// Too many requests; come back later.
    TooManyRequests => "TOO_MANY_REQUESTS",
    /// The agent protocol version is not offered.
    ProtocolUnsupported => "PROTOCOL_UNSUPPORTED",
    /// Something that Muster depends on is down, or Muster is shutting down.
    Unavailable => "UNAVAILABLE",
    /// A fault in Muster itself; the log of this request id says more.
    Internal => "INTERNAL",
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_is_unique_screaming_snake() {
        let texts: HashSet<_> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), ProblemCode::ALL.len());
        assert!(texts.iter().all(|text| text.chars().all(|c| c.is_ascii_uppercase() || c == '_')));
    }
}
