//! Arguments arrive byte for byte or are refused, whatever they hold.

use std::path::Path;

use proptest::prelude::*;

use super::*;

/// What shells would make something of.
const PIECES: [&str; 26] = [
    "$(id)",
    "`id`",
    "$HOME",
    "${IFS}",
    "'",
    "\"",
    "\\",
    "\\\\",
    "\n",
    "\r\n",
    ";",
    "&&",
    "|",
    ">x",
    "*",
    "?",
    "-n",
    "--",
    " ",
    "\t",
    "%PATH%",
    "^",
    "!x!",
    "\u{2019}",
    "é\u{202e}\u{1f980}",
    "#",
];

fn argument() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..8);
    prop_oneof![pieces.prop_map(|pieces| pieces.concat()), "[^\\x00]{0,40}"]
}

fn arguments_of_all_kinds() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(argument(), 0..5)
}

fn long() -> String {
    "$(id) `x` 'é\n\" ".repeat(100 * 1024 / 18)
}

#[cfg(unix)]
mod posix {
    use super::*;

    /// What reaches a command by real shells, as a text and as a script.
    fn arrived(shell: ShellType, args: &[String]) -> [Vec<u8>; 2] {
        let script = tempfile::NamedTempFile::new().unwrap();
        let text = "if [ $# -gt 0 ]; then printf '%s\\0' \"$@\"; fi";
        std::fs::write(&script, text).unwrap();
        let inline = "f() { if [ $# -gt 0 ]; then printf '%s\\0' \"$@\"; fi; }; f";
        let vectors = [
            arguments(shell, inline, args).unwrap(),
            script_arguments(shell, script.path(), args).unwrap(),
        ];
        vectors.map(|vector| {
            let run = std::process::Command::new(name(shell)).args(vector.words).output().unwrap();
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            run.stdout
        })
    }

    fn check(args: &[String]) {
        let expected: Vec<u8> =
            args.iter().flat_map(|arg| [arg.as_bytes(), b"\0"].concat()).collect();
        for shell in [ShellType::Sh, ShellType::Bash] {
            for arrived in arrived(shell, args) {
                assert!(arrived == expected, "{} got another than {args:?}", name(shell));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_posix_shell_hands_arguments_on_byte_for_byte(args in arguments_of_all_kinds()) {
            check(&args);
        }
    }

    #[test]
    fn an_argument_of_100_kib_arrives_whole() {
        check(&[long(), "behind".into()]);
    }
}

/// The literals of the array that a text for PowerShell begins with, read by its rules: within
/// single quotes two of any kind of them are one, and nothing else is special.
fn powershell_literals(script: &str) -> Vec<String> {
    const QUOTES: [char; 5] = ['\'', '\u{2018}', '\u{2019}', '\u{201a}', '\u{201b}'];
    let mut rest = script.strip_prefix("$musterArgs = @(").unwrap().chars().peekable();
    let mut literals = Vec::new();
    loop {
        match rest.next().unwrap() {
            ')' => break,
            ',' | ' ' => continue,
            first => assert_eq!(first, '\'', "a literal begins with a quote"),
        }
        let mut literal = String::new();
        loop {
            let character = rest.next().unwrap();
            if !QUOTES.contains(&character) {
                literal.push(character);
            } else if rest.peek().is_some_and(|next| QUOTES.contains(next)) {
                literal.push(character);
                rest.next();
            } else {
                break;
            }
        }
        literals.push(literal);
    }
    let behind: String = rest.collect();
    assert_eq!(behind, "\nf @musterArgs", "nothing of an argument is read as code");
    literals
}

fn decoded(encoded: &OsStr) -> String {
    let bytes = STANDARD.decode(encoded.to_str().unwrap()).unwrap();
    let units: Vec<_> =
        bytes.chunks(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
    String::from_utf16(&units).unwrap()
}

/// What a batch file gets of cmd's line: `/s` takes the outer quotes away; within quotes only the
/// characters that are refused mean anything, and a space outside of them divides.
fn batch_arguments(line: &str) -> Vec<String> {
    let inner = line.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for character in inner.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            special if CMD_SPECIAL.contains(&special) => panic!("cmd interprets {special:?}"),
            other => word.push(other),
        }
    }
    assert!(!quoted, "every quote is closed");
    words.push(word);
    words
}

/// What a program gets of a command line, by the published rules of `CommandLineToArgvW`.
fn program_arguments(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut open) = (Vec::new(), String::new(), false, false);
    let mut rest = line.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' => {
                let mut count = 1;
                while rest.next_if_eq(&'\\').is_some() {
                    count += 1;
                }
                let before_quote = rest.peek() == Some(&'"');
                let kept = if before_quote { count / 2 } else { count };
                word.push_str(&"\\".repeat(kept));
                if before_quote && count % 2 == 1 {
                    rest.next();
                    word.push('"');
                }
                open = true;
            }
            '"' => {
                quoted = !quoted;
                open = true;
            }
            ' ' | '\t' if !quoted => {
                if std::mem::take(&mut open) {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => {
                word.push(other);
                open = true;
            }
        }
    }
    if open {
        words.push(word);
    }
    words
}

