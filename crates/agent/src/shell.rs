//! The argument vectors that hand a command's text and arguments to a shell.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_protocol::ShellType;

/// What cmd.exe would read as code, even within quotes.
const CMD_SPECIAL: &[char] = &['"', '%', '!', '^', '&', '|', '<', '>', '(', ')', '\r', '\n', '\0'];

/// The longest command line that cmd.exe takes, in UTF-16 units.
const CMD_LONGEST: usize = 8191;

/// Why a shell can't be started with what it was given.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShellError {
    /// The shell would read an argument as code.
    #[error("an argument holds a character that cmd would interpret: use pwsh, or leave it out")]
    UnsafeArgument,
    /// A program would read the quote behind the argument as a part of it.
    #[error("an argument ends with a backslash, which programs read in two ways: use pwsh")]
    AmbiguousArgument,
    /// The shell would read the path of the script as code.
    #[error("the agent's data folder has a name that cmd would interpret: move it")]
    UnsafeFolder,
    /// The shell would cut the rest off.
    #[error("cmd takes at most {CMD_LONGEST} characters: use pwsh, or put the text into a script")]
    TooLong,
}

/// What a shell is started with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Each is handed over as it is.
    pub(crate) words: Vec<OsString>,
    /// The rest of cmd's command line, which it does not divide into words as other programs do.
    pub(crate) line: Option<String>,
}

impl Arguments {
    fn words<T: Into<OsString>>(words: impl IntoIterator<Item = T>) -> Self {
        Self { words: words.into_iter().map(Into::into).collect(), line: None }
    }

    /// Those of cmd that run `text` and hand `args` to it. `/s` has cmd take away the outer quotes
    /// and nothing else.
    fn cmd(text: &str, args: &[String]) -> Result<Self, ShellError> {
        if args.iter().any(|arg| arg.contains(CMD_SPECIAL)) {
            return Err(ShellError::UnsafeArgument);
        }
        let quoted = args.iter().map(|arg| format!(" \"{arg}\""));
        let line = format!("\"{text}{}\"", quoted.collect::<String>());
        if line.encode_utf16().count() > CMD_LONGEST {
            return Err(ShellError::TooLong);
        }
        Ok(Self { line: Some(line), ..Self::words(["/d", "/s", "/c"]) })
    }
}

/// Every shell.
const SHELLS: [ShellType; 5] =
    [ShellType::Sh, ShellType::Bash, ShellType::Pwsh, ShellType::Powershell, ShellType::Cmd];

/// The program's name.
pub(crate) const fn name(shell: ShellType) -> &'static str {
    match shell {
        ShellType::Sh => "sh",
        ShellType::Bash => "bash",
        ShellType::Pwsh => "pwsh",
        ShellType::Powershell => "powershell",
        ShellType::Cmd => "cmd",
    }
}

/// Where the shell is, if this machine has it.
pub(crate) fn find(shell: ShellType) -> Option<PathBuf> {
    if cfg!(unix) && matches!(shell, ShellType::Powershell | ShellType::Cmd) {
        return None;
    }
    let file = format!("{}{}", name(shell), std::env::consts::EXE_SUFFIX);
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(&file)).find(|file| file.is_file())
}

/// A capability for each shell that this machine has.
pub(crate) fn capabilities() -> Vec<String> {
    let present = SHELLS.into_iter().filter(|shell| find(*shell).is_some());
    present.map(|shell| format!("shell:{}", name(shell))).collect()
}

/// What the shell is started with to run `command` with `args`, none of which is read as code.
pub(crate) fn arguments(
    shell: ShellType,
    command: &str,
    args: &[String],
) -> Result<Arguments, ShellError> {
    match shell {
        ShellType::Sh | ShellType::Bash if args.is_empty() => Ok(Arguments::words(["-c", command])),
        ShellType::Sh | ShellType::Bash => {
            // On its last line: on one of their own the arguments would be a command.
            let text = format!("{} \"$@\"", command.trim_end());
            let fixed = ["-c", &text, name(shell)];
            Ok(Arguments::words(fixed.into_iter().chain(args.iter().map(String::as_str))))
        }
        ShellType::Pwsh | ShellType::Powershell => {
            let encoded = STANDARD.encode(utf16(&powershell(command, args)));
            Ok(Arguments::words(["-NoProfile", "-NonInteractive", "-EncodedCommand", &encoded]))
        }
        ShellType::Cmd if args.iter().any(|arg| arg.ends_with('\\')) => {
            Err(ShellError::AmbiguousArgument)
        }
        ShellType::Cmd => Arguments::cmd(command, args),
    }
}

/// What the shell is started with to run the script in `file`, an absolute path, with `args`.
pub(crate) fn script_arguments(
    shell: ShellType,
    file: &Path,
    args: &[String],
) -> Result<Arguments, ShellError> {
    let fixed: &[&str] = match shell {
        ShellType::Sh | ShellType::Bash => &[],
        ShellType::Pwsh | ShellType::Powershell => {
            &["-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File"]
        }
        ShellType::Cmd => {
            let file = file.to_str().filter(|path| !path.contains(['"', '%', '!']));
            let file = file.ok_or(ShellError::UnsafeFolder)?;
            return Arguments::cmd(&format!("\"{file}\""), args);
        }
    };
    let fixed = fixed.iter().map(OsStr::new);
    let args = args.iter().map(OsStr::new);
    Ok(Arguments::words(fixed.chain([file.as_os_str()]).chain(args)))
}

/// The script that splats `args` onto `command`.
fn powershell(command: &str, args: &[String]) -> String {
    if args.is_empty() {
        return command.to_owned();
    }
    let literals: Vec<_> = args.iter().map(|arg| literal(arg)).collect();
    format!("$musterArgs = @({})\n{command} @musterArgs", literals.join(", "))
}

/// `text` in single quotes; PowerShell takes the typographic ones for quotes as well.
fn literal(text: &str) -> String {
    let mut quoted = String::from("'");
    for character in text.chars() {
        if matches!(character, '\'' | '\u{2018}'..='\u{201b}') {
            quoted.push(character);
        }
        quoted.push(character);
    }
    quoted.push('\'');
    quoted
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests;
