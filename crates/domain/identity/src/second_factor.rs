//! What somebody has besides what they know: a device that shows codes, and recovery codes for
//! when it is lost.

use std::collections::BTreeSet;

use muster_kernel::{Entropy, Sealed, Secret, Timestamp, TokenHash, UserId};

/// How many recovery codes there are.
const RECOVERY_CODES: usize = 10;

/// Somebody's second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondFactor {
    /// Whose.
    pub user_id: UserId,
    /// The secret that their device shares with Muster.
    pub secret: Sealed,
    /// When a code was first shown; before that nobody is asked for one.
    pub confirmed_at: Option<Timestamp>,
    /// The last time step whose code was used: it and all before it are good no more.
    pub last_step: u64,
    /// The hashes of the recovery codes that were not used yet.
    pub recovery_codes: BTreeSet<TokenHash>,
}

impl SecondFactor {
    /// Whether this factor may take the place of `known`. One that was confirmed only goes when it
    /// is removed, and only what was begun is confirmed.
    pub fn may_replace(&self, known: Option<&Self>) -> bool {
        match known {
            Some(known) if known.confirmed_at.is_some() => false,
            Some(known) => self.confirmed_at.is_none() || self.secret == known.secret,
            None => self.confirmed_at.is_none(),
        }
    }

    /// Uses the code of a time step; false when that step is over.
    pub fn use_step(&mut self, step: u64) -> bool {
        let fresh = step > self.last_step;
        self.last_step = self.last_step.max(step);
        fresh
    }

    /// Uses a recovery code; false when it is unknown or used.
    pub fn use_recovery_code(&mut self, code: &TokenHash) -> bool {
        self.recovery_codes.remove(code)
    }
}

/// Draws recovery codes: 100 random bits each, in groups that people can copy.
pub(crate) fn draw_recovery_codes(entropy: &dyn Entropy) -> Vec<Secret> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let draw = |_| {
        let mut bytes = [0_u8; 20];
        entropy.fill(&mut bytes);
        let mut text = String::with_capacity(23);
        for (index, byte) in bytes.iter().enumerate() {
            if index > 0 && index % 5 == 0 {
                text.push('-');
            }
            text.extend(ALPHABET.get(usize::from(byte % 32)).map(|byte| char::from(*byte)));
        }
        Secret::from_text(text)
    };
    (0..RECOVERY_CODES).map(draw).collect()
}

/// A recovery code as people type it, in its one form.
pub(crate) fn canonical_recovery_code(text: &str) -> Secret {
    Secret::from_text(text.trim().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_kernel::testing::SeededEntropy;

    #[test]
    fn a_confirmed_factor_is_not_replaced_and_only_what_was_begun_is_confirmed() {
        let begun = |secret: u8| SecondFactor {
            user_id: UserId::from_uuid(uuid::Uuid::nil()),
            secret: Sealed(vec![secret]),
            confirmed_at: None,
            last_step: 0,
            recovery_codes: BTreeSet::new(),
        };
        let confirmed =
            |secret| SecondFactor { confirmed_at: Some(Timestamp::default()), ..begun(secret) };
        assert!(begun(1).may_replace(None) && begun(2).may_replace(Some(&begun(1))));
        assert!(confirmed(1).may_replace(Some(&begun(1))));
        assert!(!confirmed(2).may_replace(Some(&begun(1))) && !confirmed(1).may_replace(None));
        assert!(!begun(2).may_replace(Some(&confirmed(1))));
        assert!(!confirmed(1).may_replace(Some(&confirmed(1))));
    }

    #[test]
    fn a_code_is_good_once() {
        let codes = draw_recovery_codes(&SeededEntropy::new(1));
        let mut factor = SecondFactor {
            user_id: UserId::from_uuid(uuid::Uuid::nil()),
            secret: Sealed(Vec::new()),
            confirmed_at: None,
            last_step: 0,
            recovery_codes: codes.iter().map(Secret::hash).collect(),
        };
        assert!(factor.use_step(7) && !factor.use_step(7) && !factor.use_step(6));
        assert!(factor.use_step(8));
        let typed = canonical_recovery_code(&format!(" {} ", codes[3].expose().to_uppercase()));
        assert!(factor.use_recovery_code(&typed.hash()));
        assert!(!factor.use_recovery_code(&typed.hash()));
        assert_eq!(factor.recovery_codes.len(), RECOVERY_CODES - 1);
    }
}