proptest! {
    #[test]
    fn powershell_reads_arguments_as_literals_byte_for_byte(
        args in prop::collection::vec(argument(), 1..5)
    ) {
        let vector = arguments(ShellType::Powershell, "f", &args).unwrap();
        prop_assert_eq!(powershell_literals(&decoded(vector.words.last().unwrap())), args);
    }

    #[test]
    fn a_powershell_script_gets_each_argument_as_a_word_of_its_own(args in arguments_of_all_kinds()) {
        let file = Path::new("/data/x.ps1");
        let vector = script_arguments(ShellType::Pwsh, file, &args).unwrap();
        let (fixed, words) = vector.words.split_at(6);
        prop_assert_eq!(fixed.last().unwrap(), file);
        prop_assert!(words.iter().eq(args.iter().map(OsStr::new)));
    }

    #[test]
    fn cmd_hands_arguments_on_byte_for_byte_or_refuses_them(args in arguments_of_all_kinds()) {
        if let Ok(vector) = script_arguments(ShellType::Cmd, Path::new("/data/x.cmd"), &args) {
            let line = vector.line.unwrap();
            prop_assert_eq!(&batch_arguments(&line)[1..], &args);
        }
        if let Ok(vector) = arguments(ShellType::Cmd, "f", &args) {
            let line = vector.line.unwrap();
            prop_assert_eq!(&batch_arguments(&line)[1..], &args);
            let inner = line.strip_prefix('"').and_then(|line| line.strip_suffix('"')).unwrap();
            prop_assert_eq!(&program_arguments(inner)[1..], &args);
        }
    }
}

#[test]
fn harmless_arguments_are_not_refused_by_cmd() {
    let args = ["a b".to_owned(), "é;,=$x'`".into(), r"C:\a".into(), String::new()];
    assert!(arguments(ShellType::Cmd, "f", &args).is_ok());
    let folder = [r"C:\a\".to_owned()];
    assert!(script_arguments(ShellType::Cmd, Path::new("/data/x.cmd"), &folder).is_ok());
}

#[test]
fn cmd_refuses_what_it_would_interpret_or_cut_off() {
    for argument in ["%PATH%", "a&b", "\"", "a\nb", "!x!", "(", "^"] {
        let verdict = arguments(ShellType::Cmd, "echo", &[argument.to_owned()]);
        assert_eq!(verdict, Err(ShellError::UnsafeArgument), "{argument}");
    }
    let trailing = arguments(ShellType::Cmd, "echo", &[r"C:\".to_owned()]);
    assert_eq!(trailing, Err(ShellError::AmbiguousArgument));
    let long = arguments(ShellType::Cmd, "echo", &["x".repeat(100 * 1024)]);
    assert_eq!(long, Err(ShellError::TooLong));
    let file = script_arguments(ShellType::Cmd, Path::new("/100%/x.cmd"), &[]);
    assert_eq!(file, Err(ShellError::UnsafeFolder));
}

#[test]
fn powershell_gets_100_kib_whole() {
    let vector = arguments(ShellType::Pwsh, "f", &[long()]).unwrap();
    assert_eq!(powershell_literals(&decoded(vector.words.last().unwrap())), [long()]);
}
