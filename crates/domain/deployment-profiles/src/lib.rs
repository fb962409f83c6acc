//! From a bare machine to one that is done.
//!
//! A [`Profile`] is what is to be done to a machine, as [`Task`]s in their order; it names scripts
//! of the library and [`Software`]. Profiles, software and [`OsImage`]s are kept in a [`Catalog`].
//! A profile that is applied becomes a [rollout](rollouts): frozen, so that no later change touches
//! it, with a state machine for each machine. [`compliance`] compares machines with profiles again
//! and again, and changes nothing.
//!
//! To add a kind of task: give [`Action`] a variant, say in [`freeze`](rollouts::Freezer) what
//! machines run for it, and let the property tests of [`rollouts::Device`] tell whether it holds.
#![deny(missing_docs)]

mod catalog;
pub mod compliance;
mod exchange;
mod invalid;
mod os_image;
mod profile;
mod profiles;
pub mod rollouts;
mod software;
mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod wish;

pub use catalog::{
    Body, Catalog, CatalogError, CatalogFilter, CatalogPorts, CatalogRepository, Change, Entry,
    EntryId, Kind, WriteError,
};
pub use exchange::{
    Bundle, Exchange, ExchangeError, Imported, ImportedAs, Part, ScriptPart, SoftwarePart,
};
pub use invalid::Invalid;
pub use os_image::{ImagedAgent, ImagedAgents, OsImage, OsImageBody, OsImages};
pub use profile::{Profile, ProfileBody};
pub use profiles::Profiles;
pub use software::{Installer, Operation, Software, SoftwareBody, Variant};
pub use task::{Action, FileSource, MAX_FILE_BYTES, TRY_EVERY, Task, Wanted, WantedFile};
pub use wish::{HeadChange, ProfilesError, TaskWish};
