//! A token that lets machines enrol.

use std::collections::BTreeSet;

use muster_kernel::{CustomerId, EnrollmentTokenId, GroupId, Tags, Timestamp, TokenHash, UserId};

use crate::Name;

/// Why a token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedeemError {
    /// Unknown or revoked.
    #[error("the enrollment token is unknown or revoked")]
    Invalid,
    /// Its time is over.
    #[error("the enrollment token has expired")]
    Expired,
    /// Used as often as it may be.
    #[error("the enrollment token was used as often as it may")]
    UsedUp,
}

/// Whether a token still lets machines in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TokenState {
    Active,
    Expired,
    UsedUp,
    Revoked,
}

impl TokenState {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::UsedUp => "used_up",
            Self::Revoked => "revoked",
        }
    }
}

/// A token that lets machines enrol with a customer. The secret itself is shown once, at its
/// creation, and kept as a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrollmentToken {
    /// Its id.
    pub id: EnrollmentTokenId,
    /// Whose machines it lets in.
    pub customer_id: CustomerId,
    /// What it is for.
    pub name: Name,
    /// The hash of the secret.
    pub hash: TokenHash,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    pub created_at: Timestamp,
    /// From this instant on it lets nobody in.
    pub expires_at: Option<Timestamp>,
    /// How many machines it lets in; any number when `None`.
    pub max_uses: Option<u32>,
    /// How many it has let in.
    pub uses: u32,
    /// What these machines are tagged with.
    pub tags: Tags,
    /// Groups that every machine is put into that it lets in.
    pub group_ids: BTreeSet<GroupId>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl EnrollmentToken {
    /// Whether it lets anybody in at `now`.
    pub fn state(&self, now: Timestamp) -> TokenState {
        if self.revoked_at.is_some() {
            TokenState::Revoked
        } else if self.expires_at.is_some_and(|end| now >= end) {
            TokenState::Expired
        } else if self.max_uses.is_some_and(|max| self.uses >= max) {
            TokenState::UsedUp
        } else {
            TokenState::Active
        }
    }

    /// Lets one machine in.
    ///
    /// # Errors
    /// [`RedeemError`] says why not; nothing is counted then.
    pub fn redeem(&mut self, now: Timestamp) -> Result<(), RedeemError> {
        match self.state(now) {
            TokenState::Revoked => Err(RedeemError::Invalid),
            TokenState::Expired => Err(RedeemError::Expired),
            TokenState::UsedUp => Err(RedeemError::UsedUp),
            TokenState::Active => {
                self.uses = self.uses.saturating_add(1);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::token;
    use chrono::TimeDelta;
    use muster_kernel::Clock;
    use muster_kernel::testing::FakeClock;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_lets_in_as_many_as_it_says_and_no_more(max in 0_u32..20, asked in 0_usize..40) {
            let now = FakeClock::default().now();
            let mut token = EnrollmentToken { max_uses: Some(max), ..token(1) };
            let let_in = (0..asked).filter(|_| token.redeem(now).is_ok()).count();
            prop_assert_eq!(let_in, asked.min(usize::try_from(max).unwrap()));
        }
    }

    #[test]
    fn a_token_lets_nobody_in_from_its_last_instant_on() {
        let now = FakeClock::default().now();
        let mut token = EnrollmentToken { expires_at: Some(now), max_uses: None, ..token(1) };
        assert_eq!(token.redeem(now - TimeDelta::microseconds(1)), Ok(()));
        assert_eq!(token.redeem(now), Err(RedeemError::Expired));
        assert_eq!(token.uses, 1);
    }

    #[test]
    fn a_revoked_token_looks_like_one_that_never_was() {
        let now = FakeClock::default().now();
        let mut token = EnrollmentToken { revoked_at: Some(now), ..token(1) };
        assert_eq!(token.redeem(now), Err(RedeemError::Invalid));
    }
}
