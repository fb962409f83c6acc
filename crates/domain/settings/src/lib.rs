//! Settings of an installation: what an admin changes while it runs.
//!
//! [`Key`] is the list of what there is; what is not in it can't be set. Secret settings are
//! sealed for their place by the vault, whose data keys are kept wrapped ([`DataKeyRepository`])
//! and can be replaced while everything runs ([`Rotation`]).
#![deny(missing_docs)]

mod key;
mod ports;
mod rotation;
#[cfg(feature = "testing")]
pub mod testing;
mod usecase;

pub use key::{InvalidSetting, Key, Kind, MASK};
pub use ports::{
    DataKeyRepository, KeyRing, SealedRows, SettingChange, SettingRepository, SettingRow, Stored,
    WrappedKey,
};
pub use rotation::Rotation;
pub use usecase::{Settings, SettingsError, Shown};
