//! Groups: machines that people put together, or that a filter finds.
//!
//! A [`Group`] belongs to a customer, or to none: then whoever works for all customers keeps it,
//! and everybody sees of it the machines that they may see anyway. Who is in it is either said one
//! by one, or is whoever passes its [`Criteria`](crate::Criteria) at the moment of asking.

mod group;
mod ports;
mod usecase;

pub use group::{Group, GroupChange, GroupKind, GroupName, InvalidGroup, Membership, NewGroup};
pub use ports::{GroupFilter, GroupRepository, GroupWriteError, MemberChange, MembersChanged};
pub use usecase::{Groups, GroupsError};
