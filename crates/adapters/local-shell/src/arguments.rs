//! The argument vectors that hand a command's text and arguments to a shell.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_commands::ShellType;

/// What a shell is started with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Each is handed over as it is.
    pub(crate) words: Vec<String>,
    /// The rest of cmd's command line, which it does not divide into words as other programs do.
    pub(crate) line: Option<String>,
}

impl Arguments {
    fn words(fixed: &[&str], args: &[String]) -> Self {
        let fixed = fixed.iter().map(|word| (*word).to_owned());
        Self { words: fixed.chain(args.iter().cloned()).collect(), line: None }
    }
}

/// Where the shell is, if this machine has it.
pub(crate) fn find(shell: ShellType) -> Option<PathBuf> {
    if cfg!(unix) && matches!(shell, ShellType::Powershell | ShellType::Cmd) {
        return None;
    }
    let file = format!("{}{}", shell.as_str(), std::env::consts::EXE_SUFFIX);
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(&file)).find(|file| file.is_file())
}

/// What the shell is started with to run `command` with `args`, none of which is read as code;
/// `None` when it can't be handed arguments without that.
pub(crate) fn arguments(shell: ShellType, command: &str, args: &[String]) -> Option<Arguments> {
    match shell {
        ShellType::Sh | ShellType::Bash if args.is_empty() => {
            Some(Arguments::words(&["-c", command], &[]))
        }
        ShellType::Sh | ShellType::Bash => {
            let text = format!("{command} \"$@\"");
            Some(Arguments::words(&["-c", &text, shell.as_str()], args))
        }
        ShellType::Pwsh | ShellType::Powershell => {
            let bytes: Vec<u8> =
                powershell(command, args).encode_utf16().flat_map(u16::to_le_bytes).collect();
            let fixed = ["-NoProfile", "-NonInteractive", "-EncodedCommand"];
            Some(Arguments::words(&fixed, &[STANDARD.encode(bytes)]))
        }
        // Within quotes, too, cmd reads some characters as code.
        ShellType::Cmd if !args.is_empty() => None,
        // `/s` has cmd take away the outer quotes and nothing else.
        ShellType::Cmd => Some(Arguments {
            line: Some(format!("\"{command}\"")),
            ..Arguments::words(&["/d", "/s", "/c"], &[])
        }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_never_part_of_the_text() {
        let args = ["$(id)'\"".to_owned(), "’; id".to_owned()];
        let posix = arguments(ShellType::Sh, "printf %s", &args).unwrap().words;
        assert_eq!(posix, ["-c", "printf %s \"$@\"", "sh", &args[0], &args[1]]);
        let script = powershell("Write-Output", &args);
        let literals = "$musterArgs = @('$(id)''\"', '’’; id')\nWrite-Output @musterArgs";
        assert_eq!(script, literals);
        assert_eq!(arguments(ShellType::Cmd, "echo", &args), None);
    }

    #[test]
    fn cmd_gets_its_line_as_it_is() {
        let found = arguments(ShellType::Cmd, "echo \"a b\" & ver", &[]).unwrap();
        assert_eq!(found.line.as_deref(), Some("\"echo \"a b\" & ver\""));
        assert_eq!(found.words, ["/d", "/s", "/c"]);
    }
}
