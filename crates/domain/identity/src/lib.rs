//! Users, their roles, their second factors and their sessions.
//!
//! [`Identity`] signs people in and out, turns an access token into a `Principal`, and is what
//! people do with accounts. A session is renewed by a refresh token that is good for one use:
//! whoever shows a used one has stolen it or was robbed, and the session ends for both
//! ([`Session::rotate`]). That there is always an admin left is decided by [`User::changed`] and
//! [`User::removable`].
#![deny(missing_docs)]

mod accounts;
mod admin;
mod attempts;
mod factor;
mod identity;
mod looks;
mod ports;
mod second_factor;
mod session;
mod sessions;
mod sign_in;
mod sign_on;
mod signing_on;
#[cfg(feature = "testing")]
pub mod testing;
mod tickets;
mod user;

pub use accounts::{AccountError, NewAccount, ProfileChange};
pub use admin::UserError;
pub use factor::{Enrolment, FactorError};
pub use identity::{ACCESS_TOKEN_LIFETIME, Identity, IdentityPorts};
pub use ports::{
    AccessTokens, AccountPolicy, Claims, Keep, OneTimeCodes, PasswordHasher, Requirement,
    SecondFactorRepository, SessionRepository, TicketStore, UserFilter, UserRepository,
    UserWriteError,
};
pub use second_factor::SecondFactor;
pub use session::{CONFIRMED_FOR, RotateError, SESSION_LIFETIME, Session};
pub use sessions::SessionError;
pub use sign_in::{Attempt, Locked, SignInError, SignedIn};
pub use sign_on::{Identified, PendingSignOn, SignOnError, SignOnStart, SingleSignOn};
pub use signing_on::{SIGN_ON_WITHIN, SignOnFailure};
pub use tickets::TICKET_LIFETIME;
pub use user::{
    Email, InvalidUser, LastAdmin, Password, User, UserChange, UserStatus, Username, full_name,
};
