//! A signed-in device.

use chrono::TimeDelta;
use muster_kernel::{Audited, Place, SessionId, Timestamp, TokenHash, UserId};
use serde_json::{Value, json};

/// How long a session lives without being renewed.
pub const SESSION_LIFETIME: TimeDelta = TimeDelta::days(30);

/// For how long after showing a password or second factor somebody may do what needs one.
pub const CONFIRMED_FOR: TimeDelta = TimeDelta::minutes(15);

/// A signed-in device of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// When they signed in.
    pub created_at: Timestamp,
    /// When it was last renewed.
    pub renewed_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
    /// When they last showed their password or second factor.
    pub confirmed_at: Timestamp,
    /// From which address they signed in.
    pub address: Option<String>,
    /// What their program called itself.
    pub user_agent: Option<String>,
    /// The hash of the refresh token that renews it; every earlier one has been used.
    pub refresh_token: TokenHash,
}

/// Why a session is not renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotateError {
    /// It is over.
    Over,
    /// The token was used before: it is in more hands than one, so the session is ended.
    Reused,
}

impl Session {
    /// Whether it is good at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && now < self.expires_at
    }

    /// Whether a password or second factor was shown lately.
    pub fn is_confirmed(&self, now: Timestamp) -> bool {
        now - self.confirmed_at < CONFIRMED_FOR
    }

    /// Renews it by the token that was `presented`, which is then used, and has it renewed by
    /// `next` the next time.
    ///
    /// # Errors
    /// [`RotateError`]; after [`RotateError::Reused`] the session has ended.
    pub fn rotate(
        &mut self,
        presented: TokenHash,
        next: TokenHash,
        now: Timestamp,
    ) -> Result<(), RotateError> {
        if !self.is_live(now) {
            return Err(RotateError::Over);
        }
        if presented != self.refresh_token {
            self.ended_at = Some(now);
            return Err(RotateError::Reused);
        }
        self.refresh_token = next;
        self.renewed_at = now;
        self.expires_at = now + SESSION_LIFETIME;
        Ok(())
    }
}

impl Audited for Session {
    fn place(&self) -> Place {
        Place { kind: "session", id: self.id.as_uuid(), customer_id: None }
    }

    fn facts(&self) -> Value {
        json!({ "user_id": self.user_id, "user_agent": self.user_agent })
    }
}
