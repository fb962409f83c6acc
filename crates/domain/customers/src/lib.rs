//! Customers, whose machines these are, and the enrollment tokens that let machines in.
//!
//! An [`EnrollmentToken`] decides by itself whether it may be [redeemed](EnrollmentToken::redeem);
//! whoever redeems one does so in the transaction that writes the new agent.
#![deny(missing_docs)]

mod customer;
mod enrollment_token;
mod ports;
#[cfg(feature = "testing")]
pub mod testing;
mod usecase;

pub use customer::{Customer, CustomerChange, InvalidCustomer, Name};
pub use enrollment_token::{EnrollmentToken, RedeemError, TokenState};
pub use ports::{
    CustomerRepository, CustomerWriteError, EnrollmentTokenRepository, Once, Stored, TokenDeriver,
};
pub use usecase::{Customers, CustomersError, EnrollmentTokens, Minted, NewToken};
