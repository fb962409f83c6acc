//! Users, their roles and their sessions.
//!
//! [`Identity`] signs people in and out and turns an access token into a `Principal`. A session
//! is renewed by a refresh token that is good for one use: whoever shows a used one has stolen it
//! or was robbed, and the session ends for both ([`Session::rotate`]).
#![deny(missing_docs)]

mod attempts;
mod looks;
mod ports;
mod session;
#[cfg(feature = "testing")]
pub mod testing;
mod usecase;
mod user;

pub use ports::{AccessTokens, Claims, PasswordHasher, SessionRepository, UserRepository};
pub use session::{RotateError, SESSION_LIFETIME, Session};
pub use usecase::{
    ACCESS_TOKEN_LIFETIME, Identity, IdentityPorts, Locked, SessionError, SignInError, SignedIn,
};
pub use user::{Email, InvalidUser, Password, User, UserStatus, Username};
