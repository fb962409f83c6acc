//! Dangerous requests that wait for a second person.
//!
//! Where a customer's policy says so, a dangerous request runs nothing: the [`Desk`] keeps an
//! [`Approval`], which binds who asked, the machines, the exact text and until when. Somebody else
//! decides with [`Approvals`]; what was approved begins as a run of exactly that, once. What can
//! become of an approval is decided by [`Approval::apply`] and nowhere else.

mod approval;
mod desk;
mod ports;
mod usecase;

pub use approval::{Approval, ApprovalEvent, ApprovalState, ApprovalStatus, Decision};
pub(crate) use desk::Ask;
pub use desk::{Clearance, Desk, DeskError};
pub use ports::{ApprovalFilter, ApprovalRepository, Kept};
pub use usecase::{Approvals, ApprovalsError, ApprovalsPorts};
