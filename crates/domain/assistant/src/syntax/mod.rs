//! Whether a text can be a command of its shell at all: quotes, blocks and brackets that end.
//!
//! This is no parser: a text that passes may still be wrong. One that does not pass is, and a model
//! gets the chance to say it better before anybody sees it.

mod cmd;
mod posix;
mod powershell;

use muster_commands::{MAX_COMMAND_BYTES, ShellType};

use crate::quote::is_invisible;

/// Why a text can't be a command of its shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// There is nothing to run.
    #[error("there is no command")]
    Empty,
    /// It is longer than commands are.
    #[error("it is longer than 65536 bytes")]
    TooLong,
    /// It has letters that a terminal obeys or nobody sees, which hide what is run.
    #[error("it has control characters or invisible letters")]
    Hidden,
    /// It is marked up as text for people.
    #[error("it is marked up: the bare command is expected, without fences around it")]
    MarkedUp,
    /// Something that was opened has no end.
    #[error("{0} has no end")]
    Unclosed(&'static str),
    /// Something ends that was not opened.
    #[error("{0} ends nothing")]
    Unopened(&'static str),
}

/// That `text` may be a command of `shell`.
///
/// # Errors
/// [`Broken`] says why it can't.
pub fn check(shell: ShellType, text: &str) -> Result<(), Broken> {
    if text.trim().is_empty() {
        return Err(Broken::Empty);
    }
    if text.len() > MAX_COMMAND_BYTES {
        return Err(Broken::TooLong);
    }
    let hidden = |c: char| (c.is_control() && !matches!(c, '\n' | '\r' | '\t')) || is_invisible(c);
    if text.chars().any(hidden) {
        return Err(Broken::Hidden);
    }
    if text.trim_start().starts_with("```") {
        return Err(Broken::MarkedUp);
    }
    match shell {
        ShellType::Bash | ShellType::Sh => posix::check(text),
        ShellType::Powershell | ShellType::Pwsh => powershell::check(text),
        ShellType::Cmd => cmd::check(text),
    }
}

/// The letters of a text, one after the other.
type Letters<'t> = std::iter::Peekable<std::str::Chars<'t>>;

#[cfg(test)]
mod tests;
