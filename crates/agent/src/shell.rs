//! The argument vectors that hand a command's text and arguments to a shell.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_protocol::ShellType;

/// What cmd.exe would read as code, even within quotes.
const CMD_SPECIAL: &[char] = &['"', '%', '!', '^', '&', '|', '<', '>', '(', ')', '\r', '\n', '\0'];

/// Why no argument vector can be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShellError {
    /// The shell would read an argument as code.
    #[error("an argument holds a character that cmd would interpret: use pwsh, or leave it out")]
    UnsafeArgument,
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

/// The shell's arguments that run `command` with `args`, none of which is read as code.
pub(crate) fn arguments(
    shell: ShellType,
    command: &str,
    args: &[String],
) -> Result<Vec<String>, ShellError> {
    match shell {
        ShellType::Sh | ShellType::Bash if args.is_empty() => Ok(vec!["-c".into(), command.into()]),
        ShellType::Sh | ShellType::Bash => {
            let text = format!("{command} \"$@\"");
            let fixed = ["-c".to_owned(), text, name(shell).to_owned()];
            Ok(fixed.into_iter().chain(args.iter().cloned()).collect())
        }
        ShellType::Pwsh | ShellType::Powershell => {
            let encoded = STANDARD.encode(utf16(&powershell(command, args)));
            let fixed = ["-NoProfile", "-NonInteractive", "-EncodedCommand"];
            Ok(fixed.into_iter().map(str::to_owned).chain([encoded]).collect())
        }
        ShellType::Cmd if args.iter().any(|arg| arg.contains(CMD_SPECIAL)) => {
            Err(ShellError::UnsafeArgument)
        }
        ShellType::Cmd => {
            let quoted = args.iter().map(|arg| format!("\"{arg}\""));
            let words: Vec<_> = [command.to_owned()].into_iter().chain(quoted).collect();
            Ok(vec!["/d".into(), "/s".into(), "/c".into(), words.join(" ")])
        }
    }
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
mod tests {
    use super::*;

    const HOSTILE: [&str; 6] = ["$(id)", "`id`", "a b", "'; id; '", "\"; id; \"", "*\n-n"];

    #[cfg(unix)]
    #[test]
    fn a_posix_shell_hands_hostile_arguments_on_untouched() {
        let args = HOSTILE.map(str::to_owned);
        let vector = arguments(ShellType::Sh, "printf '%s\\0'", &args).unwrap();
        let output = std::process::Command::new("sh").args(vector).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), HOSTILE.join("\0") + "\0");
    }

    #[test]
    fn powershell_gets_arguments_as_literals_whatever_quotes_they_hold() {
        let script = powershell("Write-Output", &["it's".into(), "\u{2019}; id".into()]);
        assert!(script.starts_with("$musterArgs = @('it''s', '\u{2019}\u{2019}; id')"));
    }

    #[test]
    fn cmd_refuses_arguments_that_it_would_interpret() {
        for argument in ["%PATH%", "a&b", "\"", "a\nb"] {
            let verdict = arguments(ShellType::Cmd, "echo", &[argument.to_owned()]);
            assert_eq!(verdict, Err(ShellError::UnsafeArgument), "{argument}");
        }
    }
}
