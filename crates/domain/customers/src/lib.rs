//! Customers, their keys and their enrollment tokens.
//!
//! A customer is a tenant: whose machines these are. Programs of a customer come with an
//! [`ApiKey`], machines that enrol with an [`EnrollmentToken`]. Both are shown once and kept as a
//! hash.
#![deny(missing_docs)]

mod api_key;
mod api_keys;
mod audited;
mod customer;
mod customers;
mod enrollment_token;
mod enrollment_tokens;
mod ports;
#[cfg(feature = "testing")]
pub mod testing;

pub use api_key::{ApiKey, KeyState};
pub use api_keys::{ApiKeys, DefaultKey, MintedKey, NewKey};
pub use customer::{Customer, CustomerChange, InvalidCustomer, Name, Networks};
pub use customers::{Customers, CustomersError};
pub use enrollment_token::{EnrollmentToken, RedeemError, TokenState};
pub use enrollment_tokens::{EnrollmentTokens, Minted, NewToken};
pub use ports::{
    ApiKeyRepository, CustomerRepository, CustomerWriteError, EnrollmentTokenRepository, Once,
    Stored, TokenDeriver,
};
