//! What differs between operating systems: a process with everything that it starts, how it is
//! handed its arguments, and reading a file at a place.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{Tree, read_at, set_arguments};
#[cfg(windows)]
pub(crate) use windows::{Tree, read_at, set_arguments};
