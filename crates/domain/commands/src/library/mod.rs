//! Texts that are kept to be run again: scripts and saved commands.
//!
//! An [`Item`] is either, told apart by its id ([`ItemId`]): a script runs from a file of its own
//! and may be long, a saved command is a text for the shell like any other command. Both belong to
//! a customer, or are shared with all. What an item says is a [`Version`]; every change makes
//! another, none is ever changed or lost, and an older one can be restored.
//!
//! Whoever runs an item gives values to its [`Parameter`]s. [`bind()`] turns them into environment
//! variables and arguments: a value is handed over as it is, or refused, and never becomes part of
//! a text that a shell reads.
//!
//! [`Library`] is what people do with items; [`Library::for_run`] is for whatever runs them.

mod bind;
mod diff;
mod draft;
mod item;
mod parameter;
mod ports;
mod usecase;

pub use bind::{Bound, InvalidParameter, MAX_VALUE_BYTES, Manner, bind};
pub use diff::unified_diff;
pub use draft::{Change, Draft, InvalidItem};
pub use item::{About, Field, Item, ItemId, Kind, Opened, SavedCommand, Script, Version};
pub use parameter::{InvalidDefinition, Parameter, ParameterKind};
pub use ports::{LibraryFilter, LibraryRepository, LibraryWriteError, ScriptTexts};
pub use usecase::{Library, LibraryError, LibraryPorts, SavedCommands, Scripts};
