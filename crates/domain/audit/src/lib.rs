//! The audit log: who did what to what, when, from where.
//!
//! Every entry carries a keyed MAC over itself and over the entry before it ([`ChainKey::link`]),
//! and a sealed head says where the chain begins and ends ([`Head`]). Whoever can write to the
//! database, but does not have the key, can't change, remove, add or reorder an entry, nor cut
//! entries off either end, without [`Audit::verify`] finding it and naming the place. What nobody
//! can find from inside is a whole database put back to an earlier state: keep the head that
//! `verify` answers somewhere else.
#![deny(missing_docs)]

mod chain;
mod entry;
mod ports;
#[cfg(feature = "testing")]
pub mod testing;
mod usecase;

pub use chain::{Broken, ChainKey, Flaw, Head, Link, Mac, Verifier};
pub use entry::Entry;
pub use ports::{AuditFilter, AuditLog};
pub use usecase::{Audit, AuditError, Report};
