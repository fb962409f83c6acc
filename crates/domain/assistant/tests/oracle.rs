//! What `bash` takes, the checker takes as well.
#![cfg(unix)]

use std::process::Command;

use muster_assistant::check;
use muster_commands::ShellType;
use proptest::prelude::*;

const PARTS: &[&str] = &[
    "echo",
    "a",
    "'",
    "\"",
    "$(",
    ")",
    "(",
    "{",
    "}",
    "if",
    "then",
    "fi",
    ";",
    "\n",
    "do",
    "done",
    "for x in",
    "while",
    "case a in",
    "a)",
    ";;",
    "esac",
    "$((",
    "))",
    "${x}",
    "#",
    "\\",
    "<<E",
    "E",
    "|",
    "&&",
    "&",
    "a=(",
    "<(",
    ">&2",
    "((",
    "!",
    "[[",
    "]]",
    "f()",
    "else",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_bash_can_read_passes(
        parts in prop::collection::vec(prop::sample::select(PARTS), 1..9)
    ) {
        let text = parts.join(" ");
        // It takes a backslash without a letter, which nobody means.
        prop_assume!(!text.ends_with('\\') && !text.trim().is_empty());
        let read = Command::new("bash").args(["-n", "-c", &text]).output().unwrap();
        if read.status.success() && read.stderr.is_empty() {
            prop_assert_eq!(check(ShellType::Bash, &text), Ok(()), "{}", text);
        }
    }
}
